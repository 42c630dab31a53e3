#!/bin/sh
# Cores of ranks under a real Slurm: what its task plugin binds stays, what it leaves on the same cores is divided.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
. "$REEL_SRC/tests/where.sh"
. "$REEL_SRC/tests/slurm.sh"
if [ "$(id -u)" != 0 ] || ! command -v slurmctld > /dev/null || ! command -v munged > /dev/null; then
    skip "cores under Slurm" "needs root, slurmctld, slurmd and munge (tests/packages.txt)"
    plan
    exit 0
fi
if ! two_processors; then
    skip "cores under Slurm" "wants two cores of one NUMA node, and this process may use the processors $(may_use | tr '\n' ' ')"
    plan
    exit 0
fi
slurm_task=task/affinity slurm_cpus=2
trap slurm_down EXIT
slurm_up "$TMPDIR/slurm"
verdict $? "a Slurm that binds tasks"

step() { # step OUT SRUN-OPTION... : two ranks under srun on one node; $gave: what tasks that do nothing else are given so, as $map says it
    st_out=$1
    shift
    gave=$(srun -N1 -n2 --cpus-per-task=1 "$@" sh -c 'echo "$SLURM_PROCID:$(sed -n "s/^Cpus_allowed_list:[[:space:]]*//p" /proc/self/status)"' |
        sort | tr '\n' ' ')
    TEST_LAUNCHER="srun --mpi=pmi2 -K1 -N1 --cpus-per-task=1 $*" run "$st_out" 2
}
of_rank() { echo "$gave" | tr ' ' '\n' | sed -n "s/^$1://p"; } # of_rank RANK: its processors in $gave
step cores --cpu-bind=cores
c0=$(of_rank 0) c1=$(of_rank 1)
if [ "$c0" = "$c1" ]; then
    skip "what Slurm binds" "this Slurm gives both tasks the processors $c0"
else
    same "srun --cpu-bind=cores" "$map" "$gave"
    says "the ranks stay there" cores "processors $c1, NUMA [0-9,]*, bound by the launcher, 1 thread"
    step swapped --cpu-bind="map_cpu:${c1%%[-,]*},${c0%%[-,]*}"
    same "srun --cpu-bind=map_cpu" "$map" "0:${c1%%[-,]*} 1:${c0%%[-,]*} "
    step default
    same "srun as it is" "$map" "$gave"
    says "is bound by Slurm" default "processors $(of_rank 0), NUMA [0-9,]*, bound by the launcher, 1 thread"
fi
step none --cpu-bind=none
same "srun --cpu-bind=none" "$gave" "0:$both 1:$both "
same "the ranks divide the cores" "$map" "0:$a 1:$b "
says "and say so" none "processors $b, NUMA $numa, bound by reel, 1 thread"

# the protocol between srun and MPI
grep -q 'Slurm: srun --mpi=pmi2' "$REEL_BUILD/config.log"
verdict $? "configure says how jobs start"
srun --mpi=none -N1 -n2 "$REEL_BUILD/reel" check "$TMPDIR/nothing" > "$TMPDIR/out" 2>&1
same "tasks that do not know one another are refused, in one message with the cure" \
    "$(grep -c 'the Slurm step has 2 tasks but MPI sees a world of one rank.*start with .srun --mpi=pmi2' "$TMPDIR/out") $(grep -c '^reel: ' "$TMPDIR/out")" "1 1"
plan
