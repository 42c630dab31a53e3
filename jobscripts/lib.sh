# shellcheck shell=bash
# What the job scripts share; a script sources it and then says what runs. A job says what it will do, refuses early, launches,
# and turns the program's exit code into what the batch system should do. Called outside of a job, a script looks at what the job
# would look at, and submits itself; with --dry-run it ends before that.
# Everything that a site changes is a variable of `site`: its default here, else its value in one file, else in the environment. The
# file: $SITE_CONF, else site.conf beside this one, else ~/.config/reel/site.conf (site.conf.example says what the variables are).

jobscripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$jobscripts/.." && pwd)
script=${script-$(basename "$0")}
self=$(realpath -s "$0")
caller=$PWD
given=("$@") # arguments of the script
site=(REEL= MODULES= CONTAINER= CONTAINER_OPTS=--nv PARTITION= ACCOUNT= GPUS_PER_NODE= SBATCH_OPTS= SRUN_OPTS= MPI=pmi2
    DATA_PATH= STAGE_DIR= REQUEUE=yes RESTARTS=5 HDF5_LOCKING=FALSE ROMIO_HINTS_FILE=)

say() { echo "$script: $*" >&2; }
die() {
    say "$*"
    exit 1
}

quoted() { printf '%q ' "$@"; } # a command, as it may be typed

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

# `module` is a function of login shells, which a job need not have.
load_modules() {
    local m f
    [ -n "$MODULES" ] || return 0
    set +u # not written for it
    for f in "${LMOD_PKG-}/init/bash" "${MODULESHOME-}/init/bash" /etc/profile.d/{lmod,z00_lmod,modules}.sh \
        /usr/share/{lmod/lmod,modules}/init/bash; do
        # shellcheck source=/dev/null
        if ! command -v module > /dev/null && [ -f "$f" ]; then . "$f"; fi
    done
    command -v module > /dev/null || die "MODULES is set, but there is no \`module\` here: let the site's file source its init/bash"
    for m in $MODULES; do module load "$m" || die "module load $m failed"; done
    set -u
}

load_site() {
    local v name kept=()
    for v in "${site[@]}"; do
        name=${v%%=*}
        [ -z "${!name+set}" ] || kept+=("$name=${!name}")
        declare -g "$v"
    done
    read_site
    for v in "${kept[@]}"; do declare -g "$v"; done
    case $RESTARTS in '' | *[!0-9]*) die "RESTARTS=$RESTARTS: a number is wanted" ;; esac
    export HDF5_USE_FILE_LOCKING=${HDF5_USE_FILE_LOCKING-$HDF5_LOCKING}
    export UCX_HANDLE_ERRORS=${UCX_HANDLE_ERRORS-none} # bt: when a rank is lost, MPI prints the stacks of the others
    [ -z "$ROMIO_HINTS_FILE" ] || export ROMIO_HINTS=$ROMIO_HINTS_FILE
    load_modules
    if in_job; then
        nodes=${SLURM_JOB_NUM_NODES:-1}
        tasks=${SLURM_NTASKS:-$nodes}
    else
        ask
    fi
}

# ---- early refusals ----

# The program, in its container if there is one.
program() {
    local run
    if [ -n "$CONTAINER" ]; then
        CONTAINER=$(resolve CONTAINER "$CONTAINER") || exit 1
        run=$(command -v apptainer || command -v singularity) || die "CONTAINER is set, but apptainer is not installed"
        # shellcheck disable=SC2206 # options are words
        prefix=("$run" exec $CONTAINER_OPTS "$CONTAINER" "${REEL:=reel}")
        return
    fi
    if [ -z "$REEL" ]; then
        REEL=$root/build/reel
        if [ ! -x "$REEL" ] && command -v reel > /dev/null; then REEL=reel; fi
    fi
    case $REEL in /* | reel) ;; */*) REEL=$caller/$REEL ;; esac
    command -v "$REEL" > /dev/null || die "$REEL is not built: run $jobscripts/setup.sh first, or set REEL"
    prefix=("$REEL")
}

# A file given relative to where the caller stands.
resolve() { # resolve WHAT PATH
    local p=$2
    [ "${p#/}" != "$p" ] || p=$caller/$p
    if [ ! -e "$p" ] && [ -e "$root/$2" ]; then p=$root/$2; fi
    [ -e "$p" ] || die "$1 $2 does not exist (looked in $caller and $root)"
    echo "$p"
}

# Reads the configuration as the run will, and compares its ranks with those there are. $plan is what it would be.
judge() { # judge RANKS CONFIG [argument...]
    local n=$1 config=$2 rc ranks lacks
    shift 2
    plan=$("${prefix[@]}" train --config "$config" --dry-run "$@" 2>&1)
    rc=$?
    if [ $rc -gt 1 ] && is_early; then # a login node may have no MPI, or another processor
        say "${prefix[*]} does not run here ($rc), so the job looks at the configuration: $(tail -n 1 <<< "$plan")"
        return
    fi
    [ $rc -eq 0 ] || die "the configuration is refused:
$plan"
    ranks=$(sed -n 's/^plan: \([0-9]*\) rank.*/\1/p' <<< "$plan" | head -n 1)
    if [ -n "$ranks" ] && [ -n "$n" ] && [ "$ranks" != "$n" ]; then
        die "$config is for $ranks ranks, but there are $n: set training.distributed (num_gpus and the layout) or the number of tasks"
    fi
    lacks=$(sed -n 's/^lacks: //p' <<< "$plan")
    [ -z "$lacks" ] || die "$lacks"
}

# ---- the batch system ----

in_job() { [ -n "${SLURM_JOB_ID-}" ]; }
is_early() { [ "${start[0]}" = srun ] && ! in_job; } # the job that would start the ranks is yet to come

# The number that an option of sbatch has in $words, the last time: option LONG [SHORT]
option() { grep -oE -- " (--$1[= ]|${2:---$1=}) *[0-9]+ " <<< "$words" | grep -oE '[0-9]+' | tail -n 1; }

# Nodes and tasks of the job that this script would become, as its own lines and the site's options say; $opts for sbatch.
ask() {
    local words per
    words=$(sed -n 's/^#SBATCH/ /p' "$0" | tr '\n' ' ')
    # shellcheck disable=SC2206 # options are words
    opts=(${PARTITION:+--partition="$PARTITION"} ${ACCOUNT:+--account="$ACCOUNT"} $SBATCH_OPTS)
    case $GPUS_PER_NODE$words in
    [0-9]*--gpus-per-node*) opts=(--gpus-per-node="$GPUS_PER_NODE" --ntasks-per-node="$GPUS_PER_NODE" "${opts[@]}") ;;
    esac
    words="$words $(printf ' %s ' "${opts[@]}")"
    nodes=$(option nodes -N)
    per=$(option ntasks-per-node)
    tasks=$(option ntasks -n)
    tasks=${tasks:-$((${nodes:=1} * ${per:-1}))}
}

submit() { # this script, as a job
    command -v sbatch > /dev/null || die "not inside a Slurm job and no sbatch here; without Slurm: $jobscripts/run.sh CONFIG"
    say "submitting with: $(quoted sbatch "${opts[@]}" "$self" "${given[@]}")"
    cd "$caller" && exec sbatch "${opts[@]}" "$self" "${given[@]}"
}

# A job may start again as often as it gets further. What this start goes on from is noted before it works, so that it has been
# however it ends; restarts from one place are in vain, and RESTARTS of them in a row end the job.
notes='' # the file
note() { echo "$1 $from" > "$notes" || say "$notes cannot be written, so every restart counts against RESTARTS"; } # note TIMES-IN-VAIN
note_start() { # note_start WHERE
    local n=${SLURM_RESTART_COUNT:-0} vain place
    notes=$caller/slurm-$SLURM_JOB_ID.restarts from=$1
    if [ "$n" -eq 0 ]; then vain=0
    elif ! read -r vain place 2> /dev/null < "$notes" || [[ $vain = *[!0-9]* ]]; then vain=$n
    elif [ "$place" = "$from" ]; then vain=$((vain + 1))
    else vain=0; fi
    [ "$vain" -le "$RESTARTS" ] || conclude 1 "restarted $RESTARTS times in a row from $from, and got no further: RESTARTS=$RESTARTS is the limit"
    note "$vain"
}

# Ends the job: again from the last checkpoint, where that may help.
conclude() { # conclude EXIT-CODE [WHY]
    case $1 in 0 | 1) [ -z "$notes" ] || rm -f "$notes" ;; esac
    case $1 in
    0) say "done" ;;
    1) say "${2:-an error that starting again does not cure}" ;;
    75) again "saved before the end of the time or a preemption" 75 ;;
    *) again "ended with code $1: ${passed:-a lost rank or node, or a fault}" "$1" ;;
    esac
    exit "$1"
}

job_name() { # the number alone may mean a whole array
    if [ -n "${SLURM_ARRAY_TASK_ID-}" ]; then echo "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"; else echo "$SLURM_JOB_ID"; fi
}

requeue() { # requeue WHY
    say "$1: requeue number $((${SLURM_RESTART_COUNT:-0} + 1))"
    scontrol requeue "$(job_name)" && return
    say "scontrol requeue failed; sbatch the script again, it goes on from the last checkpoint"
    return 1
}

again() { # again WHY CODE
    local state
    state=$(scontrol show job -o "$(job_name)" | sed -n 's/.* JobState=\([A-Z_]*\) Reason=\([A-Za-z]*\).*/\1 \2/p')
    case $state in
    *" TimeLimit" | *RUNNING*) ;;
    *[A-Z]*) say "$1; the batch system has ended the job ($state)" && exit "$2" ;; # scancel, or a requeue of its own, or ours
    esac
    if [ "$REQUEUE" != yes ]; then
        say "$1; REQUEUE is not yes: start it again yourself"
    else
        requeue "$1" || exit 1
        sleep 120 # the batch system ends this script
    fi
    exit "$2"
}

# Where preempted jobs are cancelled and not requeued (PreemptMode=CANCEL), this one asks for it at once: there may be no time after the save.
reclaim() {
    [ "$REQUEUE" = yes ] && in_job || return
    case $(scontrol show job -o "$(job_name)") in *JobState=RUNNING*) ;; *" PreemptTime="[0-9]*) requeue "cancelled by a preemption" ;; esac
}

pass_on() { # pass_on SIGNAL AS: to every rank
    passed=SIG$1
    say "SIG$1: SIG$2 to all ranks"
    if [ -n "$step" ]; then kill "-$2" "$step" 2> /dev/null; else early=$2; fi
    [ "$1" != TERM ] || reclaim
}

# Runs in the background and passes signals on, so that they reach every rank at once. All that mean an end become USR1, which the program
# ends in order at and launchers pass on: told to terminate, srun kills its step.
launch() { # launch COMMAND...
    local step='' early='' rc sig
    passed=''
    for sig in USR1 TERM INT HUP; do
        # shellcheck disable=SC2064 # expanded now
        trap "pass_on $sig USR1" $sig
    done
    trap 'pass_on USR2 USR2' USR2
    set -m # a process group of its own: what a terminal sends comes here only
    "$@" < /dev/null &
    step=$!
    set +m
    [ -z "$early" ] || kill "-$early" "$step" 2> /dev/null
    while :; do
        wait "$step"
        kill -0 "$step" 2> /dev/null || break # else a signal ended the wait, not the step
    done
    wait "$step" # or both ended at once
    rc=$?
    trap - USR1 TERM USR2 INT HUP
    return $rc
}

# The program on all tasks of the job. Returns its exit code.
run_ranks() { # run_ranks ARGUMENT...
    export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK-1} # srun does not inherit it
    say "$(quoted "${start[@]}" "${prefix[@]}" "$@")"
    launch "${start[@]}" "${prefix[@]}" "$@"
}

per_node() { # per_node SECONDS COMMAND ARGUMENT...: once on every node; 0 seconds are no limit
    timeout "$1" srun --mpi=none --ntasks="$nodes" --ntasks-per-node=1 bash -c "$2" - "${@:3}"
}

# One copy of DATA_PATH per node, at $data, until the job ends.
stage() {
    data=$DATA_PATH
    [ -n "$STAGE_DIR" ] && [ -n "$DATA_PATH" ] || return 0
    data=$STAGE_DIR/reel-$SLURM_JOB_ID/$(basename "$DATA_PATH")
    say "copying $DATA_PATH to $data on every node"
    # shellcheck disable=SC2016 # the node's shell expands
    per_node 0 'rm -rf "$3" && mkdir -p "$3" && cp -r "$1" "$2"' "$DATA_PATH" "$data" "${data%/*}" && return
    unstage
    die "copying to STAGE_DIR=$STAGE_DIR failed"
}

unstage() {
    [ "$data" != "$DATA_PATH" ] || return 0
    # shellcheck disable=SC2016 # the node's shell expands
    per_node 60 'rm -rf "$1"' "${data%/*}" || say "${data%/*} may stay on a node"
}

# ---- without a batch system ----

# $start: MPI's launcher on this host, or on those of HOSTFILE.
mpiexec_ranks() { # mpiexec_ranks RANKS
    local shm
    start=("${MPIEXEC:-mpiexec.mpich}" -n "$1")
    command -v "${start[0]}" > /dev/null || start[0]=mpiexec
    command -v "${start[0]}" > /dev/null || die "no ${MPIEXEC:-mpiexec} here: install MPICH, or set MPIEXEC"
    # containers may have no /dev/shm, or a tiny one: then MPI must not put its shared memory there
    shm=$(df --output=avail -B1M /dev/shm 2> /dev/null | tail -n 1) || true
    if [ -w /dev/shm ] && [ "${shm:-0}" -ge 64 ] || [ -n "${UCX_TLS-}${HOSTFILE-}" ]; then return; fi
    say "/dev/shm is not usable, MPI uses System V shared memory"
    export UCX_TLS=self,sysv,cma
}

# ---- a training job ----

# The script's arguments as $args: a checkpoint to resume is relative to where the caller stands, if it is there; it is $named then.
arguments() { # arguments ARGUMENT...
    local a flag='' key value
    args=() named=''
    for a in "$@"; do
        key='' value=$a
        case $a in --resume=* | --resume-from-checkpoint=* | --training.checkpoint.resume_from_checkpoint=*) key=${a%%=*} value=${a#*=} ;; esac
        case ${key:-$flag} in
        --resume | --resume-from-checkpoint | --training.checkpoint.resume_from_checkpoint)
            if [ "${value#/}" = "$value" ] && [ -e "$caller/$value" ]; then value=$caller/$value; fi
            named=$value
            ;;
        esac
        args+=("${key:+$key=}$value")
        flag=$a
    done
}

# A job goes on from its last checkpoint; where there is none yet, as the configuration says. A checkpoint that the arguments name is
# where the first start of a job, or the first job of a chain, begins.
origin() { # origin CONFIG
    local latest=(--resume-from-checkpoint latest) found own
    from='the beginning'
    if [ -n "$named" ] && [ "${SLURM_RESTART_COUNT:-0}" -eq 0 ] && [ "${CHAIN_LINK:-1}" -eq 1 ]; then return; fi
    found=$("${prefix[@]}" train --config "$1" "${args[@]}" "${latest[@]}" --dry-run 2> /dev/null | grep -E '^(lacks|resume): ') || return
    own=$(sed -n 's/^resume: //p' <<< "$found")
    from=${own:-$from}
    # where the named one lies among them, the newest may be of the branch that was left
    if [ -n "$named" ] && [ "$(dirname "$(realpath -m "$own")")" = "$(dirname "$(realpath -m "$named")")" ]; then return; fi
    args+=("${latest[@]}")
}

would() { # would ARGUMENT...: what a dry run says would be submitted and run
    ! is_early || say "would submit: $(quoted sbatch "${opts[@]}" "$self" "${given[@]}")"
    say "would run on $tasks ranks, $nodes nodes: $(quoted "${start[@]}" "${prefix[@]}" "$@")"
}

# --dry-run ends here: what would be run, and its plan.
look() { # look CONFIG
    case " ${args[*]} " in *" --dry-run "*) ;; *) return 0 ;; esac
    would train --config "$1" "${args[@]}"
    echo "$plan"
    exit 0
}

job_train() { # job_train CONFIG [argument...]
    local config rc
    config=$(resolve configuration "$1") || exit 1
    [ -z "$DATA_PATH" ] || DATA_PATH=$(resolve DATA_PATH "$DATA_PATH") || exit 1
    arguments "${@:2}"
    program
    cd "$root" || exit 1
    [ -z "$DATA_PATH" ] || args+=(--training.data.data_path "$DATA_PATH")
    origin "$config"
    judge "$tasks" "$config" "${args[@]}"
    look "$config"
    in_job || submit
    note_start "$from"
    stage
    [ "$data" = "$DATA_PATH" ] || args+=(--training.data.data_path "$data")
    say "job $SLURM_JOB_ID, restart ${SLURM_RESTART_COUNT:-0}, $tasks ranks on $nodes nodes (${SLURM_JOB_NODELIST-Slurm does not say which})"
    run_ranks train --config "$config" "${args[@]}"
    rc=$?
    [ $rc -ne 75 ] || note 0 # of ends in order the program itself knows whether it got further
    unstage
    conclude $rc
}

load_site
# shellcheck disable=SC2206 # options are words
start=(srun --mpi="$MPI" -K1 $SRUN_OPTS)
