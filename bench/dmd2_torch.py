#!/usr/bin/env python3
"""DMD2 in PyTorch, to hold `reel train` against: the same weights, the same draws, the same losses. See bench/README.md.

  dmd2_torch.py make DIR [--layers 2] [--latent 3,32,32]    three roles, config.yaml and draws.safetensors for four steps
  dmd2_torch.py run DIR [--threads 2]                       a line per step: losses, seconds, processor seconds

  reel train --config DIR/config.yaml --replay DIR/draws.safetensors --training.threads 2

Every step updates student and critic; two steps of the student from noise, always both. Texts are zero (all are dropped).
Networks are diffusers' WanTransformer3DModel with scaled_dot_product_attention, in f32; no activation checkpointing."""
import argparse
import os
import time

import numpy as np
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file, save_file

STEPS, FEW, SHIFT, SCORE_SHIFT, TEXT = 4, [1000, 500], 3.0, 5.0, 64
CONFIG = """models:
  student: {{_target_: fastvideo.train.models.wan.WanModel, init_from: '{dir}/student'}}
  teacher: {{_target_: fastvideo.train.models.wan.WanModel, init_from: '{dir}/teacher', trainable: false}}
  critic: {{_target_: fastvideo.train.models.wan.WanModel, init_from: '{dir}/critic'}}
method: {{_target_: dmd2, rollout_mode: simulate, dmd_denoising_steps: [1000, 500], real_score_guidance_scale: 3.5,
         cfg_uncond: {{text: zero}}, fake_score_learning_rate: 1.0e-5, fake_score_betas: [0.0, 0.999], fake_score_lr_scheduler: constant}}
training:
  data: {{data_path: '{dir}/data.h5', demo_seed: 1, demo_clips: 8, train_batch_size: 1, training_cfg_rate: 1.0, num_latent_t: {t},
         num_height: {h}, num_width: {w}, num_frames: {frames}}}
  optimizer: {{learning_rate: 1.0e-5, betas: [0.0, 0.999], weight_decay: 0.01}}
  loop: {{max_train_steps: {steps}}}
  checkpoint: {{output_dir: '{dir}/out'}}
pipeline: {{flow_shift: 5.0}}
"""


def shift(s, u):
    s, u = np.float32(s), np.float32(u)
    return (s * u) / (np.float32(1) + (s - np.float32(1)) * u)


SIGMA = np.array([shift(SHIFT, np.float32(1000 - i) / np.float32(1000)) for i in range(1000)], np.float32)


def sigma_at(t):
    return float(SIGMA[np.abs(np.float32(1000) * SIGMA - np.float32(t)).argmin()])


def make(args):
    t, h, w = (int(v) for v in args.latent.split(","))
    os.makedirs(args.dir, exist_ok=True)
    torch.manual_seed(0)
    model = WanTransformer3DModel(num_attention_heads=12, attention_head_dim=64, ffn_dim=3072, num_layers=args.layers, text_dim=TEXT,
                                  freq_dim=256, cross_attn_norm=True, qk_norm="rms_norm_across_heads", rope_max_seq_len=1024)
    for role in ("student", "teacher", "critic"):
        with torch.no_grad():
            for p in model.parameters():
                p += 0.1 * p.abs().mean() * torch.randn_like(p)
        model.save_pretrained(f"{args.dir}/{role}/transformer")
        path = f"{args.dir}/{role}/transformer/config.json"
        text = open(path).read().rstrip()
        open(path, "w").write(text[:-1].rstrip() + f',\n  "text_len": {TEXT}\n}}\n')
    draws = {}
    for step in range(1, STEPS + 1):
        for who in ("student", "critic"):
            draws[f"{who}/rollout/step:{step}:0"] = torch.tensor([len(FEW) - 1])
            draws[f"{who}/score/timestep:{step}:0"] = torch.randint(1000, (1,))
            for name in [f"rollout/noise/{k}" for k in range(len(FEW))] + ["score/noise"]:
                draws[f"{who}/{name}:{step}:0"] = torch.randn(1, 16, t, h, w)
    save_file(draws, f"{args.dir}/draws.safetensors")
    with open(f"{args.dir}/config.yaml", "w") as f:
        f.write(CONFIG.format(dir=os.path.abspath(args.dir), t=t, h=8 * h, w=8 * w, frames=4 * t - 3, steps=STEPS))


def run(args):
    torch.set_num_threads(args.threads)
    draws, roles = load_file(f"{args.dir}/draws.safetensors"), {}
    for role in ("student", "teacher", "critic"):
        roles[role] = WanTransformer3DModel.from_config(WanTransformer3DModel.load_config(f"{args.dir}/{role}/transformer"))
        roles[role].load_state_dict(load_file(f"{args.dir}/{role}/transformer/diffusion_pytorch_model.safetensors"))
    opt = {r: torch.optim.AdamW(roles[r].parameters(), lr=1e-5, betas=(0.0, 0.999), weight_decay=0.01) for r in ("student", "critic")}
    text = torch.zeros(1, TEXT, TEXT)

    def flow(role, x, t):
        return roles[role](x, torch.tensor([float(t)]), text).sample

    def rollout(draw):
        z = draw("rollout/noise/0")
        with torch.no_grad():
            x0 = z - sigma_at(FEW[0]) * flow("student", z, FEW[0])
        s = sigma_at(FEW[1])
        z = (1 - s) * x0 + s * draw("rollout/noise/1")
        return z - s * flow("student", z, FEW[1])

    def noised(draw, x):
        t = float(np.float32(1000) * shift(SCORE_SHIFT, np.float32(draw("score/timestep").item()) / np.float32(1000)))
        s, eps = sigma_at(t), draw("score/noise")
        return t, s, eps, (1 - s) * x + s * eps

    for step in range(1, STEPS + 1):
        began, cpu = time.perf_counter(), time.process_time()
        draw = lambda name: draws[f"student/{name}:{step}:0"]
        x = rollout(draw)
        with torch.no_grad():
            t, s, _, noisy = noised(draw, x)
            fake, cond, uncond = (noisy - s * flow(r, noisy, t) for r in ("critic", "teacher", "teacher"))
            real = uncond + 3.5 * (cond - uncond)
            g = (fake - real) / (x - real).abs().mean().clamp_min(1e-6)
        generator = 0.5 * (x - (x - g)).square().mean()
        (0.5 * (x - (x - g).detach()).square().mean()).backward()
        draw = lambda name: draws[f"critic/{name}:{step}:0"]
        with torch.no_grad():
            x = rollout(draw)
            t, s, eps, noisy = noised(draw, x)
        critic = (flow("critic", noisy, t) - (eps - x)).square().mean()
        critic.backward()
        for r in ("critic", "student"):
            opt[r].step()
            opt[r].zero_grad(set_to_none=True)
        print(f"step {step} generator_loss {generator.item():.6f} fake_score_loss {critic.item():.6f} "
              f"{time.perf_counter() - began:.3f} s, processor {time.process_time() - cpu:.3f} s", flush=True)


parser = argparse.ArgumentParser()
parser.add_argument("what", choices=["make", "run"])
parser.add_argument("dir")
parser.add_argument("--layers", type=int, default=2)
parser.add_argument("--latent", default="3,32,32")
parser.add_argument("--threads", type=int, default=2)
args = parser.parse_args()
{"make": make, "run": run}[args.what](args)
