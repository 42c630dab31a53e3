#!/bin/sh
# A rank that fails, and a rank that dies, end the whole job with one message and no hang.
run="$REEL_BUILD/tests/mpirun.sh $REEL_BUILD/tests/t_fault_comm_np4"
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
n=0; bad=0
ok() { # status description
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; sed 's/^/# /' "$out"; bad=1; fi
}
TEST_TIMEOUT=300; export TEST_TIMEOUT

$run work:2:2 >"$out" 2>&1; rc=$?
[ $rc = 1 ]; ok $? "a failure on rank 2: exit code 1 (got $rc)"
[ "$(grep -c 'reel: rank 2: step 1: disk full (1 of 4 ranks failed)' "$out")" = 1 ]
ok $? "told once, with rank and count"
[ "$(grep -c '^reel:' "$out")" = 1 ]; ok $? "and nothing else is said"

$run none:0:1 >"$out" 2>&1; rc=$?
[ $rc = 0 ] && [ ! -s "$out" ]; ok $? "no fault: exit code 0, silence (got $rc)"

$run comm_wait:3:1 >"$out" 2>&1; rc=$?
[ $rc != 0 ] && [ $rc != 1 ]; ok $? "rank 3 dies inside a collective: the job ends by itself (got $rc)"
grep -q 'reel: rank 3 died in work (step 2): injected fault in a collective on world' "$out"
ok $? "and says who, where and when"

$run kill:1:1 >"$out" 2>&1; rc=$?
[ $rc != 0 ] && [ $rc != 124 ]; ok $? "rank 1 is killed: the launcher ends the others' wait (got $rc)"

$run still:1:1 >"$out" 2>&1; rc=$?
[ $rc != 0 ] && [ $rc != 124 ]; ok $? "rank 1 stands still: the job ends (got $rc)"
[ "$(grep 'did not arrive' "$out")" = "reel: rank 1 on $(hostname) did not arrive: in work on 1, a very long film" ]
ok $? "and it alone is named, with what it was at; not the one at work"
grep -q "^reel: rank [03] died in work on [03], a very long film: a collective on world did not end within a test's watch = 10 s" "$out"
ok $? "and what ended the job"
echo "1..$n"
exit $bad
