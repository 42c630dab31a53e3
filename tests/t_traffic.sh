#!/bin/sh
# What a step receives, against the least that its layout needs. Per rank, n ranks of an axis, P parameters of which B are in blocks:
#   shard      allgather (n-1)/n (P + B), a pass and its backward pass, the root unit once; alltoall, a reduce-scatter in f32, (n-1)/n P
#   replicate  alltoall and allgather, an allreduce in f32, (n-1)/n P / shard each
#   sp         L blocks: 4 exchanges of tokens for heads forward, 4 backward; sums of the gradients of text rows and modulation; the head's rows
#   tp         L blocks: 3 sums of N x D forward, 3 backward, one of text rows; with the text MLP's; RMS norms' 4 bytes a head and row
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
d=--training.distributed
mkdir -p "$TMPDIR/wide/transformer"
sed 's/"num_attention_heads": 4, "attention_head_dim": 12/"num_attention_heads": 8, "attention_head_dim": 32/; s/"ffn_dim": 96/"ffn_dim": 1024/; s/"text_len": 12/"text_len": 64/' \
    "$REEL_SRC/tests/tiny/transformer/config.json" > "$TMPDIR/wide/transformer/config.json"

# received FILE: "axis kind bytes" of the closing table
received() { awk '($2 == "allgather" || $2 == "alltoall") && $4 == "MiB" { printf "%s %s %.0f\n", $1, $2, $3 * 1048576 }' "$1"; }

# layout REPLICATE SHARD SP TP [override...]: what two steps more receive
layout() {
    l_n=$(($1 * $2 * $4)) l_r=$1 l_s=$2 l_p=$3 l_t=$4 l_w=4
    shift 4
    case $* in *bf16*) l_w=2 ;; esac
    for l_steps in 1 3; do
        rm -rf "$TMPDIR/out"
        train $l_n "$TMPDIR/out" --models.student.init_from "$TMPDIR/wide" $d.hsdp_replicate_dim "$l_r" $d.hsdp_shard_dim "$l_s" $d.sp_size "$l_p" \
            $d.tp_size "$l_t" --training.data.train_batch_size 1 --training.data.num_height 128 --training.data.num_width 128 \
            --training.loop.gradient_accumulation_steps 1 --training.loop.max_train_steps $l_steps \
            --training.checkpoint.training_state_checkpointing_steps 0 "$@" > "$TMPDIR/run.log" 2>&1 || show "$TMPDIR/run.log"
        received "$TMPDIR/run.log" > "$TMPDIR/received$l_steps"
    done
    awk -v r="$l_r" -v s="$l_s" -v p="$l_p" -v t="$l_t" -v w="$l_w" '
        function cut(n) { return (n - 1) / n }
        FNR == 1 { file++ }
        file == 1 { one[$1 " " $2] = $3; next }
        { got[$1 " " $2] = ($3 - one[$1 " " $2]) / 2 }
        END {
            D = 256; F = 1024; L = 2; H = 8; txt = text = freq = patch = 64; N = 2 * 8 * 8
            # matrices, then what is f32 in any compute dtype: biases, norms, modulation, the time MLP; of one tp rank
            block = (8 * D * D + 2 * D * F) / t; block_f32 = (6 * D + F + 4 * D) / t + 3 * D + 2 * D + 6 * D
            root = 2 * patch * D + (text * D + D * D) / t; root_f32 = (freq + D + 6 * D) * D + 8 * D + 2 * D + D + patch + D / t + D
            P = root + root_f32 + L * (block + block_f32)
            least["shard allgather"] = cut(s) * (w * (root + 2 * L * block) + 4 * (root_f32 + 2 * L * block_f32))
            least["shard alltoall"] = cut(s) * 4 * P
            least["replicate allgather"] = least["replicate alltoall"] = cut(r) * 4 * P / s
            sums = L * 6 * D * 4 + 2 * D * 4
            least["sp alltoall"] = cut(p) * (L * (8 * N / p * D * w + 2 * txt * D * 4) + sums)
            least["sp allgather"] = cut(p) * (sums + N * patch * w)
            least["tp alltoall"] = cut(t) * 4 * (L * (6 * N + txt) + txt) * D
            least["tp allgather"] = cut(t) * (w * (L * (6 * N + txt) + txt) * D + 4 * L * 2 * (3 * N + txt) * H)
            for (k in got) { n++; printf "%s %d of at least %d, %.3f; ", k, got[k], least[k], got[k] / least[k]; bad += !(got[k] < 1.02 * least[k] + 600 && got[k] > 0.98 * least[k] - 600) } # the table shows thousandths of a MiB
            exit bad || !n
        }' "$TMPDIR/received1" "$TMPDIR/received3" > "$TMPDIR/least"
    verdict $? "replicate $l_r shard $l_s sp $l_p tp $l_t $*: $(cat "$TMPDIR/least")" "$TMPDIR/run.log"
}
layout 1 2 1 1
layout 1 4 1 1
layout 2 2 1 1
layout 1 4 4 1
layout 1 1 1 2
layout 1 2 1 2
layout 2 2 2 1 --training.compute_dtype bf16
plan
