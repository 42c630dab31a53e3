#!/bin/sh
# A rank that stops: the others end the job in time and name it, its phase and step. One that is only late does not.
# shellcheck source=tests/lib.sh
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
TEST_TIMEOUT=100; export TEST_TIMEOUT
REEL_FAULT=stall:1:3; export REEL_FAULT
train 4 "$TMPDIR/stopped" --training.watchdog_s 2 > "$TMPDIR/out" 2>&1
rc=$?
[ $rc -ne 0 ] && [ $rc -ne 124 ]
verdict $? "a stopped rank ends the job (exit code $rc)"
grep -q '^reel: rank 1 on .* did not arrive: in forward/backward (step 3), and its process does not respond for [0-9]* s' "$TMPDIR/out"
verdict $? "and is named with phase, step and what is known of its process"
grep -q '^reel: rank [023] died in .*: a collective on .* did not end within training.watchdog_s = 2 s' "$TMPDIR/out"
verdict $? "the deadline is named"
[ "$(grep -c 'did not arrive' "$TMPDIR/out")" = 1 ]
verdict $? "nobody else is, and once"
! grep -q 'Bail out' "$TMPDIR/out" || show "$TMPDIR/out" | tail -n 30
unset REEL_FAULT
train 2 "$TMPDIR/well" --training.watchdog_s 60 > "$TMPDIR/out" 2>&1
verdict $? "a run under watch ends well"
[ "$(grep -cE '^ *[01] .*, [0-9]' "$TMPDIR/out")" = 2 ] && grep -q 'node, processors' "$TMPDIR/out"
verdict $? "it begins with a table of ranks, nodes, processors and coordinates"
plan
