"""dcp_torch.py formula|role DIR: what torch.distributed.checkpoint reads from a checkpoint of ours. Prints TAP lines.

formula: DIR was written by `t_ckpt_npN write`: every tensor is a function of its key, every object is known.
role: DIR was written by `t_tree_npN`: a strict load of a FastVideo run's whole state for one role.
"""
import sys
import zlib

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

tap = 0


def ok(good, text):
    global tap
    tap += 1
    print(("ok" if good else "not ok"), tap, "-", text)


def empty_state(folder):
    meta = FileSystemReader(folder).read_metadata()
    return meta, {k: torch.empty(e.size, dtype=e.properties.dtype) if isinstance(e, TensorStorageMetadata) else 0
                  for k, e in meta.state_dict_metadata.items()}


def formula(key, t):
    e = torch.arange(t.numel(), dtype=torch.int64)
    w = ((zlib.crc32(key.encode()) + e * 2654435761 % 2**32) % 2**32) >> 8
    if t.dtype in (torch.float32, torch.bfloat16):
        w = (w.to(torch.float32) * 2.0**-24).to(t.dtype)
    elif t.dtype == torch.int64:
        w = w - 5
    else:
        w = (w & 255).to(t.dtype)
    return w.reshape(t.shape)


OBJECTS = {
    "optimizers.student.param_groups.transformer.blocks.0.to_q.weight.lr": 2e-5,
    "optimizers.student.param_groups.transformer.blocks.0.to_q.weight.betas": (0.9, 0.999),
    "schedulers.student.scheduler.last_epoch": 300,
    "schedulers.student.scheduler.lr_lambdas": [None],
    "schedulers.student.scheduler._is_initial": False,
    "dataloader._shared_seed": None,
    "reel.note": "caf\u00e9",
    "reel.big": -(2**40),
}


def check_formula(folder):
    _, state = empty_state(folder)
    dcp.load(state, checkpoint_id=folder, no_dist=True)
    tensors = {k: v for k, v in state.items() if isinstance(v, torch.Tensor)}
    ok(len(tensors) == 9 and all(torch.equal(v, formula(k, v)) for k, v in tensors.items()), "tensors bit equal")
    ok(all(state[k] == v and type(state[k]) is type(v) for k, v in OBJECTS.items()), "objects equal, types too")


def check_role(folder):
    meta, state = empty_state(folder)
    dcp.load(state, checkpoint_id=folder, no_dist=True)
    names = sorted(k[len("roles.student.transformer."):] for k in state if k.startswith("roles.student.transformer."))
    ok(len(names) == 69 and "blocks.0.to_q.weight" in names, "69 parameters under FastVideo's names")
    options = ("lr betas eps weight_decay amsgrad maximize foreach capturable differentiable fused "
               "decoupled_weight_decay initial_lr").split()
    group = "optimizers.student.param_groups.transformer."
    ok(all(group + n + "." + o in state for n in names for o in options), "12 options for each")
    moment = "optimizers.student.state.transformer."
    good = True
    for n in names:
        m, v = state[moment + n + ".exp_avg"], state[moment + n + ".exp_avg_sq"]
        want = torch.arange(m.numel(), dtype=torch.float32).reshape(m.shape) + 1000
        good &= torch.equal(m, want) and torch.equal(v, want * 0.5) and state[moment + n + ".step"].item() == 3
        good &= torch.equal(state["roles.student.transformer." + n], state["callbacks.ema.student_ema." + n])
    ok(good, "moments, steps and the average bit equal")
    ok(meta.planner_data["roles.student.transformer." + names[0]] == ("roles.student.transformer", names[0]),
       "the tree nests as in the training state")
    params = {n: torch.nn.Parameter(state["roles.student.transformer." + n]) for n in names}
    opt = torch.optim.AdamW(list(params.values()), lr=1.0)
    opt.load_state_dict({
        "state": {i: {k: state[moment + n + "." + k] for k in ("step", "exp_avg", "exp_avg_sq")} for i, n in enumerate(names)},
        "param_groups": [{**{o: state[group + names[0] + "." + o] for o in options}, "params": list(range(len(names)))}],
    })
    sched = torch.optim.lr_scheduler.LambdaLR(opt, lambda k: 1.0)
    sched.load_state_dict({k[len("schedulers.student.scheduler."):]: v for k, v in state.items() if k.startswith("schedulers.")})
    for p in params.values():
        p.grad = torch.ones_like(p)
    opt.step()
    sched.step()
    ok(sched.last_epoch == 4 and all(opt.state[p]["step"].item() == 4 for p in params.values()), "AdamW and LambdaLR go on from it")
    try:
        dcp.load({"roles.student.transformer.nothing": torch.empty(3)}, checkpoint_id=folder, no_dist=True)
        ok(False, "a missing key is noticed")
    except BaseException as e:  # CheckpointException is one
        ok("Missing key" in str(e), "a missing key is noticed")


def main():
    mode, folder = sys.argv[1:]
    {"formula": check_formula, "role": check_role}[mode](folder + "/dcp")


main()
