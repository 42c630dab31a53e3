#!/bin/sh
# The average of the student: against double, resumed, in every layout, beside FastVideo's rule.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
tool=$REEL_BUILD/tests/ckpt_tool
ema="--callbacks.ema.decay 0.9 --callbacks.ema.start_iter"
d=--training.distributed
hash() { "$tool" hash "$@"; }

# shellcheck disable=SC2086 # $ema is two overrides and a half
run() { # run RANKS OUT START [override...]
    e_n=$1 e_out=$2 e_start=$3
    shift 3
    train "$e_n" "$TMPDIR/$e_out" $ema "$e_start" "$@"
}
try "six steps with an average from step 2" run 1 one 2 --training.checkpoint.training_state_checkpointing_steps 1
"$tool" ema "$TMPDIR/one" 0.9 2 6 > "$TMPDIR/tap" || show "$TMPDIR/tap"
grep -q '^ok 6 ' "$TMPDIR/tap" && ! grep -q '^not ok' "$TMPDIR/tap"
verdict $? "before start_iter the initial weights, at it the weights, then the recurrence in double"
[ "$(hash "$TMPDIR/one/checkpoint-1" callbacks.ema)" != "$(hash "$TMPDIR/one/checkpoint-6" callbacks.ema)" ]
verdict $? "the average moves"
grep -q '"ema/decay"' "$TMPDIR/one/tracker/"*.jsonl
verdict $? "ema/decay is logged"

want=$(hash "$TMPDIR/one/checkpoint-6")
try "two ranks" run 2 two 2
same "the same bits on two ranks" "$want" "$(hash "$TMPDIR/two/checkpoint-6")"
try "four ranks" run 4 four 2
same "the same bits on four ranks" "$want" "$(hash "$TMPDIR/four/checkpoint-6")"
try "replicate 2 x shard 2" run 4 hsdp 2 $d.hsdp_replicate_dim 2 $d.hsdp_shard_dim 2
same "the same bits in replicate 2 x shard 2" "$want" "$(hash "$TMPDIR/hsdp/checkpoint-6")"

mkdir "$TMPDIR/resumed" && cp -r "$TMPDIR/four/checkpoint-3" "$TMPDIR/resumed/"
try "resume the four ranks' step 3 on two" run 2 resumed 2 --resume-from-checkpoint latest
same "as if never stopped" "$want" "$(hash "$TMPDIR/resumed/checkpoint-6")"
mkdir "$TMPDIR/early" && cp -r "$TMPDIR/one/checkpoint-1" "$TMPDIR/early/"
try "resume before start_iter" run 1 early 2 --resume-from-checkpoint latest
same "as if never stopped" "$want" "$(hash "$TMPDIR/early/checkpoint-6")"

try "a run without an average" train 1 "$TMPDIR/none"
mkdir "$TMPDIR/added" && cp -r "$TMPDIR/none/checkpoint-3" "$TMPDIR/added/"
try "one that gets its average at step 4" run 1 added 5 --resume-from-checkpoint latest
grep -q 'checkpoint-3 was made without callbacks.ema, which starts anew' "$TMPDIR/out"
verdict $? "which is said"
same "the weights are those of the other run" "$(hash "$TMPDIR/none/checkpoint-6" roles.)" "$(hash "$TMPDIR/added/checkpoint-6" roles.)"
[ "$(hash "$TMPDIR/none/checkpoint-3" callbacks.)" = "" ] && [ "$(hash "$TMPDIR/added/checkpoint-6" callbacks.)" != "" ]
verdict $? "the second has an average"

# Two ways of using it, which must show the same pictures.
show_clips() { # show_clips RANKS PNG INIT-FROM [flag...]
    sc_n=$1 sc_png=$2 sc_from=$3
    shift 3
    "$REEL_BUILD/tests/mpirun.sh" -n "$sc_n" "$REEL_BUILD/reel" generate --config "$tiny" --models.student.init_from "$sc_from" \
        --models.student.init load --training.distributed.num_gpus "$sc_n" --training.distributed.hsdp_shard_dim "$sc_n" \
        --clips 4 --steps 3 --batch 2 --out "$TMPDIR/$sc_png" "$@"
}
png() { sha256sum < "$TMPDIR/$1"; }
"$REEL_BUILD/reel" export "$TMPDIR/two/checkpoint-6" "$TMPDIR/average" --base "$REEL_SRC/tests/tiny" --ema > "$TMPDIR/out" 2>&1
grep -q "average: student's average of .*checkpoint-6" "$TMPDIR/out"
verdict $? "export says that it took the average"
"$REEL_BUILD/reel" export "$TMPDIR/two/checkpoint-6" "$TMPDIR/weights" --base "$REEL_SRC/tests/tiny" > "$TMPDIR/out" 2>&1
verdict $? "export of the weights"
try "clips of the exported average" show_clips 1 a.png "$TMPDIR/average"
try "clips of the checkpoint's average" show_clips 2 b.png "$REEL_SRC/tests/tiny" --checkpoint "$TMPDIR/two" --ema
grep -q "the student's average of .*two/checkpoint-6" "$TMPDIR/out"
verdict $? "generate says that it took the average"
try "clips of the exported weights" show_clips 1 c.png "$TMPDIR/weights"
same "the average is the average" "$(png a.png)" "$(png b.png)"
[ "$(png a.png)" != "$(png c.png)" ]
verdict $? "and not the weights"
fails "no average to generate from" "none/checkpoint-6 holds no average of the student" \
    show_clips 2 d.png "$REEL_SRC/tests/tiny" --checkpoint "$TMPDIR/none" --ema
fails "no average to export" "checkpoint-6 holds no average of the student" \
    "$REEL_BUILD/reel" export "$TMPDIR/none/checkpoint-6" "$TMPDIR/x" --base "$REEL_SRC/tests/tiny" --ema
fails "an average without a checkpoint" "say which, --checkpoint" show_clips 1 d.png "$REEL_SRC/tests/tiny" --ema

run 1 plan 3 --dry-run > "$TMPDIR/out" 2>&1
grep -q '^ *callbacks  *[0-9.]* MiB' "$TMPDIR/out"
verdict $? "the plan counts the average"
plan
