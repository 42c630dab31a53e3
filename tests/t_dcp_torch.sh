#!/bin/sh
# Our checkpoints in PyTorch's hands. REEL_TORCH_PYTHON names a python with torch; skipped without one.
. "$REEL_SRC/tests/lib.sh"
py=${REEL_TORCH_PYTHON:-python3}
if ! "$py" -c 'import torch.distributed.checkpoint' 2>/dev/null; then
    echo "1..0 # SKIP no python with torch (REEL_TORCH_PYTHON)"
    exit 0
fi
oracle() { # oracle TEXT MODE DIR: the script's TAP lines become ours
    "$py" -W ignore "$REEL_SRC/tests/oracle/dcp_torch.py" "$2" "$3" > "$TMPDIR/tap" 2> "$TMPDIR/err" || { not_ok "$1"; show "$TMPDIR/err"; }
    while read -r verdict _ _ text; do
        case $verdict in
        ok) ok "$1: $text" ;;
        *) not_ok "$1: $text" ;;
        esac
    done < "$TMPDIR/tap"
}
run=$REEL_BUILD/tests/mpirun.sh
try "written by four ranks" "$run" "$REEL_BUILD/tests/t_ckpt_np4" write "$TMPDIR/formula"
oracle "torch" formula "$TMPDIR/formula/checkpoint-3"
mkdir "$TMPDIR/role" "$TMPDIR/split"
try "a role written by three ranks" "$run" "$REEL_BUILD/tests/t_tree_np3" "$TMPDIR/role" 1
oracle "torch" role "$TMPDIR/role/checkpoint-3"
try "a role written by two tensor parallel ranks x two shards" "$run" "$REEL_BUILD/tests/t_tree_np4" "$TMPDIR/split" 2
oracle "torch, in blocks of rows and columns" role "$TMPDIR/split/checkpoint-3"
plan
