#!/usr/bin/env python3
"""Checkpoints of torch.distributed.checkpoint and of b_ckpt, turn about: the same bytes, ranks and folder.

usage: ckpt_torch.py B_CKPT [MIB_PER_RANK [ROUNDS [RANKS [FOLDER]]]]      (B_CKPT: the program built by `make bench/b_ckpt`)
Prints, per round and as medians: raw write + fsync, reel's and torch's save over it, and what their asynchronous saves hold the
training thread up for. torch.save's files are synced too (FileSystemWriter's default). gloo, one process a rank.
"""
import os
import re
import shutil
import statistics
import subprocess
import sys
import time

program = sys.argv[1]
mib, rounds, ranks = (int(sys.argv[i]) if len(sys.argv) > i else d for i, d in ((2, 256), (3, 5), (4, 2)))
folder = os.path.abspath(sys.argv[5] if len(sys.argv) > 5 else ".")
TENSORS = 24


def rank_main(rank, out):
    import torch
    import torch.distributed as dist
    import torch.distributed.checkpoint as dcp
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{out}.init", rank=rank, world_size=ranks)
    mesh = init_device_mesh("cpu", (ranks,))
    behind = dist.new_group(backend="gloo")  # its thread's collectives must not meet this thread's
    rows = mib * 256 // TENSORS
    state = {f"w{i}": DTensor.from_local(torch.rand(rows, 1024), mesh, [Shard(0)]) for i in range(TENSORS)}
    dcp.save({"w0": state["w0"]}, checkpoint_id=out + ".warm")
    dist.barrier()
    t = time.perf_counter()
    dcp.save(state, checkpoint_id=out + ".sync")
    dist.barrier()
    sync = time.perf_counter() - t
    t = time.perf_counter()
    done = dcp.async_save(state, checkpoint_id=out + ".async", process_group=behind)
    dist.barrier()
    held = time.perf_counter() - t
    done.result()
    dist.barrier()
    whole = time.perf_counter() - t
    if rank == 0:
        print(f"TORCH {torch.__version__} {sync} {held} {whole}", flush=True)
    dist.destroy_process_group()


def theirs(out):
    import torch.multiprocessing as mp

    mp.spawn(rank_main, args=(out,), nprocs=ranks)


def main():
    env = dict(os.environ, OMP_NUM_THREADS="1")
    rows = []
    for r in range(rounds):
        text = subprocess.run(["mpiexec", "-n", str(ranks), program, str(mib), "1", folder], check=True, capture_output=True, text=True).stdout
        head = text.splitlines()[0]
        raw, ours = map(float, re.search(r"raw ([\d.]+) s .*checkpoint ([\d.]+) s  raw", text).groups())
        held, whole, ratio = re.search(r"asynchronous ([\d.]+) s .*whole save ([\d.]+) s.*synchronous ([\d.]+)$", text, re.M).groups()
        out = os.path.join(folder, f"ckpt_torch.{os.getpid()}.{r}")
        text = subprocess.run([sys.executable, __file__, "--torch", str(mib), "1", str(ranks), out], check=True, capture_output=True, text=True, env=env).stdout
        version, t_sync, t_held, t_whole = re.search(r"TORCH (\S+) (\S+) (\S+) (\S+)", text).groups()
        for s in (".warm", ".sync", ".async"):
            shutil.rmtree(out + s, ignore_errors=True)
        rows.append([raw, ours, float(held), float(whole), float(t_sync), float(t_held), float(t_whole), float(ratio)])
        print("round", r, " ".join(f"{v:.3f}" for v in rows[-1]), flush=True)
    m = [statistics.median(c) for c in zip(*rows)]
    print(head, f"(each of {rounds} rounds), torch {version}")
    print(f"raw write + fsync {m[0]:.3f} s")
    print(f"reel   save {m[1]:.3f} s (raw/save {m[0] / m[1]:.2f})  asynchronous holds up {m[2]:.3f} s, ends after {m[3]:.3f} s; asynchronous/synchronous stall {m[7]:.2f}")
    print(f"torch  save {m[4]:.3f} s (raw/save {m[0] / m[4]:.2f})  asynchronous holds up {m[5]:.3f} s, ends after {m[6]:.3f} s; {m[5] / m[4]:.2f}")


if __name__ == "__main__":
    if program == "--torch":
        theirs(folder)
    else:
        main()
