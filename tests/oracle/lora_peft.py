"""lora_peft.py CHECKPOINT BASE ADAPTERS AVERAGE MERGED: what torch, peft and diffusers make of adapters of ours.

CHECKPOINT holds adapters and their average; ADAPTERS, AVERAGE and MERGED were exported from it. Prints "ok TEXT" lines.
"""
import sys

import torch
import torch.distributed.checkpoint as dcp
from diffusers import WanTransformer3DModel
from peft import PeftModel
from safetensors.torch import load_file
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

ckpt, base, adapters, average, merged = sys.argv[1:]


def ok(good, text):
    print("ok" if good else "not_ok", text)


def fastvideo(name):
    name = name.removeprefix("base_model.model.").removesuffix(".weight")
    return name.replace(".attn1.to_", ".to_").replace("to_out.0", "to_out")


meta = FileSystemReader(ckpt + "/dcp").read_metadata()
state = {k: torch.empty(e.size, dtype=e.properties.dtype) if isinstance(e, TensorStorageMetadata) else 0
         for k, e in meta.state_dict_metadata.items()}
dcp.load(state, checkpoint_id=ckpt + "/dcp", no_dist=True)
for prefix, folder, what in (("roles.student.transformer.", adapters, "adapters"),
                             ("callbacks.ema.student_ema.", average, "average")):
    files = load_file(folder + "/adapter_model.safetensors")
    ok(len(files) == 32 and all(torch.equal(state[prefix + fastvideo(k)], v) for k, v in files.items()),
       f"torch reads the {what} in the checkpoint, bit equal to the exported ones")
ok(state["callbacks.ema.ema_started"] is True, "and that the average has begun")

torch.manual_seed(1)
x, t, text = torch.randn(2, 16, 2, 4, 4), torch.tensor([800.0, 40.0]), torch.randn(2, 12, 64)


def run(model):
    with torch.no_grad():
        return model.eval()(hidden_states=x, timestep=t, encoder_hidden_states=text).sample


def load(folder):
    return WanTransformer3DModel.from_pretrained(folder + "/transformer")


plain, whole = run(load(base)), run(load(merged))
peft = run(PeftModel.from_pretrained(load(base), adapters))
ok((peft - whole).abs().max() < 1e-5 * whole.abs().max(), "peft's model with the adapters is the merged one")
ok((plain - whole).abs().max() > 1e-3 * whole.abs().max(), "which is not the base")
model = load(base)
model.load_lora_adapter(adapters, prefix="transformer", weight_name="pytorch_lora_weights.safetensors")
ok((run(model) - whole).abs().max() < 1e-5 * whole.abs().max(), "nor is diffusers' another, with its own file")
ok(len([n for n, _ in model.named_parameters() if "lora_A" in n]) == 16, "all 16 layers of it")
unloaded = PeftModel.from_pretrained(load(base), adapters).merge_and_unload().state_dict()
ours = load(merged).state_dict()
worst = max(((unloaded[n] - w).abs().max() / w.abs().max().clamp_min(1e-30)).item() for n, w in ours.items())
moved = sum(not torch.equal(w, b) for w, b in zip(ours.values(), load(base).state_dict().values()))
ok(set(unloaded) == set(ours) and moved == 16 and worst < 3e-7, f"peft's merge_and_unload gives our merged weights, within {worst:.1e}")
