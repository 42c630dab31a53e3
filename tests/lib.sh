# Shell part of the tests: TAP lines from commands. Source it; end with `plan`.
tap_n=0
ok() { tap_n=$((tap_n + 1)); echo "ok $tap_n - $1"; }
not_ok() { tap_n=$((tap_n + 1)); echo "not ok $tap_n - $1"; }
skip() { tap_n=$((tap_n + 1)); echo "ok $tap_n - $1 # SKIP $2"; }
show() { sed 's/^/# /' "$1"; }
trace() { # trace [FILE]: how a failed command's output ends: FILE, or what was written last of $TMPDIR/out and $TMPDIR/*.log
    [ $# -gt 0 ] || set -- "$(ls -t "$TMPDIR/out" "$TMPDIR"/*.log 2> /dev/null | head -n 1)"
    [ ! -s "$1" ] || { echo "# ${1##*/} ends:" && show "$1" | tail -n 30; }
}
plan() { echo "1..$tap_n"; }

# verdict STATUS TEXT [FILE]: STATUS is whether it succeeds; what was printed is shown if it does not.
verdict() {
    if [ "$1" -eq 0 ]; then ok "$2"; else
        not_ok "$2"
        shift 2
        trace "$@"
        return 1
    fi
}

# try TEXT COMMAND...: ok if the command succeeds; what it printed is shown if it does not.
try() {
    tap_text=$1
    shift
    "$@" > "$TMPDIR/out" 2>&1
    verdict $? "$tap_text" "$TMPDIR/out" || true
}

# same TEXT A B: ok if the two strings are equal and not empty.
same() {
    if [ -n "$2" ] && [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1"; echo "# '$2' and '$3'"; trace; fi
}

# processes NAME FILE STRING: ids of the processes called NAME with STRING, whole, among what /proc/ID/FILE (cmdline, environ) lists
processes() {
    for pr_d in $(grep -lsxF -e "$1" /proc/[0-9]*/comm); do
        pr_d=${pr_d%/comm}
        if grep -qszxF -e "$3" "$pr_d/$2"; then echo "${pr_d#/proc/}"; fi
    done
}

# seen DIR PATTERN: something below DIR has that name
seen() { [ -n "$(find "$1" -path "$1/$2" 2> /dev/null)" ]; }

# await COMMAND...: until it succeeds, at most two minutes: the machine may be busy with something else
await() {
    for _ in $(seq 2400); do
        "$@" && return 0
        sleep 0.05
    done
    echo "# waited in vain: $*"
    return 1
}

# fails TEXT PATTERN COMMAND...: exit code 1, the pattern in the output, on one line only
fails() {
    f_text=$1
    f_want=$2
    shift 2
    "$@" > "$TMPDIR/out" 2>&1
    f_rc=$?
    f_n=$(grep -c -e "$f_want" "$TMPDIR/out")
    if [ $f_rc = 1 ] && [ "$f_n" = 1 ]; then ok "$f_text"; else
        not_ok "$f_text"
        echo "# exit code $f_rc, '$f_want' on $f_n lines"
        trace "$TMPDIR/out"
    fi
}
