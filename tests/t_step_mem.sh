#!/bin/sh
# A step takes no memory and makes no communicators: what step_mem.so counted in the steps from the third on, once the methods' roles
# have had their turns. MPI's own requests are MPI's. A step that saves or validates may take some, every time the same.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
mem=$TMPDIR/mem
if grep -q libasan "$REEL_BUILD/reel"; then skip "calls of malloc" "the address sanitizer has a malloc of its own" && plan && exit; fi

# counted RANKS OUT [override...]: a run of twelve steps under step_mem.so, into $mem
counted() {
    co_n=$1 co_out=$TMPDIR/$2
    shift 2
    rm -f "$mem" "$mem.sum"
    LD_PRELOAD=$REEL_BUILD/tests/step_mem.so STEP_MEM=$mem train "$co_n" "$co_out" --training.watchdog_s 0 --training.loop.max_train_steps 12 "$@"
}

# lines PATTERN...: of $mem from steps 3 to 11 that match the awk expression; $2 step, $3 phase, $4 thread, $5 object, $6 call, $7 count, $8 bytes
lines() { awk '$2 > 2 && $2 < 12 && ($6 ~ /^MPI_/ || $5 !~ /^lib(mpich?|open-[a-z]*|uc[a-z]*|ibverbs|fabric)[-._]/) && ('"$1"')' "$mem"; }

# none TEXT PATTERN: no such lines, though every rank counted
none() {
    lines "$2" > "$mem.sum"
    [ "$(grep -c ' end$' "$mem")" = "$ranks" ] && [ ! -s "$mem.sum" ]
    verdict $? "$1" "$mem.sum"
}

# same_again TEXT PATTERN FROM TO THEN: what the steps of [TO, THEN) take is at most what those of [FROM, TO) did, and 2% for names and numbers
same_again() {
    lines "$2" | awk -v a="$3" -v b="$4" -v c="$5" '{ if ($2 >= a && $2 < b) first += $8; if ($2 >= b && $2 < c) second += $8 }
        END { print first + 0, second + 0; exit !(first > 0 && second > 0 && second <= 1.02 * first) }' > "$mem.sum"
    verdict $? "$1: $(cat "$mem.sum") bytes" "$mem.sum"
}

echo '{"data": [{"caption": "a red circle moves up on a white background"}, {"caption": "a blue square moves left on a black background"}]}' > "$TMPDIR/p.json"
v=--callbacks.validation
for method in sft dmd2 self_forcing; do
    case $method in sft) tiny=$REEL_SRC/tests/tiny.yaml kind=wan roles=student ;; dmd2) kind=wan ;; *) kind=wan_causal ;; esac
    [ $method = sft ] || tiny=$REEL_SRC/tests/tiny_$method.yaml roles="student teacher critic"
    for ranks in 1 2; do
        try "$method on $ranks" counted $ranks $method$ranks --callbacks.ema.decay 0.9 --training.tracker.trackers "[jsonl, tensorboard, wandb]" \
            --training.checkpoint.training_state_checkpointing_steps 0
        none "nothing is taken in a step" 1
        [ $ranks = 1 ] && save=sync || save=async
        try "with $save saves and validation" counted $ranks $method$ranks.all --callbacks.ema.decay 0.9 --training.checkpoint.training_state_checkpointing_steps 4 --training.checkpoint.save $save \
            $v.pipeline_target $kind $v.dataset_file "$TMPDIR/p.json" $v.every_steps 3 $v.sampling_steps "[2]"
        none "nothing but by them" '$4 == "main" && $3 != "validation" && $3 != "checkpoint" || $6 ~ /^MPI_/'
        [ $save = async ] || same_again "a second save takes no more" '$4 == "thread" && $5 == "reel"' 4 8 12
        same_again "nor does a second validation" '$3 == "validation" && $4 == "main" && $5 == "reel"' 3 6 9
    done
done
plan
