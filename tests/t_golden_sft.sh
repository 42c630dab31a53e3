#!/bin/sh
# SFT against the reference's runs in other ways than t_golden_all.sh: draws from the generator, more ranks, threads.
. "$REEL_SRC/tests/lib.sh"
golden() { ranks=$1; shift; "$REEL_BUILD/tests/mpirun.sh" -n "$ranks" "$REEL_BUILD/tests/golden" "$@"; }
g=$REEL_SRC/tests/golden

for d in sft sft-weighting layout-sft; do
    try "$d, draws from the generator" golden 1 "$g/$d" --generate
done
try "layout-sft on four ranks" golden 4 "$g/layout-sft"
try "sft with activation checkpointing" golden 1 "$g/sft" --training.model.enable_gradient_checkpointing_type full
try "sft on two ranks, threads 2" golden 2 "$g/sft" --training.threads 2
plan
