#!/bin/sh
# reel preprocess with Wan's encoders (small ones): the same set from any number of ranks, whoever has films; the preset's negative
# prompt is in it; a run that is cut short goes on; a set of prompts.
. "$REEL_SRC/tests/lib.sh"
golden=$REEL_SRC/tests/golden
wan=$TMPDIR/wan
mkdir "$wan"
cp -r "$golden/umt5/text_encoder" "$golden/wan-vae/vae" "$wan/"
cp -r "$golden/umt5/tokenizer_nfkc" "$wan/tokenizer"
prep() { # prep RANKS SET [argument...]
    p_n=$1 p_out=$TMPDIR/$2
    shift 2
    "$REEL_BUILD/tests/mpirun.sh" -n "$p_n" "$REEL_BUILD/reel" preprocess --model "$wan" --device cpu --threads 1 --output "$p_out" "$@"
}
hash() { sha256sum < "$1"; }
clips="--demo-clips 5 --height 32 --width 48 --num-frames 5"

# shellcheck disable=SC2086 # words
try "five clips on one rank" prep 1 one.h5 $clips
grep -q 'wan2.1, text of umt5:' "$TMPDIR/out"
verdict $? "Wan's encoders made it"
for n in 2 3 7; do
    # shellcheck disable=SC2086
    try "on $n ranks, some of them without a clip" prep $n many.h5 $clips --overwrite
    same "the same bytes" "$(hash "$TMPDIR/one.h5")" "$(hash "$TMPDIR/many.h5")"
done
# shellcheck disable=SC2086
REEL_FAULT=preprocess:1:2 fails "cut short on two ranks" "injected fault" prep 2 cut.h5 $clips
# shellcheck disable=SC2086
fails "computing otherwise is refused" "encode-dtype was f32, now bf16" prep 1 cut.h5 $clips --encode-dtype bf16
# shellcheck disable=SC2086
try "finished on three" prep 3 cut.h5 $clips
same "the same bytes" "$(hash "$TMPDIR/one.h5")" "$(hash "$TMPDIR/cut.h5")"
grep -q 'Bright tones, overexposed' "$TMPDIR/one.h5"
verdict $? "Wan's own negative prompt is stored"
try "built-in encoders" "$REEL_BUILD/reel" preprocess --demo-clips 2 --height 32 --width 48 --num-frames 5 --tile 4 --output "$TMPDIR/small.h5"
grep -q 'warning: --tile has no effect' "$TMPDIR/out"
verdict $? "take no tiles, and say so"
printf 'a cat\n\na dog in the rain\n' > "$TMPDIR/prompts.txt"
try "a set of prompts" prep 2 words.h5 --prompts "$TMPDIR/prompts.txt"
try "is whole" "$REEL_BUILD/reel" check "$TMPDIR/words.h5"
# shellcheck disable=SC2086
fails "a folder that is none is refused" "nowhere" "$REEL_BUILD/reel" preprocess --model "$TMPDIR/nowhere" --device cpu --output "$TMPDIR/x.h5" $clips
plan
