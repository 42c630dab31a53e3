#!/bin/sh
# reel preprocess killed in earnest, and told to end, in the middle of a real film where there is one, and gone on with by other numbers of ranks: the
# bytes of the set are those of a run that nobody disturbed. Training reads the negative prompt that the set holds.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
film=$(find /usr/share/doc/opencv-doc* -name vtest.avi 2> /dev/null | head -n 1)
if [ -n "$film" ]; then
    for i in 1 2; do printf '%s\tpeople walk, %s\n' "$film" $i; done > "$TMPDIR/list.txt"
    set -- --captions "$TMPDIR/list.txt" --windows --train-fps 10 --height 96 --width 128
else
    set -- --demo-clips 1500 --height 96 --width 128
fi
prep() { # prep RANKS SET [argument...]
    p_n=$1 p_out=$TMPDIR/$2
    shift 2
    "$REEL_BUILD/tests/mpirun.sh" -n "$p_n" "$REEL_BUILD/reel" preprocess --output "$p_out" "$@"
}
size() { cat "$TMPDIR"/cut.h5.unfinished/part-* 2> /dev/null | wc -c; }
struck() { # struck SIGNAL WHOM RANKS PICTURES [argument...]: SIGNAL to the ranks that WHOM filters, while rank 0 stands still after so many; $k_rc
    k_sig=$1 k_whom=$2 k_n=$3 k_from=$(size) k_at=$4
    shift 4
    REEL_FAULT=stall:0:$k_at prep "$k_n" cut.h5 "$@" > "$TMPDIR/cut.log" 2>&1 &
    k_pid=$!
    await halted "$TMPDIR/cut.h5"
    # shellcheck disable=SC2046 # ids
    kill "-$k_sig" $(processes reel cmdline "$TMPDIR/cut.h5" | $k_whom)
    [ "$k_sig" = KILL ] || kill -CONT "$halted"
    wait $k_pid
    k_rc=$?
}
killed() { # killed RANKS PICTURES [argument...]: SIGKILL to every rank
    struck KILL cat "$@"
    [ $k_rc != 0 ] && [ ! -e "$TMPDIR/cut.h5" ] && [ "$(size)" -gt "$k_from" ]
    verdict $? "killed on $k_n ranks with $(size) bytes in the journals (code $k_rc)"
}
told() { # told SIGNAL WHOM RANKS PICTURES [argument...]
    struck "$@"
    same "SIG$k_sig on $k_n ranks with $(size) bytes in the journals: exit code" $k_rc 75
    [ "$(grep -c '^reel: ' "$TMPDIR/cut.log")" = 1 ] && [ ! -e "$TMPDIR/cut.h5" ] &&
        grep -q '^reel: a signal or the wall clock ends this run after [1-9][0-9]* samples, .* exit code 75' "$TMPDIR/cut.log"
    verdict $? "one message says so" "$TMPDIR/cut.log"
}
hash() { sha256sum < "$1"; }

try "undisturbed" prep 2 whole.h5 "$@"
killed 2 100 "$@"
told USR1 cat 2 60 "$@"
killed 3 60 "$@"
told TERM "tail -n 1" 2 60 "$@"
try "the rest on one rank" prep 1 cut.h5 "$@"
grep -q 'samples of an earlier run are kept' "$TMPDIR/out"
verdict $? "it says that it goes on"
same "the set of the undisturbed run" "$(hash "$TMPDIR/whole.h5")" "$(hash "$TMPDIR/cut.h5")"
same "and its contact sheet" "$(hash "$TMPDIR/whole.png")" "$(hash "$TMPDIR/cut.png")"
[ ! -e "$TMPDIR/cut.h5.unfinished" ]
verdict $? "nothing is left"

# A second run of the same set, while the first is at it.
set -- --demo-clips 8 --height 96 --width 128
REEL_FAULT=stall:0:4 prep 1 cut.h5 --overwrite "$@" > /dev/null 2>&1 &
busy=$!
await halted "$TMPDIR/cut.h5"
fails "one run at a time" "lock: held by process $halted on " prep 1 cut.h5 --overwrite "$@"
kill -CONT "$halted"
wait $busy
verdict $? "the first is not disturbed"

# the negative prompt stands in for dropped captions here, so the loss knows what it says
small="--demo-clips 24 --height 32 --width 32 --num-frames 5 --overwrite"
drop="--training.data.training_cfg_rate 0.5 --training.data.cfg_dropout negative_prompt"
loss() { sed -n 's/.*"total_loss": \([-0-9.e]*\).*/\1/p' "$TMPDIR/$1/tracker/metrics.jsonl" | tail -n 1; }
for n in dull grey; do
    # shellcheck disable=SC2086 # words
    try "a set with the negative prompt '$n'" prep 1 data.h5 $small --negative-prompt $n
    # shellcheck disable=SC2086
    try "six steps with it" train 1 "$TMPDIR/$n" --training.loop.max_train_steps 6 $drop
done
[ -n "$(loss dull)" ] && [ "$(loss dull)" != "$(loss grey)" ]
verdict $? "training reads it: losses $(loss dull) and $(loss grey)"
plan
