#!/bin/sh
# tests/mpirun.sh: rank count, time limit, nothing left behind, the program's verdict is kept. Launchers that MPI does not know. And what is shown of failures.
# shellcheck source=tests/lib.sh
. "$REEL_SRC/tests/lib.sh"
run=$REEL_BUILD/tests/mpirun.sh
script() { # script NAME TEXT: an executable in TMPDIR
    printf '#!/bin/sh\n%s\n' "$2" > "$TMPDIR/$1"
    chmod +x "$TMPDIR/$1"
}

script t_ranks_np3 'echo rank'
[ "$("$run" "$TMPDIR/t_ranks_np3" | grep -c rank)" -eq 3 ]
verdict $? "the name says three ranks"
[ "$("$run" -n 2 "$TMPDIR/t_ranks_np3" | grep -c rank)" -eq 2 ]
verdict $? "-n 2 overrides the name"
script t_where 'echo "$TMPDIR"; : > "$TMPDIR/file"'
dir=$("$run" "$TMPDIR/t_where")
case $dir in "$TMPDIR"/t_where.*) [ ! -e "$dir" ] ;; *) false ;; esac
verdict $? "a TMPDIR of its own, removed"
script t_fails 'exit 3'
"$run" "$TMPDIR/t_fails" >/dev/null 2>&1
[ $? -ne 0 ]
verdict $? "a failing program fails"
script t_child.sh 'sleep 987 >/dev/null 2>&1 & echo $!'
child=$("$run" "$TMPDIR/t_child.sh")
gone() { [ -z "$(tr -d '\0' 2>/dev/null < "/proc/$1/cmdline")" ]; } # a zombie that nobody has reaped yet has no command line
[ -n "$child" ] && await gone "$child"
verdict $? "a process left behind is ended"
script t_hang 'exec sleep 987'
out=$(TEST_TIMEOUT=1 "$run" "$TMPDIR/t_hang" 2>/dev/null)
[ $? -ne 0 ] && echo "$out" | grep -q '^Bail out! t_hang: still running after 1 s'
verdict $? "a hang is ended and said"
fails "ranks that another MPI started believe to be alone: refused" "Open MPI has started 4 tasks .* start with its mpiexec" \
    env OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_RANK=0 "$REEL_BUILD/reel" --help
same "the others end in silence, so that none of them ends the first before it speaks" \
    "$(OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_RANK=3 "$REEL_BUILD/reel" --help 2>&1 | wc -l; OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_RANK=3 "$REEL_BUILD/reel" --help; echo $?)" "0
0"

# a failure leaves what the command printed
report() { printf 'one\ntwo\n' > "$TMPDIR/$1" && shift && "$@" | tr '\n' '|'; }
same "a verdict" "$(report out verdict 1 text)" "not ok $((tap_n + 1)) - text|# out ends:|# one|# two|"
same "a comparison" "$(report z.log same text 1 2)" "not ok $((tap_n + 1)) - text|# '1' and '2'|# z.log ends:|# one|# two|"
same "what succeeds leaves nothing" "$(report out try text echo word)" "ok $((tap_n + 1)) - text|"
rm "$TMPDIR/out" "$TMPDIR/z.log"

# what check.sh prints of a failed run
failures() { "$REEL_SRC/tests/failures.sh" "$TMPDIR/build" | sed 's/$/|/' | tr -d '\n'; }
log() { # log NAME RESULT: of the standard input
    mkdir -p "$TMPDIR/build/tests"
    cat > "$TMPDIR/build/tests/$1.log"
    echo ":test-result: $2" > "$TMPDIR/build/tests/$1.trs"
}
printf 'ok 1 - good\nPASS: tests/t_good 1 - good\nreel: loud\n1..1\n' | log t_good PASS
printf 'ok 1 - a\nPASS: tests/t_a 1 - a\nnot ok 2 - b\nFAIL: tests/t_a 2 - b\n# why\nok 3 - c\nreel: between\n1..3\n' | log t_a FAIL
printf 'ok 1 - a\nreel: rank 0 died\nERROR: tests/t_b - exited with status 70\n' | log t_b ERROR
same "failed lines and what is beside them, nothing of what passed" "$(failures)" \
    "==== tests/t_a|not ok 2 - b|# why|==== tests/t_b|reel: rank 0 died|ERROR: tests/t_b - exited with status 70|"
{ echo 'not ok 1 - long' && seq 100 && echo 'not ok 2 - next'; } | log t_a FAIL
same "40 lines of a failure, and the end before the next" "$(failures | tr '|' '\n' | sed -n '2p;41,43p;62,63p' | tr '\n' ' ')" "not ok 1 - long 39 81 82 not ok 2 - next ==== tests/t_b "
for n in $(seq 20); do { echo 'not ok 1 - long' && seq 30; } | log "t_many$n" FAIL; done
same "300 lines in all" "$(failures | tr '|' '\n' | wc -l) $(failures | tr '|' '\n' | tail -n 1)" "301 # and more: see the logs"
plan
