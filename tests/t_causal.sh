#!/bin/sh
# Diffusion forcing, teacher forcing and Self-Forcing of a causal student: the same bits in every layout; what its config.json
# may not say.
. "$REEL_SRC/tests/lib.sh"
g=$REEL_SRC/tests/golden
d=--training.distributed
run() { ranks=$1; shift; "$REEL_BUILD/tests/mpirun.sh" -n "$ranks" "$REEL_BUILD/tests/golden" "$@" > "$TMPDIR/out" 2>&1; }
hash() { run "$@" || show "$TMPDIR/out" | tail -n 20; sed -n 's/^hash //p' "$TMPDIR/out"; }

for m in dfsft tfsft self-forcing self-forcing-window; do
    want=$(hash 1 "$g/$m")
    same "$m: two ranks in shards" "$want" "$(hash 2 "$g/$m" $d.hsdp_shard_dim 2)"
    same "$m: two ranks in replicas, two threads" "$want" "$(hash 2 "$g/$m" $d.hsdp_replicate_dim 2 --training.threads 2)"
    same "$m: activation checkpointing" "$want" "$(hash 1 "$g/$m" --training.model.enable_gradient_checkpointing_type full)"
    want=$(hash 1 "$g/$m" --training.compute_dtype bf16)
    same "$m, bf16: two ranks" "$want" "$(hash 2 "$g/$m" $d.hsdp_shard_dim 2 --training.compute_dtype bf16)"
done

refused() { # refused TEXT PATTERN: tfsft of the copy in TMPDIR ends with this message
    run 1 "$TMPDIR/tfsft"
    grep -q "$2" "$TMPDIR/out"
    verdict $? "$1"
}
student() { # student TEXT: the golden folder with this in the student's config.json, where its chunks are of 3
    rm -rf "$TMPDIR/tfsft"
    cp -r "$g/tfsft" "$TMPDIR/tfsft"
    chmod -R u+w "$TMPDIR/tfsft"
    sed "s/\"num_frames_per_block\": 3/$1/" "$g/tfsft/student/transformer/config.json" > "$TMPDIR/tfsft/student/transformer/config.json"
}
student '"num_frames_per_block": 3, "local_attn_size": 4'
refused "teacher forcing with a window" "models.student.init_from: its local_attn_size is 4; teacher forcing has no window"
student '"num_frames_per_block": 3, "local_attn_size": 1'
refused "a window below a chunk" "config.json: a local_attn_size of 1 latent frames does not hold a chunk of 3 (num_frames_per_block)"
student '"num_frames_per_block": 2'
refused "chunks that are not the student's" "method.chunk_size: 3 must equal the causal student's num_frames_per_block 2"
plan
