#!/bin/sh
# Training adapters: the same bits in every layout, resumed, averaged; their checkpoints, files and merge.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
tool=$REEL_BUILD/tests/ckpt_tool
d=--training.distributed
hash() { "$tool" hash "$@"; }
export_to() { "$REEL_BUILD/reel" export "$@"; }
base=$TMPDIR/base
lora() { # lora RANKS OUT [override...]: adapters on the base
    l_n=$1 l_out=$2
    shift 2
    train "$l_n" "$TMPDIR/$l_out" --models.student.init_from "$base" --models.student.init load --models.student.lora.enable true \
        --models.student.lora.rank 4 --models.student.lora.alpha 6 --training.optimizer.learning_rate 1e-2 \
        --callbacks.ema.decay 0.9 "$@"
}
loss() { sed -n "s/.*\"step\": $2,.*\"total_loss\": \\([0-9.]*\\).*/\\1/p" "$TMPDIR/$1/tracker/metrics.jsonl"; }
near() { awk "BEGIN { d = $1 - $2; if (d < 0) d = -d; exit !($1 > 0 && d < $3) }"; }

try "a base to adapt" train 1 "$TMPDIR/whole" --training.optimizer.learning_rate 1e-2
try "exported" export_to "$TMPDIR/whole/checkpoint-6" "$base" --base "$REEL_SRC/tests/tiny"
fails "it has no adapters" "holds no adapters of the student" export_to "$TMPDIR/whole/checkpoint-6" "$TMPDIR/x" --base "$base" --lora

try "adapters on one rank" lora 1 one
want=$(hash "$TMPDIR/one/checkpoint-6")
[ "$(hash "$TMPDIR/one/checkpoint-3" roles.)" != "$(hash "$TMPDIR/one/checkpoint-6" roles.)" ]
verdict $? "which move"
for n in 2 4; do
    try "on $n ranks, a part of the samples each" lora $n "on$n"
    same "summed over them: the bits of one rank" "$want" "$(hash "$TMPDIR/on$n/checkpoint-6")"
done
try "replicate 2 x shard 2" lora 4 hsdp $d.hsdp_replicate_dim 2 $d.hsdp_shard_dim 2
same "the same bits" "$want" "$(hash "$TMPDIR/hsdp/checkpoint-6")"
try "four replicas" lora 4 ddp $d.hsdp_replicate_dim 4 $d.hsdp_shard_dim 1
same "the same bits" "$want" "$(hash "$TMPDIR/ddp/checkpoint-6")"
mkdir "$TMPDIR/resumed" && cp -r "$TMPDIR/on2/checkpoint-3" "$TMPDIR/resumed/"
try "resume at step 3 on four" lora 4 resumed --resume-from-checkpoint latest
same "adapters, moments and average as if never stopped" "$want" "$(hash "$TMPDIR/resumed/checkpoint-6")"
try "bf16" lora 1 half --training.compute_dtype bf16
try "bf16 on two ranks" lora 2 half2 --training.compute_dtype bf16
same "the same bits" "$(hash "$TMPDIR/half/checkpoint-6")" "$(hash "$TMPDIR/half2/checkpoint-6")"

"$tool" keys "$TMPDIR/one/checkpoint-6" roles. optimizers.student.state. callbacks.ema.student_ema > "$TMPDIR/keys"
[ "$(grep -c . "$TMPDIR/keys")" -eq $((32 + 3 * 32 + 32)) ] && ! grep -qv '\.lora_[AB]' "$TMPDIR/keys"
verdict $? "a checkpoint holds adapters and nothing of the base"
lora 1 plan --dry-run > "$TMPDIR/lora.plan" 2>&1
train 1 "$TMPDIR/p" --dry-run > "$TMPDIR/full.plan" 2>&1
mib() { sed -n "s/^ *$2 *\\([0-9.]*\\) MiB.*/\\1/p" "$TMPDIR/$1.plan"; }
awk "BEGIN { exit !($(mib lora optim.student) > 0 && $(mib lora optim.student) * 4 < $(mib full optim.student)) }"
verdict $? "the plan shows what freezing saves: $(mib lora optim.student) MiB of gradients and moments, not $(mib full optim.student)"

# Files of them.
ckpt=$TMPDIR/one/checkpoint-6
fails "an export must say what it wants" "holds adapters of the student, not its weights: --lora" export_to "$ckpt" "$TMPDIR/x"
try "the adapters" export_to "$ckpt" "$TMPDIR/adapters" --lora
try "their average" export_to "$ckpt" "$TMPDIR/average" --lora --ema
try "merged into the base" export_to "$ckpt" "$TMPDIR/merged" --merge
cmp -s "$TMPDIR/adapters/adapter_model.safetensors" "$TMPDIR/average/adapter_model.safetensors"
[ $? -eq 1 ]
verdict $? "the average is another"
first="--training.loop.max_train_steps 1 --training.checkpoint.training_state_checkpointing_steps 0 --training.optimizer.lr_warmup_steps 0"
# shellcheck disable=SC2086
try "go on from the adapters" lora 2 more $first --models.student.lora.init_from "$TMPDIR/adapters"
# shellcheck disable=SC2086
try "from Diffusers' file of them" lora 1 more2 $first --models.student.lora.init_from "$TMPDIR/adapters/pytorch_lora_weights.safetensors"
# shellcheck disable=SC2086
try "and from the merged model" train 1 "$TMPDIR/more3" --models.student.init_from "$TMPDIR/merged" --models.student.init load $first
same "both files hold the same" "$(loss more 1)" "$(loss more2 1)"
near "$(loss more 1)" "$(loss more3 1)" 2e-6
verdict $? "the merged model's loss is the adapted one's: $(loss more3 1), $(loss more 1)"
near "$(loss more 1)" "$(loss one 1)" 1e-4
[ $? -eq 1 ]
verdict $? "and not the base's: $(loss one 1)"

clips() { # clips RANKS PNG [flag...]
    c_n=$1 c_png=$2
    shift 2
    "$REEL_BUILD/tests/mpirun.sh" -n "$c_n" "$REEL_BUILD/reel" generate --config "$tiny" --models.student.init_from "$base" \
        --models.student.init load --models.student.lora.enable true --models.student.lora.rank 4 --models.student.lora.alpha 6 \
        $d.num_gpus "$c_n" $d.hsdp_shard_dim "$c_n" --clips 4 --steps 3 --batch 2 --out "$TMPDIR/$c_png" "$@"
}
png() { sha256sum < "$TMPDIR/$1"; }
try "clips of the checkpoint" clips 2 a.png --checkpoint "$TMPDIR/one"
try "clips of its adapters' files" clips 1 b.png --models.student.lora.init_from "$TMPDIR/adapters"
same "the same pictures" "$(png a.png)" "$(png b.png)"
try "clips of the average" clips 1 c.png --checkpoint "$TMPDIR/one" --ema
try "clips of its files" clips 2 e.png --models.student.lora.init_from "$TMPDIR/average"
same "the same pictures" "$(png c.png)" "$(png e.png)"
try "clips of fresh adapters" clips 1 f.png
[ "$(png a.png)" != "$(png f.png)" ] && [ "$(png a.png)" != "$(png c.png)" ]
verdict $? "others than those of the base and of the average"

# Distilled into adapters, with a critic of adapters; the folder's own numbers are of whole models.
distil() {
    "$REEL_BUILD/tests/mpirun.sh" -n "$1" "$REEL_BUILD/tests/golden" "$REEL_SRC/tests/golden/dmd2-simulate" --models.student.lora.enable true \
        --models.student.lora.rank 2 --models.critic.lora.enable true --models.critic.lora.rank 3 2> /dev/null | sed -n 's/^hash //p'
}
same "distribution matching with adapters, on one rank and on two" "$(distil 1)" "$(distil 2)"

fails "another scale" "a scale of 1.5, but the role's lora.alpha / lora.rank is 2: set lora.alpha to 6" \
    lora 2 x --models.student.lora.alpha 8 --models.student.lora.init_from "$TMPDIR/adapters"
fails "another rank" "32 of another rank or width, e.g. blocks.0.attn1.to_q.lora_A" \
    lora 1 x --models.student.lora.rank 8 --models.student.lora.alpha 12 --models.student.lora.init_from "$TMPDIR/adapters"
fails "other layers" "4 missing, e.g. blocks.0.ffn.net.0.proj.lora_A" \
    lora 1 x --models.student.lora.target_modules "[to_q, to_k, to_v, to_out, fc_in]" --models.student.lora.init_from "$TMPDIR/adapters"
fails "weights are no adapters" "is no part of a low-rank adapter" lora 1 x --models.student.lora.init_from "$base/transformer"
fails "no layer" "no linear layer's name has one of these in it; there is for example blocks" \
    lora 2 x --models.student.lora.target_modules "[qkv_proj, embedder]"
fails "a checkpoint of adapters for a run without" "models.student.lora.enable was true, is false" train 1 "$TMPDIR/one" --resume-from-checkpoint latest

py=${REEL_TORCH_PYTHON:-python3}
if "$py" -c 'import peft, diffusers, torch.distributed.checkpoint' 2>/dev/null; then
    "$py" -W ignore "$REEL_SRC/tests/oracle/lora_peft.py" "$ckpt" "$base" "$TMPDIR/adapters" "$TMPDIR/average" "$TMPDIR/merged" \
        > "$TMPDIR/tap" 2> "$TMPDIR/err"
    verdict $? "peft and diffusers"
    while read -r verdict text; do
        case $verdict in ok) ok "$text" ;; *) not_ok "$text" ;; esac
    done < "$TMPDIR/tap"
    grep -q . "$TMPDIR/tap" || show "$TMPDIR/err" | tail -n 20
else
    skip "peft and diffusers" "no python with them (REEL_TORCH_PYTHON)"
fi
plan
