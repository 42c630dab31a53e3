#!/bin/sh
# Ends that are not the last step: a signal to any one rank, or the wall clock, saves after the same step on all ranks and
# exits with 75; what goes on from there is what would have been.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
hash() { "$REEL_BUILD/tests/ckpt_tool" hash "$1"; }
steps=40
run() { # run RANKS OUT [override...]
    s_n=$1 s_out=$2
    shift 2
    train "$s_n" "$TMPDIR/$s_out" --training.loop.max_train_steps $steps \
        --training.checkpoint.training_state_checkpointing_steps 0 --resume-from-checkpoint latest "$@"
}
lines() { cat "$TMPDIR/$1"/tracker/metrics.jsonl 2> /dev/null | grep -c '"step_time_sec"'; }

# begin RANKS OUT [override...]: in the background; $pid is its shell. reached OUT N: N steps have been logged.
begin() {
    b_out=$2
    run "$@" > "$TMPDIR/$b_out.log" 2>&1 &
    pid=$!
}
logged() { [ "$(lines "$1")" -ge "$2" ]; }
reached() { await logged "$@"; }
ranks() { processes reel cmdline "$TMPDIR/$1"; } # of a run
ended() { # ended TEXT CODE: the run in the background
    wait $pid
    e_rc=$?
    if [ $e_rc = "$2" ]; then ok "$1"; else not_ok "$1"; echo "# exit code $e_rc"; show "$TMPDIR/$b_out.log" | tail -n 20; fi
}

try "without an interruption" run 1 whole
want=$(hash "$TMPDIR/whole/checkpoint-$steps")

for sig in USR1 TERM; do
    rm -rf "$TMPDIR/cut"
    REEL_FAULT=stall:1:4 begin 2 cut
    await halted "$TMPDIR/cut"
    verdict $? "two ranks have begun"
    case $sig in USR1) to=$halted ;; *) to=$(ranks cut | grep -vx "$halted") ;; esac
    kill -$sig "$to"
    kill -CONT "$halted"
    ended "SIG$sig to one rank: both end with 75" 75
    same "a checkpoint of the step it came in, and no other" "$(find "$TMPDIR/cut" -maxdepth 1 -name 'checkpoint-*')" "$TMPDIR/cut/checkpoint-4"
    same "the log ends there" "$(lines cut)" 4
    grep -q "a signal ends this run after step 4 of $steps" "$TMPDIR/cut.log"
    verdict $? "and says so"
    try "the rest, on one rank" run 1 cut
    same "as if never stopped" "$want" "$(hash "$TMPDIR/cut/checkpoint-$steps")"
done

REEL_FAULT=stall:1:4 begin 2 asked
await halted "$TMPDIR/asked"
kill -USR2 "$(ranks asked | head -n 1)"
kill -CONT "$halted"
ended "SIGUSR2: goes on to the end" 0
same "and saved on the way" "$(find "$TMPDIR/asked" -maxdepth 1 -name 'checkpoint-*' | sort)" "$TMPDIR/asked/checkpoint-4
$TMPDIR/asked/checkpoint-$steps"
same "the same bits" "$want" "$(hash "$TMPDIR/asked/checkpoint-$steps")"

# timed OUT [override...]: two ranks whose clock runs when they have made a step
timed() {
    rm -f "$TMPDIR/now"
    LD_PRELOAD=$REEL_BUILD/tests/fast_clock.so FAST_CLOCK=$TMPDIR/now begin 2 "$@" --training.loop.max_train_steps 100000 --training.watchdog_s 0
    reached "$1" 1
    : > "$TMPDIR/now"
    ended "$1: ends with 75" 75
    grep -q "the wall clock ends this run after step $(lines "$1") of" "$TMPDIR/$1.log"
    verdict $? "and says so"
    [ -d "$TMPDIR/$1/checkpoint-$(lines "$1")" ]
    verdict $? "with its last step saved"
}
timed wall_clock --max-wall 10m
SLURM_JOB_END_TIME=$(($(date +%s) + 600))
export SLURM_JOB_END_TIME
timed end_of_allocation
unset SLURM_JOB_END_TIME

begin 2 brief --max-wall 1s
ended "no time for a step: ends with 75" 75
grep -q "the wall clock ends this run before step 1 of $steps, with nothing new to save" "$TMPDIR/brief.log"
verdict $? "and says so"

# The signal comes before the first step or, on a machine that is busy with something else, in it.
REEL_FAULT=stall:1:1 begin 2 early
await [ -e "$TMPDIR/early/tracker/lock" ]
kill -TERM "$(ranks early | tail -n 1)"
over() { # in its first step it goes on
    if halted "$TMPDIR/early"; then kill -CONT "$halted"; fi
    ! kill -0 $pid 2> /dev/null
}
await over
ended "SIGTERM while a run is opened: ends with 75" 75

# who reads the output has gone
"$REEL_BUILD/reel" train --config "$tiny" --models.student.init_from "$REEL_SRC/tests/tiny" --training.data.data_path "$TMPDIR/data.h5" \
    --training.threads 1 --override-output-dir "$TMPDIR/unread" 2>&1 | head -n 1 > /dev/null
[ -d "$TMPDIR/unread/checkpoint-6" ]
verdict $? "a closed pipe ends nothing"

# A validation gives way between batches of films, and is made up for after the resume.
awk 'BEGIN { printf "["; for (i = 0; i < 64; i++) printf "\"a red circle moves slowly up\","; print "]" }' > "$TMPDIR/many.json"
v=--callbacks.validation
begin 2 films $v.pipeline_target wan $v.dataset_file "$TMPDIR/many.json" $v.sampling_steps [300] $v.run_at_start false $v.every_steps 2 --training.loop.max_train_steps 3
await [ -e "$TMPDIR/films/validation_step_2_inference_steps_300_rank_0_video_0.mp4" ]
kill -TERM "$(ranks films | head -n 1)"
ended "SIGTERM in a validation: ends with 75" 75
n=$(find "$TMPDIR/films" -name '*.mp4' | wc -l)
[ "$n" -ge 1 ] && [ "$n" -lt 64 ]
verdict $? "before all films are made: $n of 64"
grep -q "$n of 64 films of 300 steps .* the others are left out, since the run ends" "$TMPDIR/films.log"
verdict $? "which is said"
[ -d "$TMPDIR/films/checkpoint-2" ]
verdict $? "its step is saved"
try "the rest" run 1 films $v.pipeline_target wan $v.dataset_file "$TMPDIR/many.json" $v.sampling_steps [2] $v.every_steps 2 --training.loop.max_train_steps 3
same "validates that step again" 64 "$(find "$TMPDIR/films" -name 'validation_step_2_inference_steps_2_*' | wc -l)"

begin 2 twice --training.loop.max_train_steps 100000 --training.checkpoint.training_state_checkpointing_steps 2
reached twice 9
# shellcheck disable=SC2046 # two numbers
set -- $(ranks twice)
kill -STOP "$1" # which the other waits for: it cannot save and end
kill -TERM "$2"
taken() { [ $((0x$(sed -n 's/^ShdPnd:[[:space:]]*//p' "/proc/$1/status") & 1 << 14)) = 0 ]; } # a second one that comes before would be the same one
await taken "$2"
kill -TERM "$2"
kill -CONT "$1"
wait $pid
rc=$?
[ $rc -ne 0 ] && [ $rc -ne 75 ]
verdict $? "a second signal does not wait (exit code $rc)"
try "what was saved before is whole" "$REEL_BUILD/reel" check "$TMPDIR/twice/checkpoint-$(newest "$TMPDIR/twice")"

# a Slurm job that gets nowhere: the same step again and again
SLURM_JOB_ID=77
export SLURM_JOB_ID SLURM_RESTART_COUNT
loop() { # loop TEXT CODE: three starts that end so
    l_text=$1 l_rc=$2
    rm -rf "$TMPDIR/loop"
    for SLURM_RESTART_COUNT in 0 1 2; do
        run 2 loop > "$TMPDIR/out" 2>&1
        same "$l_text: exit code" "$?" "$l_rc"
    done
    unset REEL_FAULT
    SLURM_RESTART_COUNT=3
    fails "the third restart in vain is refused" "job 77 was started 3 times from step 0 and never reached another checkpoint" run 2 loop
}
export REEL_FAULT
REEL_FAULT=data_read:0:30 loop "a sample that cannot be read" 1
REEL_FAULT=comm_wait:1:1 loop "a rank that dies before there is a plan" 70
try "with another configuration it may try" run 2 loop --training.loop.max_train_steps 2
SLURM_JOB_ID=78 SLURM_RESTART_COUNT=0
try "so may another job" run 2 loop --training.loop.max_train_steps 4
SLURM_RESTART_COUNT=1
mkfifo "$TMPDIR/held"
# shellcheck disable=SC2016 # the holder's shell expands: it holds the lock until the run has said that it waits
flock "$TMPDIR/loop/tracker/lock" sh -c 'echo yes > "$1"; for _ in $(seq 1200); do ! grep -qs "lock is held by" "$2" || exit 0; sleep 0.1; done' - \
    "$TMPDIR/held" "$TMPDIR/out" &
read -r _ < "$TMPDIR/held"
try "a restart waits for the last step's processes" run 2 loop --training.loop.max_train_steps 6
grep -q "tracker/lock is held by process [0-9]* on .*: waiting up to 60 s for its end" "$TMPDIR/out"
verdict $? "and says so"
plan
