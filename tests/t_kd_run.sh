#!/bin/sh
# Knowledge distillation from the teacher's walk to the student's checkpoint: the same bytes on any ranks and after any
# interruption; what does not fit is refused in one message.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
try "a teacher: some steps of fine-tuning" train 1 "$TMPDIR/sft" --training.optimizer.learning_rate 1.0e-2
try "exported" "$REEL_BUILD/reel" export "$TMPDIR/sft/checkpoint-6" "$TMPDIR/teacher"
rm "$TMPDIR/data.h5"
tiny=$REEL_SRC/tests/tiny_kd.yaml
grep -v '^  teacher:' "$tiny" > "$TMPDIR/alone.yaml"

# kd RANKS OUT CACHE [override...]: a training run; walk RANKS CACHE [flag or override...]: the teacher alone
kd() {
    kd_n=$1; kd_out=$2; kd_cache=$3
    shift 3
    train "$kd_n" "$kd_out" --models.student.init_from "$TMPDIR/teacher" --models.teacher.init_from "$TMPDIR/teacher" \
        --method.teacher_path_cache "$kd_cache" "$@"
}
alone() { # alone RANKS OUT CACHE [override...]: the same without a teacher
    al_n=$1; al_out=$2; al_cache=$3
    shift 3
    tiny=$TMPDIR/alone.yaml
    train "$al_n" "$al_out" --models.student.init_from "$TMPDIR/teacher" --method.teacher_path_cache "$al_cache" "$@"
    al_rc=$?
    tiny=$REEL_SRC/tests/tiny_kd.yaml
    return $al_rc
}
walk() {
    w_n=$1; w_dir=$2
    shift 2
    "$REEL_BUILD/tests/mpirun.sh" -n "$w_n" "$REEL_BUILD/reel" trajectories --config "$tiny" \
        --models.student.init_from "$TMPDIR/teacher" --models.teacher.init_from "$TMPDIR/teacher" \
        --training.data.data_path "$TMPDIR/data.h5" --output "$w_dir" --samples-per-file 4 \
        --training.distributed.num_gpus "$w_n" --training.distributed.hsdp_shard_dim "$w_n" --training.threads 1 "$@"
}
parts() { cat "$1"/part-*.h5 2> /dev/null | sha256sum | cut -d' ' -f1; }
bytes() { # bytes FILE AT: overwrite two bytes
    printf 'XY' | dd of="$1" bs=1 seek="$2" conv=notrunc 2> /dev/null
}

# the walk: any ranks, batches, one file a sample or many
t=$TMPDIR/t
try "the teacher walks on one rank" walk 1 "$t" --training.data.train_batch_size 4
want=$(parts "$t")
same "six files of four samples" "$(find "$t" -name 'part-*.h5' | wc -l)" 6
for n in 2 3 4; do
    try "on $n ranks" walk $n "$TMPDIR/t$n" --training.data.train_batch_size 1
    same "the same bytes" "$(parts "$TMPDIR/t$n")" "$want"
done
try "more ranks than a file has samples" walk 4 "$TMPDIR/single" --samples-per-file 1 --training.data.train_batch_size 1
same "a file for each sample" "$(find "$TMPDIR/single" -name 'part-*.h5' | wc -l)" 22
try "reel check reads them" "$REEL_BUILD/reel" check "$t"
grep -q 'trajectories, latents \[16,10,4,4\] f32 .*all checksums good' "$TMPDIR/out"
verdict $? "and says what they are"

# training: layouts, resume
try "a run on one rank" kd 1 "$TMPDIR/one" "$t"
losses() { sed -n 's/.*"kd_loss": \([^,]*\).*"grad_norm.student": \([^,]*\).*/\1 \2/p' "$1"/tracker/*.jsonl; }
losses "$TMPDIR/one" | awk '$1 < 1e-6 || $2 < 1e-3 { exit 1 }'
verdict $? "there is something to learn"
for n in 2 4; do
    try "on $n ranks" kd $n "$TMPDIR/k$n" "$t"
    same "the same losses and norms to the last digit" "$(losses "$TMPDIR/one")" "$(losses "$TMPDIR/k$n")"
done
try "two copies of two shards" kd 4 "$TMPDIR/hsdp" "$t" --training.distributed.hsdp_replicate_dim 2 --training.distributed.hsdp_shard_dim 2
same "the same losses and norms to the last digit" "$(losses "$TMPDIR/one")" "$(losses "$TMPDIR/hsdp")"
mkdir -p "$TMPDIR/resumed" && cp -r "$TMPDIR/k2/checkpoint-3" "$TMPDIR/resumed/"
try "resume at step 3, the teacher not configured" alone 2 "$TMPDIR/resumed" "$t" --resume-from-checkpoint latest
same "weights, moments and counters of step 6" "$(state "$TMPDIR/k2/checkpoint-6")" "$(state "$TMPDIR/resumed/checkpoint-6")"
try "a run that makes its trajectories itself" kd 2 "$TMPDIR/auto" "$TMPDIR/auto/trajectories"
same "ends like the others" "$(state "$TMPDIR/k2/checkpoint-6")" "$(state "$TMPDIR/auto/checkpoint-6")"
same "and leaves a lock and one file of 22 samples" "$(ls "$TMPDIR/auto/trajectories")" "lock
part-00000.h5"

# the reference's runs, bidirectional and causal, in two layouts and with less memory
golden() { # golden TEXT RANKS FOLDER [override...]: the run agrees; its hash of losses and weights goes to $hash
    g_text=$1; g_n=$2; g_dir=$3
    shift 3
    try "$g_text" "$REEL_BUILD/tests/mpirun.sh" -n "$g_n" "$REEL_BUILD/tests/golden" "$REEL_SRC/tests/golden/$g_dir" "$@"
    hash=$(sed -n 's/^hash //p' "$TMPDIR/out")
}
for g in kd kd-causal; do
    golden "$g" 1 $g
    one=$hash
    golden "$g on two ranks" 2 $g
    same "the same bits" "$hash" "$one"
    golden "$g, draws from the generator, activation checkpointing" 1 $g --generate --training.model.enable_gradient_checkpointing_type full
    same "the same bits" "$hash" "$one"
done
"$REEL_BUILD/tests/golden" "$REEL_SRC/tests/golden/kd-causal" --method.num_frames_per_block 3 > "$TMPDIR/out" 2>&1
grep -q "num_frames_per_block: 3, but the student's blocks have 2 frames" "$TMPDIR/out"
verdict $? "blocks that are not the model's"

# interruptions: a fault keeps the files that are whole; a kill leaves spools, which the next run removes
REEL_FAULT=trajectories:0:6 fails "a fault in the third file" "injected fault" walk 2 "$TMPDIR/f" --training.data.train_batch_size 1
same "two files are there" "$(ls "$TMPDIR/f")" "lock
part-00000.h5
part-00001.h5"
fails "an incomplete folder without a teacher" "not complete, and no teacher" alone 1 "$TMPDIR/n" "$TMPDIR/f"
cp "$TMPDIR/f/part-00001.h5" "$TMPDIR/before"
try "the next run makes the rest" walk 3 "$TMPDIR/f" --training.data.train_batch_size 1
same "the same bytes" "$(parts "$TMPDIR/f")" "$want"
rm "$TMPDIR/f/part-00002.h5" && : > "$TMPDIR/f/part-00002.h5.tmp" && : > "$TMPDIR/f/part-00002.h5.spool.7"
try "a file in the middle is missing, leftovers lie about" walk 2 "$TMPDIR/f"
same "the same bytes" "$(parts "$TMPDIR/f")" "$want"
exec 9<> "$TMPDIR/f/lock"
flock -n 9
fails "a folder that another run writes to" "teacher_path_cache: another run is writing to $TMPDIR/f: .*held by process" walk 2 "$TMPDIR/f"
exec 9>&-
same "the leftovers are gone" "$(find "$TMPDIR/f" -name '*.tmp' -o -name '*.spool.*' | wc -l)" 0

REEL_FAULT=stall:0:4 walk 1 "$TMPDIR/killed" --samples-per-file 1 --training.data.train_batch_size 1 > "$TMPDIR/killed.log" 2>&1 &
victim=$!
await halted "$TMPDIR/killed"
kill -9 "$halted"
wait $victim
left=$(find "$TMPDIR/killed" -name 'part-*.h5' | wc -l)
[ "$left" -gt 0 ] && [ "$left" -lt 22 ]
verdict $? "killed after $left of 22 files" "$TMPDIR/killed.log"
try "the run after the kill" walk 2 "$TMPDIR/killed" --samples-per-file 1
same "the same bytes" "$(parts "$TMPDIR/killed")" "$(parts "$TMPDIR/single")"

# A signal between two batches: what is whole stays, and the job asks to be started again.
# ended SIGNAL NAME FILES COMMAND...: to a rank that walks into the folder NAME, whose last rank stores a trajectory; FILES are then whole
ended() {
    e_sig=$1 e_dir=$TMPDIR/$2 e_files=$3
    shift 3
    REEL_FAULT=stall:1:2 "$@" > "$e_dir.out" 2>&1 &
    e_pid=$!
    await halted "$e_dir"
    kill "-$e_sig" "$(processes reel cmdline "$e_dir" | head -n 1)"
    kill -CONT "$halted"
    wait $e_pid
    e_rc=$?
    same "SIG$e_sig: exit code" $e_rc 75
    [ $e_rc = 75 ] || show "$e_dir.out" | tail -n 5
    grep -q "ends this run after [0-9]* of 22 trajectories" "$e_dir.out"
    verdict $? "says how far it came"
    same "$e_files files are there, nothing half-written" "$(find "$e_dir" -name 'part-*.h5' | wc -l) $(find "$e_dir" -name 'part-*' | grep -vc 'h5$')" "$e_files 0"
}
ended TERM asked 4 walk 2 "$TMPDIR/asked" --samples-per-file 1 --training.data.train_batch_size 1
grep -q "after 4 of 22" "$TMPDIR/asked.out"
verdict $? "which are all that it made"
try "the rest" walk 1 "$TMPDIR/asked" --samples-per-file 1
same "the same bytes" "$(parts "$TMPDIR/asked")" "$(parts "$TMPDIR/single")"
ended USR1 soon 0 kd 2 "$TMPDIR/soon_out" "$TMPDIR/soon"

# what does not fit
fails "other steps" "was made with teacher_inference_steps 8, this run says 16" kd 1 "$TMPDIR/n" "$t" --method.teacher_inference_steps 16
fails "another guidance" "was made with teacher_guidance_scale 2, this run says 1" kd 1 "$TMPDIR/n" "$t" --method.teacher_guidance_scale 1
fails "another shift" "was made with flow_shift 5, this run says 3" kd 1 "$TMPDIR/n" "$t" --pipeline.flow_shift 3
fails "other states" "was made with t_list 999 937 833 624 0, this run says 999 833 0" kd 2 "$TMPDIR/n" "$t" --method.t_list "[999, 833, 0]"
fails "another teacher" "was made with teacher .*without models.teacher it is taken" kd 1 "$TMPDIR/n" "$t" --models.teacher.init_from "$REEL_SRC/configs/wan-tiny"
fails "another size" "was made with num_height 32, this run says 48" kd 1 "$TMPDIR/n" "$t" --training.data.num_height 48
fails "another seed" "was made with seed 3, this run says 4" kd 1 "$TMPDIR/n" "$t" --training.data.seed 4
fails "a walk into it" "was made with teacher_guidance_scale 2, this run says 3" walk 2 "$t" --method.teacher_guidance_scale 3
fails "another number of samples a file" "holds 4 samples where 8 belong" walk 1 "$t" --samples-per-file 8
mkdir "$TMPDIR/clips" && cp "$TMPDIR/data.h5" "$TMPDIR/clips/part-00000.h5"
fails "clips for trajectories" "clips holds clips, not trajectories" kd 1 "$TMPDIR/n" "$TMPDIR/clips"
tiny=$REEL_SRC/tests/tiny.yaml
fails "trajectories for clips" "the set holds a teacher's trajectories; this method wants clips" train 1 "$TMPDIR/n" --training.data.data_path "$t"
fails "another method" "sft reads no trajectories; kd does" "$REEL_BUILD/reel" trajectories --config "$tiny" --models.student.init_from "$REEL_SRC/tests/tiny"
tiny=$REEL_SRC/tests/tiny_kd.yaml

# damage
cp -r "$t" "$TMPDIR/damaged"
bytes "$TMPDIR/damaged/part-00003.h5" 40000
fails "a damaged file" "part-00003.h5: .*damaged" "$REEL_BUILD/reel" check "$TMPDIR/damaged"
fails "in training" "part-00003.h5: sample .*damaged" kd 2 "$TMPDIR/n" "$TMPDIR/damaged" --training.loop.max_train_steps 40
cp "$t/part-00003.h5" "$TMPDIR/damaged/" && head -c 20000 "$t/part-00001.h5" > "$TMPDIR/damaged/part-00001.h5"
fails "a truncated file" "part-00001.h5: truncated" kd 1 "$TMPDIR/n" "$TMPDIR/damaged"
plan
