#!/bin/sh
# What a resume reads again from files, since no checkpoint has it: frozen weights that are others by now are said, in every layout.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
d=--training.distributed
says() { # says TEXT PATTERN: exactly one line of the last command's output has it
    n=$(grep -c -e "$2" "$TMPDIR/out")
    if [ "$n" = 1 ]; then ok "$1"; else not_ok "$1: '$2' on $n lines"; show "$TMPDIR/out" | tail -n 15; fi
}
silent() { if grep -q -e "${2:-warning\|results differ}" "$TMPDIR/out"; then not_ok "$1"; show "$TMPDIR/out"; else ok "$1"; fi; }
bits() { "$REEL_BUILD/tests/ckpt_tool" hash "$TMPDIR/$1/checkpoint-6"; }
swap() { # swap NAME [OTHER]: the model of that name is the other one from here on, or again itself
    rm -rf "${TMPDIR:?}/$1"
    cp -r "$TMPDIR/${2:-$1.kept}" "$TMPDIR/$1"
}
file=transformer/diffusion_pytorch_model.safetensors
flip() { # flip FILE: the lowest bit of its last byte but three, that of an f32's mantissa
    fl_at=$(($(wc -c < "$1") - 4))
    fl_was=$(od -An -tu1 -j "$fl_at" -N 1 "$1")
    # shellcheck disable=SC2059 # the byte as an escape
    printf "\\$(printf %o $((fl_was ^ 1)))" | dd of="$1" bs=1 seek="$fl_at" conv=notrunc 2> "$TMPDIR/dd"
}

try "weights" train 1 "$TMPDIR/origin"
for step in 3 6; do
    try "as a model" "$REEL_BUILD/reel" export "$TMPDIR/origin/checkpoint-$step" "$TMPDIR/step$step" --base "$REEL_SRC/tests/tiny"
done
for m in teacher base whole; do cp -r "$TMPDIR/step6" "$TMPDIR/$m.kept" && swap $m; done

# a frozen role
tiny=$REEL_SRC/tests/tiny_dmd2.yaml roles="student teacher critic"
distil() { # distil RANKS OUT [override...]
    di_n=$1 di_out=$TMPDIR/$2
    shift 2
    train "$di_n" "$di_out" --models.teacher.init_from "$TMPDIR/teacher" --models.teacher.init load \
        --models.student.init_from "$TMPDIR/whole" --models.student.init load "$@"
}
again() { # again RANKS OUT [override...]: step 3 goes on
    a_n=$1 a_out=$2
    shift 2
    rm -rf "${TMPDIR:?}/$a_out"
    mkdir "$TMPDIR/$a_out"
    cp -r "$TMPDIR/${from:-good}/checkpoint-3" "$TMPDIR/$a_out/"
    "${run:-distil}" "$a_n" "$a_out" "$@" --resume-from-checkpoint latest
}
found() { grep -o '"models\.[a-z]*\.[a-z_]*": "[0-9]* weights[^"]*"' "$TMPDIR/$1/checkpoint-6/metadata.json"; }
try "a run to resume" distil 1 good
want=$(bits good)
same "the teacher's weights alone are known by a hash" 1 "$(found good | grep -c '"models.teacher.init_from": "[0-9]* weights of hash [0-9a-f]\{16\}"')"
for layout in "1" "2" "2 $d.hsdp_replicate_dim 2 $d.hsdp_shard_dim 1" "2 $d.tp_size 2 $d.hsdp_shard_dim 1 --training.data.train_batch_size 4" \
    "4 $d.hsdp_replicate_dim 2 $d.hsdp_shard_dim 2"; do
    # shellcheck disable=SC2086 # the number of ranks, then overrides
    try "resumed: $layout" again ${layout%% *} same ${layout#"${layout%% *}"}
    silent "no warning"
    same "the same hash" "$(found good)" "$(found same)"
    same "the same bits" "$want" "$(bits same)"
done
mv "$TMPDIR/teacher" "$TMPDIR/moved"
try "the same teacher in another folder" again 1 renamed --models.teacher.init_from "$TMPDIR/moved"
says "leaves results alone" "results alone: models.teacher.init_from was .*/teacher, is .*/moved"
swap teacher step3
try "another teacher in the same folder" again 2 other
says "said" "^reel: resumed with another models.teacher.init_from: it was [0-9]* weights of hash [0-9a-f]*, is [0-9]* weights of hash [0-9a-f]*; .*results differ"
grep config_drift "$TMPDIR/other/tracker/metrics.jsonl" | sed 's/\\"/"/g' > "$TMPDIR/out"
says "and in the JSON lines" '"key": "models.teacher.init_from", "was": "[0-9]* weights of hash [0-9a-f]*", "is": "[0-9]* weights of hash [0-9a-f]*", "changes": "results"'
if [ "$(bits other)" != "$want" ]; then ok "other bits indeed"; else not_ok "other bits indeed"; fi
swap teacher
flip "$TMPDIR/teacher/$file"
try "the lowest bit of one weight" again 1 bit
says "said" "resumed with another models.teacher.init_from: it was"
old() { # again from a checkpoint that does not say what the weights were
    mkdir "$TMPDIR/old"
    cp -r "$TMPDIR/good/checkpoint-3" "$TMPDIR/old/"
    rm "$TMPDIR/old/checkpoint-3/commit.json"
    sed -i '/weights of hash/d; /"training.data.data_path": ".*CRC/s/,$//' "$TMPDIR/old/checkpoint-3/metadata.json"
    distil 1 old --resume-from-checkpoint latest
}
try "a checkpoint that does not say what they were" old
silent "nothing is said"
swap teacher
swap whole step3
try "another model where the student began, which the checkpoint has" again 1 started
silent "nothing is said"
same "the same bits" "$want" "$(bits started)"
swap whole

# replicas on nodes of their own, whose copies of a model differ
mkdir "$TMPDIR/node0" "$TMPDIR/node1"
cp -r "$TMPDIR/step6" "$TMPDIR/node0/teacher" && cp -r "$TMPDIR/step3" "$TMPDIR/node1/teacher"
printf '#!/bin/sh\ncd "%s/node$PMI_RANK" && exec "%s/reel" "$@"\n' "$TMPDIR" "$REEL_BUILD" > "$TMPDIR/reel"
chmod +x "$TMPDIR/reel"
nodes() ( # the subshell keeps what follows to itself: a program that starts in a folder of each rank's
    ln -s "$REEL_BUILD/tests" "$TMPDIR/tests"
    REEL_BUILD=$TMPDIR
    distil 2 nodes $d.hsdp_replicate_dim 2 $d.hsdp_shard_dim 1 --models.teacher.init_from teacher
)
fails "replicas that have read other weights" "models.teacher.init_from is not the same on every rank: .*is every node reading the same files" nodes

# the base of adapters
tiny=$REEL_SRC/tests/tiny.yaml roles=student run=lora from=adapted
lora() { # lora RANKS OUT [override...]
    l_n=$1 l_out=$TMPDIR/$2
    shift 2
    train "$l_n" "$l_out" --models.student.init load --models.student.lora.enable true --models.student.lora.rank 4 \
        --models.student.init_from "$TMPDIR/base" "$@"
}
try "adapters" lora 1 adapted
try "resumed on two ranks" again 2 same
silent "no warning"
same "the same bits" "$(bits adapted)" "$(bits same)"
swap base step3
try "on another base" again 1 rebased
says "said" "resumed with another models.student.init_from: it was [0-9]* weights of hash .*results differ"
try "on another that the configuration names, too" again 1 named --models.student.transformer_override_safetensor "$TMPDIR/step3/$file"
says "said once" "resumed with another models.student.transformer_override_safetensor: it was null, is .*step3"

# what validation films are made with
wan_pipeline "$TMPDIR/wan"
echo '["a red circle moves slowly up"]' > "$TMPDIR/p.json"
try "a set of Wan's encoders" "$REEL_BUILD/reel" preprocess --demo-clips 8 --model "$TMPDIR/wan" --height 32 --width 32 --num-frames 5 \
    --sheet none --output "$TMPDIR/wan.h5"
roles='' run=shown from=filmed
shown() { # shown RANKS OUT [override...]
    s_n=$1 s_out=$TMPDIR/$2 v=--callbacks.validation
    shift 2
    train "$s_n" "$s_out" --models.student.init_from "$TMPDIR/wan" --training.data.data_path "$TMPDIR/wan.h5" $v.pipeline_target wan \
        $v.dataset_file "$TMPDIR/p.json" $v.sampling_steps [1] $v.every_steps 6 $v.run_at_start false "$@"
}
try "a run that makes films" shown 1 filmed
try "resumed on two ranks" again 2 same
silent "by the same encoders" callbacks.validation
flip "$TMPDIR/wan/vae/diffusion_pytorch_model.safetensors"
try "with another VAE" again 1 vae
says "said, and no warning" "results alone: .*callbacks.validation.vae was wan-vae:[0-9a-f]*, is wan-vae:[0-9a-f]*$"
flip "$TMPDIR/wan/text_encoder/model.safetensors"
try "and another text encoder" again 1 both
says "said on the same line" "results alone: .*callbacks.validation.text_encoder was umt5:[0-9a-f]*, is umt5:[0-9a-f]*"
same "the training is the same" "$(bits filmed)" "$(bits both)"
plan
