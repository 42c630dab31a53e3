#!/bin/sh
# gpu_table.sh [LAUNCHES]: the table of bench/RESULTS.md about kernels as built, in Markdown; run in a build folder.
# Generations that reel_cuda.so does not hold are compiled for it: SM="80 90 100 120". LAUNCHES: see gpu_static.c.
set -e
sm=${SM:-80 90 100 120}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
top=$(sed -n 's/^srcdir = //p' Makefile)
tool=bench/gpu_static
[ -x $tool ] || make -s $tool
if [ -n "$1" ]; then sort -u "$1" > "$tmp/launches"; set -- -l "$tmp/launches"; fi

$tool "$@" reel_cuda.so > "$tmp/table"
for a in $sm; do
    cut -f2 "$tmp/table" | grep -qx "$a" && continue
    for f in "$top"/kernels/cuda/*.cu; do
        grep -q __global__ "$f" || continue
        nvcc -O3 -std=c++17 -fmad=false "-arch=sm_$a" -cubin -I"$top" -I"$top/src" "$f" -o "$tmp/$(basename "$f").$a.cubin"
    done
    $tool "$@" "$tmp"/*."$a.cubin" | sed 1d >> "$tmp/table"
done

# one row per kernel and launch; what differs between generations is listed in their order
sed 1d "$tmp/table" | c++filt | sed 's/^void //; s/(attn[^\t]*\t/\t/; s/([^\t]*)\t/\t/; s/__nv_bfloat16/bf16/' | awk -F'\t' -v sms="$sm" '
    function join(key, col,    i, all, same, v, first) {
        same = 1; all = ""
        for (i = 1; i <= n_sm; i++) {
            v = cell[key, sm[i], col]
            if (v == "") v = "-"
            if (i > 1 && v != first) same = 0
            if (i == 1) first = v
            all = all (i > 1 ? " " : "") v
        }
        return same ? first : all
    }
    BEGIN { n_sm = split(sms, sm, " ") }
    {
        key = $1 "\t" $3 "\t" $5 # kernel, threads, shared
        if (!(key in seen)) { seen[key] = 1; order[++n] = key }
        cell[key, $2, "regs"] = $4; cell[key, $2, "blocks"] = $6; cell[key, $2, "occ"] = $7
        cell[key, $2, "hmma"] = $9; cell[key, $2, "ldsm"] = $10; cell[key, $2, "ldgsts"] = $11
        cell[key, $2, "ld"] = $13 "/" $12; cell[key, $2, "st"] = $15 "/" $14; cell[key, $2, "local"] = $18
    }
    END {
        print "| kernel | threads | shared, bytes | registers | blocks per SM | occupancy | HMMA | LDSM | LDGSTS | 128-bit loads | 128-bit stores | spills |"
        print "|---|---|---|---|---|---|---|---|---|---|---|---|"
        for (i = 1; i <= n; i++) {
            k = order[i]; split(k, p, "\t")
            printf "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", p[1], p[2], p[3], join(k, "regs"), join(k, "blocks"),
                join(k, "occ"), join(k, "hmma"), join(k, "ldsm"), join(k, "ldgsts"), join(k, "ld"), join(k, "st"), join(k, "local")
        }
    }'
