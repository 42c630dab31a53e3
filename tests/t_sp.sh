#!/bin/sh
# Sequence parallel ranks train as one rank does: every method, one sample cut over its ranks, resumed in other layouts.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
d=--training.distributed
bits() { "$REEL_BUILD/tests/ckpt_tool" hash "$1"; }

# method NAME ROLES [override...]: a global micro-batch of one sample, of 32 tokens or more in runs of 8
method() {
    m_name=$1 tiny=$REEL_SRC/tests/$1.yaml roles=$2
    shift 2
    one="--training.data.train_batch_size 1 $size"
    rm -f "$TMPDIR/data.h5"
    # shellcheck disable=SC2086 # lists of words, here and below
    try "$m_name: one rank" train 1 "$TMPDIR/$m_name.one" "$@" $one
    want=$(bits "$TMPDIR/$m_name.one/checkpoint-6")
    try "$m_name: two ranks" train 2 "$TMPDIR/$m_name.two" "$@" $one $d.sp_size 2
    same "$m_name: the same bits" "$want" "$(bits "$TMPDIR/$m_name.two/checkpoint-6")"
    same "$m_name: the same losses" "$(losses "$TMPDIR/$m_name.one")" "$(losses "$TMPDIR/$m_name.two")"
    mkdir "$TMPDIR/$m_name.back" && cp -r "$TMPDIR/$m_name.two/checkpoint-3" "$TMPDIR/$m_name.back/"
    try "$m_name: step 3 of two ranks resumed on one" train 1 "$TMPDIR/$m_name.back" "$@" $one --resume-from-checkpoint latest
    same "$m_name: as if never stopped" "$want" "$(bits "$TMPDIR/$m_name.back/checkpoint-6")"
    try "$m_name: bf16, one rank" train 1 "$TMPDIR/$m_name.half" "$@" $one --training.compute_dtype bf16
    try "$m_name: bf16, a group of four" train 4 "$TMPDIR/$m_name.halves" "$@" $one --training.compute_dtype bf16 $d.sp_size 4 \
        $d.hsdp_replicate_dim 2 $d.hsdp_shard_dim 2
    same "$m_name: the same bits" "$(bits "$TMPDIR/$m_name.half/checkpoint-6")" "$(bits "$TMPDIR/$m_name.halves/checkpoint-6")"
    rm -rf "$TMPDIR/$m_name".*
}

size="--training.data.num_height 64 --training.data.num_width 64"
# what the tracker keeps of losses and norms
losses() { tr ',{}' '\n\n\n' < "$(ls "$1"/tracker/*.jsonl)" | grep -E 'loss|grad_norm' | sort; }

method tiny student
method tiny_dmd2 "student teacher critic"
method tiny_self_forcing "student teacher critic"
method tiny_forcing student
tiny=$REEL_SRC/tests/tiny.yaml roles=student
rm -f "$TMPDIR/data.h5"
try "sparse attention, one rank" train 1 "$TMPDIR/sparse.one" --training.data.train_batch_size 1 $size --training.vsa.sparsity 0.5 \
    --record "$TMPDIR/draws.safetensors"
try "sparse attention, a group of four, recorded draws" train 4 "$TMPDIR/sparse.four" --training.data.train_batch_size 1 $size \
    --training.vsa.sparsity 0.5 $d.sp_size 4 --replay "$TMPDIR/draws.safetensors" --replay-strict
same "the same bits" "$(bits "$TMPDIR/sparse.one/checkpoint-6")" "$(bits "$TMPDIR/sparse.four/checkpoint-6")"
rm -f "$TMPDIR/data.h5"
try "a group of three" train 3 "$TMPDIR/three" --training.data.train_batch_size 2 $d.sp_size 3
try "two samples on one rank" train 1 "$TMPDIR/pair" --training.data.train_batch_size 2
same "the same bits" "$(bits "$TMPDIR/pair/checkpoint-6")" "$(bits "$TMPDIR/three/checkpoint-6")"
fails "a size that does not divide the ranks" "sp_size.*3" train 4 "$TMPDIR/bad" $d.sp_size 3
plan
