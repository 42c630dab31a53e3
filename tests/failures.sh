#!/bin/sh
# failures.sh BUILD: what failed in the last `make check`, for whoever reads one output only. For each test program with a failure its
# name, then each failed line (not ok, Bail out!, ERROR) with what was printed since the verdict before (its last 20 lines) and up to
# the verdict after it, 40 lines a failure and 300 in all. Nothing of what passed.
find "${1:-.}" -name '*.trs' -exec grep -lE '^:test-result: (FAIL|ERROR|XPASS)' {} + | sort | sed 's/trs$/log/' | xargs -r awk -v most=300 '
    function say(line) {
        if (n_said++ < most) { print line; return }
        print "# and more: see the logs"
        exit
    }
    FNR == 1 {
        held = left = 0
        name = FILENAME
        sub(/\.log$/, "", name)
        sub(/.*\/tests\//, "tests/", name)
        say("==== " name)
    }
    /^(PASS|FAIL|SKIP|XFAIL|XPASS): / || /^1\.\.[0-9]/ { next } # what the driver adds to each line
    /^ok / { held = left = 0; next }
    /^(not ok |Bail out!|ERROR: )/ {
        left = 40
        for (i = held > 20 ? held - 20 : 0; i < held; i++) { say(before[i % 20]); left-- }
        held = 0
        say($0)
        left--
        next
    }
    left > 0 { say($0); left--; next }
    { before[held++ % 20] = $0 }'
