#!/usr/bin/env bash
# debug.sh [-n RANKS] [--gdb RANK | --watch RANK] [CONFIG [ARGUMENT...]]: a short run to look into: two ranks (default), one thread
# each, errors in full. In a Slurm allocation; outside of one it asks for one (salloc), or without Slurm uses mpiexec.
#   --gdb RANK    that rank under gdb; at a terminal with its prompt, else run at once with a trace of all threads where it stops;
#                 the others go on
#   --watch RANK  every 10 seconds where that rank is: its threads' stacks
# Without CONFIG: a shell on the first node of the allocation, to call it from.
set -u
script=debug.sh
UCX_HANDLE_ERRORS=${UCX_HANDLE_ERRORS-bt}
# shellcheck source=jobscripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
n=2 mode=none who=-1
while :; do
    case ${1-} in
    -n) n=${2-} ;;
    --gdb | --watch) mode=${1#--} who=${2-} ;;
    -*) die "$1: debug.sh [-n RANKS] [--gdb RANK | --watch RANK] [CONFIG [ARGUMENT...]]" ;;
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
program
if [ $# -gt 0 ]; then
    config=$(resolve configuration "$1") || exit 1
    d=--training.distributed
    arguments "$d.num_gpus" "$n" "$d.hsdp_replicate_dim" 1 "$d.hsdp_shard_dim" "$n" --training.threads 1 "${@:2}"
    [ "$mode" != gdb ] || args+=(--training.watchdog_s 0) # a rank at a prompt is no stall
    (cd "$root" && judge "$n" "$config" "${args[@]}") || exit 1
fi
if ! in_job && command -v salloc > /dev/null && timeout 10 sinfo -h > /dev/null 2>&1; then
    ask=(salloc --job-name=debug -n "$n" ${PARTITION:+--partition="$PARTITION"} ${ACCOUNT:+--account="$ACCOUNT"} ${GPUS_PER_NODE:+--gpus-per-task=1})
    say "$(quoted "${ask[@]}" "$self" "${given[@]}")"
    exec "${ask[@]}" "$self" "${given[@]}"
fi
# Errors in full: the libraries' words, CUDA's faults at the call that made them, core files.
export NCCL_DEBUG=${NCCL_DEBUG-INFO} UCX_LOG_LEVEL=${UCX_LOG_LEVEL-warn} CUDA_LAUNCH_BLOCKING=${CUDA_LAUNCH_BLOCKING-1}
ulimit -c unlimited 2> /dev/null
cd "$root" || exit 1
if [ $# -eq 0 ]; then
    start=(bash)
    if in_job; then
        start=(srun --mpi=none --overlap -N 1 -n 1)
        [ ! -t 0 ] || start+=(--pty)
        start+=(bash)
    fi
    say "a shell: $self [--gdb RANK | --watch RANK] CONFIG"
    exec "${start[@]}"
fi
tty=''
if [ "$mode" = gdb ] && [ -t 0 ]; then mode=prompt; fi
if in_job; then
    start+=(-n "$n" --overlap)
    if [ "$mode" = prompt ]; then start+=(--input="$who" --unbuffered --disable-status); else start+=(--label); fi
else
    mpiexec_ranks "$n"
    start+=(-prepend-rank)
    if [ "$mode" = prompt ]; then # mpiexec gives its input to rank 0: the rank reads the terminal itself
        tty=$(tty)
        exec < /dev/null
    fi
fi
# One task of the step: the program, alone or watched. PMI_RANK and SLURM_PROCID are set by the launchers.
# shellcheck disable=SC2016 # the task's shell expands
task='rank=${SLURM_PROCID-${PMI_RANK-0}} mode=$1 who=$2 tty=$3; shift 3
if [ "$rank" != "$who" ]; then [ $mode != prompt ] || trap "" INT; exec "$@"; fi
gdb=(gdb -q -ex "handle SIGUSR1 SIGUSR2 SIGTERM nostop noprint pass")
case $mode in
prompt)
    [ -z "$tty" ] || exec < "$tty" > "$tty" 2>&1
    exec "${gdb[@]}" --args "$@" ;;
gdb) exec "${gdb[@]}" -batch -ex run -ex "thread apply all backtrace" --args "$@" ;;
watch)
    "$@" & pid=$!
    while sleep 10 && kill -0 $pid 2> /dev/null; do
        echo "---- rank $rank at $(date +%T)"
        gdb -q -batch -p $pid -ex "thread apply all backtrace 12" 2> /dev/null | grep -E "^(#|Thread)"
    done
    wait $pid ;;
esac'
say "$(quoted "${start[@]}" ... train --config "$config" "${args[@]}")"
"${start[@]}" bash -c "$task" - "$mode" "$who" "$tty" "${prefix[@]}" train --config "$config" "${args[@]}"
