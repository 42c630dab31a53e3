#!/usr/bin/env bash
# quickstart.sh [ARGUMENT...]: set up this machine, then see everything work on two CPU ranks, without a
# GPU, weights or a data set. Minutes. Arguments go to the main training run.
#   1. a real film becomes latents, a small Wan transformer learns one clip of it, stops, resumes, and
#      samples the clip from noise into an mp4;
#   2. the main job: the same transformer learns 4096 built-in clips of moving shapes from their
#      captions, shows films of four prompts while it does, and then draws captions that it has never seen.
# Everything is below outputs/. Run again, it goes on where it stopped.
set -u
script=quickstart.sh
# shellcheck source=jobscripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
set -eo pipefail
"$jobscripts/setup.sh"
cd "$root"
mpiexec_ranks 2
say() { printf '\nquickstart: %s\n' "$*"; }
export UCX_LOG_LEVEL="${UCX_LOG_LEVEL-error}" UCX_WARN_UNUSED_ENV_VARS=n
reel() { "${start[@]}" build/reel "$@"; }
two="--training.distributed.num_gpus 2 --training.distributed.hsdp_shard_dim 2"

film=$(find /usr/share/doc/opencv-doc* -name vtest.avi 2>/dev/null | head -n 1)
if [ -n "$film" ]; then
    caption="people walk through a courtyard"
    say "a real film, $film, becomes latents: outputs/film/clip.png shows it above what the codec keeps"
    mkdir -p outputs/film
    [ -f outputs/film/clip.h5 ] || reel preprocess --videos "$film" --caption "$caption" --height 96 --width 128 \
        --num-frames 13 --train-fps 5 --output outputs/film/clip.h5
    say "training on it: 300 steps, a checkpoint, and 300 more from that checkpoint"
    # shellcheck disable=SC2086 # a list of arguments
    for steps in 300 600; do
        reel train --config configs/sft_film.yaml $two --training.data.train_batch_size 2 \
            --training.loop.max_train_steps $steps --resume-from-checkpoint latest
    done
    # shellcheck disable=SC2086
    reel generate --config configs/sft_film.yaml $two --checkpoint latest --prompt "$caption" --steps 30 --guidance 1 \
        --fps 5 --out outputs/film/sampled
else
    say "no film found (package opencv-doc): going on with the built-in clips"
fi

say "the main job: built-in clips of moving shapes, 2000 steps"
# shellcheck disable=SC2086
reel train --config configs/sft_demo.yaml $two --training.data.train_batch_size 16 --resume-from-checkpoint latest "$@"
say "64 captions that it has never seen, measured"
# shellcheck disable=SC2086
reel generate --config configs/sft_demo.yaml $two --checkpoint latest --clips 64 --steps 50 --guidance 2 \
    --out outputs/quickstart/clips.png
say "a film of each of the prompts in configs/prompts_demo.json; any other: reel generate --checkpoint outputs/quickstart --prompt ..."
# shellcheck disable=SC2086
reel generate --config configs/sft_demo.yaml $two --checkpoint latest --prompts configs/prompts_demo.json --out outputs/quickstart/films
say "films:   $(find outputs/quickstart/films outputs/film -name '*.mp4' | sort | tr '\n' ' ')"
say "sheets:  outputs/quickstart/films/sheet.png (a clip a row), outputs/quickstart/clips.png (four clips a row, four frames each)"
say "what to expect of 2000 steps: colours, grounds and movements follow the words; outlines are soft, and a square is often taken for a circle"
say "while it learned: outputs/quickstart/validation_step_*.mp4; metrics: outputs/quickstart/tracker"
say "configuration: outputs/quickstart/config.yaml, weights: outputs/quickstart/checkpoint-2000"
