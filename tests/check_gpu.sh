#!/bin/sh
# check_gpu.sh gpu|double: the tests of the CUDA backend, on this machine's GPUs or on their double (tests/cuda).
# Called by `make check-gpu` and `make check-cuda` in the build folder. The last line is "N passed, N failed".
#
# On the double some tests run again under orders of work that a GPU may choose: a wait that is missing shows there.
# On GPUs what was printed is also left in check-gpu.txt, with the benches behind it, to be sent back.
: "${REEL_SRC:?}" "${REEL_BUILD:?}"
what=$1
passed=0
failed=0
REEL_TEST_DEVICE=cuda
FAKE_TIMEOUT=${FAKE_TIMEOUT:-300}
TEST_TIMEOUT=${TEST_TIMEOUT:-1200}
export REEL_TEST_DEVICE FAKE_TIMEOUT TEST_TIMEOUT
cd "$REEL_BUILD" || exit 1
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

count() { # count TEXT STATUS: TAP lines, or the golden runner's last line, of $log
    c_ok=$(grep -c '^ok ' "$log")
    c_bad=$(grep -c '^not ok ' "$log")
    c_golden=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$log" | tail -n 1)
    [ -z "$c_golden" ] || { c_ok=${c_golden% *}; c_bad=${c_golden#* }; }
    [ "$2" = 0 ] && [ $((c_ok + c_bad)) -gt 0 ] || [ "$c_bad" -gt 0 ] || c_bad=1 # it died
    passed=$((passed + c_ok))
    failed=$((failed + c_bad))
    if [ "$c_bad" -eq 0 ]; then echo "pass  $1: $c_ok"; return; fi
    echo "FAIL  $1: $c_ok passed, $c_bad failed (exit code $2)"
    grep -A 8 -E '^not ok|^reel:|^cuda double:| FAIL|Bail|simt:' "$log" | grep -vE '^(ok |--$)' | head -n 40 | sed 's/^/      /'
}

# test_in MODES TEST [ARGUMENT...]: in every one of the double's modes, or once on a GPU. A name's _npN, and -n N in
# front of golden, are ranks; a GPU each.
test_in() {
    t_modes=$1
    shift
    t_ranks=$(expr "$1" : '.*_np\([0-9]*\)$')
    [ "$1" != -n ] || t_ranks=$2
    if [ "$what" = gpu ]; then
        t_modes=once
        [ "${t_ranks:-1}" -le "$gpus" ] || { echo "skip  $*: $gpus GPUs"; return; }
    fi
    for t_mode in $t_modes; do
        FAKE_MODE=$t_mode tests/mpirun.sh "$@" > "$log" 2>&1
        t_rc=$?
        count "$(echo "$*" | sed "s|$REEL_SRC/tests/||g; s|tests/||g")$([ "$what" = gpu ] || echo ", $t_mode")" $t_rc
    done
}

# Layouts of a short run against one rank: the hash of its losses, gradients and weights.
layout_hash() { # layout_hash RANKS [override...]
    l_n=$1
    shift
    FAKE_MODE=random:4 tests/mpirun.sh -n "$l_n" tests/golden "$REEL_SRC/tests/golden/layout-sft" --generate \
        --training.loop.max_train_steps 1 --training.threads 1 "$@" 2>&1 | sed -n 's/^hash //p'
}
layouts() {
    l_want=$(layout_hash 1)
    for l in "2 2 1 1" "2 1 2 1" "2 2 1 2" "4 2 2 2"; do
        # shellcheck disable=SC2086 # numbers
        set -- $l
        [ "$what" != gpu ] || [ "$1" -le "$gpus" ] || { echo "skip  layout of $1 ranks: $gpus GPUs"; continue; }
        l_got=$(layout_hash "$1" --training.distributed.hsdp_shard_dim "$2" --training.distributed.tp_size "$3" \
            --training.distributed.sp_size "$4")
        if [ -n "$l_got" ] && [ "$l_got" = "$l_want" ]; then echo "ok "; else echo "not ok: '$l_got', not '$l_want'"; fi > "$log"
        count "layout-sft on $1 ranks, shard $2, tp $3, sp $4: the bits of one" 0
    done
}

tests() {
    for t in ln rms_rope gate elem latent distill sum draws adamw linear attn vsa rel conv; do
        test_in "eager" tests/t_op_$t
    done
    test_in "eager lazy" tests/t_vae
    test_in "eager lazy random:1 random:2" tests/t_device
    test_in "eager lazy random:1 random:2 random:3" tests/t_device_np3
    test_in "lazy random:1 random:2" tests/t_params_np4
    test_in "lazy random:1" tests/t_wan_golden_np2
    test_in "lazy" tests/t_umt5_np2
    for g in wan-dit wan-causal wan-vae umt5 vsa lora adamw sft tfsft dmd2-data self-forcing; do
        test_in "eager" -n 1 tests/golden "$REEL_SRC/tests/golden/$g"
    done
    test_in "lazy random:1" -n 2 tests/golden "$REEL_SRC/tests/golden/sft"
    test_in "lazy random:3" "$REEL_SRC/tests/t_resume_sft.sh"
    test_in "lazy random:1" "$REEL_SRC/tests/t_gpu_films.sh"
    layouts
}

report() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}

machine() {
    uname -srm
    "$REEL_BUILD/reel" --version
    if command -v nvidia-smi > /dev/null; then nvidia-smi; fi
    ldd "$REEL_BUILD/reel_cuda.so" | grep -E 'cudart|cublas|nccl'
    cat "$1"
}

benches() {
    echo "== kernels"
    bench/b_gpu
    [ "$gpus" -lt 2 ] || { echo "== $gpus GPUs"; tests/mpirun.sh -n "$gpus" bench/b_gpu; }
    echo "== steps of the 1.3B model at 448 x 832, 77 frames (MFU: below the table of phases)"
    step_bench
}

# Random weights of the 1.3B model's shape; text vectors are the built-in ones, which are shorter.
step_bench() {
    s=$REEL_BUILD/check-gpu.step
    mkdir -p "$s/model/transformer"
    sed 's/"text_dim": *[0-9]*/"text_dim": 64/' "$REEL_SRC/configs/wan-1.3b/transformer/config.json" > "$s/model/transformer/config.json"
    [ -e "$s/set.h5" ] || tests/mpirun.sh -n 1 "$REEL_BUILD/reel" preprocess --demo-clips $((2 * gpus)) --height 448 --width 832 \
        --num-frames 77 --sheet none --quiet --output "$s/set.h5"
    TEST_TIMEOUT=3000 tests/mpirun.sh -n "$gpus" "$REEL_BUILD/reel" train --config "$REEL_SRC/configs/sft_1.3b.yaml" \
        --models.student.init_from "$s/model" --models.student.init random --training.data.data_path "$s/set.h5" \
        --training.distributed.num_gpus "$gpus" --training.distributed.hsdp_shard_dim "$gpus" --training.device cuda \
        --training.loop.max_train_steps 6 --training.checkpoint.training_state_checkpointing_steps 0 \
        --override-output-dir "$s/out"
    rm -rf "$s"
}

if [ "$what" = double ]; then
    [ -e reel_cuda_double.so ] || { echo "check-cuda: no CUDA toolkit was found by configure: nothing was run"; exit 0; }
    REEL_CUDA_MODULE=$REEL_BUILD/reel_cuda_double.so
    export REEL_CUDA_MODULE
    tests
    report
    exit
fi
bench/b_gpu -l > "$log" 2>&1
if [ $? -ne 0 ]; then
    tail -n 1 "$log"
    echo "check-gpu: there is no GPU here; nothing was run"
    exit 0
fi
gpus=$(grep -c '^GPU ' "$log")
cp "$log" check-gpu.list
{ machine check-gpu.list; tests; benches; report; } 2>&1 | tee check-gpu.txt
echo "please send $REEL_BUILD/check-gpu.txt back"
tail -n 1 check-gpu.txt | grep -q ' 0 failed$'
