#!/usr/bin/env python3
"""A Parquet set of FastVideo (t2v or text_only) as one safetensors file that `reel preprocess --tensors` reads.

    parquet_to_safetensors.py DATASET_DIR OUT.safetensors
    reel preprocess --tensors OUT.safetensors --output SET.h5

Rows come in the order FastVideo's loader numbers them: files sorted by path, rows in file order. Numbers are taken as
float32 whatever the dtype column says, as that loader does. Memory: one row group. Needs pyarrow and numpy.

    latents   F32 [N,C,T,h,w]   raw (t2v only)
    text      F32 [N,L,D]       padded with zeros to the longest
    length    I64 [N]
    caption   U8  [N,K]         UTF-8, padded with zeros
    id        U8  [N,K]         the same
"""
import json
import os
import struct
import sys

import numpy as np
import pyarrow.parquet as pq


def files(top):
    found = [os.path.join(d, f) for d, _, names in os.walk(top) for f in names if f.endswith(".parquet")]
    if not found:
        sys.exit(f"{top}: no .parquet file")
    return sorted(found)


def rows(paths, columns):
    """Every row of every file, as a dict of `columns`; a missing column is None."""
    for path in paths:
        f = pq.ParquetFile(path)
        have = [c for c in columns if c in f.schema_arrow.names]
        for g in range(f.num_row_groups):
            for i, row in enumerate(f.read_row_group(g, columns=have).to_pylist()):
                yield f"{path}: row group {g}, row {i}", {c: row.get(c) for c in columns}


def tensor(where, row, name, shape):
    data, want = row[f"{name}_bytes"], 4 * int(np.prod(shape))
    if len(data) != want:
        sys.exit(f"{where}: {name} has {len(data)} bytes; {want} were expected for float32 of shape {list(shape)}")
    return np.frombuffer(data, "<f4").reshape(shape)


class Survey:
    """First pass: how large everything is. Reads no tensor."""

    def __init__(self, paths):
        self.n, self.latent, self.rows, self.dim, self.caption, self.id = 0, None, 0, None, 1, 1
        for where, r in rows(paths, ["vae_latent_shape", "text_embedding_shape", "caption", "id"]):
            text, latent = r["text_embedding_shape"], r["vae_latent_shape"]
            if not text or len(text) != 2:
                sys.exit(f"{where}: text_embedding_shape is {text}; [rows, columns] was expected")
            if self.n == 0:
                self.latent, self.dim = latent or None, text[1]
            if (latent or None) != self.latent:
                sys.exit(f"{where}: latents of shape {latent}; those before have {self.latent}: one set has one shape")
            if text[1] != self.dim:
                sys.exit(f"{where}: text of {text[1]} columns; that before has {self.dim}")
            self.n += 1
            self.rows = max(self.rows, text[0])
            self.caption = max(self.caption, len((r["caption"] or "").encode()))
            self.id = max(self.id, len((r["id"] or "").encode()))
        if not self.n:
            sys.exit(f"{paths[0]}: no row")

    def entries(self):
        if self.latent:
            yield "latents", "F32", [self.n, *self.latent]
        yield "text", "F32", [self.n, self.rows, self.dim]
        yield "length", "I64", [self.n]
        yield "caption", "U8", [self.n, self.caption]
        yield "id", "U8", [self.n, self.id]


def header(s):
    h, at = {"__metadata__": {"format": "pt"}}, 0
    for name, dtype, shape in s.entries():
        size = int(np.prod(shape)) * {"F32": 4, "I64": 8, "U8": 1}[dtype]
        h[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(h, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, h


def convert(top, out):
    paths = files(top)
    s = Survey(paths)
    head, h = header(s)
    columns = ["text_embedding_bytes", "text_embedding_shape", "caption", "id"] + (["vae_latent_bytes"] if s.latent else [])
    with open(out + ".tmp", "wb") as f:

        def put(name, i, data):
            begin, end = h[name]["data_offsets"]
            f.seek(len(head) + begin + i * ((end - begin) // s.n))
            f.write(data)

        f.write(head)
        f.truncate(len(head) + max(e["data_offsets"][1] for k, e in h.items() if k != "__metadata__"))
        for i, (where, r) in enumerate(rows(paths, columns)):
            text = tensor(where, r, "text_embedding", r["text_embedding_shape"])
            if s.latent:
                put("latents", i, tensor(where, r, "vae_latent", s.latent).tobytes())
            put("text", i, text.tobytes())  # what is not written reads as zeros
            put("length", i, struct.pack("<q", text.shape[0]))
            put("caption", i, (r["caption"] or "").encode())
            put("id", i, (r["id"] or "").encode())
        f.flush()
        os.fsync(f.fileno())
    os.replace(out + ".tmp", out)
    print(f"{out}: {s.n} samples of {len(paths)} files, latents {s.latent or 'none'}, text of {s.dim} columns, {s.rows} rows at most")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    convert(sys.argv[1], sys.argv[2])
