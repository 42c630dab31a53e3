"""The pictures of `reel generate` beside those of transformers and diffusers, from the same weights, words and noise.

generate_torch.py FOLDER SHEET PROMPT NEGATIVE SEED STEPS GUIDANCE HEIGHT WIDTH FRAMES: SHEET is a contact sheet of one clip, Euler steps.
"""
import sys

import numpy as np
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from PIL import Image
from tokenizers import Tokenizer
from transformers import UMT5EncoderModel

folder, sheet, prompt, negative = sys.argv[1:5]
seed, steps, guidance, height, width, frames = (int(v) for v in sys.argv[5:11])
MASK = (1 << 64) - 1


def normals(name, n):
    """Box-Muller on Philox4x32-10, key hash of (seed, name), counter (element / 4, 0, 0, 0)."""
    key = 0xCBF29CE484222325
    for byte in seed.to_bytes(8, "little") + name.encode():
        key = (key ^ byte) * 0x100000001B3 & MASK
    c = [np.arange((n + 3) // 4, dtype=np.uint64)] + [np.zeros((n + 3) // 4, np.uint64) for _ in range(3)]
    k0, k1, low, half = key & 0xFFFFFFFF, key >> 32, np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(p1 >> half) ^ c[1] ^ np.uint64(k0), p1 & low, (p0 >> half) ^ c[3] ^ np.uint64(k1), p0 & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    w = (np.stack(c, -1).reshape(-1, 2) >> np.uint64(8)).astype(np.float64)
    r, angle = np.sqrt(-2 * np.log((w[:, 0] + 1) * 2.0**-24)), 2 * np.pi * w[:, 1] * 2.0**-24
    return np.stack([r * np.cos(angle), r * np.sin(angle)], -1).reshape(-1)[:n]


def rows(text):
    ids = torch.tensor([Tokenizer.from_file(folder + "/tokenizer/tokenizer.json").encode(text).ids])
    y = encoder(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    return torch.cat([y, y.new_zeros(1, 512 - y.shape[1], y.shape[2])], 1)


@torch.no_grad()
def pictures():
    dit = WanTransformer3DModel.from_pretrained(folder, subfolder="transformer", torch_dtype=torch.float32)
    vae = AutoencoderKLWan.from_pretrained(folder, subfolder="vae", torch_dtype=torch.float32)
    shape = (1, dit.config.in_channels, (frames - 1) // 4 + 1, height // 8, width // 8)
    x = torch.tensor(normals("validation/noise/0", int(np.prod(shape))), dtype=torch.float32).reshape(shape)
    sigma = [3 * u / (1 + 2 * u) for u in ((steps - i) / steps for i in range(steps + 1))]
    text, other = rows(prompt), rows(negative)
    for i in range(steps):
        t = torch.tensor([1000 * sigma[i]])
        c, u = (dit(x, t, e, return_dict=False)[0] for e in (text, other))
        x = x + (sigma[i + 1] - sigma[i]) * (u + guidance * (c - u))
    k = [torch.tensor(v).view(1, -1, 1, 1, 1) for v in (vae.config.latents_std, vae.config.latents_mean)]
    y = vae.decode(x * k[0] + k[1], return_dict=False)[0].clamp(-1, 1)
    return ((y[0].permute(1, 2, 3, 0) + 1) * 127.5).numpy()


encoder = UMT5EncoderModel.from_pretrained(folder, subfolder="text_encoder", torch_dtype=torch.float32)
want, got = pictures(), np.asarray(Image.open(sheet)).astype(np.float64)
scale = (96 + height // 2) // height
worst, spread = 0, 0
for k in range(4):
    left = 2 + k * (width * scale + 2)
    mine = got[2 : 2 + height * scale : scale, left : left + width * scale : scale]
    theirs = want[k * (frames - 1) // 3]
    worst, spread = max(worst, np.abs(mine - theirs).max()), max(spread, theirs.std())
print("%s - four pictures differ by at most %.3f of 255 from diffusers', which spread by %.1f" % ("ok 1" if worst <= 0.51 and spread > 5 else "not ok 1", worst, spread))
