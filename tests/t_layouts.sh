#!/bin/sh
# timeout: 1800
# The same bits in every layout: golden runs of three methods, hashed after their last step. SFT over all ways that 1, 2 and 4
# ranks split a model of 4 heads into replicate x shard x tp and sp groups and some of 8 ranks, the others over some of each; f32
# and bf16, one thread and two. Prints the table of hashes.
. "$REEL_SRC/tests/lib.sh"
g=$REEL_SRC/tests/golden
d=--training.distributed

# hash RANKS FOLDER [override...]: short, from generated draws; what is compared with the reference is t_golden_all.sh's
hash() {
    ha_n=$1 ha_g=$2
    shift 2
    "$REEL_BUILD/tests/mpirun.sh" -n "$ha_n" "$REEL_BUILD/tests/golden" "$g/$ha_g" --generate --training.loop.max_train_steps "$steps" \
        --training.threads 1 "$@" 2> "$TMPDIR/err" | sed -n 's/^hash //p'
}

# layouts RANKS BATCH: replicate shard tp sp of each that a batch of so many samples and 4 heads allow
layouts() {
    for tp in 1 2 4; do
        [ $(($1 % tp)) -eq 0 ] || continue
        hsdp=$(($1 / tp))
        for sp in 1 2 4 8; do
            [ $((hsdp % sp)) -eq 0 ] && [ $((hsdp / sp)) -le "$2" ] || continue
            for shard in 1 2 4 8; do
                [ $((hsdp % shard)) -ne 0 ] || echo "$((hsdp / shard)) $shard $tp $sp"
            done
        done
    done
}

# row WANT RANKS FOLDER "replicate shard tp sp" [override...]
row() {
    ro_want=$1 ro_n=$2 ro_g=$3 ro_l=$4
    shift 4
    # shellcheck disable=SC2086 # four numbers
    set -- $ro_l "$@"
    ro_r=$1 ro_s=$2 ro_t=$3 ro_p=$4
    shift 4
    ro_got=$(hash "$ro_n" "$ro_g" $d.hsdp_replicate_dim "$ro_r" $d.hsdp_shard_dim "$ro_s" $d.tp_size "$ro_t" $d.sp_size "$ro_p" "$@")
    if [ -n "$ro_got" ] && [ "$ro_got" = "$ro_want" ]; then
        ok "$(printf '%-20s %d ranks = %d x %d x tp %d, sp %d: %s %s' "$ro_g" "$ro_n" "$ro_r" "$ro_s" "$ro_t" "$ro_p" "$ro_got" "$*")"
    else
        not_ok "$ro_g on $ro_n ranks = $ro_r x $ro_s x tp $ro_t, sp $ro_p $*: '$ro_got' instead of $ro_want"
        show "$TMPDIR/err"
    fi
}

# table FOLDER BATCH RANKS...: all layouts of so many ranks
table() {
    ta_g=$1 ta_b=$2 ta_want=$(hash 1 "$1")
    shift 2
    for n in "$@"; do
        layouts "$n" "$ta_b" > "$TMPDIR/layouts"
        while read -r l; do row "$ta_want" "$n" "$ta_g" "$l" < /dev/null; done < "$TMPDIR/layouts"
    done
}

# some FOLDER OVERRIDES "RANKS replicate shard tp sp" ...: these, against one rank, with overrides
some() {
    so_g=$1 so_o=$2
    # shellcheck disable=SC2086 # words
    so_want=$(hash 1 "$1" $2)
    shift 2
    # shellcheck disable=SC2086
    for l in "$@"; do row "$so_want" "${l%% *}" "$so_g" "${l#* }" $so_o; done
}

steps=2
table layout-sft 4 1 2 4
some layout-sft "" "8 2 4 1 2" "8 1 8 1 8" "8 2 2 2 1" "8 1 4 2 4" "8 1 2 4 1" "8 2 1 4 2"
some layout-sft "--training.compute_dtype bf16" "2 1 1 2 1" "4 1 1 4 1" "4 2 1 2 2" "8 2 2 2 2"
some layout-sft "--training.threads 2" "2 1 1 2 1" "4 1 2 2 2"
steps=3
for m in layout-dmd2 layout-self-forcing; do
    some $m "" "2 1 1 2 1" "2 1 2 1 1" "2 2 1 1 2" "4 1 1 4 1" "4 1 2 2 2" "4 1 2 2 1" "4 2 2 1 2" "8 2 2 2 2"
    some $m "--training.compute_dtype bf16 --training.threads 2" "2 1 1 2 1" "4 1 2 2 2"
done

# A run goes on where tensor parallel ranks left it, on other numbers of them.
. "$REEL_SRC/tests/train.sh"
bits() { "$REEL_BUILD/tests/ckpt_tool" hash "$1"; }
one="--training.data.train_batch_size 4 $d.hsdp_shard_dim 1"
# shellcheck disable=SC2086 # lists of words, here and below
try "six steps on one rank" train 1 "$TMPDIR/one" $one
want=$(bits "$TMPDIR/one/checkpoint-6")
try "three on two tensor parallel ranks" train 2 "$TMPDIR/chain" $one $d.tp_size 2
rm -rf "$TMPDIR/chain/checkpoint-6"
for n in 1 4; do
    mkdir "$TMPDIR/chain$n" && cp -r "$TMPDIR/chain/checkpoint-3" "$TMPDIR/chain$n/"
    try "and three on $n" train "$n" "$TMPDIR/chain$n" $one $d.tp_size "$n" --resume-from-checkpoint latest
    same "as if never stopped" "$want" "$(bits "$TMPDIR/chain$n/checkpoint-6")"
done
fails "a number of ranks that the pieces cannot be dealt out to" "4 heads of the student cannot be split over 3 ranks" \
    train 3 "$TMPDIR/bad" $one $d.tp_size 3
sed 's/"num_attention_heads": 4, "attention_head_dim": 12/"num_attention_heads": 6, "attention_head_dim": 8/; s/"ffn_dim": 96/"ffn_dim": 88/' \
    "$REEL_SRC/tests/tiny/transformer/config.json" > "$TMPDIR/config.json"
mkdir -p "$TMPDIR/six/transformer" && mv "$TMPDIR/config.json" "$TMPDIR/six/transformer/"
six="$one $d.tp_size 3 --models.student.init_from $TMPDIR/six"
fails "other bits are not given out for the same" "training.reproducibility: resume" train 3 "$TMPDIR/bad" $six
try "six heads and 88 features on three ranks, asked for" train 3 "$TMPDIR/six.a" $six --training.reproducibility resume
try "again" train 3 "$TMPDIR/six.b" $six --training.reproducibility resume
same "the same bits" "$(bits "$TMPDIR/six.a/checkpoint-6")" "$(bits "$TMPDIR/six.b/checkpoint-6")"
plan
