#!/bin/sh
# Models in and out: export and import are each other's inverse, bit by bit, in every naming; what does not fit is refused.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
reel() { "$REEL_BUILD/tests/mpirun.sh" "$REEL_BUILD/reel" "$@"; }
on() { n=$1; shift; "$REEL_BUILD/tests/mpirun.sh" -n "$n" "$REEL_BUILD/reel" "$@"; }
tool=$REEL_BUILD/tests/ckpt_tool
file=transformer/diffusion_pytorch_model.safetensors
t=--training
equal() { # equal TEXT DIR DIR: the same files of the same bytes in both transformers, config.json aside
    e_a=$(cd "$2/transformer" && sha256sum diffusion*) e_b=$(cd "$3/transformer" && sha256sum diffusion*)
    same "$1" "$e_a" "$e_b"
}

try "a model to hand over" train 1 "$TMPDIR/run" $t.loop.max_train_steps 2 --callbacks.ema.decay 0.5
run=$TMPDIR/run/checkpoint-2
try "export" reel export "$run" "$TMPDIR/x"
try "in files of 40 kB" reel export "$run" "$TMPDIR/shards" --shard-bytes 40000
same "several, and an index" "$(ls "$TMPDIR"/shards/transformer/*.index.json | wc -l)" 1
[ "$(ls "$TMPDIR"/shards/transformer/*-of-*.safetensors | wc -l)" -gt 3 ]
verdict $? "none larger, but for what one tensor needs"
try "in bf16" reel export "$run" "$TMPDIR/half" --dtype bf16
try "the average" reel export "$run" "$TMPDIR/average" --ema

# roles of a distillation
roles="student teacher critic" tiny=$REEL_SRC/tests/tiny_dmd2.yaml
frozen="--training.checkpoint.save_frozen true"
try "three roles" train 2 "$TMPDIR/three" $t.loop.max_train_steps 2
try "the critic" reel export "$TMPDIR/three" "$TMPDIR/critic" --role critic
fails "the teacher, which is not trained" "are those of its init_from" reel export "$TMPDIR/three" "$TMPDIR/no" --role teacher
# shellcheck disable=SC2086 # two words
try "with what is frozen" train 2 "$TMPDIR/four" $t.loop.max_train_steps 2 $t.checkpoint.training_state_checkpointing_steps 1 $frozen
same "the same weights" "$("$tool" hash "$TMPDIR/three/checkpoint-2" roles.student. roles.critic. optimizers.)" \
    "$("$tool" hash "$TMPDIR/four/checkpoint-2" roles.student. roles.critic. optimizers.)"
same "the teacher stays" "$("$tool" hash "$TMPDIR/four/checkpoint-1" roles.teacher.)" "$("$tool" hash "$TMPDIR/four/checkpoint-2" roles.teacher.)"
try "the teacher's export" reel export "$TMPDIR/four" "$TMPDIR/teacher" --role teacher
rm -rf "$TMPDIR/four/checkpoint-2"
# shellcheck disable=SC2086
try "resumed on one rank, with what is frozen" train 1 "$TMPDIR/four" $t.loop.max_train_steps 2 $frozen --resume-from-checkpoint latest
same "as if never stopped" "$("$tool" hash "$TMPDIR/three/checkpoint-2" roles.student. roles.critic. optimizers.)" \
    "$("$tool" hash "$TMPDIR/four/checkpoint-2" roles.student. roles.critic. optimizers.)"
roles=student tiny=$REEL_SRC/tests/tiny.yaml

# folder to folder
try "import of the shards" reel import "$TMPDIR/shards" "$TMPDIR/joined"
equal "is the one file" "$TMPDIR/x" "$TMPDIR/joined"
same "with its config.json" "$(sha256sum < "$TMPDIR/x/transformer/config.json")" "$(sha256sum < "$TMPDIR/joined/transformer/config.json")"
try "import in bf16" reel import "$TMPDIR/x" "$TMPDIR/cast" --dtype bf16
equal "is the export in bf16" "$TMPDIR/half" "$TMPDIR/cast"
try "and in shards" reel import "$TMPDIR/x" "$TMPDIR/cut" --shard-bytes 40000
equal "are the export's shards" "$TMPDIR/shards" "$TMPDIR/cut"

# a file alone, the authors' names
"$tool" original "$TMPDIR/x/$file" "$TMPDIR/wan.safetensors"
grep -q "self_attn.q.weight" "$TMPDIR/wan.safetensors" && ! grep -q "attn1.to_q" "$TMPDIR/wan.safetensors"
verdict $? "a file with the authors' names"
fails "says nothing of its model" "give --base" reel import "$TMPDIR/wan.safetensors" "$TMPDIR/alone"
try "with a base" reel import "$TMPDIR/wan.safetensors" "$TMPDIR/alone" --base "$REEL_SRC/tests/tiny"
equal "is renamed" "$TMPDIR/x" "$TMPDIR/alone"
mkdir "$TMPDIR/theirs"
cp "$TMPDIR/wan.safetensors" "$TMPDIR/theirs/diffusion_pytorch_model.safetensors"
cat > "$TMPDIR/theirs/config.json" <<'JSON'
{"_class_name": "WanModel", "model_type": "t2v", "dim": 48, "num_heads": 4, "num_layers": 2, "ffn_dim": 96, "in_dim": 16, "out_dim": 16,
 "freq_dim": 64, "text_dim": 64, "text_len": 12, "eps": 1e-06}
JSON
try "the authors' folder" reel import "$TMPDIR/theirs" "$TMPDIR/ours"
equal "is renamed" "$TMPDIR/x" "$TMPDIR/ours"

# checkpoints
try "to a checkpoint" reel import "$TMPDIR/x" "$TMPDIR/c1/checkpoint-0"
try "by three ranks" on 3 import "$TMPDIR/shards" "$TMPDIR/c3/checkpoint-0"
same "the same weights" "$("$tool" hash "$TMPDIR/c1/checkpoint-0")" "$("$tool" hash "$TMPDIR/c3/checkpoint-0")"
same "those of the run" "$("$tool" hash "$TMPDIR/c1/checkpoint-0")" "$("$tool" hash "$run" roles.)"
try "it is whole" reel check "$TMPDIR/c3/checkpoint-0"
try "and back" reel export "$TMPDIR/c3/checkpoint-0" "$TMPDIR/back"
equal "every bit" "$TMPDIR/x" "$TMPDIR/back"
try "from bf16" reel import "$TMPDIR/half" "$TMPDIR/ch/checkpoint-7"
try "and back" reel export "$TMPDIR/ch/checkpoint-7" "$TMPDIR/half.back" --dtype bf16
equal "every bit" "$TMPDIR/half" "$TMPDIR/half.back"

# a run starts from either
short="$t.loop.max_train_steps 2 $t.checkpoint.training_state_checkpointing_steps 0"
# shellcheck disable=SC2086 # words
try "train from the folder" train 1 "$TMPDIR/from" $short --models.student.init_from "$TMPDIR/joined" --models.student.init load
# shellcheck disable=SC2086
try "train from the checkpoint on two ranks" train 2 "$TMPDIR/c3" $short --resume-from-checkpoint latest
grep -q "no optimizer state of the student" "$TMPDIR/out"
verdict $? "the optimizer starts anew, and it is said"
grep -q "has no configuration to compare" "$TMPDIR/out"
verdict $? "nor is there a configuration"
same "the same run" "$("$tool" hash "$TMPDIR/from/checkpoint-2")" "$("$tool" hash "$TMPDIR/c3/checkpoint-2")"

# what a command means by a checkpoint, and by a place
try "check of a run's folder" reel check "$TMPDIR/run"
grep -q "newest checkpoint of .*/run: .*/checkpoint-2" "$TMPDIR/out" && grep -q "checkpoint-2: step 2, .*all checksums agree" "$TMPDIR/out"
verdict $? "is that of its newest checkpoint"
try "export of a run's folder" reel export "$TMPDIR/run/" "$TMPDIR/of.run/"
equal "too" "$TMPDIR/x" "$TMPDIR/of.run"
try "and of its files" reel export "$run/dcp" "$TMPDIR/of.dcp"
equal "too" "$TMPDIR/x" "$TMPDIR/of.dcp"
mkdir -p "$TMPDIR/cut.run/checkpoint-5" "$TMPDIR/none"
fails "a checkpoint without files" "checkpoint-5 is incomplete" reel check "$TMPDIR/cut.run/checkpoint-5"
fails "nor another beside it" "cut.run is no checkpoint, and no complete one is in it" reel check "$TMPDIR/cut.run"
mkdir -p "$TMPDIR/piped/checkpoint-1/dcp" && mkfifo "$TMPDIR/piped/checkpoint-1/dcp/.metadata" "$TMPDIR/piped/checkpoint-1/commit.json"
fails "one whose files are pipes" "commit.json: not a regular file" timeout 200 "$REEL_BUILD/reel" check "$TMPDIR/piped/checkpoint-1"
fails "a folder of nothing" "no .h5 file, so it is no data set" reel check "$TMPDIR/none"
fails "a folder of nothing to export" "none is no checkpoint" reel export "$TMPDIR/none" "$TMPDIR/no"
fails "nothing to export" "neither a checkpoint-N nor a folder that holds one" reel export "$TMPDIR/nowhere" "$TMPDIR/no"
fails "a role that the run has not" "no role teacher in the configuration, but student" reel export "$run" "$TMPDIR/no" --role teacher
fails "an export within the checkpoint" "lies in .*checkpoint-2, which it is made of" reel export "$run" "$run/a/b"
fails "a checkpoint is no model" "is a run or a checkpoint of one: reel export" reel import "$run" "$TMPDIR/no"
fails "a role that no run has" "roles are student, teacher and critic" reel import "$TMPDIR/x" "$TMPDIR/no" --role foo
fails "a step that is none" "must end in a step" reel import "$TMPDIR/x" "$TMPDIR/no/checkpoint-07"
mkdir "$TMPDIR/late.tmp" && touch "$TMPDIR/late.tmp/rest"
try "an export after one that was killed" reel export "$run" "$TMPDIR/late"
grep -q "removing .*late.tmp, left by an export that did not end" "$TMPDIR/out"
verdict $? "removes what that left, and says so"
same "leaves no file beside its own" "$(ls -d "$TMPDIR"/late*) $(ls "$TMPDIR/late")" "$TMPDIR/late transformer"

# what does not fit
sed 's/"num_layers": *2/"num_layers": 3/; s/"ffn_dim": *96/"ffn_dim": 64/' "$REEL_SRC/tests/tiny/transformer/config.json" > "$TMPDIR/config.json"
mkdir -p "$TMPDIR/bigger/transformer" && cp "$TMPDIR/config.json" "$TMPDIR/bigger/transformer/"
fails "another model: all in one message" "missing [0-9]*: blocks.2.*mis-shaped 6: .*\[96,48\], the model has \[64,48\]" \
    on 2 import "$TMPDIR/x" "$TMPDIR/no/checkpoint-0" --base "$TMPDIR/bigger"
[ ! -e "$TMPDIR/no/checkpoint-0" ]
verdict $? "nothing is left"
cp -r "$TMPDIR/x" "$TMPDIR/pipeline"
mkdir "$TMPDIR/pipeline/scheduler"
echo '{"_class_name": "WanPipeline"}' > "$TMPDIR/pipeline/model_index.json"
echo '{"flow_shift": 3.0}' > "$TMPDIR/pipeline/scheduler/scheduler_config.json"
try "a pipeline's other components" reel import "$TMPDIR/pipeline" "$TMPDIR/whole.pipeline"
cmp -s "$TMPDIR/pipeline/scheduler/scheduler_config.json" "$TMPDIR/whole.pipeline/scheduler/scheduler_config.json"
verdict $? "come along"
fails "into the pipeline itself" "lies in .*pipeline, which it is made of" reel import "$TMPDIR/pipeline" "$TMPDIR/pipeline/new"
echo '{"flow_shift": 3.0' > "$TMPDIR/pipeline/scheduler/scheduler_config.json"
fails "but not when they are damaged" "scheduler_config.json:[12]:.*not valid JSON" reel import "$TMPDIR/pipeline" "$TMPDIR/damaged"
cp -r "$TMPDIR/x" "$TMPDIR/bare"
echo '{"num_layers": 2, "text_dim": 64}' > "$TMPDIR/bare/transformer/config.json"
fails "a config.json that leaves out sizes" "these were taken: num_attention_heads 40, attention_head_dim 128, ffn_dim 13824 (Wan 14B)" \
    reel import "$TMPDIR/bare" "$TMPDIR/no"
fails "a place that is taken" "x exists: give a new folder" on 2 import "$TMPDIR/half" "$TMPDIR/x"
ln -s nowhere "$TMPDIR/dangling"
mkfifo "$TMPDIR/pipe"
for taken in dangling pipe; do
    fails "a $taken one" "$taken exists: give a new folder" reel export "$run" "$TMPDIR/$taken"
done
[ -L "$TMPDIR/dangling" ] && [ -p "$TMPDIR/pipe" ]
verdict $? "which stay"
fails "no name" "the name of the folder to make is empty" reel export "$run" ""
fails "no model" "not a model of this program" reel import "$TMPDIR/x" "$TMPDIR/no" --model wam
head -c 3000 "$TMPDIR/wan.safetensors" > "$TMPDIR/cut.safetensors"
cp -r "$TMPDIR/x" "$TMPDIR/nan"
weights=$(find "$TMPDIR/nan" -name '*.safetensors')
printf '\000\000\300\177' | dd of="$weights" bs=1 seek=$(($(stat -c %s "$weights") - 4)) conv=notrunc 2> /dev/null
fails "a weight that is not a number" "a weight of row [0-9]* is -*nan" reel import "$TMPDIR/nan" "$TMPDIR/wrong"
fails "cast, too" "a weight of row [0-9]* is -*nan" reel import "$TMPDIR/nan" "$TMPDIR/wrong" --dtype bf16
same "neither leaves weights" "$(find "$TMPDIR/wrong" -name '*.safetensors' 2> /dev/null | wc -l)" 0
fails "a file that was cut off" "cut.safetensors" reel import "$TMPDIR/cut.safetensors" "$TMPDIR/no" --base "$REEL_SRC/tests/tiny"
[ ! -e "$TMPDIR/no/transformer" ]
verdict $? "nothing is left"

py=${REEL_TORCH_PYTHON:-python3}
if "$py" -c 'import diffusers, torch, safetensors' 2> /dev/null; then
    for which in critic teacher; do
        try "Diffusers loads the $which" "$py" -W ignore "$REEL_SRC/tests/oracle/diffusers_load.py" "$TMPDIR/$which" "$TMPDIR/$which"
    done
    for which in x shards joined cut back ours; do
        try "Diffusers loads $which" "$py" -W ignore "$REEL_SRC/tests/oracle/diffusers_load.py" "$TMPDIR/$which" "$TMPDIR/x"
    done
    for which in half cast half.back; do
        try "Diffusers loads $which" "$py" -W ignore "$REEL_SRC/tests/oracle/diffusers_load.py" "$TMPDIR/$which" "$TMPDIR/half"
    done
    try "Diffusers loads the average" "$py" -W ignore "$REEL_SRC/tests/oracle/diffusers_load.py" "$TMPDIR/average" "$TMPDIR/average"
else
    skip "Diffusers loads them" "no python with diffusers (REEL_TORCH_PYTHON)"
fi
plan
