"""Trajectories and the first loss of a distillation in diffusers' hands: python kd_torch.py TEACHER TRAJECTORIES DRAWS METRICS.

TEACHER is a Diffusers folder, the student's too; DRAWS the record of the run (kd/index, data/sample), METRICS its JSON lines.
The walk is taken again in f64 from the stored noise. Prints TAP lines without numbers; needs torch, diffusers, h5py, safetensors."""
import glob
import json
import sys

import h5py
import numpy as np
import torch
from diffusers import WanTransformer3DModel
from safetensors.numpy import load_file

teacher, folder, draws, metrics = sys.argv[1:]


def verdict(good, text):
    print(f"{'ok' if good else 'not ok'} - {text}")


def value(recipe, key):
    return next(line.split(" ", 1)[1] for line in recipe.splitlines() if line.startswith(key + " "))


parts = [h5py.File(p) for p in sorted(glob.glob(folder + "/part-*.h5"))]
z = parts[0]["latents/data"]
recipe, S, t_state = z.attrs["recipe"].decode(), int(z.attrs["states"]), z.attrs["state_t"]
mean, std = (z.attrs[k].astype(np.float64)[:, None, None, None] for k in ("mean", "std"))
raw = np.concatenate([p["latents/data"][:] for p in parts]).astype(np.float64)
N, C, F, H, W = raw.shape
states = ((raw - mean) / std).reshape(N, C, S, F // S, H, W).transpose(2, 0, 1, 3, 4, 5)      # [S,N,C,T,H,W]

with open(teacher + "/transformer/config.json") as f:
    config = json.load(f)
text = np.zeros((N, config["text_len"], config["text_dim"]))
i = 0
for p in parts:
    offset, tokens = p["text/offset"][:], p["text/tokens"][:]
    for a, b in zip(offset, offset[1:]):
        text[i, : b - a] = tokens[a:b]
        i += 1
negative = np.zeros_like(text[:1])
stored = parts[0]["aux/negative/text"][:]
negative[0, : len(stored)] = stored

model = WanTransformer3DModel.from_pretrained(teacher, subfolder="transformer", torch_dtype=torch.float64).eval()


def flow(x, t, words):
    with torch.no_grad():
        return model(torch.from_numpy(x), torch.from_numpy(np.asarray(t, np.float32)), torch.from_numpy(words), return_dict=False)[0].numpy()


n, g, shift = int(value(recipe, "teacher_inference_steps")), float(value(recipe, "teacher_guidance_scale")), np.float32(value(recipe, "flow_shift"))
u = torch.linspace(1, 0, n + 1).numpy()[:-1]
sigma = np.append(shift * u / (1 + (shift - 1) * u), np.float32(0))
at = [int(np.abs(1000 * sigma[:-1] - float(t)).argmin()) for t in value(recipe, "t_list").split()[:-1]] + [n]
verdict(np.allclose(1000 * sigma[at], t_state, rtol=1e-6, atol=1e-4), f"states at {[round(float(t), 3) for t in t_state]}")

x, worst = states[0], 0.0
for j in range(n + 1):
    if j in at:
        want = states[at.index(j)]
        worst = max(worst, np.linalg.norm(x - want) / np.linalg.norm(want))
    if j < n:
        t = np.full(N, 1000 * sigma[j])
        c, none = flow(x, t, text), flow(x, t, np.repeat(negative, N, 0))
        x = x + float(sigma[j + 1] - sigma[j]) * (none + g * (c - none))
verdict(worst < 5e-6, f"{N} walks of {n} steps with guidance {g}, largest relative difference of a state {worst:.1e}")

drawn, loss, rounds = load_file(draws), 0.0, 0
while f"kd/index:1:{rounds}" in drawn:
    k, b = drawn[f"kd/index:1:{rounds}"].reshape(-1), drawn[f"data/sample:1:{rounds}"].reshape(-1)
    noisy, level = np.stack([states[s, i] for s, i in zip(k, b)]), sigma[[at[s] for s in k]]
    x0 = noisy - level[:, None, None, None, None].astype(np.float64) * flow(noisy, 1000 * level, text[b])
    loss, rounds = loss + 0.5 * np.square(x0 - states[-1, b]).mean(), rounds + 1
with open(metrics) as f:
    said = json.loads(f.readline())["kd_loss"]
verdict(abs(said / (loss / rounds) - 1) < 2e-6, f"the loss of step 1 is {said:.9f}, in f64 {loss / rounds:.9f}")
