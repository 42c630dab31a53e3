#!/usr/bin/env bash
# run.sh CONFIG [ARGUMENT...] [--resume CHECKPOINT]: train, inside or outside of a Slurm allocation, with a log file.
#   NUM_GPUS   ranks of a node: default the GPUs that nvidia-smi lists, or else 1
#   NNODES     nodes, default 1 (inside an allocation: its nodes)
#   LOG_DIR    folder of the log CONFIG-NAME_DATE_TIME.log, default logs/
#   WANDB_MODE online, offline or disabled: a W&B run is written offline, `wandb sync` sends it
#   MPIEXEC    launcher outside of Slurm; HOSTFILE: its hosts
# CONFIG is relative to where you stand, paths inside of it to the folder of the program. The file's num_gpus must be the number
# of ranks; --training.distributed.num_gpus and the layout may follow as arguments.
set -u
script=run.sh
# shellcheck source=jobscripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
caller=$PWD
[ $# -gt 0 ] || die "which run? run.sh CONFIG [ARGUMENT...] [--resume CHECKPOINT]"
config=$(resolve configuration "$1") || exit 1
shift
per_node=${NUM_GPUS:-$(nvidia-smi -L 2> /dev/null | grep -c .)}
[ "${per_node:-0}" != 0 ] || per_node=1
nodes=${NNODES:-${SLURM_JOB_NUM_NODES:-1}}
case $per_node$nodes in *[!0-9]*) die "NUM_GPUS=$per_node, NNODES=$nodes: numbers are wanted" ;; esac
n=$((per_node * nodes))
export WANDB_MODE=${WANDB_MODE:-offline}
cd "$root" || exit 1
program
judge $n "$config" "$@"
log=${LOG_DIR:-logs}
[ "${log#/}" != "$log" ] || log=$root/$log
mkdir -p "$log" || die "LOG_DIR: cannot make $log"
log=$log/$(basename "$config" .yaml)_$(date +%Y%m%d_%H%M%S).log
if in_job; then
    # shellcheck disable=SC2206 # options are words
    start=(srun --mpi="$MPI" -K1 -N "$nodes" -n "$n" $SRUN_OPTS)
else
    start=("${MPIEXEC:-mpiexec.mpich}" -n "$n")
    command -v "${start[0]}" > /dev/null || start[0]=mpiexec
    [ -z "${HOSTFILE-}" ] || start+=(-f "$HOSTFILE" -ppn "$per_node")
fi
say "log: $log"
say "${start[*]} ${prefix[*]} train --config $config $*"
launch "${start[@]}" "${prefix[@]}" train --config "$config" "$@" > >(tee -a "$log") 2>&1
rc=$?
[ $rc -ne 75 ] || say "saved and ended early; the same command with --resume latest goes on"
exit $rc
