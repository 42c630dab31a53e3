#!/bin/sh
# What src/track writes, read by the programs it is for. Opt-in: REEL_ORACLE_PYTHON names a Python with
# the packages tensorboard and (for its own test) wandb.
py=${REEL_ORACLE_PYTHON:-}
if [ -z "$py" ]; then
    echo "1..0 # SKIP REEL_ORACLE_PYTHON names no Python"
    exit 0
fi
"$REEL_BUILD/tests/t_track" "$TMPDIR/run" || exit 1
. "$REEL_SRC/tests/train.sh"
train 2 "$TMPDIR/real" --training.tracker.trackers '[tensorboard, wandb]' > "$TMPDIR/log" 2>&1 || { cat "$TMPDIR/log"; exit 1; }
"$py" - "$TMPDIR/run" "$TMPDIR/real/tracker" <<'PYTHON'
import glob, json, math, os, subprocess, sys
real = sys.argv[2]
rows = [json.loads(l) for l in open(real + "/metrics.jsonl")]
rows = {r["step"]: {k: float(v) for k, v in r.items() if not isinstance(v, dict)} for r in rows if "step_time_sec" in r}
wanted = """total_loss step_time_sec samples_per_sec lr/student flops_per_sec grad_norm/student time/data time/forward time/backward
    time/comm_wait time/callbacks time/optimizer time/checkpoint time/validation time/log memory/planned_gib memory/peak_gib memory/host_peak_gib""".split()
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
    ea = EventAccumulator(real + "/tensorboard")
    ea.Reload()
    ok(all(len(ea.Scalars(k)) == 6 for k in wanted), "tensorboard: every metric at every step of a run")
    ok(all(abs(e.value - rows[e.step][t]) <= 1e-6 * abs(e.value) for t in ea.Tags()["scalars"] for e in ea.Scalars(t)), "tensorboard: the numbers of metrics.jsonl")
    ok(b"max_train_steps: 6" in ea.Tensors("run.yaml")[0].tensor_proto.string_val[0], "tensorboard: the configuration")
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
    log = glob.glob(real + "/wandb/offline-run-*/run-*.wandb")[0]
    got = [json.loads(l) for l in subprocess.run([core, "leet", "inspect", "-json", "-no-observability", "-run-file", log], capture_output=True, text=True,
                                                 timeout=60).stdout.splitlines()]
    row = {r["history"]["item"]["_step"]: r["history"]["item"] for r in got if r["type"] == "history"}
    ok(sorted(row) == [1, 2, 3, 4, 5, 6] and all(row[s][k] == v for s in row for k, v in rows[s].items() if k in wanted), "wandb: the numbers of metrics.jsonl, at every step")
    ok("max_train_steps: 6" in open(os.path.dirname(log) + "/files/run.yaml").read() and [r["run"]["config"]["update"]["training"]["loop"]["max_train_steps"] for r in got if r["type"] == "run"] == [6], "wandb: the configuration, as a file and as the run's")
print("1..%d" % n)
PYTHON
