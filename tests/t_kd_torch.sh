#!/bin/sh
# The teacher's walk and the loss of distillation against diffusers. REEL_TORCH_PYTHON names a python with torch, diffusers
# and h5py; skipped without one.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
py=${REEL_TORCH_PYTHON:-python3}
if ! "$py" -c 'import torch, diffusers, h5py, safetensors' 2> /dev/null; then
    echo "1..0 # SKIP no python with torch, diffusers and h5py (REEL_TORCH_PYTHON)"
    exit 0
fi
try "a teacher: some steps of fine-tuning" train 1 "$TMPDIR/sft" --training.optimizer.learning_rate 1.0e-2
try "exported" "$REEL_BUILD/reel" export "$TMPDIR/sft/checkpoint-6" "$TMPDIR/teacher"
tiny=$REEL_SRC/tests/tiny_kd.yaml
try "a run" train 2 "$TMPDIR/kd" --models.student.init_from "$TMPDIR/teacher" --models.teacher.init_from "$TMPDIR/teacher" \
    --method.teacher_path_cache "$TMPDIR/trajectories" --training.data.training_cfg_rate 0 --record "$TMPDIR/draws.safetensors"
"$py" -W ignore "$REEL_SRC/tests/oracle/kd_torch.py" "$TMPDIR/teacher" "$TMPDIR/trajectories" "$TMPDIR/draws.safetensors" \
    "$TMPDIR/kd/tracker/metrics.jsonl" > "$TMPDIR/tap" 2> "$TMPDIR/err" || { not_ok "the script"; show "$TMPDIR/err"; }
while read -r verdict _ text; do
    case $verdict in
    ok) ok "$text" ;;
    *) not_ok "$text" ;;
    esac
done < "$TMPDIR/tap"
plan
