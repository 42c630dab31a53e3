#!/bin/sh
# A run that is resumed with another configuration: what leaves results alone, what changes them and is said, what is refused.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
t=--training
says() { # says TEXT PATTERN: exactly one line of the last command's output has it
    n=$(grep -c -e "$2" "$TMPDIR/out")
    if [ "$n" = 1 ]; then ok "$1"; else not_ok "$1: '$2' on $n lines"; show "$TMPDIR/out" | tail -n 15; fi
}
silent() { if grep -q -e "$2" "$TMPDIR/out"; then not_ok "$1"; show "$TMPDIR/out"; else ok "$1"; fi; }
again() { # again RANKS NAME [override...]: step 3 goes on
    a_n=$1 a_out=$TMPDIR/$2
    shift 2
    rm -rf "$a_out"
    mkdir "$a_out"
    cp -r "$TMPDIR/good/checkpoint-3" "$a_out/"
    train "$a_n" "$a_out" --callbacks.ema.decay 0.9 "$@" --resume-from-checkpoint latest
}
drift() { grep config_drift "$TMPDIR/$1/tracker/metrics.jsonl" | sed 's/\\"/"/g'; } # the record, quotes of its text undone

try "a run to resume" train 2 "$TMPDIR/good" --callbacks.ema.decay 0.9
want=$("$REEL_BUILD/tests/ckpt_tool" hash "$TMPDIR/good/checkpoint-6")
bits() { "$REEL_BUILD/tests/ckpt_tool" hash "$TMPDIR/$1/checkpoint-6"; }

try "another output folder alone" again 2 same
silent "no warning" "warning\|results differ"
same "the same bits" "$want" "$(bits same)"

# free: saving, logging, validating, threads, layout
try "other cadence, log and layout on one rank" again 1 free $t.checkpoint.training_state_checkpointing_steps 2 $t.tracker.run_name x \
    $t.threads 2 $t.model.enable_gradient_checkpointing_type full
silent "no warning" "warning\|results differ"
says "both values on one line" "results alone: .*run_name was null, is x"
says "a layout is free where bits are the same in all" "hsdp_shard_dim was 2, is 1"
same "the same bits" "$want" "$(bits free)"
case $(drift free) in
*'"key": "training.tracker.run_name", "was": "null", "is": "x", "changes": "free"'*) ok "and in the JSON lines" ;;
*) not_ok "and in the JSON lines: $(drift free)" ;;
esac

# what the configuration does not say: the contents of the data, the device that was found
cp "$TMPDIR/data.h5" "$TMPDIR/copy.h5"
try "the same data under another name, auto by its name" again 2 moved $t.data.data_path "$TMPDIR/copy.h5" $t.device cpu $t.compute_dtype f32
silent "no warning" "warning\|results differ"
says "both names on one line" "results alone: .*data_path was .*data.h5, is .*copy.h5.*training.device was auto, is cpu"
same "the same bits" "$want" "$(bits moved)"
mv "$TMPDIR/data.h5" "$TMPDIR/kept.h5"
try "other data under the same name" again 2 swapped $t.data.demo_seed 7
says "said, by what they are" "another training.data.data_path: it was 24 samples, CRC-32C [0-9a-f]*, is 24 samples, .*results differ"
mv "$TMPDIR/kept.h5" "$TMPDIR/data.h5"
elsewhere() { # again from a checkpoint that a device of another kind has written
    mkdir "$TMPDIR/gpu"
    cp -r "$TMPDIR/good/checkpoint-3" "$TMPDIR/gpu/"
    rm "$TMPDIR/gpu/checkpoint-3/commit.json"
    sed -i 's/"training.device": "cpu"/"training.device": "cuda"/; s/"training.compute_dtype": "f32"/"training.compute_dtype": "bf16"/' \
        "$TMPDIR/gpu/checkpoint-3/metadata.json"
    train 1 "$TMPDIR/gpu" --callbacks.ema.decay 0.9 --resume-from-checkpoint latest
}
try "a run that comes from a GPU" elsewhere
says "goes on with other numbers" "another training.device: it was cuda, is cpu; .*results differ"
says "of another type" "another training.compute_dtype: it was bf16, is f32; .*results differ"

# results
try "another rate, weight decay and more samples, on two ranks" again 2 other $t.optimizer.learning_rate 2e-3 $t.data.train_batch_size 4 \
    --callbacks.grad_clip null
says "said once, with both values" "^reel: resumed with another training.optimizer.learning_rate: it was 0.001, is 0.002; .*results differ"
says "samples of a step" "data-parallel groups: it was 4, is 8"
says "a callback that is gone" "another callbacks.grad_clip: it was grad_clip, is absent"
case $(drift other) in
*'"key": "training.optimizer.learning_rate", "was": "0.001", "is": "0.002", "changes": "results"'*) ok "and in the JSON lines" ;;
*) not_ok "and in the JSON lines: $(drift other)" ;;
esac
case $(grep '"warning"' "$TMPDIR/other/tracker/metrics.jsonl") in
*"resumed with another callbacks.grad_clip"*) ok "where a report finds it" ;;
*) not_ok "where a report finds it" ;;
esac
[ "$(bits other)" != "$want" ]
verdict $? "other bits indeed"
try "a longer cosine" again 2 longer $t.loop.max_train_steps 8
says "its horizon counts" "another training.loop.max_train_steps: it was 6, is 8"
try "a layout without the promise of equal bits" again 1 promise $t.reproducibility resume
says "a layout counts then" "another training.distributed.num_gpus: it was 2, is 1"

# refused, with all keys in one message, the same from every rank
fails "adapters on a checkpoint of weights" "checkpoint-3 cannot be resumed .*: models.student.lora.enable was false, is true; models.student.lora.rank was null, is 4" \
    again 2 lora --models.student.lora.enable true --models.student.lora.rank 4
fails "another method" "method._target_ was sft, is dfsft" again 2 method --method._target_ dfsft
fails "another model" "models.student._target_ was wan, is wan_causal" again 2 model --models.student._target_ wan_causal
sed 's/"ffn_dim": *[0-9]*/"ffn_dim": 64/' "$REEL_SRC/tests/tiny/transformer/config.json" > "$TMPDIR/config.json"
mkdir -p "$TMPDIR/wider/transformer" && cp "$TMPDIR/config.json" "$TMPDIR/wider/transformer/"
fails "another shape" "blocks.0.ffn.fc_in.weight is float32 .96,48., f32 .64,48. was expected" again 2 shape --models.student.init_from "$TMPDIR/wider"

# a constant rate has no horizon
try "a run at a constant rate" train 1 "$TMPDIR/flat" $t.optimizer.lr_scheduler constant $t.loop.max_train_steps 3
try "and more steps of it" train 1 "$TMPDIR/flat" $t.optimizer.lr_scheduler constant --resume-from-checkpoint latest
silent "no warning" "warning\|results differ"
says "the length may change" "results alone: training.loop.max_train_steps was 3, is 6"

# a checkpoint of another program
rm -f "$TMPDIR/good/checkpoint-3/commit.json"
echo '{"step": 3, "config": {"models": 3, "method": {}, "training": {}}}' > "$TMPDIR/good/checkpoint-3/metadata.json"
try "a configuration that means nothing here" again 2 strange
says "is no obstacle, but said" "warning: the configuration of .*checkpoint-3 cannot be compared: .*models: expected a mapping"
same "the same bits" "$want" "$(bits strange)"
echo '{"step": 9223372036854775807}' > "$TMPDIR/good/checkpoint-3/metadata.json"
fails "a step that no run comes to" "metadata.json says step 9223372036854775807, where no run comes to" again 2 late
echo '{"step": 3}' > "$TMPDIR/good/checkpoint-3/metadata.json"
try "no configuration" again 2 bare
says "is said too" "warning: .*checkpoint-3 has no configuration"
plan
