#!/bin/sh
# Pictures of a Diffusers folder beside those of transformers and diffusers. REEL_TORCH_PYTHON names a python with torch,
# transformers, diffusers and Pillow; skipped without one.
. "$REEL_SRC/tests/lib.sh"
py=${REEL_TORCH_PYTHON:-python3}
if ! "$py" -c 'import torch, transformers, diffusers, tokenizers, PIL' 2> /dev/null; then
    echo "1..0 # SKIP no python with torch, transformers, diffusers and Pillow (REEL_TORCH_PYTHON)"
    exit 0
fi
folder=$REEL_SRC/tests/golden/hf-layout/pipeline
"$REEL_BUILD/reel" generate --model "$folder" --prompt "Wikipedia is a free encyclopedia" --negative-prompt "slow and dark" --sampler euler \
    --guidance 3 --steps 4 --seed 5 --height 32 --width 48 --frames 9 --out "$TMPDIR/sheet.png" > "$TMPDIR/out" 2>&1 || show "$TMPDIR/out"
beside() { # beside GUIDANCE: of the pictures in PyTorch
    "$py" -W ignore "$REEL_SRC/tests/oracle/generate_torch.py" "$folder" "$TMPDIR/sheet.png" "Wikipedia is a free encyclopedia" "slow and dark" \
        5 4 "$1" 32 48 9 > "$TMPDIR/tap" 2> "$TMPDIR/err" || show "$TMPDIR/err"
    text=$(sed -n 's/^\(not \)*ok 1 - //p' "$TMPDIR/tap")
    grep -q '^ok 1' "$TMPDIR/tap"
}
beside 3
verdict $? "$text"
beside 4
verdict "$([ $? = 1 ] && [ -n "$text" ]; echo $?)" "with another guidance $text"
plan
