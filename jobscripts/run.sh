#!/usr/bin/env bash
# run.sh CONFIG [ARGUMENT...] [--resume CHECKPOINT]: train, inside or outside of a Slurm allocation, with a log file.
#   NUM_GPUS   ranks of a node: default the allocation's tasks, outside of one the GPUs that nvidia-smi lists, or else 1
#   NNODES     nodes, default 1 (inside an allocation: its nodes); several without Slurm need HOSTFILE, MPI's list of hosts
#   LOG_DIR    folder of the log CONFIG-NAME_DATE_TIME.log, default logs/
#   WANDB_MODE online, offline or disabled: a W&B run is written offline, `wandb sync` sends it
#   MPIEXEC    launcher outside of Slurm
# CONFIG and CHECKPOINT are relative to where you stand, LOG_DIR and paths inside of CONFIG to the folder of the program. The file's
# num_gpus must be the number of ranks; --training.distributed.num_gpus and the layout may follow as arguments. ^C saves and ends.
set -u
script=run.sh
here=$(dirname "${BASH_SOURCE[0]}") # a job runs a copy; Slurm knows where the original is
[ -f "$here/lib.sh" ] || here=$(scontrol show job "${SLURM_JOB_ID-}" | sed -n '/^ *Command=/{s///;s/\.sh.*//;s|/[^/]*$||p;q}')
# shellcheck source=jobscripts/lib.sh
. "$here/lib.sh" || { echo "$script: no lib.sh beside it: submit it by its path" >&2 && exit 1; }
[ $# -gt 0 ] || die "which run? run.sh CONFIG [ARGUMENT...] [--resume CHECKPOINT]"
config=$(resolve configuration "$1") || exit 1
arguments "${@:2}"
gpus() { nvidia-smi -L 2> /dev/null | grep -c '^GPU '; }
if in_job; then per_node=${NUM_GPUS:-$((tasks / nodes))}; else per_node=${NUM_GPUS:-$(gpus)}; fi
nodes=${NNODES:-$nodes}
case $per_node$nodes in *[!0-9]*) die "NUM_GPUS=$per_node, NNODES=$nodes: numbers are wanted" ;; esac
[ "$per_node" != 0 ] || per_node=1
[ "${NODE_RANK:-0}" = 0 ] || die "NODE_RANK=$NODE_RANK: one start is enough for all nodes: srun or mpiexec reaches the others"
tasks=$((per_node * nodes))
export WANDB_MODE=${WANDB_MODE:-offline}
program
if in_job; then
    start+=(-N "$nodes" -n "$tasks")
else
    [ "$nodes" = 1 ] || [ -n "${HOSTFILE-}" ] || die "NNODES=$nodes without Slurm: which hosts? HOSTFILE=FILE, a line each"
    mpiexec_ranks "$tasks"
    if [ -n "${HOSTFILE-}" ]; then
        HOSTFILE=$(resolve HOSTFILE "$HOSTFILE") || exit 1
        start+=(-f "$HOSTFILE" -ppn "$per_node")
    fi
fi
cd "$root" || exit 1
judge "$tasks" "$config" "${args[@]}"
look "$config"
log=${LOG_DIR:-logs}
[ "${log#/}" != "$log" ] || log=$root/$log
mkdir -p "$log" || die "LOG_DIR: cannot make $log"
log=$log/$(basename "$config" .yaml)_$(date +%Y%m%d_%H%M%S).log
say "log: $log"
exec 3> >(trap '' INT HUP; exec tee -a "$log")
tee=$!
run_ranks train --config "$config" "${args[@]}" >&3 2>&1 3>&-
rc=$?
exec 3>&-
wait "$tee" # the log is whole
[ $rc -ne 75 ] || say "saved and ended early; the same command with --resume latest goes on"
exit $rc
