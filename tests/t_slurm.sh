#!/bin/sh
# The job scripts under a real Slurm of two nodes: each runs a tiny configuration; jobs that are preempted, killed, lose a rank or
# a node or run out of time start again and end with the weights of the run that nothing happened to.
# timeout: 1800
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
. "$REEL_SRC/tests/slurm.sh"
if [ "$(id -u)" != 0 ] || ! command -v slurmctld > /dev/null || ! command -v munged > /dev/null; then
    skip "jobs under Slurm" "needs root, slurmctld, slurmd and munge (tests/packages.txt)"
    plan
    exit 0
fi
hash() { "$REEL_BUILD/tests/ckpt_tool" hash "$1"; }
jobs=$REEL_SRC/jobscripts
steps=100
d=--training.distributed
REEL=$REEL_BUILD/reel HOME=$TMPDIR
export REEL HOME
unset SITE_CONF

trap slurm_down EXIT
slurm_up "$TMPDIR/slurm"
verdict $? "a Slurm of two nodes"

# submit OUT SCRIPT [sbatch option...] -- [argument...]: $job
submit() {
    out=$1 job_script=$2
    shift 2
    opts=''
    while [ "$1" != -- ]; do opts="$opts $1" && shift; done
    shift
    # shellcheck disable=SC2086 # options are words
    job=$(cd "$TMPDIR" && sbatch --parsable --cpus-per-task=1 --output="$TMPDIR/$out.log" $opts "$jobs/$job_script" "$@")
}
tiny_args() { # tiny_args RANKS OUT: of tests/tiny.yaml, the global batch is 8
    echo --models.student.init_from "$REEL_SRC/tests/tiny" --training.data.data_path "$TMPDIR/data.h5" \
        $d.num_gpus "$1" $d.hsdp_shard_dim "$1" --training.data.train_batch_size $((8 / $1)) --training.threads 1 \
        --training.loop.max_train_steps $steps --training.checkpoint.training_state_checkpointing_steps 50 --training.checkpoint.save sync \
        --override-output-dir "$TMPDIR/$2"
}
ended() { # ended TEXT STATE
    job_wait "$job" 900
    e_state=$(job_state "$job")
    if [ "$e_state" = "$2" ]; then ok "$1"; else not_ok "$1: $e_state"; show "$TMPDIR/$out.log" | tail -n 30; fi
}
said() { # said TEXT OUT PATTERN
    grep -q -e "$3" "$TMPDIR/$2.log"
    verdict $? "$1" "$TMPDIR/$2.log"
}
restarts() { scontrol show job -o "$job" | sed -n 's/.* Restarts=\([0-9]*\).*/\1/p'; }

# the run that nothing happens to
# shellcheck disable=SC2046 # words
submit whole sft_1node.sh --ntasks-per-node=2 --gpus-per-node=2 -- "$REEL_SRC/tests/tiny.yaml" $(tiny_args 2 whole)
ended "sft_1node.sh" COMPLETED
want=$(hash "$TMPDIR/whole/checkpoint-$steps")

# A run stands still when its rank 1 has stopped itself (REEL_FAULT=stall:1:N, in step N): nothing ends it before what is to happen to
# it. What goes on from the last checkpoint makes fewer steps than N.
stands() { # stands OUT: $held is that rank
    for held in $(processes reel cmdline "$TMPDIR/$1"); do
        if grep -qs '^State:.T' "/proc/$held/status"; then return 0; fi
    done
    return 1
}
held() {
    await stands "$1" && return 0
    not_ok "$1 stands still"
    show "$TMPDIR/$1.log" | tail -n 20
}
goes_on() { kill -CONT "$held" 2> /dev/null; }
has_signal() { grep -qs "^ShdPnd:.*$1\$" "/proc/$held/status"; }
# tell SIGNAL JOB PENDING: the batch script, which tells its ranks; the stopped one will see PENDING, the end of a set of signals
tell() {
    scancel --batch --signal="$1" "$2"
    await has_signal "$3"
    goes_on
}
USR1=2.. USR2=8..

# What happens to a job after some steps; it starts again and ends as if nothing had.
cut_job() { # cut_job NAME RESTARTS TEXT WHAT [training override...]
    c_name=$1 c_n=$2 c_text=$3 c_what=$4
    shift 4
    # shellcheck disable=SC2046 # words
    REEL_FAULT=stall:1:60 submit "$c_name" self_forcing_multinode.sh --nodes=2 --ntasks-per-node=1 --gpus-per-node=1 -- \
        "$REEL_SRC/tests/tiny.yaml" $(tiny_args 2 "$c_name") "$@"
    held "$c_name"
    $c_what
    ended "$c_text: the job ends well" COMPLETED
    [ "$(restarts)" -ge "$c_n" ] # a lost node may cost one start more
    verdict $? "$c_text: the job was restarted"
    same "$c_text: the weights of a run that nothing happened to" "$want" "$(hash "$TMPDIR/$c_name/checkpoint-$steps")"
}
usr1() { tell USR1 "$job" $USR1; }
term() { tell TERM "$job" $USR1; } # as USR1: srun told to terminate would kill
requeue() { scontrol requeue "$job" && goes_on; }
kill_rank() { kill -KILL "$held"; }
stop_rank() { :; }
on_n2() { # on_n2 NAME: processes of that name on the second node
    for o_p in $(processes "$1" environ "SLURM_CONF=$SLURM_CONF"); do
        if grep -qszxF -e SLURMD_NODENAME=n2 "/proc/$o_p/environ"; then echo "$o_p"; fi
    done
}
kill_node() { # the second one: its daemon, the step there and its rank
    # shellcheck disable=SC2046 # a list
    kill -KILL $(slurm_pid slurmd-n2) $(on_n2 slurmstepd) $(on_n2 reel)
    goes_on
    scontrol update nodename=n2 state=down reason=lost
    await unused 0A $((slurm_port + 3)) # the daemon is gone
    slurmd_up n2
    scontrol update nodename=n2 state=resume
}
cut_job usr1 1 "SIGUSR1" usr1
said "the job says why" usr1 "saved before the end of the time or a preemption: requeue number 1"
cut_job term 1 "SIGTERM" term
said "the job has saved" term "saved before the end of the time or a preemption: requeue number 1"
cut_job requeue 1 "scontrol requeue" requeue
cut_job rank 1 "a killed rank" kill_rank
said "the job says why" rank "a lost rank or node"
! grep -q backtrace "$TMPDIR/rank.log"
verdict $? "and MPI says no more than it must"
cut_job stop 1 "a stopped rank" stop_rank --training.watchdog_s 6
said "the log names it" stop "did not arrive: .*, and its process does not respond\|all ranks on .* wait; who is missing runs on another node"
cut_job node 1 "a lost node" kill_node

# PreemptMode=CANCEL: a job of more importance takes the nodes, and this one is not requeued by Slurm
preempt() {
    urgent=$(sbatch --parsable --partition=urgent --nodes=2 --exclusive --output=/dev/null --wrap true)
    job_wait "$urgent" 900
    goes_on
}
cut_job cancelled 1 "cancelled by a preemption" preempt
said "the job asked for it" cancelled "cancelled by a preemption: requeue number 1"

# suspended for longer than the watchdog waits, as by gang scheduling or PreemptMode=SUSPEND: in a step in which all ranks stop
# themselves, until Slurm lets the job go on
both_stand() {
    # shellcheck disable=SC2046 # words
    set -- $(processes reel cmdline "$TMPDIR/pause")
    [ $# = 2 ] && grep -qs '^State:.T' "/proc/$1/status" && grep -qs '^State:.T' "/proc/$2/status"
}
srun_stopped() {
    for s_p in $(processes srun environ "SLURM_JOB_ID=$job"); do
        if grep -qs '^State:.T' "/proc/$s_p/status"; then return 0; fi
    done
    return 1
}
# shellcheck disable=SC2046 # words
REEL_FAULT=stall:-1:60 submit pause self_forcing_multinode.sh --nodes=2 --ntasks-per-node=1 --gpus-per-node=1 -- \
    "$REEL_SRC/tests/tiny.yaml" $(tiny_args 2 pause) --training.watchdog_s 10
await both_stand
try "scontrol suspend" scontrol suspend "$job"
await srun_stopped
verdict $? "stops what is the job's"
sleep 14
try "scontrol resume" scontrol resume "$job"
ended "the job ends well" COMPLETED
same "without a restart" 0 "$(restarts)"
same "the weights of a run that nothing happened to" "$want" "$(hash "$TMPDIR/pause/checkpoint-$steps")"
said "the log has a word for it" pause " was stopped for [0-9.]* s (a suspended job, or SIGSTOP) and goes on"
awk -F'[:,}]' '{ for (i = 1; i < NF; i++) v[$i] = $(i + 1) } /"pause"/ { paused = 1 }
    / "step_time_sec"/ { t = v[" \"time\""]; if (paused) { n++; bad += v[" \"step_time_sec\""] > t - before - 14 + 0.5 } paused = 0; before = t }
    END { exit !(n && !bad) }' "$TMPDIR/pause/tracker/metrics.jsonl"
verdict $? "and that step's time does not hold the pause" "$TMPDIR/pause/tracker/metrics.jsonl"

# a job that dies before its first step, again and again
# shellcheck disable=SC2046 # words
REEL_FAULT=comm_wait:1:1 submit vain sft_1node.sh --ntasks-per-node=2 --gpus-per-node=2 -- "$REEL_SRC/tests/tiny.yaml" $(tiny_args 2 vain)
ended "three restarts in vain: the job gives up" FAILED
same "after so many" "$(restarts)" 3
said "and says why" vain "job $job was started 3 times from step 0 and never reached another checkpoint"

# a checkpoint on demand
# shellcheck disable=SC2046 # words
REEL_FAULT=stall:1:50 submit usr2 sft_1node.sh --ntasks-per-node=2 --gpus-per-node=2 -- "$REEL_SRC/tests/tiny.yaml" $(tiny_args 2 usr2) \
    --training.checkpoint.training_state_checkpointing_steps 0
held usr2
tell USR2 "$job" $USR2
ended "SIGUSR2: the job goes on to its end" COMPLETED
same "and saved once more on the way" "$(find "$TMPDIR/usr2" -maxdepth 1 -name 'checkpoint-*' | wc -l)" 2

# cancelled is not preempted
# shellcheck disable=SC2046 # words
REEL_FAULT=stall:1:30 submit ended sft_1node.sh --ntasks-per-node=2 --gpus-per-node=2 -- "$REEL_SRC/tests/tiny.yaml" $(tiny_args 2 ended)
held ended
scancel "$job"
goes_on
ended "scancel: the job ends" CANCELLED
said "with a checkpoint" ended "saved before the end of the time or a preemption; the batch system has ended the job"

# what a site changes: a module, a container, a staged copy of the data
mkdir -p "$TMPDIR/site/bin" "$TMPDIR/site/local" "$TMPDIR/site/modules/apptainer"
# shellcheck disable=SC2016 # its own
printf '#!/bin/sh\necho "[$MADE] $*"; shift 4; exec "$@"\n' > "$TMPDIR/site/bin/apptainer"
chmod +x "$TMPDIR/site/bin/apptainer"
: > "$TMPDIR/site/image.sif"
printf 'prepend_path("PATH", "%s")\nsetenv("MADE", "by Lmod")\n' "$TMPDIR/site/bin" > "$TMPDIR/site/modules/apptainer/1.0.lua"
cat > "$TMPDIR/site/conf" << EOF
export MODULEPATH=$TMPDIR/site/modules
MODULES=apptainer/1.0
CONTAINER=$TMPDIR/site/image.sif
CONTAINER_OPTS="--bind /scratch"
DATA_PATH=$TMPDIR/data.h5
STAGE_DIR=$TMPDIR/site/local
EOF
if [ -f /usr/share/lmod/lmod/init/bash ]; then
    # shellcheck disable=SC2046 # words
    SITE_CONF=$TMPDIR/site/conf submit site sft_1node.sh --ntasks-per-node=1 --gpus-per-node=1 -- "$REEL_SRC/tests/tiny.yaml" \
        $(tiny_args 1 site) --training.loop.max_train_steps 2 --training.data.demo_clips 0
    ended "a site's module, container and staged data" COMPLETED
    said "the container that the module brought" site "^.by Lmod. exec --bind /scratch $TMPDIR/site/image.sif $REEL train .*$TMPDIR/site/local/reel-$job/data.h5"
    same "the copy is removed" 0 "$(find "$TMPDIR/site/local" | tail -n +2 | wc -l)"
else
    skip "a site's module, container and staged data" "no Lmod (tests/packages.txt)"
fi

# a prompt of gdb on one rank, in an allocation that debug.sh asks for
if command -v gdb > /dev/null && command -v script > /dev/null; then
    (cd "$TMPDIR" && printf 'break reel_run_loop\nrun\nbacktrace 1\ncontinue\nquit\n' |
        script -qec "$jobs/debug.sh --gdb 1 $REEL_SRC/tests/tiny.yaml $(tiny_args 2 debug) --training.loop.max_train_steps 2" /dev/null > "$TMPDIR/debug.log" 2>&1)
    same "gdb's prompt on one rank of an allocation" 11 "$(grep -c '#0 .*reel_run_loop' "$TMPDIR/debug.log")$(grep -c 'exited normally' "$TMPDIR/debug.log")"
else
    skip "gdb's prompt on one rank of an allocation" "no gdb, or no script"
fi

# every other script
# shellcheck disable=SC2046 # words
submit dmd2 dmd2_8gpu.sh -- "$REEL_SRC/tests/tiny_dmd2.yaml" $(tiny_args 8 dmd2) --training.loop.max_train_steps 5 \
    --models.teacher.init_from "$REEL_SRC/tests/tiny" --models.critic.init_from "$REEL_SRC/tests/tiny"
ended "dmd2_8gpu.sh, eight ranks" COMPLETED
submit films preprocess.sh --ntasks-per-node=2 -- --demo-clips 20 --output films.h5
ended "preprocess.sh" COMPLETED
try "its set is whole" "$REEL_BUILD/reel" check "$TMPDIR/films.h5"

# preprocessing that is preempted in the middle of a film goes on there
try "two films of 61 pictures" "$REEL" generate --config "$REEL_SRC/tests/tiny.yaml" --models.student.init_from "$REEL_SRC/tests/tiny" --sampler real \
    --clips 2 --frames 61 --height 64 --width 64 --out "$TMPDIR/clips"
for film in "$TMPDIR"/clips/*.mp4; do printf '%s\tthings move\n' "$film"; done > "$TMPDIR/list"
cut_films() { # cut_films NAME TEXT WHAT
    REEL_FAULT=stall:1:23 submit "$1" preprocess.sh --nodes=2 --ntasks-per-node=1 -- --captions list --windows --train-fps 0 --height 64 --width 64 \
        --num-frames 5 --output "$1"
    held "$1"
    $3
    ended "preprocess.sh, $2: the job ends well" COMPLETED
    same "$2: after one restart" "$(restarts)" 1
    said "$2: the job says why" "$1" "saved before the end of the time or a preemption: requeue number 1"
    said "$2: and that it goes on" "$1" "preprocess: [1-9][0-9]* samples of an earlier run are kept, [01] of 2 are done; going on"
    same "$2: the set of a run that nothing happened to" "$(sha256sum < "$TMPDIR/whole.h5")" "$(sha256sum < "$TMPDIR/$1")"
}
try "a run that nothing happens to" "$REEL" preprocess --captions "$TMPDIR/list" --windows --train-fps 0 --height 64 --width 64 --num-frames 5 \
    --output "$TMPDIR/whole.h5"
cut_films cut-usr1.h5 SIGUSR1 usr1
cut_films cut-term.h5 SIGTERM term
printf 'one\ntwo\nthree\n' > "$TMPDIR/prompts"
submit texts preprocess.sh --array=0-1 --ntasks-per-node=1 -- --prompts prompts --output texts/set
ended "preprocess.sh, an array" COMPLETED
"$REEL_BUILD/reel" check "$TMPDIR/texts" 2>&1 | grep -q "3 samples in 2 files"
verdict $? "has every prompt"
# shellcheck disable=SC2046 # words
submit timed bench.sh --ntasks-per-node=2 --gpus-per-node=2 -- "$REEL_SRC/tests/tiny.yaml" $(tiny_args 2 timed) --training.loop.max_train_steps 20
ended "bench.sh" COMPLETED
said "and its table" timed "backward"

# refusals, early
# shellcheck disable=SC2046 # words
submit wrong sft_1node.sh --ntasks-per-node=4 -- "$REEL_SRC/tests/tiny.yaml" $(tiny_args 2 wrong)
ended "a world of another size" FAILED
said "says which" wrong "is for 2 ranks, but there are 4"
submit none sft_1node.sh -- no/such.yaml
ended "a configuration that is missing" FAILED
said "says where it looked" none "no/such.yaml does not exist"
REEL=$TMPDIR/nothing submit unbuilt sft_1node.sh -- "$REEL_SRC/tests/tiny.yaml"
ended "a program that is not built" FAILED
said "says how" unbuilt "is not built: run .*setup.sh"
# shellcheck disable=SC2046 # words
submit bad sft_1node.sh --ntasks-per-node=2 -- "$REEL_SRC/tests/tiny.yaml" $(tiny_args 2 bad) --training.loop.max_train_step 3
ended "a misspelt key" FAILED
said "says the nearest" bad "did you mean 'max_train_steps'"

# a launcher that MPI does not speak with
# shellcheck disable=SC2046 # words
MPI=none submit alone sft_1node.sh --ntasks-per-node=2 --gpus-per-node=2 -- "$REEL_SRC/tests/tiny.yaml" $(tiny_args 2 alone)
ended "a world of one in a step of two" FAILED
said "says the cure" alone "srun --mpi=pmi2"

# jobs that may not requeue themselves, in a chain
# shellcheck disable=SC2046 # words
chain=$(cd "$TMPDIR" && REEL_FAULT=stall:1:60 SBATCH_OPTS="--ntasks-per-node=2 --gpus-per-node=2 --cpus-per-task=1 --output=$TMPDIR/chain.log" \
    "$jobs/chain.sh" -n 4 sft_1node.sh "$REEL_SRC/tests/tiny.yaml" $(tiny_args 2 chain) 2>&1)
verdict $? "a chain of four jobs"
# shellcheck disable=SC2046 # job numbers
set -- $(echo "$chain" | sed -n 's/^chain.sh: job \([0-9]*\),.*/\1/p')
held chain
tell USR1 "$1" $USR1
for job in "$@"; do job_wait "$job" 900; done
same "the first is ended, the second finishes the run, the others are cancelled" "FAILED COMPLETED CANCELLED CANCELLED" \
    "$(job_state "$1") $(job_state "$2") $(job_state "$3") $(job_state "$4")"
same "the weights of a run that nothing happened to" "$want" "$(hash "$TMPDIR/chain/checkpoint-$steps")"
plan
