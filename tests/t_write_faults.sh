#!/bin/sh
# Every command that writes files, with an error at each of the calls by which it does so (interpose.c), below the folder that it writes to: a full
# or broken disk is one message and exit code 1, nothing half-made is left under a name that was asked for, what was there before stays,
# and the same command afterwards makes what an undisturbed one makes. REEL_TORTURE=full: every call; else a sample.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
so=$REEL_BUILD/tests/interpose.so
if [ "$REEL_TORTURE" = full ]; then sample=1000000; else sample=3; fi
: "${REEL_TORTURE_SEED=1}" "${WRITE_FAULTS=export pipeline shards lora import checkpoint film films preprocess record train}"
INTERPOSE_LAZY=1 INTERPOSE_WHOLE=1
export INTERPOSE_LAZY INTERPOSE_WHOLE
o=$TMPDIR/o # what a command writes
reel() { "$REEL_BUILD/tests/mpirun.sh" "$REEL_BUILD/reel" "$@" < /dev/null; }

# Files of $o with their sums, but for logs, whose times differ, and what preprocessing keeps for its next start.
listing() {
    (cd "$o" && find . -mindepth 1 \( -path ./run/tracker -o -name '*.unfinished' \) -prune -o -print | sort | while read -r f; do
        if [ -f "$f" ]; then echo "$f $(sha256sum < "$f")"; else echo "$f"; fi
    done)
}
# Temporary names stay where a removal fails, as it does for good on a device that does (EIO+).
present() {
    case $err,$struck in
        EIO+,* | *,names) listing | grep -vE '^[^ ]*\.(tmp|part)[ /]|^[^ ]*\.tmp$' ;;
        *) listing ;;
    esac
}
# What is there but not as it will be, and what is not there: a film that could not be written is left out with a warning.
halves() { present | grep -vxF -e "$whole"; }
lacks() { echo "$whole" | grep -vxF -e "$(present)" | grep -v '^./run/[^/]*mp4'; }

act() { # act ERROR CALL: the command with it; $rc, $struck, $TMPDIR/log
    rm -f "$TMPDIR/sum"
    LD_PRELOAD=$so INTERPOSE_DIR=$o INTERPOSE_RANK=0 INTERPOSE_ACT=$1 INTERPOSE_AT=$2 INTERPOSE_SUM=$TMPDIR/sum "$command" 2> "$TMPDIR/log" > "$TMPDIR/told"
    rc=$? struck=none
    [ ! -e "$TMPDIR/sum" ] || read -r _ struck < "$TMPDIR/sum"
}
complain() { # complain WHAT
    [ $bad -gt 5 ] || { echo "# $1 at call $k of $n ($err, $struck)"; show "$TMPDIR/log" | tail -n 12; }
    bad=$((bad + 1))
}
whole_now() { # whole_now WHO
    w_more=$(halves) w_less=$(lacks)
    [ -z "$w_more$w_less" ] || complain "$1: more: $w_more, less: $w_less,"
}
judge() {
    said=$(grep -E '^reel: ' "$TMPDIR/log" | grep -vcE '^reel: (warning:|removed |removing |what is finished is kept )')
    case $rc in
        0) whole_now "success" && return ;;
        1) [ "$said" = 1 ] || complain "$said messages"
           grep -qE "^reel: .*$o.*(No space left|Input/output error|quota exceeded)" "$TMPDIR/log" || complain "what and where is not said" ;;
        *) complain "exit code $rc" ;;
    esac
    left=$(halves)
    [ -z "$left" ] || complain "left: $left"
    "$command" > "$TMPDIR/log" 2>&1 || complain "the next one fails"
    struck=none
    whole_now "the next one"
}
fresh() { rm -rf "$o"; mkdir "$o"; prepare; }
each() { # each NAME COMMAND
    case " $WRITE_FAULTS " in *" $1 "*) ;; *) return ;; esac
    command=$2
    fresh
    act count 0
    [ $rc = 0 ] || show "$TMPDIR/log"
    read -r n struck < "$TMPDIR/sum"
    whole=$(listing) bad=0 hits=0
    for p in $(awk -v n="$n" -v s=$sample -v seed="$REEL_TORTURE_SEED" 'BEGIN {
        srand(seed); split("ENOSPC EIO+ EDQUOT ENOSPC+ EIO short+", e, " ")
        if (s >= n) for (k = 1; k <= n; k++) for (i = 0; i < 2; i++) print e[1 + (2 * k + int(k / 3) + 3 * i) % 6] ":" k
        else for (i = 0; i < s; i++) for (j = 1; j <= 2; j++) print e[1 + (2 * i + j) % 6] ":" 1 + int((i + rand()) * n / s) }'); do
        err=${p%:*} k=${p#*:}
        fresh
        act "$err" "$k"
        hits=$((hits + (rc != 0)))
        judge
    done
    [ $bad = 0 ] && [ "${n:-0}" -gt 0 ] && [ $hits -gt 0 ]
    verdict $? "$1: an error at $(if [ $sample -gt "$n" ]; then echo each; else echo some; fi) of $n calls: $hits of them one message, the next one makes it"
}
prepare() { :; }

try "a run to take things from" train 1 "$TMPDIR/run" --training.loop.max_train_steps 2
try "one of adapters" train 1 "$TMPDIR/adapted" --training.loop.max_train_steps 1 --models.student.lora.enable true --models.student.lora.rank 4
run=$TMPDIR/run/checkpoint-2
reel export "$run" "$TMPDIR/x" > "$TMPDIR/out" 2>&1
cp -r "$REEL_SRC/tests/tiny" "$TMPDIR/pipe" && echo '{"_class_name": "WanPipeline"}' > "$TMPDIR/pipe/model_index.json"
mkdir "$TMPDIR/pipe/scheduler" && echo '{"shift": 3.0}' > "$TMPDIR/pipe/scheduler/scheduler_config.json"
c_export() { reel export "$run" "$o/x"; }
c_pipeline() { reel export "$run" "$o/x" --base "$TMPDIR/pipe"; }
c_shards() { reel export "$run" "$o/x" --shard-bytes 60000 --dtype bf16; }
c_lora() { reel export "$TMPDIR/adapted/checkpoint-1" "$o/x" --lora; }
c_import() { reel import "$TMPDIR/x" "$o/new/x"; }
c_checkpoint() { reel import "$TMPDIR/x" "$o/c/checkpoint-0"; }
c_film() { reel generate --checkpoint "$run" --prompt "a red circle" --steps 1 --out "$o/film.mp4"; }
c_films() { printf 'a red circle\na blue square\n' > "$TMPDIR/p.txt"; reel generate --checkpoint "$run" --prompts "$TMPDIR/p.txt" --steps 1 --out "$o/films"; }
c_preprocess() { reel preprocess --output "$o/set.h5" --demo-clips 12 --height 32 --width 32 --num-frames 5 --sheet "$o/sheet.png"; }
c_record() { train 1 "$TMPDIR/rec" --record "$o/draws.safetensors" --training.loop.max_train_steps 1; }
each export c_export
each pipeline c_pipeline
each shards c_shards
each lora c_lora
each import c_import
each checkpoint c_checkpoint
each film c_film
each films c_films
each preprocess c_preprocess
each record c_record
echo '{"data": [{"caption": "a red circle"}, {"caption": "a blue square"}]}' > "$TMPDIR/prompts.json"
v=--callbacks.validation
c_train() {
    train 1 "$o/run" --training.loop.max_train_steps 2 --training.checkpoint.training_state_checkpointing_steps 1 --resume-from-checkpoint latest \
        --training.tracker.trackers '[jsonl, tensorboard, wandb]' --callbacks.ema.decay 0.5 $v.pipeline_target wan $v.dataset_file "$TMPDIR/prompts.json" \
        $v.every_steps 1 $v.sampling_steps '[1]'
}
each train c_train
plan
