#!/bin/sh
# Fine-tuning with sparse attention on 5x5x5 tokens, 8 tiles of four sizes: the schedule, resumed, in every layout, with
# activations made again; weights without the gate; all blocks and a shut gate against dense attention.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
tool=$REEL_BUILD/tests/ckpt_tool
hash() { "$tool" hash "$@"; }

run() { # run RANKS OUT [override...]
    v_n=$1 v_out=$2
    shift 2
    train "$v_n" "$TMPDIR/$v_out" --training.data.num_latent_t 5 --training.data.num_frames 17 --training.data.num_height 80 \
        --training.data.num_width 80 --training.loop.gradient_accumulation_steps 1 "$@"
}
ramp() {
    r_n=$1 r_out=$2
    shift 2
    run "$r_n" "$r_out" --method.attn_kind vsa --training.vsa.sparsity 0.7 --training.vsa.decay_rate 0.3 \
        --training.vsa.decay_interval_steps 2 "$@"
}
series() { sed -n "s|.*\"$2\": *\([-0-9.e]*\).*|\1|p" "$TMPDIR/$1/tracker/"*.jsonl | tr '\n' ' '; } # series RUN NAME

try "six steps" ramp 1 one --training.checkpoint.training_state_checkpointing_steps 3
same "sparsity rises from 0 by 0.3 every two steps to 0.7" "$(series one vsa_sparsity)" "0.0 0.3 0.3 0.6 0.6 0.7 "
[ "$(hash "$TMPDIR/one/checkpoint-3" roles.student.transformer.blocks.0.to_gate_compress)" != \
    "$(hash "$TMPDIR/one/checkpoint-6" roles.student.transformer.blocks.0.to_gate_compress)" ]
verdict $? "the gate learns"
want=$(hash "$TMPDIR/one/checkpoint-6")
try "two ranks, two threads" ramp 2 two --training.threads 2
same "the same bits on two ranks" "$want" "$(hash "$TMPDIR/two/checkpoint-6")"
try "replicate 2 x shard 2" ramp 4 four --training.distributed.hsdp_replicate_dim 2 --training.distributed.hsdp_shard_dim 2
same "the same bits in replicate 2 x shard 2" "$want" "$(hash "$TMPDIR/four/checkpoint-6")"
try "activations made again" ramp 1 again --training.model.enable_gradient_checkpointing_type full
same "the same bits with activations made again" "$want" "$(hash "$TMPDIR/again/checkpoint-6")"
mkdir "$TMPDIR/resumed" && cp -r "$TMPDIR/one/checkpoint-3" "$TMPDIR/resumed/"
try "resume step 3 on two ranks" ramp 2 resumed --resume-from-checkpoint latest
same "as if never stopped" "$want" "$(hash "$TMPDIR/resumed/checkpoint-6")"
try "bf16" ramp 1 half --training.compute_dtype bf16
try "bf16 on two ranks" ramp 2 half2 --training.compute_dtype bf16
same "the same bits of bf16" "$(hash "$TMPDIR/half/checkpoint-6")" "$(hash "$TMPDIR/half2/checkpoint-6")"

# weights: out under the internal name, in with and without it
"$REEL_BUILD/reel" export "$TMPDIR/one/checkpoint-6" "$TMPDIR/sparse" --base "$REEL_SRC/tests/tiny" > "$TMPDIR/out" 2>&1
verdict $? "export"
grep -q '"blocks.1.to_gate_compress.weight"' "$TMPDIR/sparse/transformer/"*.safetensors
verdict $? "the gate's name in the exported folder"
load="--models.student.init load --training.loop.max_train_steps 1"
# shellcheck disable=SC2086 # $load is two overrides
{
    try "dense" run 1 dense
    "$REEL_BUILD/reel" export "$TMPDIR/dense/checkpoint-6" "$TMPDIR/plain" --base "$REEL_SRC/tests/tiny" > "$TMPDIR/out" 2>&1
    verdict $? "export of the dense run"
    try "a sparse student of its own weights" run 1 loaded $load --training.vsa.sparsity 0.7 --models.student.init_from "$TMPDIR/sparse"
    same "training.vsa.sparsity alone makes it sparse, and constant" "$(series loaded vsa_sparsity)" "0.7 "
    try "a dense step of the dense weights" run 1 a $load --models.student.init_from "$TMPDIR/plain"
    try "a step with all blocks of weights without a gate" run 1 b $load --models.student.init_from "$TMPDIR/plain" --method.attn_kind vsa
    run 1 c $load --models.student.init_from "$TMPDIR/sparse" > "$TMPDIR/out" 2>&1
}
grep -q 'unexpected.*to_gate_compress' "$TMPDIR/out"
verdict $? "a dense student refuses a gate, by name"
echo "$(series a total_loss) $(series b total_loss)" | awk '{ d = $1 - $2; exit !($1 > 0 && d * d <= 1e-12 * $1 * $1) }'
verdict $? "a shut gate and all blocks: dense attention to 1e-6"
try "attn_kind: dense" run 1 d --training.loop.max_train_steps 1 --method.attn_kind dense --training.vsa.sparsity 0.7
same "a dense run logs no sparsity" "$(series dense vsa_sparsity)$(series d vsa_sparsity)." "."
run 1 x --method.attn_kind vsa --models.student.attention_backend FLASH_ATTN > "$TMPDIR/out" 2>&1
grep -q 'models.student.attention_backend: method.attn_kind: vsa needs VIDEO_SPARSE_ATTN' "$TMPDIR/out"
verdict $? "two kinds of attention at once are refused"

# samples of the trained student, at the schedule's end
try "clips of the sparse student" "$REEL_BUILD/tests/mpirun.sh" -n 1 "$REEL_BUILD/reel" generate --config "$tiny" --models.student.init_from \
    "$TMPDIR/sparse" --models.student.init load --training.vsa.sparsity 0.7 --training.data.num_height 80 --training.data.num_width 80 \
    --training.data.num_latent_t 5 --training.data.num_frames 17 --clips 1 --steps 2 --batch 1 --out "$TMPDIR/clip.png"

# distribution matching: the student sparse, teacher and critic with all blocks
cd "$REEL_SRC" || exit 1
dmd() { # dmd RANKS OUT [override...]
    d_n=$1 d_out=$2
    shift 2
    "$REEL_BUILD/tests/mpirun.sh" -n "$d_n" "$REEL_BUILD/reel" train --config "$REEL_SRC/configs/dmd2_tiny.yaml" --training.data.data_path "$TMPDIR/data.h5" \
        --training.distributed.num_gpus "$d_n" --training.distributed.hsdp_shard_dim "$d_n" --training.data.train_batch_size $((4 / d_n)) \
        --training.data.num_latent_t 5 --training.data.num_frames 17 --training.data.num_height 80 --training.data.num_width 80 \
        --training.loop.max_train_steps 3 --method.generator_update_interval 2 --training.vsa.sparsity 0.7 --training.threads 1 \
        --override-output-dir "$TMPDIR/$d_out" "$@"
}
try "a sparse DMD2 student" dmd 1 dmd1
try "on four ranks" dmd 4 dmd4
same "the same bits" "$(hash "$TMPDIR/dmd1/checkpoint-3")" "$(hash "$TMPDIR/dmd4/checkpoint-3")"
try "activations made again" dmd 2 dmd2 --training.model.enable_gradient_checkpointing_type full
same "the same bits again" "$(hash "$TMPDIR/dmd1/checkpoint-3")" "$(hash "$TMPDIR/dmd2/checkpoint-3")"
same "the student's sparsity is logged" "$(series dmd1 vsa_sparsity)" "0.7 0.7 0.7 "
plan
