#!/bin/sh
# What src/track writes, read by the programs it is for. Opt-in: REEL_ORACLE_PYTHON names a Python with
# the packages tensorboard and (for its own test) wandb.
py=${REEL_ORACLE_PYTHON:-}
if [ -z "$py" ]; then
    echo "1..0 # SKIP REEL_ORACLE_PYTHON names no Python"
    exit 0
fi
"$REEL_BUILD/tests/t_track" "$TMPDIR/run" || exit 1
"$py" - "$TMPDIR/run" <<'PYTHON'
import glob, math, os, subprocess, sys
d = sys.argv[1]
n = 0
def ok(good, what):
    global n
    n += 1
    print("%s %d - %s" % ("ok" if good else "not ok", n, what))
def skip(what):
    global n
    n += 1
    print("ok %d - # SKIP %s" % (n, what))
try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError:
    skip("tensorboard is not installed")
else:
    ea = EventAccumulator(d + "/tensorboard")
    ea.Reload()
    loss = ea.Scalars("train_loss")
    ok([e.step for e in loss] == [1, 2, 3, 4] and loss[3].value == 0.25, "tensorboard: scalars")
    ok(math.isnan(ea.Scalars("lr")[2].value), "tensorboard: NaN")
    text = ea.Tensors("config")[0].tensor_proto.string_val[0]
    ok(text == b"```\nmodel:\n  layers: 2\n```\n", "tensorboard: text")
    pic = ea.Images("val/sample 0")[0]
    ok((pic.width, pic.height, pic.step) == (2, 1, 4), "tensorboard: picture")
try:
    import wandb
except ImportError:
    skip("wandb is not installed")
else:
    log = glob.glob(d + "/wandb/offline-run-*/run-*.wandb")[0]
    core = os.path.join(os.path.dirname(wandb.__file__), "bin", "wandb-core")
    got = subprocess.run([core, "leet", "inspect", "-json", "-no-observability", "-run-file", log],
                         capture_output=True, text=True, timeout=60).stdout
    ok(got.count("\n") >= 10 and '"exit_code":0' in got and "train_loss" in got, "wandb: the log")
print("1..%d" % n)
PYTHON
