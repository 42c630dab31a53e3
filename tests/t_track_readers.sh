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
import glob, json, math, os, subprocess, sys
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
    gif = ea.Images("val/clips/0")[0]
    ok((gif.width, gif.height, gif.encoded_image_string[:6]) == (1, 1, b"GIF89a"), "tensorboard: animated GIF of a film")
    films = ea.Tensors("val/clips")[0].tensor_proto.string_val[0].decode()
    ok(films == '* `%s.mp4` a "red" circle\n* `%s_other.mp4`\n' % (d, d), "tensorboard: list of films")
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
    row = [x["history"]["item"] for x in map(json.loads, got.splitlines()) if x.get("type") == "history"][-1]
    films = row["val/clips.videos"]
    ok(row["val/clips._type"] == "videos" and row["val/clips.count"] == 2 == len(films) and
       row["val/clips.captions"] == ['a "red" circle', ""] and films[0]["_type"] == "video-file", "wandb: films and captions")
    ok(all(open(os.path.join(os.path.dirname(log), "files", f["path"]), "rb").read() == open(p, "rb").read()
           for f, p in zip(films, (d + ".mp4", d + "_other.mp4"))), "wandb: copies of the films")
print("1..%d" % n)
PYTHON
