#!/bin/sh
# lint.sh [SOURCE-TOP]: what the compiler cannot see. One line per finding, exit 1 if there is any.
# Warnings (long functions) do not fail. DISTFILES, if set, is what `make dist` packs;
# SHELLCHECK is the program for scripts, `none` for none.
cd "${1:-.}" || exit 1
export LC_ALL=C

# Arrows: who may include whom. A directory may also include what those may include.
arrows='
base
config     base
tensor     base
kernels    tensor
be         kernels
comm       be base
data       be comm media
media      be
nn         be comm
ckpt       nn
track      base
report     base
models     nn
methods    models data config
optim      methods
encode     ckpt media
preprocess data encode config
callbacks  methods media ckpt track encode
train      base config tensor kernels be comm data media nn ckpt encode preprocess track models methods optim callbacks report
'

# The directories that make up the program, in the layout of the table above.
program=$(find src kernels -name '*.[ch]' -o -name '*.inc' -o -name '*.def' -o -name '*.cu' 2>/dev/null)
every=$(find src kernels tests bench jobscripts configs m4 .ci ./*.ac ./*.am \( -name golden -o -name tap-driver.sh \) -prune \
    -o -name '*.[ch]' -print -o -name '*.inc' -print -o -name '*.def' -print -o -name '*.cu' -print \
    -o -name '*.sh' -print -o -name '*.mk' -print -o -name '*.am' -print -o -name '*.ac' -print 2>/dev/null | sort)

finding() { # finding WHAT: every line of stdin is one
    sed "s|\$|: $1|"
}

upward() {
    for f in $program; do
        sed -n "s|^[ \t]*#[ \t]*include[ \t]*\"\([a-z_0-9]*\)/.*|$f \1|p" "$f"
    done | awk -v arrows="$arrows" '
        BEGIN {
            n = split(arrows, row, "\n")
            for (i = 1; i <= n; i++) {
                m = split(row[i], w, " ")
                if (m) known[w[1]] = ok[w[1], w[1]] = 1
                for (j = 2; j <= m; j++) ok[w[1], w[j]] = 1
            }
            for (k in known) for (a in known) for (b in known) # transitive closure
                if (((a, k) in ok) && ((k, b) in ok)) ok[a, b] = 1
        }
        { f = $1; sub(/^src\//, "", f); from = f ~ /\// ? substr(f, 1, index(f, "/") - 1) : "main" }
        from == "main" || !($2 in known) { next }
        !((from, $2) in ok) { print $1 ": includes " $2 "/" }'
}

calls() { # calls PATTERN ALLOWED-PATH-PATTERN: uses outside of where they belong, comments left out
    for f in $(echo "$program" | grep -Ev "$2"); do
        sed 's|//.*||; s|/\*.*\*/||; s|^ \*.*||; s|/\*.*||' "$f" | grep -nE "$1" | sed "s|^\([0-9]*\):.*|$f:\1|"
    done
}

names() { # names PATTERN FILE...: of files in the lists of makefiles that begin with a line like PATTERN
    pat=$1
    shift
    for f in "$@"; do [ ! -f "$f" ] || awk -v pat="$pat" '$0 ~ pat { on = 1 } on { print; on = /\\$/ }' "$f"; done |
        grep -oE '(src|kernels)/[a-z_0-9/]+\.(c|h|def)'
}

not_public() { # what an installed header includes and src/public.mk does not install
    list=$(names '_HEADERS = ' src/public.mk | grep -v base/abi.h)
    for f in $list; do
        sed -n 's|^[ \t]*#[ \t]*include[ \t]*"\([^"]*\)".*|\1|p' "$f" | while read -r h; do
            case " base/abi.h $(echo $list) " in *" $h "* | *" src/$h "*) ;; *) echo "$f: $h" ;; esac
        done
    done
}

not_exported() { # a file of a registry that could not be built as a plugin
    for f in $(names '^[A-Z]+ = src' src/models/local.mk src/methods/local.mk src/callbacks/local.mk); do
        grep -q '^REEL_EXPORT(REEL_KIND_' "$f" || echo "$f"
    done
}

shadowed() { # tests of one name whatever their ending: they share a log, and automake runs one of them
    for f in tests/t_*.sh; do
        if [ -f "${f%.sh}.c" ] || [ -f "${f%.sh}.cc" ]; then echo "$f"; fi
    done
}

too_long() { for f in $every; do awk -v f="$f" 'END { if (NR > 800) print f ": " NR " lines" }' "$f"; done; }

long_functions() {
    for f in $(echo "$every" | grep '\.[ch]$\|\.inc$\|\.cu$'); do
        awk -v f="$f" '
            /^[A-Za-z].*\(/ { name = $0; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
            /^{/ { at = NR }
            /^}/ { if (at && NR - at > 61) print f ":" at ": " name ": " NR - at - 1 " lines"; at = 0 }' "$f"
    done
}

not_packed() { # files under version control that `make dist` forgets
    [ -n "$DISTFILES" ] && [ -e .git ] && command -v git >/dev/null || return 0
    git ls-files | awk -v list="$DISTFILES" -v top="$DIST_SRCDIR/" '
        BEGIN {
            n = split(list, w, " ")
            for (i = 1; i <= n; i++) {
                if (index(w[i], top) == 1) w[i] = substr(w[i], length(top) + 1)
                have[w[i]] = 1
            }
        }
        /(^|\/)\.git(ignore|attributes)$/ { next }
        { # packed by its own name or in a folder that is packed whole
            p = $0
            while (!(p in have) && sub(/\/[^\/]*$/, "", p)) ;
            if (!(p in have)) print
        }'
}

# shellcheck disable=SC2086 # $every is a list of names
findings() {
    upward | finding "an include that points up (the table of tests/lint.sh)"
    calls '(^|[^A-Za-z_0-9])P?MPI_[A-Za-z_]+ *\(' '^src/comm/' | finding "an MPI call outside src/comm"
    calls '# *include *[<"](cuda|cublas|nccl|curand|cudnn)' '^kernels/cuda/|^src/be/' |
        finding "a CUDA include outside kernels/cuda and src/be"
    calls '# *include *[<"]hwloc' '^src/be/' | finding "hwloc outside src/be"
    calls '(^|[^A-Za-z_0-9])(secure_)?getenv *\(' '^src/config/' | finding "getenv outside src/config"
    not_public | finding "includes a header that is not installed, add it to src/public.mk"
    not_exported | finding "does not end with REEL_EXPORT(REEL_KIND_..., name)"
    shadowed | finding "a program is called so too, and only one of the two would run"
    too_long | finding "more than 800, split it"
    grep -nE '(^|[^A-Za-z_])(TO[D]O|FIX[M]E)([^A-Za-z_]|$)' $every /dev/null | cut -d: -f1,2 | finding "unfinished work"
    grep -nP '[^\x00-\x7F]' $every /dev/null | cut -d: -f1,2 | finding "not ASCII"
    not_packed | finding "not in make dist, add it to EXTRA_DIST or a list of sources"
    command -v "${SHELLCHECK:=shellcheck}" >/dev/null || return 0
    "$SHELLCHECK" -f gcc -S warning -e SC2046,SC2148 .ci/run $(echo "$every" | grep '\.sh$')
}

long_functions | finding "warning, more than 60" >&2
list=$(findings)
[ -z "$list" ] || { echo "$list"; exit 1; }
