#!/bin/sh
# reel preprocess in the middle of a film: a rank that is told to end there, that stops, or that the film never lets go. The job ends, says
# so, and the next run makes the set of a run that nothing happened to.
. "$REEL_SRC/tests/lib.sh"
TEST_TIMEOUT=120; export TEST_TIMEOUT
run() { # run RANKS COMMAND [argument...]
    r_n=$1
    shift
    "$REEL_BUILD/tests/mpirun.sh" -n "$r_n" "$REEL_BUILD/reel" "$@"
}
try "two films of 61 pictures" run 1 generate --config "$REEL_SRC/tests/tiny.yaml" --models.student.init_from "$REEL_SRC/tests/tiny" --sampler real \
    --clips 2 --frames 61 --height 64 --width 64 --out "$TMPDIR/films"
for film in "$TMPDIR"/films/*.mp4; do printf '%s\tthings move\n' "$film"; done > "$TMPDIR/list.txt"
set -- --captions "$TMPDIR/list.txt" --windows --train-fps 0 --height 64 --width 64 --num-frames 5 # twelve clips of each
prep() { # prep RANKS SET [argument...]
    p_n=$1 p_out=$TMPDIR/$2
    shift 2
    run "$p_n" preprocess --output "$p_out" "$@" > "$TMPDIR/out" 2>&1
}
hash() { sha256sum < "$TMPDIR/$1"; }
films() { find "$TMPDIR/films" -name "00$1*.mp4"; }
prep 2 whole.h5 "$@"
verdict $? "undisturbed"

# told, at the third picture of a film's fifth clip, which its decoder has begun to give
told() { # told RANKS RANK SAMPLES [argument...]
    t_n=$1 t_rank=$2 t_samples=$3
    shift 3
    REEL_FAULT=told:$t_rank:23 prep "$t_n" told.h5 --overwrite "$@"
    same "rank $t_rank of $t_n is told in its fifth clip: exit code" $? 75
    grep -q "^reel: a signal or the wall clock ends this run after $t_samples samples, which are kept in $TMPDIR/told.h5.unfinished" "$TMPDIR/out"
    verdict $? "$t_samples clips are kept" || show "$TMPDIR/out" | tail -n 5
    prep 1 told.h5 --overwrite "$@"
    same "the rest: the set of the undisturbed run" "$(hash whole.h5)" "$(hash told.h5)"
    same "and its contact sheet" "$(hash whole.png)" "$(hash told.png)"
}
told 1 0 4 "$@"
told 2 1 16 "$@" # the other one finishes its film

# the end of the allocation is near: each look at the clock brings it nearer
LD_PRELOAD=$REEL_BUILD/tests/fast_clock.so FAST_CLOCK=$TMPDIR SLURM_JOB_END_TIME=$(($(date +%s) + 600)) \
    prep 1 late.h5 --demo-clips 20000 --height 16 --width 16 --num-frames 1 --sheet none --quiet
same "the clock: exit code" $? 75
grep -q '^reel: a signal or the wall clock ends this run after [1-9][0-9]* samples' "$TMPDIR/out"
verdict $? "which is said" || show "$TMPDIR/out" | tail -n 5

still() { # still TEXT PATTERN RANKS SET [argument...]: rank 1 is named, once
    s_text=$1 s_want=$2
    shift 2
    prep "$@" --watchdog-s 10
    s_rc=$?
    [ $s_rc != 0 ] && [ $s_rc != 124 ] && [ "$(grep -c 'did not arrive' "$TMPDIR/out")" = 1 ] && grep -q "^reel: rank 1 on [^ ]* did not arrive: in $s_want" "$TMPDIR/out" &&
        grep -q '^reel: rank 0 died in the end of a round: a collective on world did not end within --watchdog-s = 10 s' "$TMPDIR/out"
    verdict $? "$s_text: the job ends, rank and film are named (code $s_rc)" || show "$TMPDIR/out" | tail -n 20
}
REEL_FAULT=stall:1:23; export REEL_FAULT
still "a rank is stopped" "decoding film 2, $(films 1), and its process does not respond for [0-9]* s" 2 cut.h5 "$@"
unset REEL_FAULT
prep 1 cut.h5 "$@"
same "the next run makes the set of the undisturbed one" "$(hash whole.h5)" "$(hash cut.h5)"

# rank 1, as if on another node, takes 5 s for each write to its journal, of which there are six, and is waited for all that time
MPIR_CVAR_NOLOCAL=1 LD_PRELOAD=$REEL_BUILD/tests/interpose.so INTERPOSE_DIR=$TMPDIR/slow.h5.unfinished/part-00001 INTERPOSE_ACT=slow+ INTERPOSE_RANK=1 INTERPOSE_AT=1 \
    prep 2 slow.h5 "$@" --num-frames 17 --watchdog-s 15
verdict $? "one that is slow but moves is waited for" || show "$TMPDIR/out" | tail -n 5

mkfifo "$TMPDIR/never.mp4"
printf '%s\tthings move\n%s\tnothing moves\n' "$(films 0)" "$TMPDIR/never.mp4" > "$TMPDIR/list.txt"
still "a film never comes" "opening film 2, $TMPDIR/never.mp4\$" 2 never.h5 "$@"
plan
