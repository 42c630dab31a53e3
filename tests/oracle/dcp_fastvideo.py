"""dcp_fastvideo.py FROM TO RANKS: a checkpoint of ours in the hands of FastVideo's trainer, and back. Prints TAP lines.

FROM: dcp folder of a run of ours with one role, AdamW, a schedule and the callback ema. RANKS gloo processes
1. load every key strictly under the default planner, as whole tensors and as DTensors in each mesh that fits the ranks;
2. resume as FastVideo's CheckpointManager does: an FSDP2 model, zero Adam states, LambdaLR, the loader's state, all of it one
   strict dcp.load (fastvideo/train/utils/checkpoint.py @2f3d4074; its wrappers are made again here);
3. save that state to TO, as FastVideo would, with metadata.json and generator states and without a commit marker.
With "-" for TO the first alone, of any run: several roles, adapters.
"""
import json
import os
import shutil
import sys

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict import (StateDictOptions, get_model_state_dict, get_optimizer_state_dict,
                                                     set_model_state_dict, set_optimizer_state_dict)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

ROLE = "roles.student.transformer."
EMA = "callbacks.ema.student_ema."
taps = []


def ok(good, text):
    taps.append(("ok" if good else "not ok") + " 1 - " + text)


def whole(x):
    return x.full_tensor() if isinstance(x, DTensor) else x


def equal(a, b):
    if isinstance(b, torch.Tensor):
        return torch.equal(whole(a).detach(), b)
    return a == b and type(a) is type(b)


def meshes(world):
    one = [((world,), (Shard(0),))]
    if world < 4:
        return one + [((world,), (Shard(1),))]
    half = world // 2
    return one + [((2, half), (Replicate(), Shard(0))), ((2, half), (Shard(0), Shard(1))), ((half, 2), (Shard(1), Shard(0)))]


def in_meshes(folder, world, truth):
    for shape, place in meshes(world):
        mesh = init_device_mesh("cpu", shape)
        state = {}
        for k, v in truth.items():
            if isinstance(v, torch.Tensor):
                p = [x if isinstance(x, Replicate) or x.dim < v.ndim else Replicate() for x in place]
                state[k] = distribute_tensor(torch.full_like(v, -7), mesh, p)
            else:
                state[k] = None
        dcp.load(state, checkpoint_id=folder)
        bad = [k for k, v in truth.items() if not equal(state[k], v)]
        ok(not bad, "%d keys on a mesh of %s, parts %s, different: %s" % (len(truth), shape, place, bad[:3]))


class Container(torch.nn.Module):
    """A module whose parameters have the checkpoint's names."""

    def __init__(self, values):
        super().__init__()
        for name, v in values.items():
            at = self
            for part in name.split(".")[:-1]:
                if part not in at._modules:
                    at.add_module(part, torch.nn.Module())
                at = at._modules[part]
            at.register_parameter(name.split(".")[-1], torch.nn.Parameter(torch.zeros_like(v)))


class Wrapped(torch.nn.Module):
    """FastVideo's role: the model below the name transformer."""

    def __init__(self, model):
        super().__init__()
        self.transformer = model


class ModelState:
    def __init__(self, model):
        self.model = model

    def state_dict(self):
        return get_model_state_dict(self.model)

    def load_state_dict(self, state):
        set_model_state_dict(self.model, model_state_dict=state, options=StateDictOptions(strict=False))


class OptimState:
    options = StateDictOptions(flatten_optimizer_state_dict=True)

    def __init__(self, model, optim):
        self.model, self.optim = model, optim

    def state_dict(self):
        return get_optimizer_state_dict(self.model, self.optim, options=self.options)

    def load_state_dict(self, state):
        set_optimizer_state_dict(self.model, self.optim, optim_state_dict=state, options=self.options)


class Plain:
    def __init__(self, state):
        self.state = state

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


class SchedState:
    def __init__(self, sched):
        self.sched = sched

    def state_dict(self):
        return {"scheduler": self.sched.state_dict()}

    def load_state_dict(self, state):
        self.sched.load_state_dict(state["scheduler"])


# what torchdata's StatefulDataLoader has without workers
LOADER = ("_index_sampler_state _sampler_iter_state _sampler_iter_yielded _num_yielded _IterableDataset_len_called _shared_seed "
          "fetcher_state dataset_state _iterator_finished").split()


def trainer(names, truth):
    model = Container({n: truth[ROLE + n] for n in names})
    fully_shard(model)
    wrapped = Wrapped(model)
    optim = torch.optim.AdamW(model.parameters(), lr=1.0)
    for p in model.parameters():
        optim.state[p] = {"step": torch.tensor(0.0), "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
    sched = torch.optim.lr_scheduler.LambdaLR(optim, lambda k: 1.0)
    average = {n: torch.zeros_like(truth[EMA + n]) for n in names}
    state = {"roles.student.transformer": ModelState(model), "optimizers.student": OptimState(wrapped, optim),
             "schedulers.student": SchedState(sched), "dataloader": Plain({k: None for k in LOADER}),
             "callbacks": Plain({"grad_clip": {}, "ema": {"student_ema": average, "ema_started": False}})}
    return state, model, optim, sched


def as_fastvideo(folder, to, rank, truth):
    names = [k[len(ROLE):] for k in truth if k.startswith(ROLE)]
    state, model, optim, sched = trainer(names, truth)
    dcp.load(state, checkpoint_id=folder)
    got = {"roles.student.transformer." + n: p for n, p in model.named_parameters()}
    by_name = dict(model.named_parameters())
    for n, p in by_name.items():
        for k in ("step", "exp_avg", "exp_avg_sq"):
            got["optimizers.student.state.transformer.%s.%s" % (n, k)] = optim.state[p][k]
        got[EMA + n] = state["callbacks"].state["ema"]["student_ema"][n]
    bad = [k for k, v in got.items() if not equal(v, truth[k])]
    group = "optimizers.student.param_groups.transformer.%s." % names[0]
    same = all(optim.param_groups[0][o] == truth[group + o] for o in ("lr", "betas", "eps", "weight_decay"))
    ok(not bad and len(got) == 5 * len(names), "FastVideo's resume: %d tensors, different: %s" % (len(got), bad[:3]))
    ok(same and sched.last_epoch == truth["schedulers.student.scheduler.last_epoch"], "its optimizer's options and its schedule")
    ok(state["callbacks"].state["ema"]["ema_started"] is truth["callbacks.ema.ema_started"] and
       state["dataloader"].state["_num_yielded"] == truth["dataloader._num_yielded"], "its loader and callbacks")
    dcp.save(state, checkpoint_id=to + "/dcp")
    torch.save({"torch_rng": torch.get_rng_state()}, "%s/rng_state_rank%d.pt" % (to, rank))
    theirs, ours = (set(FileSystemReader(f).read_metadata().state_dict_metadata) for f in (to + "/dcp", folder))
    ok(theirs <= ours, "no key of FastVideo's tree is missing: %s" % sorted(theirs - ours)[:3])
    ok(all(k.startswith(("method.", "callbacks.")) for k in ours - theirs), "ours beyond them: %s" % sorted(ours - theirs)[:6])


def worker(rank, world, folder, to, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=world)
    meta = FileSystemReader(folder).read_metadata()
    truth = {k: torch.empty(e.size, dtype=e.properties.dtype) if isinstance(e, TensorStorageMetadata) else 0
             for k, e in meta.state_dict_metadata.items()}
    dcp.load(truth, checkpoint_id=folder, no_dist=True)
    in_meshes(folder, world, truth)
    if to != "-":
        as_fastvideo(folder, to, rank, truth)
    verdicts = [None] * world
    dist.all_gather_object(verdicts, taps)
    if rank == 0:
        for lines in zip(*verdicts):
            print(next((x for x in lines if x.startswith("not")), lines[0]), flush=True)
    dist.barrier()
    dist.destroy_process_group()


def main():
    source, to, world = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if to != "-":
        shutil.rmtree(to, ignore_errors=True)
        os.makedirs(to)
        with open(source + "/metadata.json") as f:
            meta = json.load(f)
        with open(to + "/metadata.json", "w") as f:
            json.dump(meta, f, indent=2)
    mp.spawn(worker, (world, source + "/dcp", to, str(20000 + os.getpid() % 20000)), nprocs=world)


if __name__ == "__main__":
    main()
