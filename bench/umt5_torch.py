#!/usr/bin/env python3
"""The UMT5 encoder in transformers and in b_umt5 on the same random weights, turn about: seconds a prompt and the ratio.

usage: umt5_torch.py B_UMT5 TOKENIZER_FOLDER [THREADS [ROUNDS]]      (B_UMT5: the program built by `make bench/b_umt5`)
"""
import os
import re
import subprocess
import sys
import tempfile
import time

import torch
from transformers import UMT5Config, UMT5EncoderModel

program, tokenizer = sys.argv[1], sys.argv[2]
threads = int(sys.argv[3]) if len(sys.argv) > 3 else 2
rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
torch.set_num_threads(threads)
clock = time.process_time if threads == 1 else time.perf_counter  # as b_umt5 does


def ours(folder):
    text = subprocess.run([program, folder, str(threads)], check=True, capture_output=True, text=True).stdout
    return {(int(m[1]), int(m[2])): float(m[3]) for m in re.finditer(r"tokens (\d+), (\d+) at a time: ([\d.]+) s", text)}, text.splitlines()[0]


def theirs(model, tokens, n):
    ids = torch.tensor([[(7 * i + 3) % 800 + 2 for i in range(tokens)]] * n)
    best, runs, began = 1e30, 0, clock()
    while runs < 3 or clock() - began < 1.0:
        t = clock()
        with torch.inference_mode():
            model(input_ids=ids, attention_mask=torch.ones_like(ids))
        best, runs = min(best, clock() - t), runs + 1
    return best / n


with tempfile.TemporaryDirectory() as folder:
    config = UMT5Config(vocab_size=900, d_model=1024, d_kv=64, num_heads=16, d_ff=2816, num_layers=6, feed_forward_proj="gated-gelu")
    torch.manual_seed(0)
    model = UMT5EncoderModel(config).eval()
    model.save_pretrained(os.path.join(folder, "text_encoder"))
    os.symlink(os.path.realpath(tokenizer), os.path.join(folder, "tokenizer"))
    a, b = {}, {}
    for _ in range(rounds):
        found, head = ours(folder)
        for k, v in found.items():
            a[k] = min(a.get(k, 1e30), v)
            b[k] = min(b.get(k, 1e30), theirs(model, *k))
    print(head, "torch", torch.__version__)
    for k in a:
        print(f"{k[0]:4d} tokens, {k[1]} at a time: reel {a[k]:.4f} s, transformers {b[k]:.4f} s a prompt, ratio {b[k] / a[k]:.2f}")
