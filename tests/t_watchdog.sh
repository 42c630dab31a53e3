#!/bin/sh
# A rank that stops: the others end the job in time and name it, its phase and step. One that is only late does not.
# The deadline is long enough for ranks that wait for a processor.
# timeout: 1200
# shellcheck source=tests/lib.sh
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
TEST_TIMEOUT=400; export TEST_TIMEOUT
deadline=8
train 2 "$TMPDIR/well" --training.watchdog_s 60 > "$TMPDIR/out" 2>&1
verdict $? "a run under watch ends well"
[ "$(grep -cE '^ *[01] .*, processors [0-9].*, [0-9]+ thread' "$TMPDIR/out")" = 2 ]
verdict $? "it begins with a table of ranks, nodes, processors and coordinates"

REEL_FAULT=stall:1:3; export REEL_FAULT
train 4 "$TMPDIR/stopped" --training.watchdog_s $deadline > "$TMPDIR/out" 2>&1
rc=$?
[ $rc -ne 0 ] && [ $rc -ne 124 ]
verdict $? "a stopped rank ends the job (exit code $rc)"
grep -q '^reel: rank 1 on .* did not arrive: in forward/backward (step 3), and its process does not respond for [0-9]* s' "$TMPDIR/out"
verdict $? "and is named with phase, step and what is known of its process"
grep -q '^reel: rank [023] died in .*: a collective on .* did not end within training.watchdog_s = '$deadline' s' "$TMPDIR/out"
verdict $? "the deadline is named"
[ "$(grep -c 'did not arrive' "$TMPDIR/out")" = 1 ]
verdict $? "nobody else is, and once"
! grep -q 'Bail out' "$TMPDIR/out" || show "$TMPDIR/out" | tail -n 30

# on GPUs the host waits in its queue: for a rank that stops, for one whose kernel never ends (launch 1000 is in step 2)
on_gpus() { # on_gpus TEXT PATTERN: two ranks, the second in trouble
    REEL_TEST_DEVICE=cuda REEL_CUDA_MODULE=$REEL_BUILD/reel_cuda_double.so FAKE_RANK=1 train 2 "$TMPDIR/gpus" --training.watchdog_s $deadline > "$TMPDIR/out" 2>&1
    rc=$?
    [ $rc -ne 0 ] && [ $rc -ne 124 ] && [ "$(grep -c 'did not arrive' "$TMPDIR/out")" = 1 ] && grep -q "$2" "$TMPDIR/out" &&
        grep -q 'rank 0 died in .*: a collective on shard did not end within training.watchdog_s = '$deadline' s' "$TMPDIR/out"
    verdict $? "on GPUs, $1"
    ! grep -q 'Bail out' "$TMPDIR/out" || show "$TMPDIR/out" | tail -n 30
}
if [ -f "$REEL_BUILD/reel_cuda_double.so" ]; then
    on_gpus "a stopped rank" '^reel: rank 1 on .* did not arrive: in forward/backward (step 3), and its process does not respond'
    REEL_FAULT=''
    FAKE_FAIL=cudaLaunchKernel:1000:cudaErrorLaunchTimeout on_gpus "a kernel that never ends" '^reel: rank 1 on .* did not arrive: in forward/backward (step 2)$'
else
    skip "a rank that waits in its queue" "no CUDA toolkit"
fi
unset REEL_FAULT

# all of a job is stopped for longer than the deadline, as Slurm does when it suspends one, and goes on
train 2 "$TMPDIR/suspended" --training.watchdog_s $deadline --training.loop.max_train_steps 100000 > "$TMPDIR/out" 2>&1 &
pid=$!
await grep -qs '"step_time_sec"' "$TMPDIR/suspended/tracker/metrics.jsonl"
ranks=$(processes reel cmdline "$TMPDIR/suspended")
for _ in 1 2 3; do
    # shellcheck disable=SC2086 # two processes
    kill -STOP $ranks && sleep $((deadline + 1)) && kill -CONT $ranks && sleep 1
done
kill -TERM "${ranks%%[!0-9]*}"
wait $pid
rc=$?
same "a job that was suspended goes on" $rc 75
[ $rc = 75 ] || show "$TMPDIR/out" | tail -n 20

# a disk that takes longer than the watchdog allows, in one rank's writing, in the commit, when making room: not a stall
save=--training.checkpoint
INTERPOSE_S=$((deadline + 2)); export INTERPOSE_S
slow() { # slow TEXT RANK CALL [override...]: of the act $act
    sl_text=$1 sl_rank=$2 sl_at=$3
    shift 3
    rm -rf "$TMPDIR/slow"
    LD_PRELOAD=$REEL_BUILD/tests/interpose.so INTERPOSE_DIR=$TMPDIR/slow INTERPOSE_ACT=$act INTERPOSE_RANK=$sl_rank INTERPOSE_AT=$sl_at \
        train 2 "$TMPDIR/slow" --training.watchdog_s $deadline $save.training_state_checkpointing_steps 2 $save.checkpoints_total_limit 1 "$@" > "$TMPDIR/out" 2>&1
    sl_rc=$?
    same "$sl_text" $sl_rc $want
    [ $sl_rc = $want ] || show "$TMPDIR/out" | tail -n 20
}
act=slow want=0
slow "one rank's file is slow" 1 2
slow "so is the commit of a save that is waited for" 0 22 $save.save sync
slow "and the removal of an old one" 0 75
# one that never comes back is, in the end
act=stuck want=70
slow "one rank's writing is stuck" 1 2 --training.watchdog_s 4
[ "$(grep -c 'checkpoint-2.tmp: no rank has written anything for [0-9]* s, 4 times training.watchdog_s, and 1 of 2 have not ended' "$TMPDIR/out")" = 1 ]
verdict $? "which is said once"

# a signal in the middle of a save: that save and the last step's are whole
rm -rf "$TMPDIR/slow"
LD_PRELOAD=$REEL_BUILD/tests/interpose.so INTERPOSE_DIR=$TMPDIR/slow INTERPOSE_ACT=slow INTERPOSE_RANK=0 INTERPOSE_AT=4 \
    train 2 "$TMPDIR/slow" --training.loop.max_train_steps 100000 $save.training_state_checkpointing_steps 5 > "$TMPDIR/out" 2>&1 &
pid=$!
saves() { [ -d "$TMPDIR/slow/checkpoint-5.tmp" ] || [ -d "$TMPDIR/slow/checkpoint-5" ]; }
await saves
kill -TERM "$(processes reel cmdline "$TMPDIR/slow" | head -n 1)"
wait $pid
rc=$?
same "a signal during a save: exit code" $rc 75
last=$(newest "$TMPDIR/slow")
[ "${last:-0}" -gt 5 ] && [ -d "$TMPDIR/slow/checkpoint-5" ]
verdict $? "the save under way and the last step's are there"
try "and whole" "$REEL_BUILD/reel" check "$TMPDIR/slow/checkpoint-$last"
plan
