"""Tiny data sets in the form in which their authors released them, for the tests of mr2-data.

    python tests/reference/data.py

Needs numpy, pillow, pyarrow and safetensors. Writes crates/mr2-data/tests/fixtures/: CIFAR-10 and
CIFAR-100 as Python batches (written opcode by opcode as Python 2 did), as the archive of these, as
binary records and as Hugging Face parquet; IDX; image files of several kinds. What they hold is in
expected.safetensors, by way of other readers: pickle.load and Pillow.
"""

import gzip
import io
import json
import pathlib
import pickle
import platform
import struct
import tarfile

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from safetensors.numpy import save_file

SEED = 20260101
OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/mr2-data/tests/fixtures"
RNG = np.random.default_rng(SEED)
EXPECTED = {}


def smooth_image(height, width, channels):
    """Random, unlike its transpose and its mirror images, and small when compressed."""
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for _ in range(channels):
        a, b, c = RNG.uniform(-6, 6, 3)
        planes.append(128 + a * y + b * x + c * ((y // 4) % 3) * 5)
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def images(count, height=32, width=32, channels=3):
    return np.stack([smooth_image(height, width, channels) for _ in range(count)])


def planes(pictures):
    """(n, h, w, 3) to rows of planes R, G, B, as CIFAR has them."""
    return pictures.transpose(0, 3, 1, 2).reshape(len(pictures), -1)


class Python2Pickler(pickle._Pickler):
    """Writes strings and NumPy's names as cPickle of Python 2 did with protocol 2."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        raw = value.encode("latin1") if isinstance(value, str) else value
        if len(raw) < 256:
            self.write(b"U" + struct.pack("<B", len(raw)) + raw)
        else:
            self.write(b"T" + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch[str] = save_string
    dispatch[bytes] = save_string

    def save_global(self, value, name=None):
        module = getattr(value, "__module__", "").replace("numpy._core", "numpy.core")
        name = name or value.__qualname__
        self.write(b"c" + module.encode() + b"\n" + name.encode() + b"\n")
        self.memoize(value)

    dispatch[type] = save_global
    dispatch[type(lambda: 0)] = save_global
    dispatch[type(len)] = save_global


def python2_pickle(value):
    out = io.BytesIO()
    Python2Pickler(out, protocol=2).dump(value)
    return out.getvalue()


def batch(pictures, labels, label_key, name):
    data = {
        "batch_label": name,
        label_key: [int(label) for label in labels],
        "data": planes(pictures),
        "filenames": [f"picture_{i}.png" for i in range(len(pictures))],
    }
    if label_key == "fine_labels":
        data["coarse_labels"] = [int(label) // 5 for label in labels]
    return data


def write(path, content):
    path = OUT / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_archive(path, folder):
    """A .tar.gz without times, with the folder's entries in sorted order."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for file in [OUT / folder, *sorted((OUT / folder).iterdir())]:
            info = archive.gettarinfo(file, str(file.relative_to(OUT / folder.parent)))
            info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
            archive.addfile(info, open(file, "rb") if file.is_file() else None)
    write(path, gzip.compress(packed.getvalue(), 9, mtime=0))


def write_parquet(path, columns, image_column):
    """As the library `datasets` writes images: a struct {bytes, path} and its note in the schema."""
    encoded = []
    for index, picture in enumerate(columns.pop(image_column)):
        out = io.BytesIO()
        Image.fromarray(picture).save(out, format="PNG")
        encoded.append({"bytes": out.getvalue(), "path": f"{index}.png"})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    arrays = {image_column: pa.array(encoded, kind)}
    arrays |= {name: pa.array([int(v) for v in values], pa.int64()) for name, values in columns.items()}
    table = pa.table(arrays)
    note = {"info": {"features": {image_column: {"_type": "Image"}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(note)})
    path = OUT / path
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=3, compression="snappy")


def cifar10():
    folder = pathlib.Path("cifar10/cifar-10-batches-py")
    parts = {f"data_batch_{i}": images(2) for i in range(1, 6)} | {"test_batch": images(2)}
    labels = {name: RNG.integers(0, 10, 2) for name in parts}
    labels["data_batch_1"][0], labels["test_batch"][1] = 9, 0
    for name, pictures in parts.items():
        write(folder / name, python2_pickle(batch(pictures, labels[name], "labels", name)))
        records = [bytes([label]) + row.tobytes() for label, row in zip(labels[name], planes(pictures))]
        write(f"cifar10/cifar-10-batches-bin/{name}.bin", b"".join(records))
    write(folder / "batches.meta", python2_pickle({"label_names": ["airplane"]}))
    write_archive("cifar10/cifar-10-python.tar.gz", folder)
    train = [f"data_batch_{i}" for i in range(1, 6)]
    for split, names in (("train", train), ("test", ["test_batch"])):
        loaded = [pickle.loads((OUT / folder / name).read_bytes(), encoding="latin1") for name in names]
        data = np.concatenate([b["data"] for b in loaded])
        EXPECTED[f"cifar10.{split}.images"] = data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).copy()
        EXPECTED[f"cifar10.{split}.labels"] = np.array(sum((b["labels"] for b in loaded), []), np.uint32)
        columns = {
            "img": np.concatenate([parts[n] for n in names]),
            "label": np.concatenate([labels[n] for n in names]),
        }
        write_parquet(f"cifar10/plain_text/{split}-00000-of-00001.parquet", columns, "img")


def cifar100():
    folder = pathlib.Path("cifar100/cifar-100-python")
    for split, count in (("train", 4), ("test", 2)):
        pictures, fine = images(count), RNG.integers(0, 100, count)
        fine[0] = 99
        content = python2_pickle(batch(pictures, fine, "fine_labels", split))
        write(folder / split, content)
        records = [
            bytes([label // 5, label]) + row.tobytes() for label, row in zip(fine, planes(pictures))
        ]
        write(f"cifar100/cifar-100-binary/{split}.bin", b"".join(records))
        columns = {"img": pictures, "fine_label": fine, "coarse_label": fine // 5}
        write_parquet(f"cifar100/cifar100/{split}-00000-of-00001.parquet", columns, "img")
        loaded = pickle.loads(content, encoding="latin1")
        data = loaded["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        EXPECTED[f"cifar100.{split}.images"] = data.copy()
        EXPECTED[f"cifar100.{split}.labels"] = np.array(loaded["fine_labels"], np.uint32)
    write_archive("cifar100/cifar-100-python.tar.gz", folder)


def pickle_variants():
    """The same batch as other writers write it. Images of 2 x 3 pixels keep it small."""
    pictures, labels = images(4, 2, 3), [3, 1, 0, 2]
    data = batch(pictures, labels, "labels", "variant")
    write("pickles/python2", python2_pickle(data))
    as_bytes = {key.encode(): value for key, value in data.items()}
    write("pickles/python3_protocol2", pickle.dumps(as_bytes, protocol=2))
    write("pickles/python3_protocol4", pickle.dumps(data, protocol=4))
    write("pickles/fortran", python2_pickle(data | {"data": np.asfortranarray(data["data"])}))
    wrong = {"floats": data["data"].astype(np.float32), "short": data["data"][:3]}
    for name, value in wrong.items():
        write(f"pickles/wrong_{name}", python2_pickle(data | {"data": value}))
    EXPECTED["pickles.images"] = pictures
    EXPECTED["pickles.labels"] = np.array(labels, np.uint32)


def idx():
    for split, prefix, count in (("train", "train", 4), ("test", "t10k", 2)):
        pictures, labels = images(count, 5, 7, 1)[..., 0], RNG.integers(0, 3, count)
        raw = struct.pack(">IIII", 2051, count, 5, 7) + pictures.tobytes()
        write(f"idx/{prefix}-images-idx3-ubyte", raw)
        write(f"idx/{prefix}-images-idx3-ubyte.gz", gzip.compress(raw, 9, mtime=0))
        raw = struct.pack(">II", 2049, count) + bytes(labels.tolist())
        write(f"idx/{prefix}-labels-idx1-ubyte", raw)
        write(f"idx/{prefix}-labels-idx1-ubyte.gz", gzip.compress(raw, 9, mtime=0))
        EXPECTED[f"idx.{split}.images"] = pictures[..., None]
        EXPECTED[f"idx.{split}.labels"] = labels.astype(np.uint32)


def image_folder():
    """Files named .jpg that are not, hidden files, notes between the images, a class without test."""
    picture = Image.fromarray(images(1, 9, 14)[0])
    kinds = {
        "train/daisy/a_png.jpg": ("PNG", picture),
        "train/daisy/b_gif.jpg": ("GIF", picture),
        "train/daisy/c_grey.png": ("PNG", picture.convert("L")),
        "train/rose/nested/d_palette.PNG": ("PNG", picture.convert("P")),
        "train/rose/e_alpha.png": ("PNG", picture.convert("RGBA")),
        "train/rose/f.bmp": ("BMP", picture),
        "train/rose/g.tif": ("TIFF", picture),
        "train/rose/h.webp": ("WEBP", picture),
        "train/rose/i.jpeg": ("JPEG", picture),
        "val/rose/k.png": ("PNG", picture),
        "test/daisy/l.png": ("PNG", picture),
    }
    for name, (kind, image) in kinds.items():
        out = io.BytesIO()
        image.save(out, format=kind, **({"lossless": True} if kind == "WEBP" else {}))
        write(f"folder/{name}", out.getvalue())
        loaded = Image.open(OUT / "folder" / name)
        EXPECTED[f"folder.rgb.{pathlib.Path(name).stem}"] = np.asarray(loaded.convert("RGB"))
        EXPECTED[f"folder.grey.{pathlib.Path(name).stem}"] = np.asarray(loaded.convert("L"))[..., None]
    write("folder/train/daisy/notes.txt", b"not an image\n")
    write("folder/train/daisy/._a_png.jpg", b"left by another system\n")


def main():
    cifar10()
    cifar100()
    pickle_variants()
    idx()
    image_folder()
    record = {
        "generator": "tests/reference/data.py",
        "seed": SEED,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "pyarrow": pa.__version__,
    }
    tensors = {name: np.ascontiguousarray(value) for name, value in EXPECTED.items()}
    save_file(tensors, OUT / "expected.safetensors", {"fixture": json.dumps(record, sort_keys=True)})


if __name__ == "__main__":
    main()
