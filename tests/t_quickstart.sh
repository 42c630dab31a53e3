#!/bin/sh
# The main job on the embedded default: 2000 steps of SFT on built-in clips, then 64 captions of held-out clips.
# What a sound program reaches: the loss is that of the prototype's run, colours are right, things move as told.
# timeout: 1700
. "$REEL_SRC/tests/lib.sh"
cd "$REEL_SRC" || exit 1
out=$TMPDIR/quickstart
conf="--config configs/sft_demo.yaml --training.data.data_path $TMPDIR/data --override-output-dir $out"
run() {
    command=$1
    shift
    # shellcheck disable=SC2086
    "$REEL_BUILD/tests/mpirun.sh" -n 1 "$REEL_BUILD/reel" "$command" $conf "$@"
}
within() { # within NAME VALUE LOW HIGH
    verdict "$(awk "BEGIN { print !(\"$2\" != \"\" && $2 + 0 >= $3 && $2 + 0 <= $4) }")" "$1 is $2, in [$3, $4]"
}
mean() { # mean FROM TO: of the loss over these steps
    sed -n 's/.*"total_loss": \([0-9.]*\).*/\1/p' "$out/tracker/metrics.jsonl" | awk "NR >= $1 && NR <= $2 { s += \$1; n++ } END { print s / n }"
}

try "2000 steps" run train
within "the first loss" "$(mean 1 1)" 1.36145 1.36155
within "the mean loss of steps 2 to 50" "$(mean 2 50)" 1.0376 1.0416
within "the mean loss of steps 1951 to 2000" "$(mean 1951 2000)" 0.145 0.165
run generate --checkpoint latest --clips 64 --sampler euler --steps 50 --guidance 2 --out "$out/clips.png" > "$TMPDIR/measures.log" 2>&1
verdict $? "64 clips of held-out captions"
show "$TMPDIR/measures.log" | grep measures
measured() { sed -n "s/.* $1 \\([0-9.]*\\).*/\\1/p" "$TMPDIR/measures.log"; }
within "colour" "$(measured colour)" 0.98 1
within "ground" "$(measured ground)" 0.98 1
within "direction" "$(measured direction)" 0.85 1
within "speed" "$(measured speed)" 0.9 1
plan
