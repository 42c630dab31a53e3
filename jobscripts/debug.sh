#!/usr/bin/env bash
# debug.sh [-n RANKS] [--gdb RANK | --watch RANK] [CONFIG [ARGUMENT...]]: a short run to look into, two ranks (default), one thread
# each, inside or outside of a Slurm allocation (outside of one: salloc first, or plain mpiexec).
#   --gdb RANK    that rank under gdb, run at once, with a trace of all threads where it stops; the others go on
#   --watch RANK  every 10 seconds where that rank is: its threads' stacks
# Without CONFIG: configs/sft_tiny.yaml.
set -u
script=debug.sh
# shellcheck source=jobscripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
caller=$PWD
n=2 mode=none who=
while :; do
    case ${1-} in
    -n) n=${2-} ;;
    --gdb | --watch) mode=${1#--} who=${2-} ;;
    *) break ;;
    esac
    shift 2 || die "$1 wants a number"
done
case $n in '' | *[!0-9]* | 0) die "-n $n: a number of ranks from 1 on" ;; esac
if [ "$mode" != none ]; then
    case $who in '' | *[!0-9]*) die "--$mode $who: a rank from 0 to $((n - 1))" ;; esac
    [ "$who" -lt "$n" ] || die "--$mode $who: a rank from 0 to $((n - 1))"
    command -v gdb > /dev/null || die "gdb is not installed"
fi
d=--training.distributed
[ $# -gt 0 ] || set -- configs/sft_tiny.yaml
config=$(resolve configuration "$1") || exit 1
shift
cd "$root" || exit 1
program
args=("$d.num_gpus" "$n" "$d.hsdp_replicate_dim" 1 "$d.hsdp_shard_dim" "$n" --training.threads 1 "$@")
judge "$n" "$config" "${args[@]}"
# One task of the step: the program, alone or watched. PMI_RANK and SLURM_PROCID are set by the launchers.
# shellcheck disable=SC2016 # the task's shell expands
task='rank=${SLURM_PROCID-${PMI_RANK-0}} mode=$1 who=$2; shift 2
if [ "$rank" != "$who" ]; then exec "$@"; fi
case $mode in
gdb) exec gdb -q -batch -ex "handle SIGUSR1 SIGUSR2 SIGTERM nostop noprint pass" -ex run -ex "thread apply all backtrace" --args "$@" ;;
watch)
    "$@" & pid=$!
    while sleep 10 && kill -0 $pid 2> /dev/null; do
        echo "---- rank $rank at $(date +%T)"
        gdb -q -batch -p $pid -ex "thread apply all backtrace 12" 2> /dev/null | grep -E "^(#|Thread)"
    done
    wait $pid ;;
esac'
if in_job; then
    # shellcheck disable=SC2206 # options are words
    start=(srun --mpi="$MPI" -K1 -n "$n" --overlap --label $SRUN_OPTS)
else
    start=("${MPIEXEC:-mpiexec.mpich}" -n "$n" -prepend-rank)
    command -v "${start[0]}" > /dev/null || start[0]=mpiexec
fi
say "${start[*]} ... train --config $config ${args[*]}"
"${start[@]}" bash -c "$task" - "$mode" "${who:--1}" "${prefix[@]}" train --config "$config" "${args[@]}"
