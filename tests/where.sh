# shellcheck shell=sh
# Where the threads of a training run may run, and what it says of that. Source it after lib.sh and train.sh.

# run OUT RANKS [override...]: where the threads of each rank may run while it trains: $map, of rank 0 first; then the run is ended
run() {
    r_out=$1
    shift
    r_n=$1
    shift
    train "$r_n" "$TMPDIR/$r_out" --training.loop.max_train_steps 100000 "$@" > "$TMPDIR/$r_out.log" 2>&1 &
    r_pid=$!
    for _ in $(seq 1200); do
        [ -d "/proc/$r_pid" ] || break
        if grep -qs '"step_time_sec"' "$TMPDIR/$r_out/tracker/metrics.jsonl"; then break; fi
        sleep 0.05
    done
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
    s_rc=$?
    verdict $s_rc "$1"
    [ $s_rc = 0 ] || show "$TMPDIR/$2.log" | head -n 20
}
noted() { # noted TEXT OUT PATTERN: in the record of the run
    grep -q -e "$3" "$TMPDIR/$2/tracker/metrics.jsonl"
    verdict $? "$1"
}
