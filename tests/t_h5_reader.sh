#!/bin/sh
# A set read by h5py, every checksum computed again. Opt-in: REEL_ORACLE_PYTHON names a Python with h5py.
py=${REEL_ORACLE_PYTHON:-}
if [ -z "$py" ] || ! "$py" -c 'import h5py, numpy' 2>/dev/null; then
    echo "1..0 # SKIP REEL_ORACLE_PYTHON names no Python with h5py"
    exit 0
fi
d=$(mktemp -d) || exit 1
trap 'rm -rf "$d"' EXIT
n=0
for dtype in f32 bf16; do
    n=$((n + 1))
    "$REEL_BUILD/reel" preprocess --quiet --demo-clips 6 --dtype $dtype --output "$d/$dtype.h5" --sheet none >/dev/null &&
        "$py" "$REEL_SRC/tests/oracle/h5.py" "$d/$dtype.h5" >"$d/out" && echo "ok $n - $dtype: h5py agrees" ||
        { echo "not ok $n - $dtype"; cat "$d/out"; }
done
echo "1..$n"
