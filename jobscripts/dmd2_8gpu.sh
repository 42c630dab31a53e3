#!/usr/bin/env bash
#SBATCH --job-name=dmd2
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
# Distils a Wan model into a few steps (DMD2) on one node of eight GPUs, preemptible: sbatch jobscripts/dmd2_8gpu.sh
# [CONFIG [ARGUMENT...]]. Without CONFIG configs/dmd2_1.3b.yaml as 2 replicas of 4 shards. Goes on from its last checkpoint.
set -u
script=dmd2_8gpu.sh
here=$(dirname "${BASH_SOURCE[0]}") # a job runs a copy; Slurm knows where the original is
[ -f "$here/lib.sh" ] || here=$(scontrol show job "${SLURM_JOB_ID-}" | sed -n '/^ *Command=/{s///;s/\.sh.*//;s|/[^/]*$||p;q}')
# shellcheck source=jobscripts/lib.sh
. "$here/lib.sh" || { echo "$script: no lib.sh beside it: submit it by its path" >&2 && exit 1; }
d=--training.distributed
case ${1--} in
-*) set -- configs/dmd2_1.3b.yaml $d.num_gpus 8 $d.hsdp_replicate_dim 2 $d.hsdp_shard_dim 4 "$@" ;;
esac
job_train "$@"
