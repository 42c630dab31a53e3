#!/bin/sh
# A run that stops at step 3 and resumes ends in the bits of the run that was never stopped.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"

for n in 1 2; do
    a=$TMPDIR/whole$n
    b=$TMPDIR/resumed$n
    try "6 steps on $n ranks" train $n "$a"
    mkdir -p "$b" && cp -r "$a/checkpoint-3" "$b/"
    try "resume at step 3 on $n ranks" train $n "$b" --resume-from-checkpoint latest
    same "weights, moments and counters of step 6 on $n ranks" "$(state "$a/checkpoint-6")" "$(state "$b/checkpoint-6")"
done
try "a second run" train 2 "$TMPDIR/again"
same "run twice" "$(state "$TMPDIR/whole2/checkpoint-6")" "$(state "$TMPDIR/again/checkpoint-6")"
try "synchronous saving" train 2 "$TMPDIR/sync" --training.checkpoint.save sync
same "synchronous and asynchronous saves hold the same" "$(state "$TMPDIR/again/checkpoint-6")" "$(state "$TMPDIR/sync/checkpoint-6")"
try "record the draws" train 1 "$TMPDIR/rec" --record "$TMPDIR/draws.safetensors"
try "replay them" train 1 "$TMPDIR/rep" --replay "$TMPDIR/draws.safetensors" --replay-strict
same "a recorded run replays to the same bits" "$(state "$TMPDIR/rec/checkpoint-6")" "$(state "$TMPDIR/rep/checkpoint-6")"
plan
