#!/bin/sh
# What goes wrong in a run ends it on every rank, in time, with one message, exit code 1, and leaves
# the last good checkpoint to resume from.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"

fault() {
    REEL_FAULT=$1
    export REEL_FAULT
    shift
    fails "$@"
    unset REEL_FAULT
}

try "a run to start from" train 2 "$TMPDIR/good"
want=$(state "$TMPDIR/good/checkpoint-6")

fault data_read:1:5 "one rank cannot read its data" "rank 1: .*(1 of 2 ranks failed)" train 2 "$TMPDIR/f1"
fault ckpt_write:1:1 "one rank cannot write its shard" "(1 of 2 ranks failed)" train 2 "$TMPDIR/f2"
[ -z "$(ls -d "$TMPDIR"/f2/checkpoint-* 2> /dev/null)" ]
verdict $? "nothing half-written is left"
none="f1 is a run that holds no complete checkpoint yet: it saves checkpoint-N "
fails "a check of a run before its first checkpoint" "$none" "$REEL_BUILD/reel" check "$TMPDIR/f1"
fails "an export" "$none" "$REEL_BUILD/reel" export "$TMPDIR/f1" "$TMPDIR/export"
fails "a film" "$none" "$REEL_BUILD/reel" generate --checkpoint "$TMPDIR/f1" --prompt word --out "$TMPDIR/word.mp4"
fault ckpt_commit:0:2 "the commit of the second checkpoint fails" "cannot commit" train 2 "$TMPDIR/f3"
try "the first checkpoint is whole" "$REEL_BUILD/reel" check "$TMPDIR/f3/checkpoint-3"
try "resume after the failure" train 2 "$TMPDIR/f3" --resume-from-checkpoint latest
same "as if nothing had happened" "$want" "$(state "$TMPDIR/f3/checkpoint-6")"

fails "a data set that is not there" "data_path\|cannot open" train 1 "$TMPDIR/n" --training.data.demo_clips 0 --training.data.data_path "$TMPDIR/none.h5"
fails "weights that are not there" "init_from\|config.json" train 1 "$TMPDIR/n" --models.student.init_from "$TMPDIR/none"
fails "more ranks configured than running" "num_gpus" train 1 "$TMPDIR/n" --training.distributed.num_gpus 4 --training.distributed.hsdp_shard_dim 4
fails "a resume path that is not there" "none" train 1 "$TMPDIR/n" --resume-from-checkpoint "$TMPDIR/none"
fails "more frames than the set has" "num_latent_t" train 1 "$TMPDIR/n" --training.data.num_latent_t 9 --training.data.num_frames 33

fails "latents of another size" "num_height: 64 pixels" train 1 "$TMPDIR/n" --training.data.num_height 64
fails "more samples than memory" "the data set has 24 samples" train 1 "$TMPDIR/n" --training.data.train_batch_size 16777216
fails "a record that cannot be written is known at once" "$TMPDIR/none/x: cannot write there" train 2 "$TMPDIR/n" --record "$TMPDIR/none/x"
fails "nor a contact sheet" "$TMPDIR/none/x.png: cannot write there" "$REEL_BUILD/reel" preprocess --output "$TMPDIR/none.h5" --demo-clips 2 --sheet "$TMPDIR/none/x.png"
fails "an export of what is no checkpoint" "is no checkpoint, and no complete one is in it" "$REEL_BUILD/reel" export "$TMPDIR" "$TMPDIR/export"
fails "a plan without a size" "num_height: the size in pixels is needed" "$REEL_BUILD/reel" plan --config "$tiny" --models.student.init_from "$REEL_SRC/tests/tiny" --training.data.num_height 0

# model TEXT PATTERN FIELD: the tiny model with another value in its config.json
model() {
    mkdir -p "$TMPDIR/model/transformer"
    sed "s/${3%%:*}: *\(\[[^]]*\]\|[^,}]*\)/$3/" "$REEL_SRC/tests/tiny/transformer/config.json" > "$TMPDIR/model/transformer/config.json"
    fails "$1" "$2" train 2 "$TMPDIR/n" --models.student.init_from "$TMPDIR/model"
}
model "a patch that does not divide the latents" "no multiple of the model's patch of 3" '"patch_size": [1, 3, 3]'
model "a table of parameters beyond an int" "config.json: num_layers must be" '"num_layers": 1000000000'
model "a width beyond all sizes" "config.json: num_attention_heads" '"num_attention_heads": 1000000'

# rank 0 alone writes the log: its full disk is everyone's
mkdir -p "$TMPDIR/log/tracker"
ln -s /dev/full "$TMPDIR/log/tracker/metrics.jsonl"
fails "a log that cannot be written" "metrics.jsonl: cannot append" train 2 "$TMPDIR/log"

# standard streams: a result that is lost is an error, a closed one is no file's number
fails "a checkpoint checked onto a full disk" "standard output: cannot write" sh -c "'$REEL_BUILD/reel' check '$TMPDIR/good' 2>&1 > /dev/full"
fails "a help onto a full disk" "standard output: cannot write" sh -c "'$REEL_BUILD/reel' --help 2>&1 > /dev/full"
"$REEL_BUILD/reel" train --config "$tiny" --models.student.init_from "$REEL_SRC/tests/tiny" --training.data.data_path "$TMPDIR/data.h5" \
    --training.threads 1 --override-output-dir "$TMPDIR/closed" --training.loop.max_train_steps 1000000 \
    --training.checkpoint.training_state_checkpointing_steps 0 <&- >&- 2>&- &
job=$!
await grep -qs '"step_time_sec"' "$TMPDIR/closed/tracker/metrics.jsonl"
streams=$(readlink "/proc/$job/fd/0" "/proc/$job/fd/1" "/proc/$job/fd/2" | tr '\n' ' ')
kill -TERM $job
wait $job
same "closed ones" "/dev/null /dev/null /dev/null 75" "$streams$?"

# two runs in one folder
mkdir -p "$TMPDIR/held/tracker"
exec 9> "$TMPDIR/held/tracker/lock"
flock -n 9
fails "a folder that another run writes to" "another run is writing" train 2 "$TMPDIR/held"
exec 9>&-
mkdir -p "$TMPDIR/nolock/tracker/lock"
fails "a lock that cannot be made is no other run" "tracker/lock: cannot open" train 2 "$TMPDIR/nolock"
try "and is free when that run has ended" train 2 "$TMPDIR/held"

# noise that is not a number: recorded draws with one value overwritten
try "record" train 1 "$TMPDIR/rec" --record "$TMPDIR/draws.safetensors"
nan_at=$(($(stat -c %s "$TMPDIR/draws.safetensors") - 4000))
printf '\000\000\300\177' | dd of="$TMPDIR/draws.safetensors" bs=1 seek=$nan_at conv=notrunc 2> /dev/null
fails "a batch that is not finite stops the run" "total_loss is -*nan" train 1 "$TMPDIR/nan" --replay "$TMPDIR/draws.safetensors"
try "or leaves the step out" train 1 "$TMPDIR/nan" --replay "$TMPDIR/draws.safetensors" --training.on_nonfinite skip

# a flipped byte in a sample
cp "$TMPDIR/data.h5" "$TMPDIR/bad.h5"
size=$(stat -c %s "$TMPDIR/bad.h5")
printf '\377\377\377\377' | dd of="$TMPDIR/bad.h5" bs=1 seek=$((size / 2)) conv=notrunc 2> /dev/null
fails "a flipped byte in the data" "bad.h5" train 1 "$TMPDIR/n" --training.data.data_path "$TMPDIR/bad.h5" --training.loop.max_train_steps 20

# a damaged checkpoint is not resumed
cp -r "$TMPDIR/good" "$TMPDIR/damaged"
f=$TMPDIR/damaged/checkpoint-6/dcp/__0_0.distcp
printf 'x' | dd of="$f" bs=1 seek=$(($(stat -c %s "$f") / 2)) conv=notrunc 2> /dev/null
fails "a flipped byte in a checkpoint" "__0_0.distcp" train 2 "$TMPDIR/damaged" --resume-from-checkpoint latest --training.loop.max_train_steps 8

# a killed rank: the launcher ends the job, the run goes on as if nothing had happened
long="--training.loop.max_train_steps 12 --training.checkpoint.training_state_checkpointing_steps 3"
# shellcheck disable=SC2086
try "12 steps" train 2 "$TMPDIR/whole" $long
want=$(state "$TMPDIR/whole/checkpoint-12")
lost() { # lost TEXT STEPS VARIABLES [COMMAND...]: the command, or what the variables arm, kills a rank; one of STEPS is then the newest saved
    l_text=$1 l_steps=$2 l_env=$3
    shift 3
    rm -rf "$TMPDIR/killed"
    # shellcheck disable=SC2086,SC2163 # words
    (export $l_env; train 2 "$TMPDIR/killed" $long) > "$TMPDIR/out" 2>&1 &
    job=$!
    "$@"
    wait $job
    l_rc=$? l_at=$(newest "$TMPDIR/killed")
    [ $l_rc -ne 0 ] && case " $l_steps " in *" ${l_at:-0} "*) ;; *) false ;; esac
    verdict $? "$l_text is killed: the job ends, with code $l_rc after a save at step ${l_at:-0}" "$TMPDIR/out"
    # shellcheck disable=SC2086
    try "and goes on" train 2 "$TMPDIR/killed" $long --resume-from-checkpoint latest
    same "as if nothing had happened" "$want" "$(state "$TMPDIR/killed/checkpoint-12")"
}
opening() {
    await [ -e "$TMPDIR/killed/tracker/lock" ]
    kill -9 "$(processes reel cmdline "$TMPDIR/killed" | tail -n 1)"
}
stepping() {
    await halted "$TMPDIR/killed"
    kill -9 "$halted"
}
lost "a rank, while the run is opened," 0 REEL_FAULT=stall:1:1 opening
lost "the first rank, in a step," "6 9" REEL_FAULT=stall:0:10 stepping
lost "the last rank, in its second save," 3 \
    "LD_PRELOAD=$REEL_BUILD/tests/interpose.so INTERPOSE_DIR=$TMPDIR/killed INTERPOSE_ACT=kill INTERPOSE_RANK=1 INTERPOSE_AT=6"

# a folder that nothing can be written to
mkdir -p "$TMPDIR/readonly"
if mount -t tmpfs -o ro none "$TMPDIR/readonly" 2> /dev/null; then
    fails "a folder on a read-only file system" "readonly/run: cannot make the folder: Read-only file system" train 2 "$TMPDIR/readonly/run"
    umount "$TMPDIR/readonly"
else
    skip "a folder on a read-only file system" "mount is not permitted here"
fi

# a full disk
mkdir -p "$TMPDIR/small"
if mount -t tmpfs -o size=2m none "$TMPDIR/small" 2> /dev/null; then
    fails "a full disk" "No space left\|full" train 2 "$TMPDIR/small/run" --training.checkpoint.training_state_checkpointing_steps 1
    [ -z "$(ls -d "$TMPDIR"/small/run/*.tmp 2> /dev/null)" ]
    verdict $? "no temporary folder is left"
    umount "$TMPDIR/small"
else
    skip "a full disk" "mount is not permitted here"
fi
plan
