#!/bin/sh
# Films from a model: the same bytes in every layout, prompts from files, what is refused, which configuration is meant,
# and that a streaming model's film grows while it is sampled.
. "$REEL_SRC/tests/lib.sh"
cd "$REEL_SRC" || exit 1
reel=$REEL_BUILD/reel
run=$TMPDIR/run
on() { # on RANKS ARGUMENT...
    on_n=$1
    shift
    "$REEL_BUILD/tests/mpirun.sh" -n "$on_n" "$reel" generate "$@"
}
digest() { cat "$1"/*.mp4 2> /dev/null | sha256sum | cut -d' ' -f1; }
films() { find "$1" -name '*.mp4' | wc -l; }
probe() { ffprobe -v error -count_frames -show_entries stream=codec_name,width,height,r_frame_rate,nb_read_frames -of csv=p=0 "$1" 2>&1; }
has_ffprobe() { command -v ffprobe > /dev/null; }

try "a few steps of training" "$REEL_BUILD/tests/mpirun.sh" -n 1 "$reel" train --config configs/sft_demo.yaml \
    --training.data.data_path "$TMPDIR/data" --training.data.demo_clips 64 --training.data.train_batch_size 8 \
    --training.loop.max_train_steps 20 --override-output-dir "$run" --training.threads 1

# ---- one film ----
prompt="a red circle moves slowly up on a white background"
try "one prompt" on 1 --checkpoint "$run" --prompt "$prompt" --steps 4 --out "$TMPDIR/one.mp4" --seed 7
if has_ffprobe; then same "ffprobe reads it" "$(probe "$TMPDIR/one.mp4")" "h264,48,48,8/1,13"; else skip "ffprobe" "not installed"; fi
if has_ffprobe; then same "its title is the prompt" "$(ffprobe -v error -show_entries format_tags=title -of csv=p=0 "$TMPDIR/one.mp4")" "$prompt"; else skip "title" "no ffprobe"; fi
try "the same again" on 1 --checkpoint "$run" --prompt "$prompt" --steps 4 --out "$TMPDIR/two.mp4" --seed 7
verdict "$(cmp -s "$TMPDIR/one.mp4" "$TMPDIR/two.mp4"; echo $?)" "the same bytes"
try "another seed" on 1 --checkpoint "$run" --prompt "$prompt" --steps 4 --out "$TMPDIR/two.mp4" --seed 8
verdict "$(cmp -s "$TMPDIR/one.mp4" "$TMPDIR/two.mp4"; [ $? = 1 ]; echo $?)" "other bytes"
try "another size, rate and length" on 1 --checkpoint "$run/checkpoint-20" --prompt "$prompt" --steps 2 --out "$TMPDIR/size.mp4" --height 64 --width 80 \
    --frames 9 --fps 12
if has_ffprobe; then same "as asked for" "$(probe "$TMPDIR/size.mp4")" "h264,80,64,12/1,9"; else skip "sizes" "no ffprobe"; fi

# ---- files of prompts, in every layout ----
printf '%s\n\n  a blue square moves quickly left on a black background  \n' "$prompt" > "$TMPDIR/p.txt"
echo "a green triangle moves slowly right on a yellow background" >> "$TMPDIR/p.txt"
try "a file of prompts" on 1 --checkpoint "$run" --prompts "$TMPDIR/p.txt" --steps 4 --out "$TMPDIR/l1"
same "three films" "$(films "$TMPDIR/l1")" 3
verdict "$([ -s "$TMPDIR/l1/sheet.png" ] && [ -s "$TMPDIR/l1/films.json" ]; echo $?)" "a sheet and a list beside them"
want=$(digest "$TMPDIR/l1")
layout() { # layout RANKS NAME [ARGUMENT...]
    la_n=$1; la_name=$2
    shift 2
    try "$la_n ranks, $la_name" on "$la_n" --checkpoint "$run" --prompts "$TMPDIR/l1/films.json" --steps 4 --out "$TMPDIR/l" "$@"
    same "the same films" "$(digest "$TMPDIR/l")" "$want"
    verdict "$(cmp -s "$TMPDIR/l/sheet.png" "$TMPDIR/l1/sheet.png"; echo $?)" "the same sheet"
    rm -r "$TMPDIR/l"
}
d=--training.distributed
layout 1 "two at once" --batch 2
layout 2 "as it comes"
layout 2 "replicas" $d.hsdp_replicate_dim 2 $d.hsdp_shard_dim 1
layout 2 "sequence parallel" $d.sp_size 2
layout 2 "tensor parallel" $d.hsdp_shard_dim 1 $d.tp_size 2
layout 4 "as it comes"
layout 4 "two groups of two, two at once" $d.sp_size 2 --batch 2
layout 4 "all of it" $d.hsdp_shard_dim 2 $d.tp_size 2 $d.sp_size 2

# ---- a folder alone ----
try "export" "$reel" export "$run/checkpoint-20" "$TMPDIR/folder"
try "a Diffusers folder alone" on 1 --model "$TMPDIR/folder" --prompt "$prompt" --steps 4 --seed 7 --out "$TMPDIR/alone.mp4"
verdict "$(cmp -s "$TMPDIR/one.mp4" "$TMPDIR/alone.mp4"; echo $?)" "is the run's film"

# ---- Wan's encoders: a small pipeline as Diffusers writes it, with no configuration beside it ----
wan() { # wan RANKS OUT [ARGUMENT...]
    wa_n=$1; wa_out=$2
    shift 2
    on "$wa_n" --model tests/golden/hf-layout/pipeline --prompts "$TMPDIR/p.txt" --height 32 --width 48 --frames 9 --steps 3 --out "$wa_out" "$@"
}
try "words and pictures through UMT5 and the VAE" wan 1 "$TMPDIR/wan"
if has_ffprobe; then same "at Wan's rate" "$(probe "$TMPDIR/wan/000-a-red-circle-moves-slowly-up-on-a-white-background.mp4")" "h264,48,32,16/1,9"; else skip "rate" "no ffprobe"; fi
want=$(digest "$TMPDIR/wan")
for l in "2" "2 $d.sp_size 1" "2 $d.hsdp_shard_dim 1 $d.tp_size 2" "4"; do
    # shellcheck disable=SC2086 # a list of arguments
    set -- $l
    l_n=$1
    shift
    try "on $l" wan "$l_n" "$TMPDIR/l" "$@"
    same "the same films" "$(digest "$TMPDIR/l")" "$want"
    rm -r "$TMPDIR/l"
done
try "not guided" wan 1 "$TMPDIR/l" --guidance 1
verdict "$([ "$(digest "$TMPDIR/l")" != "$want" ]; echo $?)" "other films"
try "away from something else" wan 1 "$TMPDIR/l" --negative-prompt "slow"
verdict "$([ "$(digest "$TMPDIR/l")" != "$want" ]; echo $?)" "other films"
try "decoded in tiles" on 1 --model tests/golden/hf-layout/pipeline --prompt cat --steps 1 --frames 1 --height 384 --width 416 --pipeline.vae_tiling true \
    --out "$TMPDIR/tiles.mp4"
try "decoded whole" on 1 --model tests/golden/hf-layout/pipeline --prompt cat --steps 1 --frames 1 --height 384 --width 416 --out "$TMPDIR/whole.mp4"
verdict "$(cmp -s "$TMPDIR/tiles.mp4" "$TMPDIR/whole.mp4"; [ $? = 1 ]; echo $?)" "tiles are blended at their borders"
cp -r tests/golden/hf-layout/pipeline "$TMPDIR/bare" && chmod -R u+w "$TMPDIR/bare" && rm -r "$TMPDIR/bare/vae"
fails "a folder without a VAE" "has no vae/" "$reel" generate --model "$TMPDIR/bare" --prompt x

# ---- streaming: the same weights as a causal model ----
stream() { # stream RANKS OUT FRAMES SAMPLER
    on "$1" --model "$TMPDIR/folder" --prompt "$prompt" --out "$2" --frames "$3" --sampler "$4" --steps 2
}
for s in streaming causal; do
    try "a film chunk by chunk, $s" stream 1 "$TMPDIR/$s.mp4" 37 $s
    if has_ffprobe; then same "whole" "$(probe "$TMPDIR/$s.mp4")" "h264,48,48,8/1,37"; else skip "whole" "no ffprobe"; fi
    try "by two ranks" stream 2 "$TMPDIR/two.mp4" 37 $s
    verdict "$(cmp -s "$TMPDIR/$s.mp4" "$TMPDIR/two.mp4"; echo $?)" "the same film"
done
"$reel" generate --model "$TMPDIR/folder" --prompt "$prompt" --out "$TMPDIR/long.mp4" --frames 817 --sampler streaming --steps 20 > "$TMPDIR/long.out" 2>&1 &
victim=$!
under_way() { [ -e "$TMPDIR/long.mp4.part" ] && [ "$(wc -c < "$TMPDIR/long.mp4.part")" -gt 8000 ]; }
await under_way
kill -TERM $victim
wait $victim 2> /dev/null
same "a signal ends it at once: exit code" $? 143
if has_ffprobe; then
    n=$(probe "$TMPDIR/long.mp4.part" | cut -d, -f5)
    verdict "$([ "${n:-0}" -gt 12 ] && [ "$n" -lt 817 ] && [ ! -e "$TMPDIR/long.mp4" ]; echo $?)" "a film that is under way shows its first pictures: $n"
else skip "a film under way" "no ffprobe"; fi
try "the next film of that name" stream 1 "$TMPDIR/long.mp4" 37 streaming
verdict "$(cmp -s "$TMPDIR/streaming.mp4" "$TMPDIR/long.mp4"; echo $?)" "is whole"
same "and leaves nothing of the one before" "$(find "$TMPDIR" -name 'long.mp4*')" "$TMPDIR/long.mp4"

# ---- captions of held-out clips ----
try "a benchmark" on 2 --checkpoint "$run" --clips 5 --steps 2 --out "$TMPDIR/clips.png" --batch 2
cp "$TMPDIR/out" "$TMPDIR/measures"
verdict "$(grep -q '^measures of 5 clips, benchmark 0, unipc, 2 steps' "$TMPDIR/measures"; echo $?)" "measures, and a sheet alone"
try "real clips" on 1 --checkpoint "$run" --clips 3 --sampler real --out "$TMPDIR/real.png"
verdict "$(grep -q 'shape 1.0000 colour 1.0000 ground 1.0000 direction 1.0000' "$TMPDIR/out"; echo $?)" "real clips measure as such"
try "measured on one rank" on 1 --checkpoint "$run" --clips 5 --steps 2 --out "$TMPDIR/clips1.png" --batch 3
same "the same measures" "$(grep '^measures' "$TMPDIR/out")" "$(grep '^measures' "$TMPDIR/measures")"

# ---- what is refused ----
fails "no prompt" "generate: say what to show" "$reel" generate --checkpoint "$run"
fails "no model" "generate: by which model?" "$reel" generate --prompt x
fails "two sources of prompts" "exclude each other" "$reel" generate --prompt x --clips 3 --checkpoint "$run"
fails "frames that do not fit" "generate: --frames 80: films have 4k+1 frames" "$reel" generate --checkpoint "$run" --prompt x --frames 80
fails "a size that does not fit" "num_height: 40 is not a multiple of 16; nearest: 32 or 48" "$reel" generate --checkpoint "$run" --prompt x --height 40
if [ "$(awk '/^MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo)" -lt 140 ]; then
    fails "a film that the machine has no memory for" "generate: a rank needs 147.* GiB, the most for step" "$reel" generate --checkpoint "$run" \
        --prompt x --height 4096 --width 4096 --frames 1001
else skip "a film that the machine has no memory for" "it has"; fi
fails "a film of too many pixels" "16 x 10001 x 512 x 512 latents; a film has at most 2^34" "$reel" generate --checkpoint "$run" --prompt x \
    --height 4096 --width 4096 --frames 40001
fails "clips that the machine has no memory for" "the most for films (1611.4 GiB), and has" "$reel" generate --checkpoint "$run" --clips 100000 --frames 81 \
    --height 256 --width 256 --steps 1 --out "$TMPDIR/x.png"
for x in gif MP4 jpeg; do
    fails "x.$x is no folder" "x.$x: films are .mp4, contact sheets .png; any other name" "$reel" generate --checkpoint "$run" --prompt x --out "$TMPDIR/x.$x"
done
# a film of an hour: what it takes is said at once
"$reel" generate --checkpoint "$run" --prompt x --frames 40001 --steps 4 --out "$TMPDIR/x.mp4" > "$TMPDIR/out" 2>&1 &
victim=$!
await grep -q 'a rank, about' "$TMPDIR/out"
kill -9 $victim
wait $victim 2> /dev/null
grep -q '^generate: 1 film of 40001 pictures of 48 x 48, 4 steps: 8[0-9.]* MiB a rank, about [0-9]*:[0-9:]* of computing$' "$TMPDIR/out"
verdict $? "memory and time are said before the work: $(cat "$TMPDIR/out")"
fails "many films, one name" "is one film, 3 are asked for; name a folder" "$reel" generate --checkpoint "$run" --prompts "$TMPDIR/p.txt" --out "$TMPDIR/x.mp4"
fails "no folder to write to" "cannot make the folder" "$reel" generate --checkpoint "$run" --prompt x --out "$TMPDIR/p.txt/x"
fails "guided few steps" "few-step samplers are not guided" "$reel" generate --checkpoint "$run" --prompt x --sampler fewstep --guidance 3
fails "a model that cannot stream" "streaming needs a causal model" "$reel" generate --checkpoint "$run" --prompt x --sampler causal
fails "no such run" "none: there is no such checkpoint" "$reel" generate --checkpoint "$TMPDIR/none" --prompt x
fails "no such checkpoint" "checkpoint-99: there is no such checkpoint" "$reel" generate --checkpoint "$run/checkpoint-99" --prompt x
fails "a folder of something else" "no config.yaml of a run in or above" "$reel" generate --checkpoint "$TMPDIR/data" --prompt x
weights=$TMPDIR/folder/transformer/diffusion_pytorch_model.safetensors
end() { printf "$1$1$1$1" | dd of="$weights" bs=1 seek=$(($(stat -c %s "$weights") - 16)) conv=notrunc 2> /dev/null; }
end '\377\377\177\177' # the largest numbers there are
fails "latents that are not finite" "generate: film 0: .* in latent frame 0" on 2 --model "$TMPDIR/folder" --prompt x --steps 2 --out "$TMPDIR/blown"
verdict "$([ -d "$TMPDIR/blown" ] && [ -z "$(ls "$TMPDIR/blown")" ]; echo $?)" "leave no film"
end '\000\000\300\177'
fails "a weight that is not a number" "a weight of row [0-9]* is -*nan" on 2 --model "$TMPDIR/folder" --prompt x --steps 2
fails "latest of nothing" "the latest of which run?" "$reel" generate --checkpoint latest --prompt x
fails "no such prompts" "none.txt: cannot open" "$reel" generate --checkpoint "$run" --prompts "$TMPDIR/none.txt"
printf '[\n {"caption": 1}]' > "$TMPDIR/bad.json"
fails "bad prompts" "bad.json: entry 0 is neither a prompt" "$reel" generate --checkpoint "$run" --prompts "$TMPDIR/bad.json"
plan
