#!/usr/bin/env bash
#SBATCH --job-name=bench
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=1:00:00
#SBATCH --output=%x-%j.log
# Times steps of a configuration, without saving: sbatch jobscripts/bench.sh [CONFIG [ARGUMENT...]]; the table at the end of the
# log is the result. Without arguments 20 steps of configs/sft_1.3b.yaml, sharded over all ranks.
set -u
script=bench.sh
here=$(dirname "${BASH_SOURCE[0]}") # a job runs a copy; Slurm knows where the original is
[ -f "$here/lib.sh" ] || here=$(dirname "$(scontrol show job -o "${SLURM_JOB_ID-}" | sed -n 's/.* Command=\([^ ]*\).*/\1/p')")
# shellcheck source=jobscripts/lib.sh
. "$here/lib.sh"
in_job || submit "$@"
d=--training.distributed
[ $# -gt 0 ] || set -- configs/sft_1.3b.yaml $d.num_gpus "$SLURM_NTASKS" $d.hsdp_replicate_dim 1 $d.hsdp_shard_dim "$SLURM_NTASKS"
config=$(resolve configuration "$1") || exit 1
shift
cd "$root" || exit 1
program
args=(--training.loop.max_train_steps 20 "$@" --training.checkpoint.output_dir null)
judge "$SLURM_NTASKS" "$config" "${args[@]}"
say "$SLURM_NTASKS ranks on $SLURM_JOB_NODELIST: $(sed -n "s/^model name[^:]*: //p" /proc/cpuinfo | head -n 1)"
nvidia-smi -L 2> /dev/null
run_ranks train --config "$config" "${args[@]}"
exit $?
