#!/bin/sh
# generate and preprocess on a device (REEL_TEST_DEVICE; else the double, where it is built): films through the built-in and through Wan's
# encoders, a set through Wan's; the same bytes on one rank and two.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
if [ -z "$REEL_TEST_DEVICE" ] && [ -e "$REEL_BUILD/reel_cuda_double.so" ]; then
    REEL_TEST_DEVICE=cuda REEL_CUDA_MODULE=$REEL_BUILD/reel_cuda_double.so FAKE_MODE=lazy
    export REEL_TEST_DEVICE REEL_CUDA_MODULE FAKE_MODE
fi
device=${REEL_TEST_DEVICE:-cpu}
pipeline=$REEL_SRC/tests/golden/hf-layout/pipeline
on() { # on RANKS COMMAND [argument...]
    on_n=$1
    shift
    "$REEL_BUILD/tests/mpirun.sh" -n "$on_n" "$REEL_BUILD/reel" "$@"
}
film() { # film RANKS DEVICE OUT [argument...]
    fm_n=$1 fm_d=$2 fm_out=$3
    shift 3
    on "$fm_n" generate --prompt "a red circle moves up on a white background" --steps 2 --out "$TMPDIR/$fm_out.mp4" --training.device "$fm_d" \
        --training.compute_dtype f32 --training.threads 1 "$@"
}
bytes() { sha256sum < "$1"; }

try "two steps of training" train 1 "$TMPDIR/run" --training.loop.max_train_steps 2
try "a film of it" film 1 "$device" film --checkpoint "$TMPDIR/run"
try "on two ranks" film 2 "$device" film2 --checkpoint "$TMPDIR/run"
same "the same bytes" "$(bytes "$TMPDIR/film.mp4")" "$(bytes "$TMPDIR/film2.mp4")"
wan="--model $pipeline --height 32 --width 48 --frames 5"
# shellcheck disable=SC2086 # words
{
try "words and pictures through UMT5 and the VAE" film 1 "$device" wan $wan
try "on two ranks" film 2 "$device" wan2 $wan
same "the same bytes" "$(bytes "$TMPDIR/wan.mp4")" "$(bytes "$TMPDIR/wan2.mp4")"
}
prep() { # prep RANKS DEVICE SET
    on "$1" preprocess --model "$pipeline" --demo-clips 2 --height 32 --width 48 --num-frames 5 --device "$2" --threads 1 --sheet none --output "$TMPDIR/$3.h5"
}
try "a set through Wan's encoders" prep 1 "$device" set
try "by two ranks" prep 2 "$device" set2
same "the same bytes" "$(bytes "$TMPDIR/set.h5")" "$(bytes "$TMPDIR/set2.h5")"
try "is whole" "$REEL_BUILD/reel" check "$TMPDIR/set.h5"
plan
