#!/bin/sh
# The double of CUDA, cuBLASLt and NCCL: right programs pass in every mode, each wrong one is caught, with what words.
. "$REEL_SRC/tests/lib.sh"
prog="$REEL_BUILD/tests/cuda/double_cases"
[ -x "$prog" ] || { skip "the double of CUDA" "no CUDA toolkit"; plan; exit 0; }
modes="eager lazy random:1 random:2 random:3"

passes() { # passes NAME [RANKS]: in every mode
    for m in $modes; do
        try "$1 passes, $m${2:+, on $2 ranks}" env FAKE_MODE="$m" ${2:+"$REEL_BUILD/tests/mpirun.sh" -n "$2"} "$prog" "$1"
    done
}

caught() { # caught NAME MODES WORDS [RANKS]
    for m in $2; do
        env FAKE_MODE="$m" ${4:+"$REEL_BUILD/tests/mpirun.sh" -n "$4"} "$prog" "$1" > "$TMPDIR/out" 2>&1
        rc=$?
        if [ $rc != 0 ] && grep -q -e "$3" "$TMPDIR/out"; then ok "$1 is caught, $m: $3"; else
            not_ok "$1 is caught, $m: exit code $rc, wanted: $3"
            show "$TMPDIR/out" | tail -n 15
        fi
    done
}

says() { # says NAME WORDS VARIABLE=VALUE...: exit code 0
    s_name=$1 s_words=$2
    shift 2
    env "$@" "$prog" "$s_name" > "$TMPDIR/out" 2>&1
    rc=$?
    if [ $rc = 0 ] && grep -q -e "$s_words" "$TMPDIR/out"; then ok "$s_name: $s_words"; else
        not_ok "$s_name: exit code $rc, wanted: $s_words"
        show "$TMPDIR/out" | tail -n 15
    fi
}

passes right
# what depends on the order shows as wrong numbers, or as a fault, in an order that differs
caught no-event "lazy" "wrong numbers"
caught no-stream-wait "$modes" "host code touches pinned memory .* that a copy to pinned memory on stream 2 still fills: wait for it first"
# the rest in every mode
caught host-dereference "$modes" "host code touches device memory: address .* is 28 bytes into allocation 0 of 20000 bytes"
caught copy-after-free "$modes" "a copy on the device reads allocation 3, which was freed"
caught kernel-after-free "$modes" "kernel twice touches memory that is not its own: address .* bytes into allocation 3, which was freed"
caught copy-out-of-bounds "$modes" "a copy from pinned memory writes bytes 0 to 20004 of allocation 0, which has 20000"
caught kernel-out-of-bounds "$modes" "twice has written . bytes past the end of allocation 1 of 20000 bytes"
caught kernel-far-out-of-bounds "$modes" "kernel twice touches memory that is not its own: address .* past the end of allocation 1 of 20000 bytes"
caught pinned-reused "$modes" "host code writes to pinned memory .* still reads: wait for it first"
caught pinned-read-early "$modes" "host code touches pinned memory .* still fills: wait for it first"
caught wrong-direction eager "said to be host to device, but the pointers are device to device"
caught stream-of-another-device eager "stream 1 of device 0 is used while device 1 is current"
caught call-in-a-host-function "$modes" "cudaMemset.* is called in a host function"
caught stream-destroyed eager "a destroyed stream is used"
caught freed-twice eager "cudaFree: allocation 0 was freed before"
caught misaligned-product eager "cublasLtMatmul(.*: 7"

says sticks "an illegal address sticks" FAKE_FAIL=cudaLaunchKernel:1
says runs-out "memory ran out, and there was some left" FAKE_MEM=2000K
says nth-call "the second of three failed" FAKE_FAIL=cudaMalloc:2
says no-device "0 devices: no CUDA-capable device is detected" FAKE_GPUS=0
says bus-ids "device 1 is at 0000:65:00.0" FAKE_PCI=0000:17:00.0,0000:65:00.0
says shapes "another shape has other bits: yes" FAKE_MODE=eager

modes="eager lazy random:1"
passes collectives 3
passes blocked-host 2
passes streams-in-order 2
caught another-collective "$modes" "collectives differ: rank . of 2 calls nccl.* rank . calls nccl" 2
caught another-count "$modes" "collectives differ: rank . of 2 calls ncclAllGather number 0 of .* float32.* rank . calls ncclAllGather" 2
caught another-length "$modes" "rank 1 receives 7 elements of type 7 from rank 0, which sends 8 of type 7" 2
FAKE_TIMEOUT=3; export FAKE_TIMEOUT
caught nobody-answers "eager lazy" "waited too long for ncclRecv" 2
unset FAKE_TIMEOUT
# in the order of the third seed the collective has begun when the other stream writes
caught streams-unordered "lazy" "wrong numbers" 2
caught streams-unordered "random:3" "something wrote to its receive buffer" 2
plan
