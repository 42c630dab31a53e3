#!/bin/sh
# Checkpoints survive: kills, power cuts, full and broken disks at the calls of saving, of making room and of cleaning up; flipped
# bits; whole runs that are killed again and again end with the weights of a run that never was. REEL_TORTURE=full (make
# check-torture): every call, every error, 200 points of whole runs; else a sample. REEL_TORTURE_SEED chooses the random ones.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
INTERPOSE_LAZY=1
export INTERPOSE_LAZY
so=$REEL_BUILD/tests/interpose.so
if [ "$REEL_TORTURE" = full ]; then points=200 kills=1 errors=1 errors2=1; else points=4 kills=6 errors=11 errors2=43; fi
: "${REEL_TORTURE_SEED=1}" "${TORTURE_PARTS=kills bits errors errors2 runs}"

# part RANKS WHAT ARGUMENT: lines of a program's TAP, numbered on
part() {
    LD_PRELOAD=$so "$REEL_BUILD/tests/mpirun.sh" -n "$1" "$REEL_BUILD/tests/torture" "$2" "$TMPDIR/$2$1" "$3" > "$TMPDIR/tap" 2>&1
    t_rc=$?
    while read -r t_line; do
        case $t_line in
            "ok "*) ok "${t_line#ok * - }" ;;
            "not ok "*) not_ok "${t_line#not ok * - }" ;;
            "#"*) echo "$t_line" ;;
        esac
    done < "$TMPDIR/tap"
    [ $t_rc = 0 ] && grep -q '^1\.\.' "$TMPDIR/tap"
    verdict $? "torture $2 on $1 came to its end"
}
for t_part in $TORTURE_PARTS; do
    case $t_part in
        kills) part 1 kills $kills ;;
        bits) part 1 bits "$REEL_TORTURE_SEED" ;;
        errors) part 1 errors $errors ;;
        errors2) part 2 errors $errors2 ;;
    esac
done
case $TORTURE_PARTS in *runs*) ;; *) plan; exit ;; esac

# ---- whole runs: two ranks, a checkpoint after every step, two are kept ----
steps=24 every="--training.loop.max_train_steps 24 --training.checkpoint.training_state_checkpointing_steps 1"
hash() { "$REEL_BUILD/tests/ckpt_tool" hash "$1"; }
# shellcheck disable=SC2086 # words
try "a run that nothing happens to" train 2 "$TMPDIR/whole" $every
for i in $(seq $steps); do hash "$TMPDIR/whole/checkpoint-$i" > "$TMPDIR/hash.$i"; done
out=$TMPDIR/run

start() { # start: one start of the run in $out, with what the environment arms
    # shellcheck disable=SC2086
    train 2 "$out" $every --training.checkpoint.checkpoints_total_limit 2 --resume-from-checkpoint latest < /dev/null > "$TMPDIR/log" 2>&1
}
late() { # late SECONDS WHO: as start, and SIGKILL after so long
    start &
    l_pid=$!
    sleep "$1"
    l_ids=$(processes reel cmdline "$out")
    # shellcheck disable=SC2086
    case $2 in all) kill -9 $l_ids ;; 0) kill -9 $(echo "$l_ids" | head -n 1) ;; *) kill -9 $(echo "$l_ids" | tail -n 1) ;; esac 2> /dev/null
    wait $l_pid
}

# What a killed or failed start left, before the next one: the newest checkpoint is that of the undisturbed run.
judge() { # judge CODE DESCRIPTION
    j_at=$(newest "$out") j_was=$was
    was=$j_at
    if [ -n "$j_at" ] && [ "$(hash "$out/checkpoint-$j_at")" != "$(cat "$TMPDIR/hash.$j_at")" ]; then
        echo "# $2: checkpoint-$j_at differs"
        return 1
    fi
    j_from=$(sed -n 's/^reel: resumed at step \([0-9]*\).*/\1/p' "$TMPDIR/log")
    if [ -n "$j_from" ] && [ "$j_from" != "$j_was" ]; then
        echo "# $2: resumed at step $j_from, $j_was was the newest"
        return 1
    fi
    case $2 in E* | short*) # one message besides warnings, which are of folders that could not be removed
        j_n=$(grep -v 'warning' "$TMPDIR/log" | grep -cE '^reel: .*(No space left|Input/output error|quota exceeded)')
        if [ "$1" -gt 1 ] || [ "$j_n" != "$1" ]; then
            echo "# $2: exit code $1, $j_n messages"
            show "$TMPDIR/log" | tail -n 20
            return 1
        fi ;;
    esac
}

# act rank call, or time seconds who: rank 0 saves, commits, makes room and cleans up; rank 1 writes its file
awk -v n=$points -v seed="$REEL_TORTURE_SEED" 'BEGIN {
    srand(seed)
    split("kill kill kill kill all all all time time time ENOSPC EIO EDQUOT ENOSPC+ EIO+ EDQUOT+ short+", act, " ")
    for (i = 0; i < n; i++) {
        a = n < 20 ? act[i * 5 % 17 + 1] : act[i % 17 + 1]
        rank = rand() < 0.75 ? 0 : 1
        if (a == "time") { print a, 0.5 + 2.5 * rand(), rand() < 0.4 ? "all" : rank; continue }
        print a, rank, 1 + int(rand() * (rank ? 16 : 150))
    }
}' > "$TMPDIR/points"
was='' bad=0 ends=0 hits=0 n=0
finish() { # the run goes to its end undisturbed, and a new one begins
    start
    f_rc=$?
    judge $f_rc "the end" || bad=$((bad + 1))
    if [ $f_rc != 0 ] || [ "$(hash "$out/checkpoint-$steps")" != "$(cat "$TMPDIR/hash.$steps")" ]; then
        bad=$((bad + 1))
        echo "# the end: exit code $f_rc"
        show "$TMPDIR/log" | tail -n 20
    fi
    ends=$((ends + 1)) was=''
    rm -rf "$out"
}
while read -r act a b; do
    rm -f "$TMPDIR/pids"
    if [ "$act" = time ]; then
        late "$a" "$b"
    else
        LD_PRELOAD=$so INTERPOSE_DIR=$out INTERPOSE_ACT=$act INTERPOSE_RANK=$a INTERPOSE_AT=$b INTERPOSE_PIDS=$TMPDIR/pids start
    fi
    rc=$? n=$((n + 1))
    [ $rc = 0 ] || hits=$((hits + 1))
    judge $rc "$act $a $b" || bad=$((bad + 1))
    [ "${was:-0}" -lt $((steps - 3)) ] || finish
done < "$TMPDIR/points"
finish
[ $bad = 0 ] && [ $hits -gt 0 ] && [ $n = $points ]
verdict $? "$n starts of whole runs, $hits of them killed or failed: each next one resumed the undisturbed run's bits, $ends ends have its weights"
plan
