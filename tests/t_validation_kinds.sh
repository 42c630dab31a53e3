#!/bin/sh
# Validation of the other samplers, several films of a prompt, a loss on held-out data, and what goes wrong.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
tool=$REEL_BUILD/tests/ckpt_tool
d=--training.distributed
v=--callbacks.validation
cat > "$TMPDIR/p.csv" <<'END'
id,caption
1,a red circle moves slowly up on a white background
2,"a blue square, which moves fast left on a black background"
3,a green triangle moves slowly down
END
bits() { "$tool" hash "$TMPDIR/$1/checkpoint-6"; }
count() { find "$TMPDIR/$1" -maxdepth 1 -name "${2:-*}.mp4" | wc -l; }
common="$v.dataset_file $TMPDIR/p.csv $v.every_steps 3 $v.run_at_start false --training.loop.max_train_steps 3"

# shellcheck disable=SC2086 # several overrides
{
run() { # run RANKS OUT [override...]
    r_n=$1 r_out=$2
    shift 2
    rm -rf "${TMPDIR:?}/$r_out"
    train "$r_n" "$TMPDIR/$r_out" $common "$@"
}
# layouts NAME FILES [override...]: one rank, and the same films in other layouts
layouts() {
    la_name=$1 la_files=$2
    shift 2
    try "$la_name" run 1 one "$@"
    same "its films" "$la_files" "$(count one)"
    for l in "2" "2 $d.sp_size 2 --training.data.train_batch_size 4" "2 $d.tp_size 2 $d.hsdp_shard_dim 1 --training.data.train_batch_size 4" \
        "4 $d.sp_size 2 --training.data.train_batch_size 2"; do
        try "in another layout: $l" run ${l%% *} other "$@" ${l#"${l%% *}"}
        same "the same films" "$(films one 3)" "$(films other 3)"
    done
}
tiny=$REEL_SRC/tests/tiny_forcing.yaml
layouts "causal, guided, of more frames than training, two films a prompt" 3 $v.pipeline_target wan_causal $v.guidance_scale 2.5 $v.num_frames 25 \
    $v.num_videos_per_prompt 2 $v.sampling_steps [3]
ffprobe -v error -count_frames -show_entries stream=width,height,nb_read_frames,r_frame_rate -of csv=p=0 \
    "$TMPDIR/one/validation_step_3_inference_steps_3_rank_0_video_0.mp4" > "$TMPDIR/out" 2>&1
same "two pictures of 32 x 32 side by side, 25 frames at the 8 a second of the data set" "70,36,8/1,25" "$(cat "$TMPDIR/out")"
roles="student teacher critic" tiny=$REEL_SRC/tests/tiny_self_forcing.yaml
layouts "streaming in few steps, of the average" 3 $v.pipeline_target wan_causal_dmd $v.rollout_mode streaming --pipeline.context_noise 20
tiny=$REEL_SRC/tests/tiny_dmd2.yaml
layouts "whole clips in few steps" 3 $v.pipeline_target wan_dmd $v.rollout_mode parallel
try "the same steps as a list" run 1 list $v.pipeline_target wan_dmd $v.sampling_timesteps "[1000,750,500]"
same "the same films" "$(films one 3)" "$(films list 3)"

roles=student tiny=$REEL_SRC/tests/tiny.yaml
try "two lengths, a second validation with a folder of its own" run 2 lengths $v.pipeline_target wan $v.sampling_steps "[2,5]" \
    --callbacks.short._target_ validation --callbacks.short.pipeline_target wan --callbacks.short.scheduler euler --callbacks.short.every_steps 1 \
    --callbacks.short.dataset_file "$TMPDIR/p.csv" --callbacks.short.sampling_steps [2] --callbacks.short.output_dir "$TMPDIR/lengths/short" \
    --callbacks.short.unload_pipeline_after_validation true
same "three films of two steps" 3 "$(count lengths '*_inference_steps_2_*')"
same "three of five" 3 "$(count lengths '*_inference_steps_5_*')"
same "twelve of the second" 12 "$(count lengths/short 'short_step_*_inference_steps_2_*')"
try "one length" run 1 length $v.pipeline_target wan $v.sampling_steps [5]
same "the same films as among others" "$(films length 3 inference_steps_5)" "$(films lengths 3 inference_steps_5)"
try "in bf16" run 1 half $v.pipeline_target wan $v.sampling_steps [2] --training.compute_dtype bf16
try "in bf16 on two ranks" run 2 halves $v.pipeline_target wan $v.sampling_steps [2] --training.compute_dtype bf16
same "the same films" "$(films half 3)" "$(films halves 3)"
try "recorded" run 2 recorded $v.pipeline_target wan $v.sampling_steps [2] --record "$TMPDIR/draws.safetensors"
try "and replayed on one rank" run 1 replayed $v.pipeline_target wan $v.sampling_steps [2] --replay "$TMPDIR/draws.safetensors" --replay-strict
same "the same films" "$(films recorded 3)" "$(films replayed 3)"

# the loss: samples of another set, the same draws every time
cp "$TMPDIR/data.h5" "$TMPDIR/held.h5"
loss() { sed -n 's/.*"validation\/loss": *\([^,}]*\).*/\1/p' "$TMPDIR/$1/tracker/metrics.jsonl"; }
held="$v.pipeline_target wan $v.sampling_steps [2] $v.validation_loss 7 $v.validation_data $TMPDIR/held.h5 $v.every_steps 1"
try "a loss on seven samples" run 1 loss $held
try "on two ranks" run 2 loss2 $held
try "sp 2" run 2 lossp $held $d.sp_size 2 --training.data.train_batch_size 4
same "three values" 3 "$(loss loss | wc -l)"
same "the same on two ranks" "$(loss loss)" "$(loss loss2)"
same "and with sp 2" "$(loss loss)" "$(loss lossp)"
try "weights that do not move" run 1 still $held --training.optimizer.learning_rate 1.0e-30
same "have one loss" 1 "$(loss still | sort -u | wc -l)"
same "the same weights as without" "$(try x run 1 none --callbacks.validation null > /dev/null; "$tool" hash "$TMPDIR/none/checkpoint-3")" "$("$tool" hash "$TMPDIR/loss/checkpoint-3")"

# Wan's encoders, small ones: the films of a run become a set, which another run learns and shows
wan_pipeline "$TMPDIR/wan"
mkdir "$TMPDIR/clips" && cp "$TMPDIR/lengths/short"/short_step_[12]_*.mp4 "$TMPDIR/lengths"/*_steps_5_*.mp4 "$TMPDIR/clips/"
try "films become a set with Wan's encoders" "$REEL_BUILD/reel" preprocess --videos "$TMPDIR/clips" --caption "a red circle" --model "$TMPDIR/wan" \
    --height 32 --width 32 --num-frames 5 --train-fps 8 --sheet none --output "$TMPDIR/wan.h5"
wan="$v.pipeline_target wan $v.sampling_steps [2] $v.guidance_scale 3 $v.every_steps 1 --models.student.init_from $TMPDIR/wan --training.data.data_path $TMPDIR/wan.h5"
roles=
try "a run that validates with them" run 1 enc $wan
try "on two ranks" run 2 enc2 $wan
try "sp 2" run 2 encp $wan $d.sp_size 2 --training.data.train_batch_size 4
same "nine films" 9 "$(count enc)"
same "the same on two ranks" "$(films enc 3)" "$(films enc2 3)"
same "and with sp 2" "$(films enc 3)" "$(films encp 3)"
grep -q 'beside them validation .* MiB of host memory and codec' "$TMPDIR/out"
verdict $? "the plan says what the codec takes"
try "another negative prompt" run 1 neg $wan $v.negative_prompt "a blue square"
[ "$(films enc 3)" != "$(films neg 3)" ]
verdict $? "is another film"
rm -rf "$TMPDIR/wan/vae"
fails "a folder without a VAE" "wan has no vae/, and the model (16 latent channels, text of 32 columns) does not fit the built-in encoders (16, 64)" run 2 x $wan
roles=student

# what goes wrong
fails "no prompt file" "nowhere.json: cannot" run 2 x $v.pipeline_target wan $v.dataset_file "$TMPDIR/nowhere.json"
printf '{"data": [{"prompt": "a"}]}' > "$TMPDIR/bad.json"
fails "a prompt file of another kind" 'bad.json: entry 0 is neither a prompt nor an object with a "caption"' run 2 x $v.pipeline_target wan $v.dataset_file "$TMPDIR/bad.json"
: > "$TMPDIR/p.parquet"
fails "a table" 'pandas.read_parquet' run 2 x $v.pipeline_target wan $v.dataset_file "$TMPDIR/p.parquet"
fails "more held-out samples than there are" "held.h5 holds 24" run 2 x $held $v.validation_loss 25
: > "$TMPDIR/file"
fails "a folder that cannot be" "file/x" run 2 x $v.pipeline_target wan $v.output_dir "$TMPDIR/file/x"
mkdir -p "$TMPDIR/part/validation_step_3_inference_steps_2_rank_0_video_1.mp4/x"
train 1 "$TMPDIR/part" $common $v.pipeline_target wan $v.sampling_steps [2] > "$TMPDIR/out" 2>&1
verdict $? "a film that cannot be written does not end the run"
grep -q 'warning: .*rank_0_video_1.mp4 is left out' "$TMPDIR/out" && grep -q '2 of 3 films' "$TMPDIR/out"
verdict $? "which is said"
same "the others are there" 2 "$(find "$TMPDIR/part" -maxdepth 1 -type f -name '*.mp4' | wc -l)"
}
plan
