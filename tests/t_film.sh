#!/bin/sh
# One clip of a real film, learned by heart: the loss falls at least tenfold, and the clip sampled from
# noise is the film's (an average of the decoded pictures' grey levels, against what the codec keeps: 96 rows and a margin of 2 below the originals).
. "$REEL_SRC/tests/lib.sh"
film=$(find /usr/share/doc/opencv-doc* -name vtest.avi 2> /dev/null | head -n 1)
if [ -z "$film" ]; then
    skip "learning a film" "no vtest.avi: the package opencv-doc is not installed"
    plan
    exit
fi
cd "$REEL_SRC" || exit 1
out=$TMPDIR/film
caption="people walk through a courtyard"
run() {
    command=$1
    shift
    "$REEL_BUILD/tests/mpirun.sh" -n 1 "$REEL_BUILD/reel" "$command" "$@"
}
conf="--config configs/sft_film.yaml --override-output-dir $out/run"
mkdir -p "$out"
try "the film becomes latents" run preprocess --videos "$film" --caption "$caption" --height 96 --width 128 --num-frames 13 \
    --train-fps 5 --output "$out/clip.h5"
# shellcheck disable=SC2086
try "600 steps on one clip" run train $conf --training.data.data_path "$out/clip.h5:4"
falls=$(sed -n 's/.*"total_loss": \([0-9.]*\).*/\1/p' "$out/run/tracker/metrics.jsonl" |
    awk 'NR <= 5 { first += $1 / 5 } { last[NR] = $1 } END { for (i = NR - 19; i <= NR; i++) s += last[i] / 20; printf "%.1f", first / s }')
verdict "$(awk "BEGIN { print !($falls >= 10) }")" "the loss falls at least tenfold: $falls"
# shellcheck disable=SC2086
try "the clip from noise" run generate $conf --checkpoint latest --prompt "$caption" --steps 30 --guidance 1 --out "$out/sampled.png"
off=$("$REEL_BUILD/tests/png_diff" "$out/sampled.png" "$out/clip.png" 98)
verdict "$(awk "BEGIN { print !(\"$off\" != \"\" && $off + 0 <= 12) }")" "it is the film's: off by $off grey levels on average (noise: over 60)"
plan
