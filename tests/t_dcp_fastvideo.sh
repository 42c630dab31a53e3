#!/bin/sh
# A run of ours goes on in FastVideo's trainer and comes back: torch on 1, 2 and 4 processes loads every key strictly in every mesh,
# resumes as FastVideo does and saves; we resume from that, in another layout, in the bits of the run that never left.
# REEL_TORCH_PYTHON names a python with torch; skipped without one.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
py=${REEL_TORCH_PYTHON:-python3}
if ! "$py" -c 'import torch.distributed.checkpoint' 2> /dev/null; then
    echo "1..0 # SKIP no python with torch (REEL_TORCH_PYTHON)"
    exit 0
fi
tool=$REEL_BUILD/tests/ckpt_tool
d=--training.distributed
ema="--callbacks.ema.decay 0.9"
# shellcheck disable=SC2086 # two words
try "a run on two tensor parallel x two shards" train 4 "$TMPDIR/run" $d.tp_size 2 $d.hsdp_shard_dim 2 --training.data.train_batch_size 2 $ema
want=$("$tool" hash "$TMPDIR/run/checkpoint-6")
torch_on() { # torch_on RANKS FROM TO: what torch makes of it, as our TAP lines
    "$py" -W ignore "$REEL_SRC/tests/oracle/dcp_fastvideo.py" "$2" "$3" "$1" > "$TMPDIR/tap" 2> "$TMPDIR/err" ||
        { not_ok "torch on $1"; show "$TMPDIR/err" | tail -n 20; }
    while read -r verdict not _ text; do
        case $verdict in
        ok) ok "torch on $1: $text" ;;
        *) not_ok "torch on $1: $not $text" ;;
        esac
    done < "$TMPDIR/tap"
}
for n in 1 2 4; do
    back=$TMPDIR/back$n/checkpoint-3
    torch_on $n "$TMPDIR/run/checkpoint-3" "$back"
    try "what it saved is whole" "$REEL_BUILD/reel" check "$back"
    r=$((n == 2 ? 1 : 2))
    # shellcheck disable=SC2086
    try "and goes on here on $r" train $r "$TMPDIR/back$n" $ema --resume-from-checkpoint latest
    same "as if it had never left" "$want" "$("$tool" hash "$TMPDIR/back$n/checkpoint-6")"
done

# other runs: every key, strictly, in every mesh
lora="--models.student.lora.enable true --models.student.lora.rank 4"
# shellcheck disable=SC2086 # words
try "adapters on three shards" train 3 "$TMPDIR/lora" --training.data.train_batch_size 1 --training.loop.max_train_steps 2 $lora $ema
torch_on 2 "$TMPDIR/lora/checkpoint-2" -
roles="student teacher critic" tiny=$REEL_SRC/tests/tiny_dmd2.yaml
try "DMD2 on two replicas x two shards, saved at once" train 4 "$TMPDIR/dmd2" $d.hsdp_replicate_dim 2 $d.hsdp_shard_dim 2 \
    --training.loop.max_train_steps 2 --training.checkpoint.save sync
torch_on 4 "$TMPDIR/dmd2/checkpoint-2" -
plan
