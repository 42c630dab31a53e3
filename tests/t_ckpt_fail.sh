#!/bin/sh
# What a killed rank and a full disk leave behind: nothing that a resume would take.
. "$REEL_SRC/tests/lib.sh"
prog=$REEL_BUILD/tests/t_ckpt_np2
d=$TMPDIR/run
ckpt() { "$REEL_BUILD/tests/mpirun.sh" "$prog" "$@"; }
dies() { ! "$@"; }
latest() { ckpt latest "$d" 2>/dev/null | grep '^latest'; }

mkdir "$d"
try "a rank is killed while it saves" dies ckpt kill "$d"
[ ! -e "$d/checkpoint-9" ]
verdict $? "no committed folder"
same "nothing to resume" "$(latest)" "latest -1"
ckpt sweep "$d" > "$TMPDIR/out" 2>&1
grep -q "^reel: removed $d/checkpoint-9.tmp" "$TMPDIR/out"
verdict $? "what it left is removed with a line"
try "then a good one" ckpt write "$d"
[ -z "$(ls -d "$d"/*.tmp 2>/dev/null)" ]
verdict $? "it cleaned up"
try "and again a kill" dies ckpt kill "$d"
same "the good one is resumed" "$(latest)" "latest 3"
try "reel_ckpt_check agrees" ckpt check "$d/checkpoint-3"
blind() { # blind K COMMAND...: from the k-th look at anything there on, nobody answers
    b_at=$1
    shift
    LD_PRELOAD=$REEL_BUILD/tests/interpose.so INTERPOSE_DIR=$d INTERPOSE_ACT=unseen INTERPOSE_RANK=0 INTERPOSE_AT="$b_at" "$@" 2>&1
}
unanswered() { # unanswered GOOD TEXT COMMAND...: GOOD is what it says where all looks are answered
    u_good=$1 u_text=$2
    shift 2
    seen=0 bad=0
    for k in 2 3 4 5 6 7 8 9 10; do # the first asks what kind of thing it is
        case $(blind $k "$@") in
            *"Stale file handle"*) seen=$((seen + 1)) ;;
            *"$u_good"*) ;;
            *) bad=$((bad + 1)) ;;
        esac
    done
    [ $seen -gt 2 ] && [ $bad = 0 ]
    verdict $? "a file system that does not answer is an error, not $u_text ($seen calls)"
}
unanswered "latest 3" "an incomplete checkpoint" ckpt latest "$d"
unanswered "all checksums agree" "one that is not there" "$REEL_BUILD/tests/mpirun.sh" "$REEL_BUILD/reel" check "$d/checkpoint-3"
unanswered "all checksums agree" "none in a run's folder" "$REEL_BUILD/tests/mpirun.sh" "$REEL_BUILD/reel" check "$d"

# what the last save of a run meets is told at its end
. "$REEL_SRC/tests/train.sh"
late() {
    LD_PRELOAD=$REEL_BUILD/tests/interpose.so INTERPOSE_DIR=$TMPDIR/late INTERPOSE_ACT=EDQUOT+ INTERPOSE_RANK=1 INTERPOSE_AT=6 train 2 "$TMPDIR/late" \
        --training.loop.max_train_steps 4 --training.checkpoint.training_state_checkpointing_steps 2
}
fails "no quota for a rank's last file" 'rank 1: .*checkpoint-4.tmp/dcp/__1_0.distcp: .*quota exceeded' late
same "leaves the save before" "$(newest "$TMPDIR/late") $(ls -d "$TMPDIR"/late/*.tmp 2> /dev/null)" "2 "

small=$TMPDIR/small
mkdir "$small"
if mount -t tmpfs -o size=1m tmpfs "$small" 2>/dev/null; then
    ! ckpt write "$small/run" > "$TMPDIR/out" 2>&1
    verdict $? "a full disk is an error"
    same "said once, with the reason" "$(grep -c 'No space left' "$TMPDIR/out")" 1
    [ -z "$(ls "$small/run" 2>/dev/null)" ]
    verdict $? "nothing is left of it"
    umount "$small"
else
    skip "a full disk" "mount is not permitted"
fi
plan
