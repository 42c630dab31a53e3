#!/bin/sh
# The files of configs/ and the reference's own examples through the real command: all are valid, those of well-known models
# are planned without weights, the tiny ones train.
. "$REEL_SRC/tests/lib.sh"
cd "$REEL_SRC" || exit 1
reel=$REEL_BUILD/reel
HF_HOME=$TMPDIR/no_models
export HF_HOME

# a run that this version does not have yet is checked all the same, but neither planned nor trained
later() { grep -q '^not yet in this version' "$TMPDIR/out"; }

for f in configs/*.yaml $(find tests/golden/configs/examples -name '*.yaml' | sort); do
    try "$f is valid" "$reel" train --config "$f" --dry-run
    case $f in
    *_demo.yaml | configs/kd_tiny.yaml | configs/lora_tiny.yaml) continue ;; # from another run's export
    configs/self_forcing_*b.yaml) "$reel" train --config "$f" --models.student.init_from Wan-AI/Wan2.1-T2V-1.3B-Diffusers --dry-run > "$TMPDIR/out" 2>&1 ;;
    configs/example.yaml) "$reel" train --config "$f" --training.data.num_height 480 --training.data.num_width 832 --dry-run > "$TMPDIR/out" 2>&1 ;;
    esac
    later && continue
    grep -q ' MiB per rank$' "$TMPDIR/out"
    verdict $? "$f is planned without weights" "$TMPDIR/out"
done
"$reel" plan --config configs/kd_1.3b.yaml > "$TMPDIR/out" 2>&1
same "a plan with and without the teacher, and whose shapes are built in" "$(sed -n 's/^ *\(params[^ ]*\|teacher:\|student:\) .*/\1/p' "$TMPDIR/out" | tr '\n' ' ')" \
    "params.student student: params.teacher teacher: "
"$reel" plan --config configs/sft_1.3b.yaml --models.student.init_from Wan-AI/Wan2.1-T2V-2B-Diffusers > "$TMPDIR/out" 2>&1
same "a repository that is not known is refused" "$?" 1
"$reel" train --config configs/sft_1.3b.yaml --training.distributed.num_gpus 1 --training.distributed.hsdp_shard_dim 1 \
    --training.data.data_path "$TMPDIR/data.h5" --training.data.demo_clips 2 --training.data.num_height 32 --training.data.num_width 32 \
    --training.data.num_frames 5 --training.data.num_latent_t 2 > "$TMPDIR/out" 2>&1
same "training wants the weights" "$? $(grep -c 'neither a folder nor a model' "$TMPDIR/out")" "1 1"

# two steps of each tiny run, the teacher of kd being the trained and exported student of sft
two() { # two FILE [override...]
    t_file=$1
    t_name=$(basename "$t_file" _tiny.yaml)
    shift
    "$REEL_BUILD/tests/mpirun.sh" -n 2 "$reel" train --config "$t_file" --training.loop.max_train_steps 2 --training.data.data_path "$TMPDIR/data" \
        --training.distributed.num_gpus 2 --training.distributed.hsdp_shard_dim 2 --training.data.train_batch_size 2 \
        --override-output-dir "$TMPDIR/$t_name" "$@"
}
for f in configs/sft_tiny.yaml configs/dfsft_tiny.yaml configs/tfsft_tiny.yaml configs/dmd2_tiny.yaml configs/self_forcing_tiny.yaml; do
    "$reel" train --config $f --dry-run > "$TMPDIR/out" 2>&1
    later && continue
    try "$f trains" two $f
    grep -q '"step": 2,.*"total_loss": [0-9]' "$TMPDIR/$(basename $f _tiny.yaml)/tracker/metrics.jsonl"
    verdict $? "for two steps"
done
try "more steps of sft_tiny.yaml" two configs/sft_tiny.yaml --training.loop.max_train_steps 8 --training.optimizer.learning_rate 1.0e-2 --override-output-dir "$TMPDIR/teach"
try "its export" "$reel" export "$TMPDIR/teach/checkpoint-8" "$TMPDIR/teacher"
try "configs/lora_tiny.yaml trains" two configs/lora_tiny.yaml --models.student.init_from "$TMPDIR/teacher"
try "its adapters" "$reel" export "$TMPDIR/lora/checkpoint-2" "$TMPDIR/adapters" --lora
try "configs/kd_tiny.yaml trains" two configs/kd_tiny.yaml --models.student.init_from "$TMPDIR/teacher" --models.teacher.init_from "$TMPDIR/teacher" \
    --method.teacher_path_cache "$TMPDIR/trajectories"
grep -q '"step": 2,.*"kd_loss": 0.[0-9]*[1-9]' "$TMPDIR/kd/tracker/metrics.jsonl"
verdict $? "for two steps"
plan
