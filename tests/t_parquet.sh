#!/bin/sh
# Parquet sets of FastVideo become sets of ours, number for number. Opt-in: REEL_ORACLE_PYTHON names a Python with pyarrow, numpy, h5py.
. "$REEL_SRC/tests/lib.sh"
py=${REEL_ORACLE_PYTHON:-}
if [ -z "$py" ] || ! "$py" -c 'import h5py, numpy, pyarrow' 2> /dev/null; then
    echo "1..0 # SKIP REEL_ORACLE_PYTHON names no Python with pyarrow, numpy and h5py"
    exit 0
fi
oracle() { "$py" "$REEL_SRC/tests/oracle/parquet.py" "$@"; }
tool() { "$py" "$REEL_SRC/tools/parquet_to_safetensors.py" "$@"; }
for kind in t2v text_only; do
    d=$TMPDIR/$kind
    try "$kind: two files, rows in groups of two" oracle make "$d/in" $kind
    try "become tensors" tool "$d/in" "$d/x.safetensors"
    try "and a set" "$REEL_BUILD/tests/mpirun.sh" -n 2 "$REEL_BUILD/reel" preprocess --tensors "$d/x.safetensors" --output "$d/x.h5"
    try "that holds the same numbers, captions and names" oracle check "$d/x.h5" $kind
done
mkdir "$TMPDIR/none"
fails "a folder without Parquet files is refused" "no .parquet file" tool "$TMPDIR/none" "$TMPDIR/none.safetensors"
plan
