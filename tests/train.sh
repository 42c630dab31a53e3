# Running `reel train` on tests/tiny.yaml, or another $tiny with other $roles; source it after lib.sh.
# train RANKS OUT [override...]: replicate 1 x shard RANKS with the global micro-batch of 4 unless overridden.
tiny=$REEL_SRC/tests/tiny.yaml
roles=student
train() {
    tr_n=$1
    tr_out=$2
    shift 2
    for tr_role in $roles; do set -- "--models.$tr_role.init_from" "$REEL_SRC/tests/tiny" "$@"; done
    [ -z "$REEL_TEST_DEVICE" ] || set -- --training.device "$REEL_TEST_DEVICE" --training.compute_dtype f32 "$@"
    "$REEL_BUILD/tests/mpirun.sh" -n "$tr_n" "$REEL_BUILD/reel" train --config "$tiny" \
        --training.data.data_path "$TMPDIR/data.h5" \
        --training.distributed.num_gpus "$tr_n" --training.distributed.hsdp_shard_dim "$tr_n" \
        --training.data.train_batch_size $((4 / tr_n)) --training.threads 1 \
        --override-output-dir "$tr_out" "$@"
}

# halted OUT: a rank of the run into OUT has stopped itself, as REEL_FAULT=stall:RANK:N makes it at the begin of its N-th step; its
# id is in $halted. The other ranks get no further than the gradients of that step: what is done to them now comes in it.
halted() {
    for halted in $(processes reel cmdline "$1"); do
        if grep -qs '^State:.*T (stopped)' "/proc/$halted/status"; then return 0; fi
    done
    return 1
}

# wan_pipeline DIR: a small model with Wan's VAE, text encoder and tokenizer, which may be written to
wan_pipeline() {
    mkdir -p "$1/transformer"
    sed 's/"text_dim": 64, /"text_dim": 32, /' "$REEL_SRC/tests/tiny/transformer/config.json" > "$1/transformer/config.json"
    cp -r "$REEL_SRC/tests/golden/wan-vae/vae" "$1/vae"
    cp -r "$REEL_SRC/tests/golden/umt5/text_encoder" "$1/text_encoder"
    cp -r "$REEL_SRC/tests/golden/umt5/tokenizer_identity" "$1/tokenizer"
    chmod -R u+w "$1"
}

# newest DIR: the step of its last checkpoint
newest() { find "$1" -maxdepth 1 -name 'checkpoint-*[0-9]' 2> /dev/null | sed 's/.*-//' | sort -n | tail -n 1; }

# state DIR: a digest of every shard file of a checkpoint
state() { cat "$1"/dcp/*.distcp 2> /dev/null | sha256sum | cut -d' ' -f1; }

# films OUT STEP [PATTERN]: a digest of the films of a validation in the order of their prompts; where there is none, a word that
# no other OUT has
films() {
    fi_list=$(cd "$TMPDIR/$1" && ls validation_step_"$2"_"${3-}"*.mp4 2> /dev/null | sort -t_ -k8,8n -k10,10V)
    [ -n "$fi_list" ] || { echo "no film in $1" && return; }
    (cd "$TMPDIR/$1" && for f in $fi_list; do sha256sum < "$f"; done) | sha256sum | cut -d' ' -f1
}

# suite [override...]: what a method shows on $tiny: the same bits in every layout and after a resume in another one,
# from recorded draws, in bf16; six steps with a checkpoint at 3.
suite() {
    su_d=--training.distributed
    bits() { "$REEL_BUILD/tests/ckpt_tool" hash "$1"; }
    run() { su_n=$1 su_out=$TMPDIR/$2 && shift 2 && rm -rf "$su_out" && train "$su_n" "$su_out" "$@"; }
    try "six steps" run 1 one "$@" --record "$TMPDIR/draws.safetensors"
    su_want=$(bits "$TMPDIR/one/checkpoint-6")
    for su_layout in "2 $su_d.hsdp_replicate_dim 2 $su_d.hsdp_shard_dim 1" "2 --training.threads 2" \
        "4 $su_d.hsdp_replicate_dim 2 $su_d.hsdp_shard_dim 2" "4" "1 --training.model.enable_gradient_checkpointing_type full"; do
        # shellcheck disable=SC2086 # the number of ranks, then overrides
        try "another layout: $su_layout" run ${su_layout%% *} other "$@" ${su_layout#"${su_layout%% *}"}
        same "the same bits" "$su_want" "$(bits "$TMPDIR/other/checkpoint-6")"
    done
    rm -rf "$TMPDIR/resumed"
    mkdir "$TMPDIR/resumed" && cp -r "$TMPDIR/one/checkpoint-3" "$TMPDIR/resumed/"
    try "step 3 of one rank resumed on two" train 2 "$TMPDIR/resumed" "$@" --resume-from-checkpoint latest
    same "as if never stopped" "$su_want" "$(bits "$TMPDIR/resumed/checkpoint-6")"
    try "recorded draws on two ranks" run 2 replayed "$@" --replay "$TMPDIR/draws.safetensors" --replay-strict
    same "the same bits" "$su_want" "$(bits "$TMPDIR/replayed/checkpoint-6")"
    bf16="--training.compute_dtype bf16"
    # shellcheck disable=SC2086 # two words
    try "bf16" run 1 half "$@" $bf16
    # shellcheck disable=SC2086
    try "bf16 on four ranks" run 4 halves "$@" $bf16
    same "the same bits" "$(bits "$TMPDIR/half/checkpoint-6")" "$(bits "$TMPDIR/halves/checkpoint-6")"
}
