#!/bin/sh
# The job scripts without a batch system: clean shell, early refusals in one line, run.sh and debug.sh from any directory.
# shellcheck source=tests/lib.sh
. "$REEL_SRC/tests/lib.sh"
jobs=$(realpath -s "$REEL_SRC/jobscripts") # as scripts name themselves
REEL=$REEL_BUILD/reel HOME=$TMPDIR LOG_DIR=$TMPDIR/logs
export REEL HOME LOG_DIR
unset SLURM_JOB_ID
if command -v shellcheck > /dev/null; then
    try "shellcheck" sh -c "cd '$REEL_SRC' && shellcheck -x jobscripts/*.sh tests/check.sh"
else
    skip "shellcheck" "not installed (tests/packages.txt)"
fi
cd "$TMPDIR" || exit 1
sed "s|init_from: tiny|init_from: $REEL_SRC/tests/tiny|; s|output_dir: out|output_dir: $TMPDIR/run|; s|data_path: data.h5|data_path: $TMPDIR/data.h5|" \
    "$REEL_SRC/tests/tiny.yaml" > tiny.yaml

mkdir late # a tee that a busy machine lets wait
printf '#!/bin/sh\nsleep 1\nexec %s "$@"\n' "$(command -v tee)" > late/tee
chmod +x late/tee
PATH=$TMPDIR/late:$PATH try "run.sh from another directory" "$jobs/run.sh" tiny.yaml
log=$(find "$TMPDIR/logs" -name 'tiny_[0-9]*_[0-9]*.log')
grep -q "wait for ranks" "$log"
verdict $? "its log has the closing table"
d=--training.distributed
NUM_GPUS=2
export NUM_GPUS
fails "a world of another size" "tiny.yaml is for 1 ranks, but there are 2" "$jobs/run.sh" tiny.yaml
try "two ranks, resumed" "$jobs/run.sh" tiny.yaml $d.num_gpus 2 $d.hsdp_shard_dim 2 --training.loop.max_train_steps 8 --resume latest
[ -d run/checkpoint-8 ]
verdict $? "went on"
unset NUM_GPUS
fails "no configuration" "which run? run.sh CONFIG" "$jobs/run.sh"
fails "one that is missing" "configuration none.yaml does not exist" "$jobs/run.sh" none.yaml
fails "one that is refused" "did you mean 'learning_rate'" "$jobs/run.sh" tiny.yaml --training.optimizer.learning_rat 1
REEL=$TMPDIR/none fails "a program that is not built" "none is not built: run .*setup.sh" "$jobs/run.sh" tiny.yaml
SITE_CONF=$TMPDIR/none fails "a site file that is missing" "SITE_CONF: .*none does not exist" "$jobs/run.sh" tiny.yaml
echo "REEL='$TMPDIR/elsewhere'" > site
SITE_CONF=$TMPDIR/site fails "the site's program" "elsewhere is not built" env -u REEL "$jobs/run.sh" tiny.yaml

fails "a number that is none" "RESTARTS=many: a number is wanted" env RESTARTS=many "$jobs/run.sh" tiny.yaml

# packages, from a server that has a bad moment: commands that only do as if, and nothing to build
mkdir -p apt/bin apt/build
cat > apt/bin/dpkg-query << EOF
#!/bin/sh
[ ! -e '$TMPDIR/apt/there' ] || echo 'install ok installed'
EOF
cat > apt/bin/apt-get << EOF
#!/bin/sh
for a in "\$@"; do case \$a in update | install) echo "\$a" >> '$TMPDIR/apt/calls' ;; esac done
case \$(grep -c . '$TMPDIR/apt/calls') in [13]) exit 100 ;; 5) : > '$TMPDIR/apt/there' ;; esac
EOF
# shellcheck disable=SC2016 # its own
printf '#!/bin/sh\nexec "$@"\n' > apt/bin/sudo
printf '#!/bin/sh\n' > apt/bin/sleep
chmod +x apt/bin/*
echo 'all:' > apt/build/Makefile
echo > apt/build/setup.args
PATH=$TMPDIR/apt/bin:$PATH try "setup.sh asks for packages again" "$jobs/setup.sh" "$TMPDIR/apt/build"
same "from the beginning, after a while" "update update install update install 2" "$(tr '\n' ' ' < apt/calls)$(grep -c 'again in' out)"

# a script that submits itself, with a batch system that only says what it was told
mkdir bin
# shellcheck disable=SC2016 # its own
printf '#!/bin/sh\necho "$PWD"; printf "<%%s>" "$@"\n' > bin/sbatch
chmod +x bin/sbatch
path=$PATH PATH=$TMPDIR/bin:$PATH
submits() { # submits TEXT WANTED-WORDS COMMAND...
    su_text=$1 su_want=$2
    shift 2
    "$@" > "$TMPDIR/out" 2>&1
    same "$su_text" "$TMPDIR $su_want" "$(tail -n 2 "$TMPDIR/out" | tr '\n' ' ')"
}
# shellcheck disable=SC2086 # words
fails "too many tasks, before the queue" "tiny.yaml is for 1 ranks, but there are 8" "$jobs/sft_1node.sh" tiny.yaml
fails "no data" "data_path: none.h5 is not there" "$jobs/sft_1node.sh" tiny.yaml --training.data.demo_clips 0 --training.data.data_path none.h5 $d.num_gpus 8 $d.hsdp_shard_dim 8 --training.data.train_batch_size 1
same "and nothing is submitted" 0 "$(grep -c '^<' out)"
PARTITION=gpu ACCOUNT=me GPUS_PER_NODE=1 SBATCH_OPTS=--qos=low submits "the site's options" \
    "<--gpus-per-node=1><--ntasks-per-node=1><--partition=gpu><--account=me><--qos=low><$jobs/sft_1node.sh><tiny.yaml>" "$jobs/sft_1node.sh" tiny.yaml
printf 'PARTITION=file\nACCOUNT=file\n' > site
SITE_CONF=$TMPDIR/site PARTITION=env SBATCH_OPTS="-N 1 -n 1" submits "the environment goes before the file" \
    "<--partition=env><--account=file><-N><1><-n><1><$jobs/dmd2_8gpu.sh><tiny.yaml>" "$jobs/dmd2_8gpu.sh" tiny.yaml
SBATCH_OPTS="--nodes=1 --ntasks-per-node=1" try "--dry-run" "$jobs/self_forcing_multinode.sh" tiny.yaml --dry-run
same "says what would be submitted and run, and the plan" 1-1-1-0 \
    "$(grep -c 'would submit: sbatch --nodes=1' out)-$(grep -c 'would run on 1 ranks, 1 nodes: srun .*reel train' out)-$(grep -c '^plan: 1 ranks' out)-$(grep -c '^<' out)"
SBATCH_OPTS="-N 1 -n 1" try "bench.sh --dry-run: a configuration that saves and validates" "$jobs/bench.sh" "$REEL_SRC/configs/sft_demo.yaml" --dry-run
same "does neither" "1 0" "$(grep -c 'the configuration is valid' out) $(grep -c '^  save\|validation  ' out)"
try "run.sh --dry-run" "$jobs/run.sh" tiny.yaml --dry-run
same "submits nothing" "0 1" "$(grep -c 'would submit' out) $(grep -c 'would run on 1 ranks, 1 nodes: mpiexec.* -n 1 .*reel train' out)"
try "preprocess.sh --dry-run" "$jobs/preprocess.sh" --demo-clips 4 --output set.h5 --dry-run
same "has a job" 1-1 "$(grep -c 'would submit: sbatch .*preprocess.sh --demo-clips 4' out)-$(grep -c 'would run on 16 ranks, 1 nodes: srun .*reel preprocess --output .*/set.h5 --demo-clips 4' out)"

# where a job begins: $1 is in its words. The step is only said.
# shellcheck disable=SC2016 # its own
printf '#!/bin/sh\nprintf "<%%s>" "$@"\nexit "${STEP_CODE:-0}"\n' > bin/srun
# shellcheck disable=SC2016
printf '#!/bin/sh\nif [ "$1" = requeue ]; then kill $PPID; else echo "step JobState=RUNNING Reason=None"; fi\n' > bin/scontrol
chmod +x bin/srun bin/scontrol
mkdir -p own
cp -r run/checkpoint-8 own/
begins() { # begins TEXT WORDS OUT START [argument...]
    be_text=$1 be_words=$2 be_out=$3 be_start=$4
    shift 4
    SLURM_JOB_ID=1 SLURM_NTASKS=1 SLURM_JOB_NODELIST=n1 SLURM_RESTART_COUNT=$be_start "$jobs/sft_1node.sh" tiny.yaml "$@" \
        --override-output-dir "$TMPDIR/$be_out" > out 2>&1
    same "$be_text" "$be_words" "$(grep '^<' out | grep -oE '<--re[^>]*><[^>]*>|<--training.checkpoint.re[^>]*><[^>]*>' | tr '\n' ' ' | sed "s|$TMPDIR/||g; s/ \$//")"
}
latest="<--resume-from-checkpoint><latest>" named="<--resume><run/checkpoint-8>"
begins "a first job with checkpoints goes on from the newest" "$latest" own 0
begins "one that names a checkpoint begins there" "$named" own 0 --resume run/checkpoint-8
begins "by its key too" "<--training.checkpoint.resume_from_checkpoint><run/checkpoint-8>" own 0 --training.checkpoint.resume_from_checkpoint run/checkpoint-8
begins "and goes on from its own when it is requeued" "$named $latest" own 1 --resume run/checkpoint-8
begins "unless there is none yet" "$named" new 1 --resume run/checkpoint-8
begins "or it left a branch" "$named" run 1 --resume run/checkpoint-8
# restarts that get further do not count, others do
again() { # again TEXT STEP_CODE NOTED WANTED PATTERN: NOTED and WANTED as in the file of notes, WANTED - if it is gone
    ag_text=$1 ag_want=$4 ag_said=$5
    echo "$3" > slurm-1.restarts
    STEP_CODE=$2 SLURM_JOB_ID=1 SLURM_NTASKS=1 SLURM_RESTART_COUNT=25 "$jobs/sft_1node.sh" tiny.yaml --override-output-dir "$TMPDIR/own" > out 2>&1
    grep -q "$ag_said" out
    verdict $? "$ag_text" out
    same "and that is noted" "$ag_want" "$(cat slurm-1.restarts 2> /dev/null || echo -)"
}
at=$TMPDIR/own/checkpoint-8
again "the 26th start of a long chain" 75 "0 $TMPDIR/own/checkpoint-4" "0 $at" "saved before the end of the time or a preemption: requeue number 26"
again "a fault after a new checkpoint" 70 "5 $TMPDIR/own/checkpoint-4" "0 $at" "ended with code 70: .*: requeue number 26"
again "one in vain" 70 "4 $at" "5 $at" "ended with code 70: .*: requeue number 26"
again "one too many" 70 "5 $at" - "restarted 5 times in a row from $at, and got no further: RESTARTS=5 is the limit"
same "nothing is started then" 0 "$(grep -c '^<' out)"
again "an end" 0 "2 $at" - "sft_1node.sh: done"
again "an error that does not go away" 1 "2 $at" - "an error that starting again does not cure"
for noted in '' 'x y'; do
    [ -z "$noted" ] || echo "$noted" > slurm-1.restarts
    STEP_CODE=70 SLURM_JOB_ID=1 SLURM_NTASKS=1 SLURM_RESTART_COUNT=6 "$jobs/sft_1node.sh" tiny.yaml --override-output-dir "$TMPDIR/own" > out 2>&1
    grep -q "RESTARTS=5 is the limit" out
    verdict $? "where '$noted' is noted every restart counts" out
done
mkdir -p set.h5.unfinished && printf 'clip' > set.h5.unfinished/part-00000
STEP_CODE=75 SLURM_JOB_ID=1 SLURM_NTASKS=1 SLURM_RESTART_COUNT=0 "$jobs/preprocess.sh" --demo-clips 4 --output set.h5 > out 2>&1
same "preprocessing goes on from the clips that there are" "0 4 bytes of clips" "$(cat slurm-1.restarts)"
rm -f slurm-1.restarts

# shellcheck disable=SC2016 # its own
printf '#!/bin/sh\ntrap "" USR1\nkill -USR1 $PPID\n' > bin/srun
SLURM_JOB_ID=1 SLURM_NTASKS=1 SLURM_JOB_NODELIST=n1 try "a signal in the moment in which the step ends well" "$jobs/sft_1node.sh" tiny.yaml
same "is passed on, and that is all" "1 1" "$(grep -c 'SIGUSR1: SIGUSR1 to all ranks' out) $(grep -c '^sft_1node.sh: done' out)"
# one between the start of the step and the note of its number: the step has begun to listen, and the shell is asked to wait for that
# shellcheck disable=SC2016 # its own
printf '#!/bin/sh\ntrap "exit 75" USR1\n: > "$LISTENS"\nfor _ in $(seq 2400); do sleep 0.05; done\n' > bin/srun
cat > early << 'EOF'
set -T
trap 'case $BASH_COMMAND in "step=\$!") until [ -e "$LISTENS" ]; do sleep 0.05; done; kill -USR1 $$; : ;; esac' DEBUG
EOF
LISTENS=$TMPDIR/listens BASH_ENV=$TMPDIR/early SLURM_JOB_ID=1 SLURM_NTASKS=1 "$jobs/sft_1node.sh" tiny.yaml > out 2>&1
grep -q "saved before the end of the time or a preemption: requeue number 1" out
verdict $? "a signal in the moment in which the step begins" out

# cancelled by a preemption: asked for again at once, and the ranks save also where that is refused
cat > bin/srun << 'EOF'
#!/bin/sh
trap 'exit 75' USR1
kill -TERM $PPID
for _ in $(seq 2400); do sleep 0.05; done
EOF
# shellcheck disable=SC2016 # its own
printf '#!/bin/sh\nif [ "$1" = requeue ]; then exit $REFUSED; else echo "step JobState=PREEMPTED Reason=None PreemptTime=2030-01-01T00:00:00"; fi\n' > bin/scontrol
for REFUSED in 0 1; do
    export REFUSED
    SLURM_JOB_ID=1 SLURM_NTASKS=1 "$jobs/sft_1node.sh" tiny.yaml > out 2>&1
    same "cancelled by a preemption, a requeue's code is $REFUSED: the ranks save" "75 1 $REFUSED 1" "$? $(grep -c 'a preemption: requeue number 1' out) $(
        grep -c 'scontrol requeue failed' out) $(grep -c 'saved .*; the batch system has ended the job (PREEMPTED None)' out)"
done
rm -f slurm-1.restarts
fails "a checkpoint that is not there" "no folder nothing" env SLURM_JOB_ID=1 SLURM_NTASKS=1 "$jobs/sft_1node.sh" tiny.yaml --resume nothing
fails "a node's rank" "one start is enough" env NODE_RANK=1 "$jobs/run.sh" tiny.yaml
fails "nodes without hosts" "which hosts?" env NNODES=2 "$jobs/run.sh" tiny.yaml
PATH=$(dirname "$(command -v sed)"):/bin
if ! command -v sbatch > /dev/null; then
    fails "a job without a batch system" "no sbatch here" env SBATCH_OPTS=-n1 "$jobs/dmd2_8gpu.sh" tiny.yaml
fi
PATH=$path
try "debug.sh" "$jobs/debug.sh" tiny.yaml --override-output-dir "$TMPDIR/debug"
if command -v gdb > /dev/null; then
    try "a rank under gdb" "$jobs/debug.sh" --gdb 1 tiny.yaml --override-output-dir "$TMPDIR/debug1"
    grep -q '^\[1\].*exited normally' "$TMPDIR/out"
    verdict $? "it was the one"
fi
fails "a rank that does not exist" "a rank from 0 to 1" "$jobs/debug.sh" --gdb 2 tiny.yaml
fails "a chain of nothing" "which job?" "$jobs/chain.sh"
for what in videos captions prompts tensors; do
    SLURM_JOB_ID=1 fails "no such $what" "$what none does not exist" "$jobs/preprocess.sh" --output x.h5 --$what none
    same "and nothing is launched" 0 "$(grep -c 'srun --mpi' "$TMPDIR/out")"
done
plan
