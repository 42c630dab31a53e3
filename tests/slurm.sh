# shellcheck shell=sh
# A private Slurm on this machine's loopback: two nodes of 16 processors and 8 pretended GPUs each. Source it after lib.sh; needs root
# and the packages of tests/packages.txt. slurm_up DIR, then SLURM_CONF is set; slurm_down ends what slurm_up began.
# slurm_task: its TaskPlugin (task/none); slurm_cpus: processors of a node (16).

# What has a limit of time has one that no machine reaches that is only busy, or that stood still for minutes: nodes that do not answer,
# jobs whose processes do not end. cred_expire is how long a start may take, and a requeued job waits.
slurm_conf() { # slurm_conf HOST PORT
    cat << EOF
ClusterName=reel
SlurmctldHost=$1(127.0.0.1)
SlurmctldPort=$2
SlurmdPort=$(($2 + 1))
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$slurm_dir/run/munge.sock,cred_expire=15
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$slurm_dir/state
SlurmdSpoolDir=$slurm_dir/run/spool-%n
SlurmctldPidFile=$slurm_dir/run/slurmctld.pid
SlurmdPidFile=$slurm_dir/run/slurmd-%n.pid
SlurmctldLogFile=$slurm_dir/log/slurmctld.log
SlurmdLogFile=$slurm_dir/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=${slurm_task-task/none}
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0,batch_sched_delay=0
SlurmdParameters=config_overrides
GresTypes=gpu
MpiDefault=pmi2
ReturnToService=2
JobRequeue=1
KillOnBadExit=1
MinJobAge=36000
InactiveLimit=0
KillWait=30
WaitTime=0
SlurmctldTimeout=3600
SlurmdTimeout=3600
BatchStartTimeout=3600
UnkillableStepTimeout=3600
MessageTimeout=60
TCPTimeout=30
PropagateResourceLimitsExcept=MEMLOCK,CORE
NodeName=n1 NodeHostname=$1 NodeAddr=127.0.0.1 Port=$(($2 + 2)) CPUs=${slurm_cpus-16} RealMemory=8000 Gres=gpu:8 State=UNKNOWN
NodeName=n2 NodeHostname=$1 NodeAddr=127.0.0.1 Port=$(($2 + 3)) CPUs=${slurm_cpus-16} RealMemory=8000 Gres=gpu:8 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
PartitionName=urgent Nodes=n[1-2] PriorityTier=10 MaxTime=INFINITE State=UP OverSubscribe=NO
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
EOF
}

# used STATES PORT...: one of the ports is, in a state of those (two hexadecimal digits, a pattern; 0A listens)
used() {
    us_states=$1
    shift
    for us_p in "$@"; do
        grep -qsiE ":$(printf %04X "$us_p") [0-9A-F]+:[0-9A-F]+ $us_states " /proc/net/tcp /proc/net/tcp6 && return 0
    done
    return 1
}
unused() { ! used "$@"; }

slurmd_up() { # slurmd_up NODE
    mkdir -p "$slurm_dir/run/spool-$1"
    slurmd -f "$SLURM_CONF" -N "$1"
}

slurm_up() { # slurm_up DIR
    slurm_dir=$1
    mkdir -p "$slurm_dir/etc" "$slurm_dir/run" "$slurm_dir/state" "$slurm_dir/log" "$slurm_dir/dev"
    chmod 755 "$slurm_dir" "$slurm_dir"/*
    (umask 077 && head -c 1024 /dev/urandom > "$slurm_dir/etc/munge.key")
    munged --force --key-file="$slurm_dir/etc/munge.key" --socket="$slurm_dir/run/munge.sock" --pid-file="$slurm_dir/run/munged.pid" \
        --log-file="$slurm_dir/log/munged.log" --seed-file="$slurm_dir/run/munge.seed" --num-threads=2 || return 1
    SLURM_CONF=$slurm_dir/etc/slurm.conf
    export SLURM_CONF
    slurm_port=$((20000 + $$ % 2500 * 4)) # of four in a row, which no other process of this machine begins with
    while used .. $slurm_port $((slurm_port + 1)) $((slurm_port + 2)) $((slurm_port + 3)); do slurm_port=$((slurm_port + 4)); done
    slurm_conf "$(hostname -s)" "$slurm_port" > "$SLURM_CONF"
    for s_k in 0 1 2 3 4 5 6 7; do ln -sfn /dev/null "$slurm_dir/dev/gpu$s_k"; done
    echo "Name=gpu File=$slurm_dir/dev/gpu[0-7]" > "$slurm_dir/etc/gres.conf"
    slurmctld -f "$SLURM_CONF" -c || return 1
    slurmd_up n1 && slurmd_up n2 || return 1
    await slurm_idle
}

slurm_idle() { [ "$(sinfo -h -t idle -o %D 2> /dev/null)" = 2 ]; }

slurm_pid() { cat "$slurm_dir/run/$1.pid" 2> /dev/null; }

slurm_down() {
    scancel -f -u root > /dev/null 2>&1
    for _ in $(seq 100); do
        [ -n "$(squeue -h 2> /dev/null)" ] || break
        sleep 0.1
    done
    for s_d in slurmd-n1 slurmd-n2 slurmctld munged; do
        s_p=$(slurm_pid $s_d)
        [ -z "$s_p" ] || kill "$s_p" 2> /dev/null
    done
    sleep 0.5
    # step daemons that outlived their slurmd, and their tasks
    for s_d in slurmstepd srun reel; do
        for s_p in $(processes $s_d environ "SLURM_CONF=$SLURM_CONF"); do kill -KILL "$s_p" 2> /dev/null; done
    done
    return 0
}

# job_state JOB, job_wait JOB SECONDS: until it has ended
job_state() { scontrol show job -o "$1" | sed -n 's/.* JobState=\([A-Z_]*\).*/\1/p' | sort -u; }
job_code() { scontrol show job -o "$1" | sed -n 's/.* ExitCode=\([0-9]*\):.*/\1/p'; }
job_wait() {
    for _ in $(seq $(($2 * 5))); do
        case $(job_state "$1") in COMPLETED | FAILED | CANCELLED | PREEMPTED | NODE_FAIL | TIMEOUT) return 0 ;; esac
        sleep 0.2
    done
    return 1
}
