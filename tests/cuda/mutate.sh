#!/usr/bin/env bash
# mutate.sh [-l] [-k KIND] KERNELS TEST...: would the tests notice? Run in a build folder, never by `make check`.
#
#   KERNELS  "attn_fwd.cu attn_mma.h": files of kernels/cuda to change, with every .cu that includes one of the headers
#   TEST     a command that exits 0 if all is well; it finds the changed module in REEL_CUDA_MODULE
#   -l       only list the mutants
#   -k KIND  only those whose kind matches: "no|waits|lane|ldmatrix"
#
# One change at a time (a barrier or a wait deleted, a comparison off by one, a lane or a layout exchanged), in a copy;
# reel_cuda_checked.so is linked with it, and every test must pass for the mutant to survive. A line per mutant, then
# the count; exit 1 if any survived.
set -uo pipefail
src=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
list=
kind=.
if [ "${1:-}" = -l ]; then list=1; shift; fi
if [ "${1:-}" = -k ]; then kind=$2; shift 2; fi
[ $# -ge 1 ] && { [ -n "$list" ] || [ $# -ge 2 ]; } || { sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2; }
kernels=$1
shift
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# mutants FILE: line, what, sed command, tab separated. Comments and directives are left alone.
mutants() {
    awk -v OFS='\t' -v kind="$kind" '
        function each(pattern, what, change,    rest, n) { # one mutant for each place in the line
            rest = $0; n = 0
            if (what !~ kind) return
            while (match(rest, pattern)) {
                print NR, what, NR "s/" change "/" ++n
                rest = substr(rest, RSTART + RLENGTH)
            }
        }
        /^[ \t]*(\/\*|\*|\/\/|#)/ { next }
        { code = $0; sub(/\/\*.*$/, "", code); sub(/\/\/.*$/, "", code) }
        code !~ /[;{)]/ { next }
        {
            $0 = code
            each("__syncthreads\\(\\);", "no __syncthreads", "__syncthreads();/;")
            each("__syncwarp\\([^)]*\\);", "no __syncwarp", "__syncwarp([^)]*);/;")
            each("bar_sync\\([^;]*\\);", "no bar_sync", "bar_sync([^;]*);/;")
            each("cp_async_wait<[^>]*>", "waits for one group less", "cp_async_wait<\\([^>]*\\)>/cp_async_wait<(\\1) + 1>")
            each(" < ", "< is <=", " < / <= ")
            each(" >= ", ">= is >", " >= / > ")
            each("ldmatrix_x4\\(", "ldmatrix transposes", "ldmatrix_x4(/ldmatrix_x4_trans(")
            each("ldmatrix_x4_trans\\(", "ldmatrix does not transpose", "ldmatrix_x4_trans(/ldmatrix_x4(")
            each("__shfl_xor_sync\\([^,]*, [^,]*, [0-9]+\\)", "another lane", "\\(__shfl_xor_sync([^,]*, [^,]*, \\)[0-9]*)/\\1 7)")
        }' "$1"
}

if [ -n "$list" ]; then
    for k in $kernels; do mutants "$src/kernels/cuda/$k" | sed "s/^/$k:/"; done
    exit 0
fi

# What make would do to build the module from these kernels, in the copy instead.
overlay=$tmp/kernels/cuda
mkdir -p "$overlay"
units=
for f in "$src"/kernels/cuda/*.cu; do
    name=$(basename "$f")
    for k in $kernels; do
        if [ "$name" = "$k" ] || grep -q "include \"kernels/cuda/$k\"" "$f" ||
            grep -l "include \"kernels/cuda/$k\"" "$src"/kernels/cuda/*.h | xargs -r -n1 basename | while read -r h; do
                grep -q "include \"kernels/cuda/$h\"" "$f" && echo y; done | grep -q y; then
            units="$units ${name%.cu}"
            break
        fi
    done
done
make -s reel_cuda_checked.so || exit 1
commands=$tmp/commands
top=$(sed -n 's/^srcdir = //p' Makefile) # as make names it
{
    for u in $units; do make -n V=1 -W "$top/kernels/cuda/$u.cu" "kernels/cuda/$u.checked" | grep -- '-c -o'; done
    make -n V=1 -W kernels/cuda/"${units##* }".checked reel_cuda_checked.so | grep -- '-o reel_cuda_checked.so'
} > "$commands.make"
{
    echo "set -e"
    sed -e "s/ -Werror / /" -e "s|-I *[^ ]*tests/cuda|-I$tmp &|" -e "s|[^ ]*kernels/cuda/\([a-z_0-9]*\.cu\)|$overlay/\1|g" \
        -e "s|-o reel_cuda_checked.so|-o $tmp/reel_cuda_checked.so|" "$commands.make" |
        { e=(); for u in $units; do e+=(-e "s#\(^\|[ ']\)kernels/cuda/$u\.checked#\1$overlay/$u.checked#g"); done; sed "${e[@]}"; }
} > "$commands"

build() { bash "$commands" > "$tmp/log" 2>&1; }
fails() { # the first test that fails, or nothing
    local t
    for t in "$@"; do
        if ! REEL_CUDA_MODULE=$tmp/reel_cuda_checked.so timeout 600 bash -c "$t" > "$tmp/out" 2>&1; then
            echo "${t%% *}: $(grep -m1 -hoE 'RACE|OUT OF BOUNDS|UNINITIALISED|MISALIGNED|DEADLOCK|HOST memory|not ok.*|spins' "$tmp/out")"
            return
        fi
    done
}

cp "$src"/kernels/cuda/*.cu "$src"/kernels/cuda/*.h "$overlay"
if ! build; then tail -n 20 "$tmp/log"; exit 1; fi
first=$(fails "$@")
[ -z "$first" ] || { echo "unchanged kernels fail: $first"; tail -n 20 "$tmp/out"; exit 1; }
dead=0 alive=0
for k in $kernels; do
    while IFS=$'\t' read -r line what change; do
        sed "$change" "$src/kernels/cuda/$k" > "$overlay/$k"
        if ! cmp -s "$overlay/$k" "$src/kernels/cuda/$k"; then
            if build; then why=$(fails "$@"); else why="does not compile"; fi
            if [ -n "$why" ]; then dead=$((dead + 1)); else alive=$((alive + 1)); why=SURVIVES; fi
            echo "$k:$line: $what: $why"
        fi
        cp "$src/kernels/cuda/$k" "$overlay/$k"
    done < <(mutants "$src/kernels/cuda/$k")
done
echo "$dead died, $alive survived"
[ $alive -eq 0 ]
