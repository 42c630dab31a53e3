#!/bin/sh
# Files of the program and of tests/plugins, built as plugins against installed headers: they train as the
# built-in ones do, and what is wrong with one is said once, on every rank.
. "$REEL_SRC/tests/lib.sh"
. "$REEL_SRC/tests/train.sh"
inst=$TMPDIR/inst

# fails TEXT PATTERN COMMAND...: exit code 1, the pattern in the one line of stderr that begins with "reel: "
fails() {
    f_text=$1
    f_want=$2
    shift 2
    "$@" 2> "$TMPDIR/out" > /dev/null
    f_rc=$?
    if [ $f_rc = 1 ] && [ "$(grep -c '^reel: ' "$TMPDIR/out")" = 1 ] && grep -q "^reel: .*$f_want" "$TMPDIR/out"; then
        ok "$f_text"
    else
        not_ok "$f_text"
        echo "# exit code $f_rc; '$f_want' was wanted in"
        show "$TMPDIR/out" | tail -n 15
    fi
}

# plugin SOURCES OBJECT [flag...]: the command that the manual gives
plugin() {
    p_in=$1
    p_out=$2
    shift 2
    # shellcheck disable=SC2046,SC2086 # flags and sources are words
    cc -shared -fPIC -Wall -Wextra -Werror -DREEL_AS_PLUGIN $(pkg-config --cflags reel) "$@" $p_in -o "$p_out"
}

# weights DIR: a digest of the student's exported weights
weights() {
    "$REEL_BUILD/tests/mpirun.sh" "$REEL_BUILD/reel" export "$1" "$1.hf" --base "$REEL_SRC/tests/tiny" > "$TMPDIR/out" 2>&1 ||
        show "$TMPDIR/out"
    cat "$1".hf/transformer/*.safetensors 2> /dev/null | sha256sum | cut -d' ' -f1
}

try "make install" env MAKEFLAGS= make -s -C "$REEL_BUILD" install DESTDIR="$inst"
PKG_CONFIG_PATH=$(dirname "$(find "$inst" -name reel.pc)")
PKG_CONFIG_SYSROOT_DIR=$inst
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
cd "$TMPDIR" || exit 99

# ---- files of the program
try "a method of the program as a plugin" plugin "$REEL_SRC/src/methods/sft.c" sft.so
try "a callback" plugin "$REEL_SRC/src/callbacks/grad_clip.c" grad_clip.so
try "a model of several files and a header of their own" plugin "$(echo "$REEL_SRC"/src/models/wan*.c)" wan.so "-I$REEL_SRC/src"
as_plugins="--method._target_ ./sft.so:sft --models.student._target_ $TMPDIR/wan.so:wan --callbacks.grad_clip._target_ grad_clip.so:grad_clip"
try "built-in" train 1 "$TMPDIR/in"
# shellcheck disable=SC2086
try "as plugins, on two ranks" train 2 "$TMPDIR/out2" $as_plugins
same "the same weights" "$(weights "$TMPDIR/in/checkpoint-6")" "$(weights "$TMPDIR/out2/checkpoint-6")"
[ "$(grep -cE '^# plugin .*(sft.so:sft|grad_clip.so:grad_clip|wan.so:wan): its file has FNV-1a [0-9a-f]{16}$' out2/config.yaml)" = 3 ]
verdict $? "the resolved configuration says which bytes were loaded"
try "the resolved configuration runs again" "$REEL_BUILD/tests/mpirun.sh" -n 2 "$REEL_BUILD/reel" train \
    --config "$TMPDIR/out2/config.yaml" --dry-run

# ---- the examples: a model, a method with a critic, a callback
model=$REEL_SRC/tests/plugins/patch_mlp
for n in patch_mlp adversarial update_ratio; do try "build $n" plugin "$REEL_SRC/tests/plugins/$n.c" $n.so; done
examples="--models.student._target_ ./patch_mlp.so:patch_mlp --models.student.init_from $model
  --models.critic._target_ ./patch_mlp.so:patch_mlp --models.critic.init_from $model --models.critic.init random
  --method._target_ ./adversarial.so:adversarial --method.critic_learning_rate 1e-2 --method.weight 1 --method.ramp 3
  --callbacks.ratio._target_ ./update_ratio.so:update_ratio --training.checkpoint.training_state_checkpointing_steps 3"
# log DIR [FIRST]: what it logged from step FIRST on, but for times
log() {
    sed '/"step_time_sec"/!d; s/"time": [0-9.]*, //; s/"step_time_sec": [^,]*, //; s/"samples_per_sec": [^,]*, //; s/"flops_per_sec".*"memory\/host_peak_gib": [^,]*, //; s/"ranks\/[^,]*, //g' "$1/tracker/metrics.jsonl" |
        sed -n "/\"step\": ${2:-1},/,\$p"
}
example() {
    ex_n=$1
    ex_out=$2
    shift 2
    # shellcheck disable=SC2086 # a list of overrides
    train "$ex_n" "$ex_out" $examples "$@"
}

try "dry run" example 2 "$TMPDIR/dry" --dry-run
grep -q '^  optim.critic' "$TMPDIR/out"
verdict $? "the plan has the critic's optimizer"
# shellcheck disable=SC2086
try "reel plan" "$REEL_BUILD/tests/mpirun.sh" "$REEL_BUILD/reel" plan --config "$tiny" --training.data.data_path data.h5 $examples
grep -q '^  callbacks ' "$TMPDIR/out"
verdict $? "the plan has the callback's memory"
fails "a model that shares no passes" "sp_size.*patch_mlp of the student knows no sequence parallelism; use 1" \
    example 2 "$TMPDIR/sp" --training.distributed.sp_size 2
try "train on one rank" example 1 "$TMPDIR/ex1"
try "on two ranks, sharded" example 2 "$TMPDIR/ex2"
try "on two ranks, replicated" example 2 "$TMPDIR/ex2r" --training.distributed.hsdp_shard_dim 1 --training.distributed.hsdp_replicate_dim 2
same "the same losses, norms and ratios on one and two ranks" "$(log "$TMPDIR/ex1")" "$(log "$TMPDIR/ex2")"
same "sharded and replicated" "$(log "$TMPDIR/ex1")" "$(log "$TMPDIR/ex2r")"
same "the same weights" "$(weights "$TMPDIR/ex1/checkpoint-6")" "$(weights "$TMPDIR/ex2/checkpoint-6")"
log "$TMPDIR/ex1" | head -n 1 | grep -q '"critic_loss": 1.0, .*"update_ratio/critic/average": '
verdict $? "an ignorant critic's loss is 1"
try "bf16 on one rank" example 1 "$TMPDIR/bf1" --training.compute_dtype bf16
try "and on two" example 2 "$TMPDIR/bf2" --training.compute_dtype bf16
same "the same numbers in bf16" "$(log "$TMPDIR/bf1")" "$(log "$TMPDIR/bf2")"
try "export" "$REEL_BUILD/tests/mpirun.sh" -n 2 "$REEL_BUILD/reel" export ex1/checkpoint-6 exported
grep -qa '"blocks.1.modulation"' exported/transformer/*.safetensors # which Wan would call otherwise
verdict $? "parameters keep their names"
try "train what was exported" example 2 "$TMPDIR/again" --models.student.init_from exported --models.student.init load
mv adversarial.so gone.so
try "export needs the model's plugin alone" "$REEL_BUILD/tests/mpirun.sh" "$REEL_BUILD/reel" export ex2/checkpoint-6 exported2
mv gone.so adversarial.so
for n in 1 2; do
    mkdir -p "$TMPDIR/re$n"
    cp -r "$TMPDIR/ex$n/checkpoint-3" "$TMPDIR/re$n/"
    try "resume on $n ranks" example $n "$TMPDIR/re$n" --resume-from-checkpoint latest
    same "weights, optimizers and the state of both on $n ranks" "$(state "$TMPDIR/ex$n/checkpoint-6")" "$(state "$TMPDIR/re$n/checkpoint-6")"
    same "and the log" "$(log "$TMPDIR/ex$n" 4)" "$(log "$TMPDIR/re$n" 4)"
done
mkdir -p "$TMPDIR/built"
cp -r "$TMPDIR/ex1/checkpoint-3" "$TMPDIR/built/"
mv adversarial.so kept.so
try "a method that has been built anew since" plugin "$REEL_SRC/tests/plugins/adversarial.c" adversarial.so -O1
try "is taken, in a resumed run" example 1 "$TMPDIR/built" --resume-from-checkpoint latest
grep -q 'resumed with another method._target_: it was a file of hash [0-9a-f]*, is a file of hash' "$TMPDIR/out"
verdict $? "and that is said"
mv kept.so adversarial.so
mkdir -p "$TMPDIR/anew"
cp -r "$TMPDIR/ex1/checkpoint-3" "$TMPDIR/anew/"
try "resume with a callback that the checkpoint lacks" example 1 "$TMPDIR/anew" --resume-from-checkpoint latest \
    --callbacks.second._target_ ./update_ratio.so:update_ratio
grep -q 'was made without callbacks.second, which starts anew' "$TMPDIR/out"
verdict $? "is said"
fails "a method's key that is nearly right" "method.critic_step: unknown key; did you mean 'critic_steps'?" example 2 "$TMPDIR/n" --method.critic_step 2
fails "a callback's" "callbacks.ratio.betta: unknown key; did you mean 'beta'?" example 2 "$TMPDIR/n" --callbacks.ratio.betta 0.5
fails "a value out of bounds" "callbacks.ratio.beta: " example 2 "$TMPDIR/n" --callbacks.ratio.beta 2
fails "a check of a plugin" "method.critic_learning_rate: must be above 0" example 2 "$TMPDIR/n" --method.critic_learning_rate 0
fails "a callback that ends the run" "step 3: the update of the critic is .* above callbacks.ratio.stop_above 0.002" example 2 "$TMPDIR/n" --callbacks.ratio.stop_above 0.002
fails "what a model cannot do" "models.student: patch_mlp has no attention that could be sparse" example 2 "$TMPDIR/n" --training.vsa.sparsity 0.5
fails "nor adapters" "models.student.lora.target_modules: the layers of model patch_mlp take no adapters" example 2 "$TMPDIR/n" \
    --models.student.lora.enable true --models.student.lora.rank 4
fails "a role that the method wants" "the method adversarial needs a role 'critic'" train 2 "$TMPDIR/n" --method._target_ ./adversarial.so:adversarial

# the manual shows these very files
page=$(sed 's/\\-/-/g; s/\\e/\\/g; s/^\\&//' "$(find "$inst" -name reel-plugin.7)")
for n in update_ratio adversarial patch_mlp; do
    case $page in *"$(cat "$REEL_SRC/tests/plugins/$n.c")"*) ok "the manual has $n.c" ;; *) not_ok "the manual has $n.c" ;; esac
done

try "its keys" "$REEL_BUILD/tests/mpirun.sh" -n 2 "$REEL_BUILD/reel" --help-config ./adversarial.so:adversarial
grep -q '^method.adversarial: ' "$TMPDIR/out" && grep -q '^  critic_steps' "$TMPDIR/out"
verdict $? "as --help-config shows them"

# ---- what may be wrong
m=--method._target_
fails "no such file" "command line: method: plugin ./none.so: cannot open: No such file" train 2 "$TMPDIR/n" $m ./none.so:sft
echo text > text.so
fails "no shared object" "method: plugin ./text.so: cannot be loaded: " train 2 "$TMPDIR/n" $m ./text.so:sft
fails "no such export" "plugin ./sft.so: exports no 'stf'" train 2 "$TMPDIR/n" $m ./sft.so:stf
fails "another kind" "models.student: plugin ./sft.so: 'sft' is a method, and a model is wanted here" train 2 "$TMPDIR/n" \
    --models.student._target_ ./sft.so:sft
fails "an unknown key of a plugin" "method.attn_kin: unknown key; did you mean 'attn_kind'?" train 2 "$TMPDIR/n" \
    $m ./sft.so:sft --method.attn_kin dense
mkdir -p old/base
echo '#define REEL_ABI 7u' > old/base/abi.h
plugin "$REEL_SRC/src/methods/sft.c" old.so -iquote old
fails "the headers of another version" "plugin ./old.so: .*ABI 00000007, this one has .*: rebuild it" train 2 "$TMPDIR/n" $m ./old.so:sft
plugin "$REEL_SRC/src/methods/sft.c" seen.so -fvisibility=default
fails "a symbol of the program in place of the plugin's" "plugin ./seen.so: the ops of 'sft' are this program's own" \
    train 2 "$TMPDIR/n" $m ./seen.so:sft

# each rank in a folder of its own
mkdir -p r0 r1
cp sft.so r0/one.so
cp sft.so r0/two.so
cp sft.so r1/two.so
printf 'x' >> r1/two.so
cat > ranks << END
#!/bin/sh
cd "$TMPDIR/r\$PMI_RANK" && exec "$REEL_BUILD/reel" "\$@"
END
chmod +x ranks
apart() {
    "$REEL_BUILD/tests/mpirun.sh" -n 2 "$TMPDIR/ranks" train --config "$tiny" --training.distributed.num_gpus 2 \
        --training.distributed.hsdp_shard_dim 2 "$@"
}
fails "a file that one rank lacks" "rank 1: .*plugin ./one.so: cannot open.*(1 of 2 ranks failed)" apart $m ./one.so:sft
fails "a file that is another one on one rank" "rank 1: .*plugin ./two.so: this rank's file is not the one of rank 0.*(1 of 2 ranks failed)" \
    apart $m ./two.so:sft
plan
