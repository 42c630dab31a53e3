"""A Parquet set like FastVideo's, and whether a set of ours holds the same: parquet.py make DIR | check DIR SET.h5"""
import os
import sys

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

N, SHAPE, DIM = 7, (16, 2, 4, 6), 64


def sample(i):
    g = np.random.default_rng(i)
    caption = "" if i == 3 else f"clip {i}: " + "é" * i
    return g.standard_normal(SHAPE, np.float32), g.standard_normal((1 + i % 4, DIM), np.float32), caption


def column(name, i, kind):
    z, t, caption = sample(i)
    return {"id": f"id-{i}", "vae_latent_bytes": z.tobytes(), "vae_latent_shape": list(z.shape), "vae_latent_dtype": "float32",
            "text_embedding_bytes": t.tobytes(), "text_embedding_shape": list(t.shape), "text_embedding_dtype": "float32",
            "file_name": f"{i}.mp4", "caption": caption, "media_type": "video", "width": 48, "height": 32, "num_frames": 2,
            "duration_sec": 1.0, "fps": 16.0}[name]


def make(top, kind):
    names = ["id", "text_embedding_bytes", "text_embedding_shape", "text_embedding_dtype", "caption"]
    if kind == "t2v":
        names += ["vae_latent_bytes", "vae_latent_shape", "vae_latent_dtype", "file_name", "media_type", "width", "height",
                  "num_frames", "duration_sec", "fps"]
    for path, these in (("worker_0/worker_0/a.parquet", range(0, 3)), ("worker_1/worker_0/b.parquet", range(3, N))):
        path = os.path.join(top, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        pq.write_table(pa.table({n: [column(n, i, kind) for i in these] for n in names}), path, compression="zstd", row_group_size=2)


def check(path, kind):
    with h5py.File(path, "r") as f:
        o = f["text/offset"][:]
        assert len(o) == N + 1 and f.attrs["kind"].decode() == kind and ("latents" in f) == (kind == "t2v")
        assert "negative" not in f["aux"]
        for i in range(N):
            z, t, caption = sample(i)
            assert np.array_equal(f["text/tokens"][o[i]:o[i + 1]], t), i
            assert kind != "t2v" or np.array_equal(f["latents/data"][i], z), i
            assert bytes(f["meta/caption"][i]).rstrip(b"\0").decode() == caption, i
            assert bytes(f["meta/id"][i]).rstrip(b"\0").decode() == f"id-{i}", i


if __name__ == "__main__":
    {"make": make, "check": check}[sys.argv[1]](*sys.argv[2:])
