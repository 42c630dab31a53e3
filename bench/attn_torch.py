#!/usr/bin/env python3
"""Attention in PyTorch and in b_attn, turn about on one machine: seconds of the fastest run each, and the ratio.

usage: attn_torch.py B_ATTN [THREADS [ROUNDS [LARGEST_S]]]      (B_ATTN: the program built by `make bench/b_attn`)
"""
import re
import subprocess
import sys
import time

import torch
import torch.nn.functional as F

program = sys.argv[1]
threads = int(sys.argv[2]) if len(sys.argv) > 2 else 2
rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
largest = sys.argv[4] if len(sys.argv) > 4 else "8192"
torch.set_num_threads(threads)
clock = time.process_time if threads == 1 else time.perf_counter  # as b_attn does


def ours():
    """{(dtype, batch, heads, hd, sq, sk): [fwd seconds, bwd seconds]} and the first line printed."""
    text = subprocess.run([program, str(threads), "0.5", largest], check=True, capture_output=True, text=True).stdout
    found = {}
    for m in re.finditer(r"(\w+) +batch (\d+), +(\d+) heads x (\d+) *, S +(\d+) x (\d+) +fwd +([\d.]+) s.*bwd +([\d.]+) s", text):
        found[(m[1], *map(int, m.groups()[1:6]))] = [float(m[7]), float(m[8])]
    return found, text.splitlines()[0]


def theirs(dtype, b, h, d, sq, sk):
    dt = torch.float32 if dtype == "f32" else torch.bfloat16
    # [B,S,H,d] in memory, as a model's projections leave it
    q, k, v, g = (torch.randn(b, s, h, d).to(dt).transpose(1, 2) for s in (sq, sk, sk, sq))
    for x in (q, k, v):
        x.requires_grad_(True)
    best = [1e30, 1e30]
    began = clock()
    runs = 0
    while runs < 2 or clock() - began < 0.5:
        t0 = clock()
        o = F.scaled_dot_product_attention(q, k, v)
        t1 = clock()
        torch.autograd.grad(o, (q, k, v), g)
        t2 = clock()
        best = [min(best[0], t1 - t0), min(best[1], t2 - t1)]
        runs += 1
    return best


def better(table, key, value):
    old = table.get(key, [1e30, 1e30])
    table[key] = [min(old[0], value[0]), min(old[1], value[1])]


mine, torchs = {}, {}
for _ in range(rounds):
    got, title = ours()
    for key, value in got.items():
        better(mine, key, value)
        better(torchs, key, theirs(*key))
print(f"{title}; PyTorch {torch.__version__}, best of {rounds} rounds, turn about")
print("dtype batch heads x hd     S      |  forward: PyTorch    reel  ratio | backward: PyTorch    reel  ratio")
for key, (f, w) in mine.items():
    pf, pw = torchs[key]
    dtype, b, h, d, sq, sk = key
    print(f"{dtype:5} {b:3d}  {h:3d} x {d:3d}  {sq:5d} x {sk:<5d} |  {pf:15.4f} {f:8.4f} {pf / f:6.2f} |  {pw:15.4f} {w:8.4f} {pw / w:6.2f}")
