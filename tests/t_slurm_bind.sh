#!/bin/sh
# Cores of ranks under a real Slurm: what its task plugin binds stays, what it leaves on the same cores is divided.
# timeout: 600
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
. "$REEL_SRC/tests/where.sh"
. "$REEL_SRC/tests/slurm.sh"
if [ "$(id -u)" != 0 ] || ! command -v slurmctld > /dev/null || ! command -v munged > /dev/null; then
    skip "cores under Slurm" "needs root, slurmctld, slurmd and munge (tests/packages.txt)"
    plan
    exit 0
fi
if [ "$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)" != 0-1 ]; then
    skip "cores under Slurm" "the lists below are of the processors 0 and 1"
    plan
    exit 0
fi
slurm_task=task/affinity slurm_cpus=2
trap slurm_down EXIT
slurm_up "$TMPDIR/slurm"
verdict $? "a Slurm that binds tasks"

step() { # step OUT RANKS SRUN-OPTION... : run, under srun on one node
    st_out=$1 st_n=$2
    shift 2
    TEST_LAUNCHER="srun --mpi=pmi2 -K1 -N1 --cpus-per-task=1 $*" run "$st_out" "$st_n"
}
step cores 2 --cpu-bind=cores
same "srun --cpu-bind=cores" "$map" "0:0 1:1 "
says "the ranks stay there" cores "processors 1, NUMA 0, bound by the launcher, 1 thread"
step swapped 2 --cpu-bind=map_cpu:1,0
same "srun --cpu-bind=map_cpu" "$map" "0:1 1:0 "
step none 2 --cpu-bind=none
same "srun --cpu-bind=none" "$map" "0:0 1:1 "
says "the ranks divide the cores" none "processors 1, NUMA 0, bound by reel, 1 thread"
step default 2
same "srun as it is" "$map" "0:0 1:1 "
says "is bound by Slurm" default "processors 0, NUMA 0, bound by the launcher, 1 thread"

# the protocol between srun and MPI
grep -q 'Slurm: srun --mpi=pmi2' "$REEL_BUILD/config.log"
verdict $? "configure says how jobs start"
srun --mpi=none -N1 -n2 "$REEL_BUILD/reel" check "$TMPDIR/nothing" > "$TMPDIR/out" 2>&1
same "tasks that do not know one another are refused, in one message with the cure" \
    "$(grep -c 'the Slurm step has 2 tasks but MPI sees a world of one rank.*start with .srun --mpi=pmi2' "$TMPDIR/out") $(grep -c '^reel: ' "$TMPDIR/out")" "1 1"
plan
