#!/bin/sh
# The same bits: run twice, any replicate x shard split of four ranks, one rank, threads, sequence parallel groups.
. "$REEL_SRC/tests/lib.sh"
d=--training.distributed
hash() {
    ranks=$1
    shift
    "$REEL_BUILD/tests/mpirun.sh" -n "$ranks" "$REEL_BUILD/tests/golden" "$REEL_SRC/tests/golden/layout-sft" "$@" \
        > "$TMPDIR/out" 2>&1 || show "$TMPDIR/out" | tail -n 20 >&2 # bf16 is far from the f32 that it is compared with
    sed -n 's/^hash //p' "$TMPDIR/out"
}
want=$(hash 4 $d.hsdp_replicate_dim 1 $d.hsdp_shard_dim 4)
same "run twice" "$want" "$(hash 4 $d.hsdp_replicate_dim 1 $d.hsdp_shard_dim 4)"
same "replicate 2 x shard 2" "$want" "$(hash 4 $d.hsdp_replicate_dim 2 $d.hsdp_shard_dim 2)"
same "replicate 4 x shard 1" "$want" "$(hash 4 $d.hsdp_replicate_dim 4 $d.hsdp_shard_dim 1)"
same "one rank with four samples" "$want" "$(hash 1)"
same "two ranks with two samples, two threads" "$want" "$(hash 2 --training.threads 2)"
same "two sequence parallel ranks" "$want" "$(hash 2 $d.sp_size 2)"
same "two groups of two" "$want" "$(hash 4 $d.sp_size 2 $d.hsdp_replicate_dim 2 $d.hsdp_shard_dim 2)"
same "one group of four, replicated" "$want" "$(hash 4 $d.sp_size 4 $d.hsdp_replicate_dim 4 $d.hsdp_shard_dim 1)"
same "two groups of four" "$want" "$(hash 8 $d.sp_size 4 $d.hsdp_replicate_dim 2 $d.hsdp_shard_dim 4)"
same "one group of eight" "$want" "$(hash 8 $d.sp_size 8)"
same "activation checkpointing" "$want" "$(hash 1 --training.model.enable_gradient_checkpointing_type full)"
want=$(hash 4 --training.compute_dtype bf16)
same "bf16: one rank as four" "$want" "$(hash 1 --training.compute_dtype bf16)"
same "bf16: two groups of four" "$want" "$(hash 8 $d.sp_size 4 --training.compute_dtype bf16)"
want=$(hash 2 --training.reproducibility resume)
same "reproducibility resume: run twice" "$want" "$(hash 2 --training.reproducibility resume --training.threads 2)"
plan
