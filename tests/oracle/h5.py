"""A set read by another program: python h5.py SET.h5. Exit 1 and one line per finding if anything is off.

Needs h5py and numpy. Recomputes every checksum with a table of its own."""
import sys

import h5py
import numpy as np

TABLE = np.zeros(256, np.uint32)
for i in range(256):
    c = i
    for _ in range(8):
        c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
    TABLE[i] = c


def crc32c(data: bytes) -> int:
    c = 0xFFFFFFFF
    for b in data:
        c = int(TABLE[(c ^ b) & 255]) ^ c >> 8
    return c ^ 0xFFFFFFFF


def text(v) -> str:
    return v.decode() if isinstance(v, bytes) else str(v)


def main(path: str) -> int:
    bad = []
    with h5py.File(path, "r") as f:
        if text(f.attrs["format"]) != "reel-latents" or f.attrs["format_version"] != 1:
            bad.append("format")
        z, tokens, offset, crc = f["latents/data"], f["text/tokens"], f["text/offset"][:], f["integrity/crc32c"][:]
        n = len(z)
        if text(z.attrs["dtype"]) not in ("float32", "bfloat16") or len(z.attrs["mean"]) != z.shape[1]:
            bad.append("attributes of latents/data")
        if z.id.get_offset() % 4096 and z.nbytes >= 65536:
            bad.append("alignment")
        if crc32c(crc.tobytes()) != f["integrity"].attrs["crc32c"] or crc32c(offset.tobytes()) != f["integrity"].attrs["offset_crc32c"]:
            bad.append("tables")
        for i in range(n):
            strings = [bytes(f["meta"][k][i]).rstrip(b"\0") for k in ("id", "caption", "file_name")]
            numbers = b"".join(f["meta"][k][i].tobytes() for k in ("width", "height", "num_frames_src", "fps", "duration"))
            want = (crc32c(z[i].tobytes()), crc32c(tokens[offset[i]:offset[i + 1]].tobytes()), crc32c(b"".join(strings) + numbers))
            if tuple(crc[i]) != want:
                bad.append(f"sample {i}: {[hex(v) for v in crc[i]]} stored, {[hex(v) for v in want]} computed")
    for line in bad:
        print(f"{path}: {line}")
    if not bad:
        print(f"{path}: {n} samples, all good")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
