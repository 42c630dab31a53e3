#!/usr/bin/env python3
"""One training step of a Wan transformer in PyTorch, to hold `b_step` against. See bench/README.md.

  step_torch.py make DIR [--layers 2]                     writes DIR/transformer with random weights
  step_torch.py run DIR [--dtype f32|bf16] [--threads 2] [--steps 3] [--latent 3,52,50] [--checkpointing]

`run` prints one line: seconds of forward, backward, AdamW (medians), the loss of the first step and the
peak resident memory. The module is diffusers' WanTransformer3DModel, attention is PyTorch's
scaled_dot_product_attention, the loss the flow-matching loss of b_step with the same inputs by formula."""
import argparse
import resource
import statistics
import time

import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file


def fill(n, shape):
    """Pseudo-random values in [-0.5, 0.5), a function of tensor number and flat index."""
    i = torch.arange(int(torch.tensor(shape).prod()), dtype=torch.int64)
    m = 0xffffffff
    z = (i * 2654435761 + n * 2246822519 + 374761393) & m
    z = z ^ (z >> 15)
    z = (z * 2246822519) & m
    z = z ^ (z >> 13)
    z = (z * 3266489917) & m
    z = z ^ (z >> 16)
    return (z.double() / 2**32 - 0.5).float().reshape(shape)


def make(args):
    torch.manual_seed(0)
    model = WanTransformer3DModel(num_attention_heads=12, attention_head_dim=128, ffn_dim=8960, num_layers=args.layers,
                                  text_dim=4096, freq_dim=256, cross_attn_norm=True,
                                  qk_norm="rms_norm_across_heads", rope_max_seq_len=1024)
    model.save_pretrained(args.dir + "/transformer")


def run(args):
    torch.set_num_threads(args.threads)
    model = WanTransformer3DModel.from_config(WanTransformer3DModel.load_config(args.dir + "/transformer"))
    model.load_state_dict(load_file(args.dir + "/transformer/diffusion_pytorch_model.safetensors"))
    model.train()
    if args.checkpointing:
        model.enable_gradient_checkpointing()
    opt = torch.optim.AdamW(model.parameters(), lr=1e-5, betas=(0.9, 0.999), weight_decay=0.01)
    t, h, w = (int(v) for v in args.latent.split(","))
    shape = (1, 16, t, h, w)
    x0, eps = 4 * fill(1, shape), 4 * fill(2, shape)
    text = torch.zeros(1, 512, 4096)
    text[:, :64] = 4 * fill(3, (1, 64, 4096))
    sigma, level = 0.75, torch.tensor([750.0])
    rows, first = [], None
    for step in range(args.steps):
        a = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.dtype == "bf16"):
            v = model((1 - sigma) * x0 + sigma * eps, level, text).sample
        loss = (v.float() - (eps - x0)).square().mean()
        b = time.perf_counter()
        loss.backward()
        c = time.perf_counter()
        opt.step()
        opt.zero_grad(set_to_none=True)
        d = time.perf_counter()
        rows.append((b - a, c - b, d - c, d - a))
        first = loss.item() if first is None else first
    med = [statistics.median(r[k] for r in rows[1:] or rows) for k in range(4)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1048576
    print(f"torch {torch.__version__} {args.dtype} threads {args.threads} fwd {med[0]:.3f} bwd {med[1]:.3f} adamw {med[2]:.3f} "
          f"step {med[3]:.3f} s  loss {first:.6f}  peak {peak:.2f} GiB", flush=True)


parser = argparse.ArgumentParser()
parser.add_argument("what", choices=["make", "run"])
parser.add_argument("dir")
parser.add_argument("--layers", type=int, default=2)
parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--latent", default="3,52,50")
parser.add_argument("--checkpointing", action="store_true")
args = parser.parse_args()
make(args) if args.what == "make" else run(args)
