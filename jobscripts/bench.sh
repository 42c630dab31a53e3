#!/usr/bin/env bash
#SBATCH --job-name=bench
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --mem=0
#SBATCH --time=1:00:00
#SBATCH --output=%x-%j.log
# Times steps of a configuration, without saving: sbatch jobscripts/bench.sh [CONFIG [ARGUMENT...]]; the table at the end of the
# log is the result. Without CONFIG 20 steps of configs/sft_1.3b.yaml, sharded over all ranks.
set -u
script=bench.sh
here=$(dirname "${BASH_SOURCE[0]}") # a job runs a copy; Slurm knows where the original is
[ -f "$here/lib.sh" ] || here=$(scontrol show job "${SLURM_JOB_ID-}" | sed -n '/^ *Command=/{s///;s/\.sh.*//;s|/[^/]*$||p;q}')
# shellcheck source=jobscripts/lib.sh
. "$here/lib.sh" || { echo "$script: no lib.sh beside it: submit it by its path" >&2 && exit 1; }
d=--training.distributed
case ${1--} in
-*) set -- configs/sft_1.3b.yaml $d.num_gpus "$tasks" $d.hsdp_replicate_dim 1 $d.hsdp_shard_dim "$tasks" "$@" ;;
esac
config=$(resolve configuration "$1") || exit 1
arguments --training.loop.max_train_steps 20 "${@:2}" --training.checkpoint.output_dir null \
    --training.checkpoint.training_state_checkpointing_steps 0 --callbacks.validation null
program
cd "$root" || exit 1
judge "$tasks" "$config" "${args[@]}"
look "$config"
in_job || submit
say "$tasks ranks on $SLURM_JOB_NODELIST: $(sed -n "s/^model name[^:]*: //p" /proc/cpuinfo | head -n 1)"
nvidia-smi -L 2> /dev/null
run_ranks train --config "$config" "${args[@]}"
