#!/bin/sh
# tests/mpirun.sh: rank count, time limit, nothing left behind, the program's verdict is kept. And launchers that MPI does not know.
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
sleep 0.1 # a zombie that nobody has reaped yet has no command line
[ -n "$child" ] && [ -z "$(tr -d '\0' 2>/dev/null < "/proc/$child/cmdline")" ]
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
plan
