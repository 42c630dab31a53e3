# shellcheck shell=sh
# Where the threads of a training run may run, and what it says of that. Source it after lib.sh and train.sh.

may_use() { # the processors that this script may use, one a line; the list of /proc names those of an empty socket too
    taskset -cp $$ | sed 's/.*: *//' | tr ',' '\n' | while IFS=- read -r m_from m_to; do seq "$m_from" "${m_to:-$m_from}"; done
}
node_of() { # node_of PROCESSOR: its NUMA node
    for n_d in /sys/devices/system/cpu/cpu"$1"/node[0-9]*; do
        if [ -e "$n_d" ]; then echo "${n_d##*/node}"; else echo 0; fi
        break
    done
}
core_of() { cat "/sys/devices/system/cpu/cpu$1/topology/thread_siblings_list" 2> /dev/null || echo "$1"; } # core_of PROCESSOR: its hyperthreads

# two_processors: this script and what it starts run on $a < $b alone from here on, of two cores beside one NUMA node, $numa; $both is
# their list. Fails if it may not use such two.
two_processors() {
    for a in $(may_use); do
        numa=$(node_of "$a")
        for b in $(may_use); do
            [ "$b" -gt "$a" ] && [ "$(node_of "$b")" = "$numa" ] && [ "$(core_of "$b")" != "$(core_of "$a")" ] || continue
            both=$a,$b
            [ "$b" -gt $((a + 1)) ] || both=$a-$b
            taskset -cp "$both" $$ > "$TMPDIR/out" 2>&1
            return
        done
    done
    return 1
}

stepped() { [ ! -d "/proc/$r_pid" ] || grep -qs '"step_time_sec"' "$TMPDIR/$r_out/tracker/metrics.jsonl"; }

# run OUT RANKS [override...]: where the threads of each rank may run while it trains: $map, of rank 0 first; then the run is ended
run() {
    r_out=$1
    shift
    r_n=$1
    shift
    train "$r_n" "$TMPDIR/$r_out" --training.loop.max_train_steps 100000 "$@" > "$TMPDIR/$r_out.log" 2>&1 &
    r_pid=$!
    await stepped
    map=
    for r_p in $(processes reel cmdline "$TMPDIR/$r_out"); do
        r_rank=$(tr '\0' '\n' < "/proc/$r_p/environ" | sed -n 's/^PMI_RANK=//p;s/^SLURM_PROCID=//p' | head -n 1)
        r_cpus=$(cat "/proc/$r_p"/task/*/status | sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' | sort -u | tr '\n' ' ')
        map="$map$r_rank:$r_cpus
"
    done
    map=$(echo "$map" | sort | tr -d '\n')
    for r_p in $(processes reel cmdline "$TMPDIR/$r_out"); do kill -TERM "$r_p" 2> /dev/null; done
    wait $r_pid
    case $? in 0 | 75) ;; *) show "$TMPDIR/$r_out.log" | tail -n 20 ;; esac
}
says() { # says TEXT OUT PATTERN: in the log, and the lines of the ranks
    grep -q -e "$3" "$TMPDIR/$2.log"
    verdict $? "$1" "$TMPDIR/$2.log"
}
noted() { # noted TEXT OUT PATTERN: in the record of the run
    grep -q -e "$3" "$TMPDIR/$2/tracker/metrics.jsonl"
    verdict $? "$1"
}
