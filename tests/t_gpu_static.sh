#!/bin/sh
# What nvcc made of the kernels, read from reel_cuda.so: nothing spills, matrix kernels use tensor cores, kernels that
# stream through memory move 16 bytes at a time, every block fits. bench/RESULTS.md has the whole table.
# shellcheck source=tests/lib.sh
. "$REEL_SRC/tests/lib.sh"
tool=$REEL_BUILD/bench/gpu_static
module=$REEL_BUILD/reel_cuda.so
table=$TMPDIR/table

if [ ! -x "$tool" ] || [ ! -e "$module" ]; then
    skip "kernels as built" "no CUDA toolkit: reel_cuda.so was not built"
    plan
    exit 0
fi
"$tool" "$module" > "$table"
verdict $? "every kernel of $(sed 1d "$table" | cut -f2 | sort -un | tr '\n' ' ')was read, $(sed 1d "$table" | wc -l) in all"

# each TEXT PATTERN CONDITION: kernels whose name matches, at least one, meet an awk condition on
# regs blocks hmma ldsm ldgsts ldg ldg128 stg stg128 local
each() {
    awk -F'\t' -v name="$2" "
        NR > 1 && \$1 ~ name {
            regs = \$4; blocks = \$6; hmma = \$9; ldsm = \$10; ldgsts = \$11; ldg = \$12; ldg128 = \$13; stg = \$14; stg128 = \$15; local = \$18
            n++
            if (!($3)) { print \"# \" \$1 \" of sm_\" \$2 \": \" \$0; bad++ }
        }
        END { exit !n || bad }" "$table" > "$TMPDIR/found"
    verdict $? "$1"
    cat "$TMPDIR/found"
}

each "no local memory: nothing spills, no array is indexed at run time" '.' 'local == 0'
each "a block fits on a multiprocessor" '.' 'blocks > 0'
each "matrix kernels: tensor cores, ldmatrix, asynchronous copies" '_mma' 'hmma > 0 && ldsm > 0 && ldgsts > 0'
each "kernels that stream through memory load and store 16 bytes at a time" \
    '[0-9](map|cast|adamw|ln_fwd|rms_fwd|gate_fwd|mod_fwd|stretch|tile_gate_fwd|tile_gate_bwd|tile_mean|frame|swap|sum_end)_kernel' \
    'ldg128 > 0 && stg128 > 0'
each "... or store" '[0-9](fill|randn)_kernel' 'stg128 > 0'
each "... or load" '[0-9](sumsq|rms_dots|stat)_kernel' 'ldg128 > 0'
plan
