#!/usr/bin/env python3
"""Writes tests/golden/wan-vae/tiles.safetensors: diffusers' tiled encoding and decoding with the golden VAE, in float64.

usage: vae_tiles.py tests/golden/wan-vae        (torch, diffusers 0.42, safetensors)
Tiles of 32 x 32 pixels (4 x 4 latents), 24 apart, of 5 pictures of 40 x 56: two rows of three tiles, the last ones cut.
"""
import sys

import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import save_file

folder = sys.argv[1]
vae = AutoencoderKLWan.from_pretrained(folder, subfolder="vae", torch_dtype=torch.float64)
vae.enable_tiling(32, 32, 24, 24)
# pictures and latents that need no generator: integers of a linear congruence
n = torch.arange(5 * 40 * 56 * 3, dtype=torch.int64)
rgb = ((n * n * 40503 + n * 7919) // 64 % 256).to(torch.uint8).reshape(5, 40, 56, 3)
x = (rgb.to(torch.float32) / 255 * 2 - 1).to(torch.float64).permute(3, 0, 1, 2)[None]
m = torch.arange(16 * 2 * 5 * 7, dtype=torch.int64)
z = (((m * m * 30011 + m * 104729) // 32 % 2001 - 1000).to(torch.float32) / 500).reshape(1, 16, 2, 5, 7)
with torch.no_grad():
    mean = vae.encode(x).latent_dist.mean
    out = vae.decode(z.to(torch.float64)).sample
save_file({"rgb": rgb, "mean": mean.float().contiguous(), "z": z, "out": out.float().contiguous()}, folder + "/tiles.safetensors")
