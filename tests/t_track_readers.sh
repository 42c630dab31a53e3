#!/bin/bash
# shellcheck shell=bash
case ${BASH_VERSION:-sh}:$SHELLOPTS in sh:* | *posix*) exec bash "$0" ;; esac
# What src/track writes, read by the programs it is for. Opt-in: REEL_ORACLE_PYTHON names a Python with
# the packages tensorboard and (for its own test) wandb.
py=${REEL_ORACLE_PYTHON:-}
if [ -z "$py" ]; then
    echo "1..0 # SKIP REEL_ORACLE_PYTHON names no Python"
    exit 0
fi
"$REEL_BUILD/tests/t_track" "$TMPDIR/run" || exit 1
. "$REEL_SRC/tests/train.sh"
run() { train 2 "$TMPDIR/$1" --training.tracker.trackers '[tensorboard, wandb]' "${@:2}" > "$TMPDIR/run.log" 2>&1 || { cat "$TMPDIR/run.log"; exit 1; }; }
run real
run again --training.loop.max_train_steps 3
run again --resume-from-checkpoint latest
run crashed --training.loop.max_train_steps 5
run crashed --resume-from-checkpoint "$TMPDIR/crashed/checkpoint-3"
run scratch
run scratch --training.loop.max_train_steps 4
tiny=$REEL_SRC/tests/tiny_dmd2.yaml roles="student teacher critic"
run dmd2
tiny=$REEL_SRC/tests/tiny_self_forcing.yaml
run self_forcing
export PYTHONPATH="$REEL_SRC/tests/oracle" WANDB_DIR="$TMPDIR" WANDB_CONFIG_DIR="$TMPDIR" WANDB_CACHE_DIR="$TMPDIR"
"$py" - "$TMPDIR/run" "$TMPDIR/real/tracker" "$TMPDIR" <<'PYTHON'
import glob, json, math, os, subprocess, sys
real, top = sys.argv[2:4]
def rows_of(tracker):
    rows = [json.loads(l) for l in open(tracker + "/metrics.jsonl")]
    return {r["step"]: {k: float(v) for k, v in r.items() if not isinstance(v, dict)} for r in rows if "step_time_sec" in r}
rows = rows_of(real)
wanted = """total_loss step_time_sec samples_per_sec lr/student flops_per_sec grad_norm/student time/data time/forward time/backward
    time/comm_wait time/callbacks time/optimizer time/checkpoint time/validation time/log memory/planned_gib memory/peak_gib memory/host_peak_gib
    ranks/work_mean_sec ranks/work_max_sec ranks/work_max_rank ranks/data_max_sec ranks/data_max_rank ranks/memory_max_gib ranks/host_max_gib""".split()
# FastVideo's keys of the methods with a critic, and ours: in every step, or where the student is due
critic = [k for k in wanted if k != "grad_norm/student"] + "generator_loss fake_score_loss update_student grad_norm/critic lr/critic".split()
due = ["grad_norm/student"]
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
    for method in "dmd2", "self_forcing":
        ea = EventAccumulator("%s/%s/tracker/tensorboard" % (top, method))
        ea.Reload()
        updates = [e.step for e in ea.Scalars("update_student") if e.value == 1]
        ok(all(len(ea.Scalars(k)) == 6 for k in critic) and 0 < len(updates) < 6, "tensorboard: every metric at every step of %s" % method)
        ok(all([e.step for e in ea.Scalars(k)] == updates for k in due) and "ema/decay" in ea.Tags()["scalars"], "tensorboard: %s, what only steps with an update have" % method)
    ea = EventAccumulator(top + "/again/tracker/tensorboard")
    ea.Reload()
    ok([e.step for e in ea.Scalars("total_loss")] == [1, 2, 3, 4, 5, 6], "tensorboard: a resumed run is one curve")
    for run, steps, what in ("crashed", 6, "steps that are done again count once"), ("scratch", 4, "a start from scratch is another curve"):
        ea = EventAccumulator("%s/%s/tracker/tensorboard" % (top, run))
        ea.Reload()
        told = rows_of("%s/%s/tracker" % (top, run))
        ok([e.step for e in ea.Scalars("step_time_sec")] == list(range(1, steps + 1)) and "run.yaml" in ea.Tags()["tensors"] and
           all(abs(e.value - told[e.step]["step_time_sec"]) <= 1e-6 * e.value for e in ea.Scalars("step_time_sec")), "tensorboard: " + what)
    ea = EventAccumulator(real + "/tensorboard")
    ea.Reload()
    ok(b"max_train_steps: 6" in ea.Tensors("run.yaml")[0].tensor_proto.string_val[0], "tensorboard: the configuration")
try:
    import wandb
except ImportError:
    skip("wandb is not installed")
else:
    log = glob.glob(d + "/wandb/offline-run-*/run-*.wandb")[0]
    core = os.path.join(os.path.dirname(wandb.__file__), "bin", "wandb-core")
    def records(log):
        text = subprocess.run([core, "leet", "inspect", "-json", "-no-observability", "-run-file", log], capture_output=True, text=True).stdout
        return [json.loads(l) for l in text.splitlines()]
    def history(log): return [r["history"]["item"] for r in records(log) if r["type"] == "history"]
    got = subprocess.run([core, "leet", "inspect", "-json", "-no-observability", "-run-file", log],
                         capture_output=True, text=True).stdout
    ok(got.count("\n") >= 10 and '"exit_code":0' in got and "train_loss" in got, "wandb: the log")
    row = [x["history"]["item"] for x in map(json.loads, got.splitlines()) if x.get("type") == "history"][-1]
    films = row["val/clips.videos"]
    ok(row["val/clips._type"] == "videos" and row["val/clips.count"] == 2 == len(films) and
       row["val/clips.captions"] == ['a "red" circle', ""] and films[0]["_type"] == "video-file", "wandb: films and captions")
    ok(all(open(os.path.join(os.path.dirname(log), "files", f["path"]), "rb").read() == open(p, "rb").read()
           for f, p in zip(films, (d + ".mp4", d + "_other.mp4"))), "wandb: copies of the films")
    log = glob.glob(real + "/wandb/offline-run-*/run-*.wandb")[0]
    got = records(log)
    row = {r["history"]["item"]["_step"]: r["history"]["item"] for r in got if r["type"] == "history"}
    ok(sorted(row) == [1, 2, 3, 4, 5, 6] and all(row[s][k] == v for s in row for k, v in rows[s].items() if k in wanted), "wandb: the numbers of metrics.jsonl, at every step")
    ok("max_train_steps: 6" in open(os.path.dirname(log) + "/files/run.yaml").read() and [r["run"]["config"]["update"]["training"]["loop"]["max_train_steps"] for r in got if r["type"] == "run"] == [6], "wandb: the configuration, as a file and as the run's")
    for method in "dmd2", "self_forcing":
        tracker = "%s/%s/tracker" % (top, method)
        row, told = history(glob.glob(tracker + "/wandb/offline-run-*/run-*.wandb")[0]), rows_of(tracker)
        ok([r["_step"] for r in row] == [1, 2, 3, 4, 5, 6] and all(r[k] == told[r["_step"]][k] for r in row for k in critic), "wandb: every metric at every step of %s" % method)
        ok(all((k in r) == (r["update_student"] == 1) for r in row for k in due), "wandb: %s, what only steps with an update have" % method)
    logs = sorted(glob.glob(top + "/again/tracker/wandb/offline-run-*/run-*.wandb"))
    ids = {r["run"]["run_id"] for log in logs for r in records(log) if r["type"] == "run"}
    row = [r for log in logs for r in history(log)]
    ok(len(logs) == 2 and len(ids) == 1 and [r["_step"] for r in row] == [1, 2, 3, 4, 5, 6], "wandb: a resumed run is a second fragment of the run: steps go on")
    ok(all(a["_runtime"] < b["_runtime"] and a["_timestamp"] < b["_timestamp"] for a, b in zip(row, row[1:])), "and so does time")
    import wandb_server
    server = wandb_server.start()
    env = dict(os.environ, WANDB_BASE_URL=server.url, WANDB_API_KEY="0" * 40, WANDB_ERROR_REPORTING="false")
    sync = subprocess.run([sys.executable, "-m", "wandb", "sync", "--yes"] + [os.path.dirname(log) for log in logs], env=env, capture_output=True, text=True)
    run = server.runs.get(*ids, {"rows": [], "exit": None})
    ok(sync.returncode == 0 and len(server.runs) == 1 and run["exit"] == 0, "wandb sync: one run")
    ok([{k: v for k, v in r.items() if k[0] != "_"} for r in run["rows"]] == [{k: v for k, v in r.items() if k[0] != "_"} for r in row], "wandb sync: the rows of both fragments, once")
    ok(b"max_train_steps: 6" in server.files.get("run.yaml", b""), "wandb sync: the configuration")
print("1..%d" % n)
PYTHON
