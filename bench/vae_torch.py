#!/usr/bin/env python3
"""Wan's VAE (base_dim 96, random weights) in diffusers and in b_vae, turn about on one machine: seconds of the fastest run each.

usage: vae_torch.py B_VAE [THREADS [FRAMES HEIGHT WIDTH [ROUNDS]]]      (B_VAE: the program built by `make bench/b_vae`)
"""
import re
import subprocess
import sys
import tempfile
import time

import torch
from diffusers import AutoencoderKLWan

program = sys.argv[1]
threads, frames, height, width, rounds = (int(sys.argv[i]) if len(sys.argv) > i else d for i, d in ((2, 2), (3, 9), (4, 128), (5, 192), (6, 2)))
torch.set_num_threads(threads)
clock = time.process_time if threads == 1 else time.perf_counter  # as b_vae does
folder = tempfile.TemporaryDirectory()
torch.manual_seed(0)
vae = AutoencoderKLWan().eval()
vae.save_pretrained(folder.name + "/vae")
x = torch.rand(1, 3, frames, height, width) * 2 - 1


def theirs():
    with torch.no_grad():
        t0 = clock()
        z = vae.encode(x).latent_dist.mean
        t1 = clock()
        vae.decode(z)
        return t1 - t0, clock() - t1


def ours():
    text = subprocess.run([program, folder.name, *map(str, (threads, frames, height, width))], check=True, capture_output=True, text=True).stdout
    m = re.search(r"encode ([\d.]+) s decode ([\d.]+) s", text)
    print(text.strip())
    return float(m[1]), float(m[2])


theirs()  # warm
best = [[1e30, 1e30], [1e30, 1e30]]
for _ in range(rounds):
    for side, run in ((0, theirs), (1, ours)):
        best[side] = [min(a, b) for a, b in zip(best[side], run())]
for i, what in enumerate(("encode", "decode")):
    print(f"{what} {frames} x {height} x {width}, {threads} threads: PyTorch {best[0][i]:.2f} s, ours {best[1][i]:.2f} s, ratio {best[0][i] / best[1][i]:.2f}")
