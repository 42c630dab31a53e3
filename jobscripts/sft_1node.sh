#!/usr/bin/env bash
#SBATCH --job-name=sft
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
# Fine-tunes a Wan model on one node of eight GPUs: sbatch jobscripts/sft_1node.sh [CONFIG [ARGUMENT...]]. Without CONFIG
# configs/sft_1.3b.yaml, sharded over all of them. Goes on from its last checkpoint.
set -u
script=sft_1node.sh
here=$(dirname "${BASH_SOURCE[0]}") # a job runs a copy; Slurm knows where the original is
[ -f "$here/lib.sh" ] || here=$(scontrol show job "${SLURM_JOB_ID-}" | sed -n '/^ *Command=/{s///;s/\.sh.*//;s|/[^/]*$||p;q}')
# shellcheck source=jobscripts/lib.sh
. "$here/lib.sh" || { echo "$script: no lib.sh beside it: submit it by its path" >&2 && exit 1; }
d=--training.distributed
case ${1--} in
-*) set -- configs/sft_1.3b.yaml $d.num_gpus "$tasks" $d.hsdp_replicate_dim 1 $d.hsdp_shard_dim "$tasks" "$@" ;;
esac
job_train "$@"
