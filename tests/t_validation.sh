#!/bin/sh
# Validation: the same films in every layout, of the average where there is one, without a trace in the training.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
tool=$REEL_BUILD/tests/ckpt_tool
d=--training.distributed
v=--callbacks.validation
cat > "$TMPDIR/p.json" <<'END'
{"data": [{"caption": "a red circle moves slowly up on a white background", "num_inference_steps": 50},
          {"caption": "a blue square moves fast left on a black background"},
          {"caption": "a green triangle moves slowly down, then stops",},
         ],
}
END
common="$v.pipeline_target wan $v.dataset_file $TMPDIR/p.json $v.every_steps 3 $v.sampling_steps [3]"
bits() { "$tool" hash "$TMPDIR/$1/checkpoint-6"; }
count() { find "$TMPDIR/$1" -maxdepth 1 -name '*.mp4' | wc -l; }

# shellcheck disable=SC2086 # several overrides
{
run() { # run RANKS OUT [override...]
    r_n=$1 r_out=$2
    shift 2
    train "$r_n" "$TMPDIR/$r_out" $common "$@"
}
try "without validation" train 1 "$TMPDIR/none"
try "a run that validates at steps 0, 3 and 6" run 1 one
same "nine films" 9 "$(count one)"
same "training does not notice" "$(bits none)" "$(bits one)"
[ "$(films one 3)" != "$(films one 6)" ]
verdict $? "the films change as the student does"
grep -q '"validation/3_steps_video_count": *3.*"validation/3_steps_audio_video_count": *0' "$TMPDIR/one/tracker/metrics.jsonl"
verdict $? "the films are counted in the log"
grep 'validation_videos_3_steps' "$TMPDIR/one/tracker/metrics.jsonl" | grep -q 'a blue square moves fast left on a black background'
verdict $? "and listed with their captions"

for l in "2 $d.hsdp_replicate_dim 2 $d.hsdp_shard_dim 1" "2" "2 $d.sp_size 2 --training.data.train_batch_size 4" \
    "2 $d.tp_size 2 $d.hsdp_shard_dim 1 --training.data.train_batch_size 4" "4 $d.sp_size 2 --training.data.train_batch_size 2" "1 --training.threads 2"; do
    rm -rf "$TMPDIR/other"
    try "another layout: $l" run ${l%% *} other ${l#"${l%% *}"}
    same "the same weights" "$(bits one)" "$(bits other)"
    for s in 0 3 6; do same "the same films of step $s" "$(films one $s)" "$(films other $s)"; done
done

mkdir "$TMPDIR/resumed" && cp -r "$TMPDIR/one/checkpoint-3" "$TMPDIR/resumed/"
try "step 3 of one rank resumed on two" run 2 resumed --resume-from-checkpoint latest
same "as if never stopped" "$(bits one)" "$(bits resumed)"
same "step 3 is validated again, with the same films" "$(films one 3)" "$(films resumed 3)"
same "and so is step 6" "$(films one 6)" "$(films resumed 6)"

try "with an average" run 2 ema --callbacks.ema.decay 0.9
sed 's/^callbacks:/callbacks:\n  ema: {decay: 0.9}/' "$tiny" > "$TMPDIR/first.yaml"
tiny=$TMPDIR/first.yaml
try "with an average that comes before it" run 2 late
tiny=$REEL_SRC/tests/tiny.yaml
try "and without films" train 2 "$TMPDIR/quiet" --callbacks.ema.decay 0.9
same "the average is what it is without films" "$(bits quiet)" "$(bits ema)"
same "in any order" "$(bits quiet)" "$(bits late)"
same "films of the weights before the first average" "$(films one 0)" "$(films ema 0)"
[ "$(films one 6)" != "$(films ema 6)" ]
verdict $? "then of the average"
same "whatever the order of the callbacks" "$(films ema 6)" "$(films late 6)"
"$REEL_BUILD/reel" export "$TMPDIR/ema/checkpoint-6" "$TMPDIR/average" --base "$REEL_SRC/tests/tiny" --ema > "$TMPDIR/out" 2>&1
try "the exported average, before a step" run 1 exported --models.student.init_from "$TMPDIR/average" --models.student.init load $v.every_steps 9
same "shows the same films" "$(films ema 6)" "$(films exported 0)"
}
plan
