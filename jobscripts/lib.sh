# shellcheck shell=bash
# What the job scripts share; a script sources it and then says what runs. A job says what it will do, refuses early, launches,
# and turns the program's exit code into what the batch system should do. Called outside of a job, a script submits itself.
# Everything that a site changes is a variable of load_site, from the environment or from one file: $SITE_CONF, else
# site.conf beside this file, else ~/.config/reel/site.conf (site.conf.example lists them).

jobscripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$jobscripts/.." && pwd)
script=${script-$(basename "$0")}
caller=${SLURM_SUBMIT_DIR-$PWD}

say() { echo "$script: $*" >&2; }
die() {
    say "$*"
    exit 1
}

# ---- what a site changes ----

read_site() {
    local f
    for f in "${SITE_CONF-}" "$jobscripts/site.conf" "${HOME-}/.config/reel/site.conf"; do
        [ -n "$f" ] || continue
        if [ -f "$f" ]; then
            # shellcheck source=/dev/null
            . "$f" || die "$f: not a file of shell variables"
            say "site: $f"
            return 0
        fi
        [ "$f" != "${SITE_CONF-}" ] || die "SITE_CONF: $f does not exist"
    done
}

load_site() {
    read_site
    : "${REEL:=$root/build/reel}" # the program
    : "${MODULES:=}"              # names for `module load`
    : "${CONTAINER:=}"            # an Apptainer image that has REEL
    : "${CONTAINER_OPTS:=--nv}"   # options of apptainer exec
    : "${STAGE_DIR:=}"            # node-local folder to copy DATA to before training
    : "${DATA:=}"                 # the data set, where it is staged
    : "${SRUN_OPTS:=}"            # more options of srun
    : "${MPI:=pmi2}"              # srun --mpi
    : "${REQUEUE:=yes}"           # after a preemption, the end of the wall time, a lost node or rank
    : "${RESTARTS:=20}"           # at most so often
    : "${HDF5_LOCKING:=FALSE}"    # parallel file systems often lack locks
    : "${ROMIO_HINTS_FILE:=}"     # hints for MPI-IO: striping, aggregators
    : "${SBATCH_OPTS:=}"          # of a script that submits itself: --partition=gpu --account=me ...
    export HDF5_USE_FILE_LOCKING=$HDF5_LOCKING
    [ -z "$ROMIO_HINTS_FILE" ] || export ROMIO_HINTS=$ROMIO_HINTS_FILE
    local m
    for m in $MODULES; do module load "$m" || die "module load $m failed"; done
}

# ---- early refusals ----

# The program, in its container if there is one.
program() {
    # shellcheck disable=SC2206 # options are words
    if [ -n "$CONTAINER" ]; then prefix=(apptainer exec $CONTAINER_OPTS "$CONTAINER" "$REEL"); else prefix=("$REEL"); fi
    if [ -n "$CONTAINER" ]; then
        [ -f "$CONTAINER" ] || die "CONTAINER: $CONTAINER does not exist"
        command -v apptainer > /dev/null || die "CONTAINER is set, but apptainer is not installed"
    elif [ ! -x "$REEL" ]; then
        die "$REEL is not built: run $jobscripts/setup.sh first, or set REEL"
    fi
}

# A file given relative to where the caller stands.
resolve() { # resolve WHAT PATH
    local p=$2
    [ "${p#/}" != "$p" ] || p=$caller/$p
    if [ ! -e "$p" ] && [ -e "$root/$2" ]; then p=$root/$2; fi
    [ -e "$p" ] || die "$1 $2 does not exist (looked in $caller and $root)"
    echo "$p"
}

# Reads the configuration as the run will, and compares its ranks with those there are.
judge() { # judge RANKS CONFIG [argument...]
    local n=$1 config=$2 out ranks
    shift 2
    out=$("${prefix[@]}" train --config "$config" --dry-run "$@" 2>&1) || die "the configuration is refused:
$out"
    ranks=$(sed -n 's/^plan: \([0-9]*\) rank.*/\1/p' <<< "$out" | head -n 1)
    if [ -n "$ranks" ] && [ "$ranks" != "$n" ]; then
        die "$config is for $ranks ranks, but there are $n: set training.distributed (num_gpus and the layout) or the number of tasks"
    fi
}

# ---- the batch system ----

in_job() { [ -n "${SLURM_JOB_ID-}" ]; }

submit() { # submit ARGUMENT...: this script, as a job
    command -v sbatch > /dev/null || die "not inside a Slurm job and no sbatch here; without Slurm: $jobscripts/run.sh CONFIG"
    say "submitting with: sbatch $SBATCH_OPTS $jobscripts/$script $*"
    # shellcheck disable=SC2086 # options are words
    exec sbatch $SBATCH_OPTS "$jobscripts/$script" "$@"
}

# Ends the job: again from the last checkpoint, where that may help.
conclude() { # conclude EXIT-CODE
    case $1 in
    0) say "done" ;;
    1) say "an error that starting again does not cure" ;;
    75) again "saved before the end of the time or a preemption" 75 ;;
    *) again "ended with code $1: a lost rank or node, or a fault" "$1" ;;
    esac
    exit "$1"
}

again() { # again WHY CODE
    local n=${SLURM_RESTART_COUNT:-0}
    if [ "$REQUEUE" != yes ]; then
        say "$1; REQUEUE is not yes: start it again yourself"
    elif [ "$n" -ge "$RESTARTS" ]; then
        say "$1; restarted $n times already, RESTARTS=$RESTARTS is the limit"
    else
        say "$1: requeue number $((n + 1))"
        scontrol requeue "$SLURM_JOB_ID" || die "scontrol requeue failed; sbatch the script again, it goes on from the last checkpoint"
        sleep 120 # the batch system ends this script
    fi
    exit "$2"
}

# Runs in the background and passes signals on, so that they reach every rank at once.
launch() { # launch COMMAND...
    local step rc sig
    "$@" &
    step=$!
    for sig in USR1 TERM USR2; do
        # shellcheck disable=SC2064 # expanded now: the step's number
        trap "say 'SIG$sig: passed on to all ranks'; kill -$sig $step 2> /dev/null" $sig
    done
    while :; do
        wait $step
        rc=$?
        kill -0 $step 2> /dev/null || break # else a signal ended the wait, not the step
    done
    trap - USR1 TERM USR2
    return $rc
}

# The program on all tasks of the job. Returns its exit code.
run_ranks() { # run_ranks ARGUMENT...
    export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK-1} # srun does not inherit it
    say "srun --mpi=$MPI -K1 $SRUN_OPTS ${prefix[*]} $*"
    # shellcheck disable=SC2086 # options are words
    launch srun --mpi="$MPI" -K1 $SRUN_OPTS "${prefix[@]}" "$@"
}

# One copy of DATA per node; $data is the copy's place.
stage() {
    data=$DATA
    [ -n "$STAGE_DIR" ] && [ -n "$DATA" ] || return 0
    data=$STAGE_DIR/reel-$SLURM_JOB_ID/$(basename "$DATA")
    say "copying $DATA to $data on every node"
    # shellcheck disable=SC2016 # the node's shell expands
    srun --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 bash -c 'mkdir -p "$(dirname "$2")" && cp -r "$1" "$2"' - "$DATA" "$data" ||
        die "copying to STAGE_DIR failed"
}

# ---- a training job ----

# job_train CONFIG [argument...]: from the last checkpoint, if there is one
job_train() {
    local config args=()
    config=$(resolve configuration "$1") || exit 1
    shift
    cd "$root" || exit 1
    program
    case " $* " in *" --resume"*) ;; *) args=(--resume-from-checkpoint latest) ;; esac
    args+=("$@")
    [ -z "$DATA" ] || args+=(--training.data.data_path "$DATA")
    judge "$SLURM_NTASKS" "$config" "${args[@]}"
    stage
    [ "$data" = "$DATA" ] || args+=(--training.data.data_path "$data")
    say "job $SLURM_JOB_ID, restart ${SLURM_RESTART_COUNT:-0}, $SLURM_NTASKS ranks on $SLURM_JOB_NUM_NODES nodes ($SLURM_JOB_NODELIST)"
    run_ranks train --config "$config" "${args[@]}"
    conclude $?
}

load_site
