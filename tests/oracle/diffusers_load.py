"""diffusers_load.py FOLDER SINGLE: WanTransformer3DModel.from_pretrained loads FOLDER/transformer, all of it and nothing else, and its
weights are those of the one file in SINGLE/transformer, bit by bit."""
import sys

import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file

folder, single = sys.argv[1:]
want = load_file(single + "/transformer/diffusion_pytorch_model.safetensors")
dtype = next(iter(want.values())).dtype
model, info = WanTransformer3DModel.from_pretrained(folder, subfolder="transformer", output_loading_info=True)
for what in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
    assert not info.get(what), (what, info[what])
got = model.state_dict()
assert set(got) == set(want), set(got) ^ set(want)
for name, x in want.items():
    assert torch.equal(got[name], x.to(got[name].dtype)), name
