#!/usr/bin/env python3
"""Write the Fashion-MNIST subset that this repository carries.

    python3 make_subset.py SOURCE [OUT]
    python3 make_subset.py --check

SOURCE is a folder with the four original files (train-images-idx3-ubyte.gz and so on), as in
Debian's package dataset-fashion-mnist (/usr/share/datasets/fashion-mnist) or as downloaded from
https://github.com/zalandoresearch/fashion-mnist. OUT is this folder unless given.

Training: the first 1,000 images of each class, in file order. Test: all 10,000 images. The pixels
and labels are copied unchanged. The output has the layout and names of the original, so that it
reads like any IDX data set. SHA256SUMS lists the files as written, SHA256SUMS.content what they
hold: another version of zlib may write other bytes for the same content, so compare the second
list when the first differs. Only the standard library is used.
"""

import gzip
import hashlib
import pathlib
import struct
import sys
import zlib

IMAGES_PER_CLASS = 1000
CLASSES = 10
SIZE_LIMIT = 10_000_000

NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def read_images(raw, name):
    magic, count, rows, columns = struct.unpack(">IIII", raw[:16])
    if magic != 2051 or len(raw) != 16 + count * rows * columns:
        raise SystemExit(f"{name}: not an IDX file of images")
    return raw[16:], count, rows, columns


def read_labels(raw, name):
    magic, count = struct.unpack(">II", raw[:8])
    if magic != 2049 or len(raw) != 8 + count:
        raise SystemExit(f"{name}: not an IDX file of labels")
    return raw[8:]


def first_of_each_class(labels):
    taken = [0] * CLASSES
    keep = []
    for index, label in enumerate(labels):
        if taken[label] < IMAGES_PER_CLASS:
            taken[label] += 1
            keep.append(index)
    if min(taken) < IMAGES_PER_CLASS:
        raise SystemExit(f"too few images in a class: {taken}")
    return keep


def compress(content):
    """A gzip member without time or name; the smallest of zlib's strategies at level 9."""
    best = None
    for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED):
        packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, strategy)
        body = packer.compress(content) + packer.flush()
        if best is None or len(body) < len(best):
            best = body
    header = b"\x1f\x8b\x08\x00" + struct.pack("<I", 0) + b"\x02\xff"
    return header + best + struct.pack("<II", zlib.crc32(content), len(content))


def subset(source):
    raw = {name: gzip.decompress((source / name).read_bytes()) for name in NAMES}
    name = "train-images-idx3-ubyte.gz"
    pixels, _, rows, columns = read_images(raw[name], name)
    labels = read_labels(raw["train-labels-idx1-ubyte.gz"], "train-labels-idx1-ubyte.gz")
    keep = first_of_each_class(labels)
    area = rows * columns
    return {
        name: struct.pack(">IIII", 2051, len(keep), rows, columns)
        + b"".join(pixels[i * area : (i + 1) * area] for i in keep),
        "train-labels-idx1-ubyte.gz": struct.pack(">II", 2049, len(keep))
        + bytes(labels[i] for i in keep),
        "t10k-images-idx3-ubyte.gz": raw["t10k-images-idx3-ubyte.gz"],
        "t10k-labels-idx1-ubyte.gz": raw["t10k-labels-idx1-ubyte.gz"],
    }


def sums(entries):
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in entries)


def check(folder):
    files = [(name, (folder / name).read_bytes()) for name in NAMES]
    unpacked = [(name.removesuffix(".gz"), gzip.decompress(data)) for name, data in files]
    for listing, found in (("SHA256SUMS", sums(files)), ("SHA256SUMS.content", sums(unpacked))):
        if (folder / listing).read_text() != found:
            raise SystemExit(f"{listing} does not match the files")
    print("the files match SHA256SUMS and SHA256SUMS.content")


def main(arguments):
    here = pathlib.Path(__file__).resolve().parent
    if arguments == ["--check"]:
        return check(here)
    if not 1 <= len(arguments) <= 2:
        raise SystemExit(__doc__)
    out = pathlib.Path(arguments[1]) if len(arguments) == 2 else here
    out.mkdir(parents=True, exist_ok=True)
    contents = subset(pathlib.Path(arguments[0]))
    files = {name: compress(content) for name, content in contents.items()}
    total = sum(len(data) for data in files.values())
    if total > SIZE_LIMIT:
        raise SystemExit(f"{total} bytes are over the limit of {SIZE_LIMIT}")
    unpacked = [(name.removesuffix(".gz"), content) for name, content in contents.items()]
    known = here / "SHA256SUMS.content"
    if known.exists() and known.read_text() != sums(unpacked):
        raise SystemExit(f"SOURCE is not Fashion-MNIST: its subset differs from {known}")
    for name, data in files.items():
        assert gzip.decompress(data) == contents[name]
        (out / name).write_bytes(data)
    (out / "SHA256SUMS").write_text(sums(files.items()))
    (out / "SHA256SUMS.content").write_text(sums(unpacked))
    print(f"wrote {total} bytes to {out}")


if __name__ == "__main__":
    main(sys.argv[1:])
