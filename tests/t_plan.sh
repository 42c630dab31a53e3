#!/bin/sh
# Plans: the bytes that a step moves are those that a run counts; what does not fit is refused with layouts that do.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
reel=$REEL_BUILD/reel
d=--training.distributed

# bytes_of FILE AXIS KIND: MiB of the table of a run, as bytes
bytes_of() { awk -v a="$2" -v k="$3" '$1 == a && $2 == k && $4 == "MiB" { printf "%.0f", $3 * 1048576 }' "$1"; }

# layout RANKS [override...]: four steps more receive what the plan says of four steps, per axis and kind, within 1%
layout() {
    l_n=$1
    shift
    for l_steps in 2 6; do
        train "$l_n" "$TMPDIR/out$l_steps" --training.checkpoint.training_state_checkpointing_steps 0 \
            --training.loop.max_train_steps $l_steps "$@" > "$TMPDIR/run$l_steps.log" 2>&1 || show "$TMPDIR/run$l_steps.log"
        rm -rf "$TMPDIR/out$l_steps"
    done
    "$reel" plan --config "$tiny" --models.student.init_from "$REEL_SRC/tests/tiny" --training.device cpu $d.num_gpus "$l_n" \
        $d.hsdp_shard_dim "$l_n" --training.data.train_batch_size $((4 / l_n)) "$@" > "$TMPDIR/plan.log" 2>&1
    l_seen=0 l_bad=
    for l_axis in replicate shard sp tp; do
        for l_kind in allgather alltoall; do
            l_want=$(awk -v a=$l_axis -v k=$l_kind '$1 == a && $2 == k && /bytes received a step/ { print $3 }' "$TMPDIR/plan.log")
            l_two=$(bytes_of "$TMPDIR/run2.log" $l_axis $l_kind) l_six=$(bytes_of "$TMPDIR/run6.log" $l_axis $l_kind)
            [ -n "$l_want$l_six" ] || continue
            l_seen=$((l_seen + 1))
            awk -v w="${l_want:-0}" -v a="${l_two:-0}" -v b="${l_six:-0}" 'BEGIN { g = (b - a) / 4; exit !(g > 0.99 * w - 600 && g < 1.01 * w + 600 && w > 0) }' \
                || l_bad="$l_bad $l_axis/$l_kind: plan $l_want, run $(((${l_six:-0} - ${l_two:-0}) / 4));"
        done
    done
    [ -z "$l_bad" ] && [ $l_seen -gt 0 ]
    verdict $? "$l_n ranks $*: $l_seen kinds of traffic within 1% of the plan$l_bad"
}
layout 2
layout 4 $d.hsdp_replicate_dim 2 $d.hsdp_shard_dim 2
layout 4 $d.sp_size 2 --training.data.train_batch_size 1

# The host's copy that a save writes is planned, is what a run uses, and is not there where nothing is saved.
ema="--callbacks.ema.decay 0.9"
# shellcheck disable=SC2086 # words
"$reel" plan --config "$tiny" --models.student.init_from "$REEL_SRC/tests/tiny" --training.device cpu $d.num_gpus 2 $d.hsdp_shard_dim 2 $ema > "$TMPDIR/plan.log" 2>&1
# shellcheck disable=SC2086
train 2 "$TMPDIR/copy" $ema > "$TMPDIR/run.log" 2>&1
want=$(awk '$1 == "save" && $3 == "MiB" { print $2 }' "$TMPDIR/plan.log")
same "the copy of a save: planned" "$want" "$(awk '$1 == "arena" && $2 == "save" { print $3 }' "$TMPDIR/run.log")"
same "and no more is taken" "$want" "$(awk '$1 == "arena" && $2 == "save" { print $6 }' "$TMPDIR/run.log")"

# On CPU ranks it counts: what the arenas alone would fit into is refused, and the copy is among the largest terms.
judged() { # judged GIB: the plan of a rank with so much, saving
    # shellcheck disable=SC2086
    "$reel" plan --config "$tiny" --models.student.init_from "$REEL_SRC/tests/tiny" --training.device cpu $ema --memory-gib "$1"
}
judged 100 > "$TMPDIR/plan.log" 2>&1
all=$(awk '$1 == "total" { print $2 / 1024 }' "$TMPDIR/plan.log") copy=$(awk '$1 == "save" { print $2 / 1024 }' "$TMPDIR/plan.log")
judged "$(awk "BEGIN { print $all + 0.001 }")" > "$TMPDIR/plan.log" 2>&1
verdict $? "a rank with all that is planned: $all GiB, of them the copy $copy" "$TMPDIR/plan.log"
fails "is refused without room for the copy, in units to read" 'rank needs [1-9][0-9.]* MiB and has [1-9][0-9.]* MiB; the largest: .*save [0-9.]* [KM]iB' judged "$(awk "BEGIN { print $all - $copy / 2 }")"

# what --help shows
# shellcheck disable=SC2046 # words
try "the example of --help" "$reel" plan --config "$tiny" --models.student.init_from "$REEL_SRC/tests/tiny" \
    $("$reel" plan --help | tr -d '\\\n' | grep -oE -e '--memory-gib 80 .*hsdp_shard_dim [0-9]+')

# The large ones: 80 GB a rank, from 8 to 512 ranks.
plan_of() { # plan_of MODEL RANKS HEIGHT WIDTH [override...]
    p_model=$1 p_n=$2 p_h=$3 p_w=$4
    shift 4
    "$reel" plan --config "$REEL_SRC/configs/sft_$p_model.yaml" --training.device cpu --training.compute_dtype bf16 --machine h100 \
        $d.num_gpus "$p_n" $d.hsdp_replicate_dim 1 $d.hsdp_shard_dim "$p_n" --training.data.num_height "$p_h" --training.data.num_width "$p_w" \
        "$@" > "$TMPDIR/plan.log" 2>&1
}
for model in 1.3b 14b; do
    for size in "448 832" "720 1280"; do
        for n in 8 64 512; do
            # shellcheck disable=SC2086 # height and width
            plan_of $model $n $size
            rc=$?
            if [ $rc = 0 ]; then
                grep -q '^time on h100: .* s a step' "$TMPDIR/plan.log"
                verdict $? "$model at $size on $n ranks fits: $(sed -n 's/^ *total *//p' "$TMPDIR/plan.log" | head -1)"
            else
                [ $rc = 1 ] && grep -q 'GiB and has 74.5 GiB; the largest: ' "$TMPDIR/plan.log"
                verdict $? "$model at $size on $n ranks is refused: $(grep -o 'needs.*fit.*' "$TMPDIR/plan.log" | head -1)"
                # a proposal is one: it fits
                set -- $(sed -n '/fit with/,$s/^  hsdp_replicate_dim \([0-9]*\), hsdp_shard_dim \([0-9]*\), sp_size \([0-9]*\), tp_size \([0-9]*\), train_batch_size 1 x \([0-9]*\) rounds\(.*\): .*/\1 \2 \3 \4 \5 \6/p' "$TMPDIR/plan.log" | head -1)
                grep -q ' fit with$' "$TMPDIR/plan.log" || continue
                set -- "$1" "$2" "$3" "$4" "$5" $(case "$*" in *full*) echo --training.model.enable_gradient_checkpointing_type full ;; esac)
                r=$1 s=$2 p=$3 t=$4 k=$5
                shift 5
                # shellcheck disable=SC2086
                plan_of $model $n $size $d.hsdp_replicate_dim "$r" $d.hsdp_shard_dim "$s" $d.sp_size "$p" $d.tp_size "$t" \
                    --training.data.train_batch_size 1 --training.loop.gradient_accumulation_steps "$k" "$@"
                verdict $? "and its first proposal fits: replicate $r shard $s sp $p tp $t, $k rounds" "$TMPDIR/plan.log"
            fi
        done
    done
done
# what validation takes beside training: with a VAE in the folder its weights, buffers and caches; without one it says so
cp -R "$REEL_SRC/tests/golden/hf-layout/pipeline" "$TMPDIR/pipeline" && chmod -R u+w "$TMPDIR/pipeline"
echo '["a prompt"]' > "$TMPDIR/p.json"
beside() {
    "$reel" plan --config "$tiny" --models.student.init_from "$TMPDIR/pipeline" --callbacks.validation._target_ validation --callbacks.validation.every_steps 3 \
        --callbacks.validation.pipeline_target wan --callbacks.validation.dataset_file "$TMPDIR/p.json" "$@" > "$TMPDIR/out" 2>&1
    sed -n 's/^ *beside them validation *\([0-9.]*\) MiB.*/\1/p' "$TMPDIR/out"
}
small=$(beside) large=$(beside --training.data.num_height 256 --training.data.num_width 256)
rm "$TMPDIR/pipeline/vae/diffusion_pytorch_model.safetensors"
same "the plan asks the VAE for its memory, without reading its weights" "$small" "$(beside)"
rm -r "$TMPDIR/pipeline/vae"
without=$(beside --training.data.num_height 256 --training.data.num_width 256)
grep -q 'beside them validation .* without a codec: .*pipeline has no vae/' "$TMPDIR/out"
verdict $? "where there is none the plan says so" "$TMPDIR/out"
awk -v a="$small" -v b="$large" -v c="$without" 'BEGIN { exit !(b > 20 * a && b > 10 * c && c > 0) }'
verdict $? "a VAE's memory grows with the picture: $small MiB, $large MiB, without it $without MiB"

# the text encoder of its prompts, which is there before the rest; its config.json is enough
cp -R "$REEL_SRC/tests/golden/hf-layout/pipeline" "$TMPDIR/xxl" && chmod -R u+w "$TMPDIR/xxl"
rm "$TMPDIR/xxl/text_encoder/model.safetensors"
sed 's/"d_ff": [0-9]*/"d_ff": 10240/; s/"d_kv": [0-9]*/"d_kv": 64/; s/"d_model": [0-9]*/"d_model": 4096/; s/"num_heads": [0-9]*/"num_heads": 64/
    s/"num_layers": [0-9]*/"num_layers": 24/; s/"vocab_size": [0-9]*/"vocab_size": 256384/' \
    "$REEL_SRC/tests/golden/hf-layout/pipeline/text_encoder/config.json" > "$TMPDIR/xxl/text_encoder/config.json"
text() { # text RANKS [override...]: MiB of UMT5-XXL on a rank
    te_n=$1
    shift
    beside --models.student.init_from "$TMPDIR/xxl" $d.num_gpus "$te_n" $d.hsdp_shard_dim "$te_n" "$@" > "$TMPDIR/beside"
    sed -n 's/^ *text encoder *\([0-9.]*\) MiB per rank, given back before these are taken: the run.s peak$/\1/p' "$TMPDIR/out"
}
one=$(text 1) eight=$(text 8)
awk -v a="$one" -v b="$eight" 'BEGIN { l = 4 * (4 * 4096 ^ 2 + 3 * 4096 * 10240 + 32 * 64 + 2 * 4096) / 2 ^ 20; w = 24 * l + 4 * (4096 + 256384 * 4096) / 2 ^ 20
                                       exit !(a > w && a < 1.05 * w && b > w / 8 + 2 * l && b < 1.05 * w / 8 + 2 * l + 512) }'
verdict $? "UMT5-XXL takes $one MiB; of eight ranks each an eighth and two layers that are gathered, $eight" || show "$TMPDIR/out"
text 1 --memory-gib 16 > "$TMPDIR/none"
grep -q "a rank needs 2[0-9.]* GiB and has 16.0 GiB; the largest: validation's text encoder 2[0-9.]* GiB, which ranks share" "$TMPDIR/out"
verdict $? "where it does not fit it is named" || show "$TMPDIR/out"
sed -i 's/"d_ff": 10240/"d_ff": 10000000/' "$TMPDIR/xxl/text_encoder/config.json"
fails "generating does not begin where it does not fit" "generate: a rank needs [0-9]*.[0-9] GiB for the text encoder, and has [0-9.]* .iB: use more ranks on more nodes" \
    "$reel" generate --model "$TMPDIR/xxl" --prompt "a prompt" --height 32 --width 32 --frames 5 --steps 1 --out "$TMPDIR/x.mp4"

fails "a machine that nobody knows" 'no machine "h900"; h100, a100 and files of' "$reel" plan --config "$REEL_SRC/configs/sft_1.3b.yaml" --machine h900

"$REEL_BUILD/tests/mpirun.sh" -n 2 "$reel" plan --config "$tiny" --training.device cpu --training.threads 1 --measure "$TMPDIR/here" > "$TMPDIR/out" 2>&1
verdict $? "a machine is measured" "$TMPDIR/out"
[ "$(grep -c '^[a-z_]*: [0-9.e+-]*' "$TMPDIR/here")" = 8 ] && ! grep -q '^node_bandwidth: 0' "$TMPDIR/here"
verdict $? "all rates are in the file"
"$reel" plan --config "$tiny" --models.student.init_from "$REEL_SRC/tests/tiny" --training.device cpu --machine "$TMPDIR/here" > "$TMPDIR/out" 2>&1
grep -q "^time on $TMPDIR/here: compute" "$TMPDIR/out"
verdict $? "and a plan reads it" "$TMPDIR/out"
double=$REEL_BUILD/reel_cuda_double.so
if [ -e "$double" ]; then
    REEL_CUDA_MODULE=$double "$REEL_BUILD/tests/mpirun.sh" -n 2 "$reel" plan --config "$tiny" --training.device cuda --measure "$TMPDIR/cards" > "$TMPDIR/out" 2>&1
    verdict $? "two GPUs are measured" "$TMPDIR/out"
    same "in the type of the run" "$(sed -n 's/.*, \([a-z0-9]*\)$/\1/p' "$TMPDIR/cards")" bf16
    awk '/^node_bandwidth: / && $2 > 0 { ok = 1 } END { exit !ok }' "$TMPDIR/cards"
    verdict $? "what they move between them too"
else
    skip "two GPUs are measured" "no CUDA toolkit"
fi
echo 'gemm: fast' > "$TMPDIR/bad"
fails "a file with another line" '"gemm: fast" is not a rate' "$reel" plan --config "$tiny" --machine "$TMPDIR/bad"
plan
