#!/usr/bin/env bash
# check.sh [CONFIGURE-ARGUMENT...]: set up this machine, build with fatal warnings, run every test.
# The last line is "N passed, N failed", counted over all lines of all tests; exit 1 if any failed.
set -uo pipefail
src=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${REEL_CHECK_BUILD:-$src/build-check}

count() { # count RESULT...: how many test lines ended so
    local re
    re=$(IFS='|'; echo "$*")
    find "$build" -name '*.trs' -exec cat {} + 2>/dev/null | grep -Ec "^:test-result: ($re)( |\$)"
}

report() {
    local passed failed skipped
    passed=$(($(count PASS XFAIL) + ${cuda_passed:-0}))
    failed=$(($(count FAIL ERROR XPASS) + ${cuda_failed:-0}))
    skipped=$(count SKIP)
    if [ "$1" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi # it did not even build
    [ "$skipped" -eq 0 ] || echo "$skipped skipped"
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}

[ ! -d "$build" ] || find "$build" -name '*.trs' -delete
REEL_PACKAGES=$src/tests/packages.txt "$src/jobscripts/setup.sh" "$build" --enable-devel "$@"
rc=$?
if [ $rc -eq 0 ]; then
    make -s -C "$build" -j3 check # two cores, and one test that waits for Slurm
    rc=$?
    [ $rc -eq 0 ] || "$src/tests/failures.sh" "$build"
fi
# the CUDA backend on its double
if [ $rc -eq 0 ]; then
    make -s -C "$build" check-cuda 2>&1 | tee "$build/check-cuda.log"
    rc=$?
    read -r cuda_passed cuda_failed <<< "$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$build/check-cuda.log" | tail -n 1)"
fi
report "$rc"
