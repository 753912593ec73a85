"""Small files of weights as PyTorch, safetensors and the Hub have them, for the tests of mr2-backbones.

    python tests/reference/weight_files.py

Needs torch, numpy and safetensors. Writes crates/mr2-backbones/tests/fixtures/weights/. Each file of PyTorch has
a twin in safetensors, NAME.safetensors, with the tensors that are to be read from it under their dotted names.
"""

import argparse
import collections
import json
import os
import pathlib
import pickle
import shutil
import struct

import numpy as np
import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/mr2-backbones/tests/fixtures/weights"
SEED = 5


def dtypes():
    numbers = torch.randn(3, 4) * 50
    kinds = ["float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64"]
    tensors = {kind: numbers.abs().to(getattr(torch, kind)) for kind in kinds}
    signs = {f"{kind}.negative": -numbers.abs().to(getattr(torch, kind)) for kind in kinds if kind != "uint8"}
    more = {
        "bool": numbers > 0,
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "special": torch.tensor([float("nan"), float("inf"), -0.0]),
    }
    return tensors | signs | more


def nested():
    weight, average = torch.randn(2, 3), torch.randn(2, 3)
    state = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)).state_dict()
    encoder = collections.OrderedDict((f"module.encoder_q.{key}", value) for key, value in state.items())
    args = argparse.Namespace(lr=0.03, milestones={120, 160}, path="a/b", queue=torch.arange(3))
    beside = {
        "epoch": 3,
        "arch": "resnet50",
        "best": np.float64(0.5),
        "array": np.arange(4),
        "large": -(1 << 80),
        "long": 1 << 40,
        "nothing": None,
        "shape": torch.Size([2, 3]),
        "counts": collections.Counter([1, 1, 2]),
        "bytes": b"\xff\x00",
        "frozen": frozenset([1, 2]),
        "args": args,
    }
    optimizer = {"state": {0: {"step": 3, "exp_avg": average}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    tensors = {"state_dict": encoder, "optimizer": optimizer, "pair": (weight, [torch.nn.Parameter(weight)])}
    extra = {("a", 1): 2, "more": collections.defaultdict(list, {"x": weight})}
    twin = {f"state_dict.{key}": value for key, value in encoder.items()}
    twin |= {"optimizer.state.0.exp_avg": average, "pair.0": weight, "pair.1.0": weight}
    twin |= {"extra.more.x": weight, "args.queue": args.queue}
    return beside | tensors | {"extra": extra}, twin


def strided():
    whole = torch.randn(4, 6)
    return {
        "whole": whole,
        "again": whole,
        "transposed": whole.T,
        "row": whole[2],
        "column": whole[:, 3],
        "every_second": whole[1::2, ::3],
        "expanded": whole[:1].expand(3, 6),
        "permuted": torch.randn(2, 3, 4).permute(2, 0, 1),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "part_of_none": whole[4:],
        "one": whole[3:, 5:],
    }


class Stored:
    """A storage, to be pickled by reference."""

    def __init__(self, *reference):
        self.reference = reference


class Old(pickle.Pickler):
    """Writes references to storages as the older versions of PyTorch did."""

    def persistent_id(self, value):
        return value.reference if isinstance(value, Stored) else None


class Rebuilt:
    """A tensor over a storage."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return torch._utils._rebuild_tensor, self.arguments


def write_views(path):
    """The legacy stream with parts of a storage, as PyTorch wrote it before 0.4."""
    numbers = torch.arange(10, dtype=torch.float32)
    reference = ("storage", torch.FloatStorage, "94", "cpu", 10)
    first = Stored(*reference, ("95", 2, 4))
    second = Stored(*reference, ("96", 4, 6))
    tensors = {"first": Rebuilt(first, 1, (3,), (1,)), "second": Rebuilt(second, 0, (2, 3), (1, 2))}
    with open(path, "wb") as file:
        machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
        for value in [0x1950A86A20F9469CFC6C, 1001, machine]:
            pickle.dump(value, file, protocol=2)
        Old(file, protocol=2).dump(tensors)
        pickle.dump(["94"], file, protocol=2)
        file.write(struct.pack("<q", 10) + numbers.numpy().tobytes())
    loaded = torch.load(path, weights_only=False)
    twin = {"first": numbers[3:6], "second": numbers[4:10].reshape(3, 2).T}
    assert all(torch.equal(loaded[key], value) for key, value in twin.items())
    return twin


class Hostile:
    """What unpickling would run."""

    def __reduce__(self):
        return os.system, ("touch it-was-run",)


def twin(name, tensors):
    save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()}, OUT / f"{name}.safetensors")


def both(name, value, protocols=(2,)):
    for protocol in protocols:
        end = "" if protocol == 2 else f"_protocol{protocol}"
        torch.save(value, OUT / f"{name}_zip{end}.pt", pickle_protocol=protocol)
        legacy = {"pickle_protocol": protocol, "_use_new_zipfile_serialization": False}
        torch.save(value, OUT / f"{name}_legacy{end}.pt", **legacy)


def sharded(folder, stem, end, save):
    folder.mkdir()
    shards = [{"a.weight": torch.randn(2, 3), "a.bias": torch.randn(2)}, {"b.weight": torch.randn(3, 2)}]
    names = [f"{stem}-{number:05}-of-00002.{end}" for number in [1, 2]]
    for name, shard in zip(names, shards):
        save(shard, folder / name)
    places = {key: name for name, shard in zip(names, shards) for key in shard}
    index = {"metadata": {"total_size": 56}, "weight_map": places}
    (folder / f"{stem}.{end}.index.json").write_text(json.dumps(index, indent=1) + "\n")
    twin(folder.name, shards[0] | shards[1])


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    torch.manual_seed(SEED)
    values = dtypes()
    both("dtypes", values, (2, 3, 4, 5))
    twin("dtypes", values)
    value, tensors = nested()
    both("nested", value, (2, 4))
    twin("nested", tensors)
    value = strided()
    both("strided", value)
    twin("strided", value)
    twin("views_legacy", write_views(OUT / "views_legacy.pt"))
    sharded(OUT / "shards", "model", "safetensors", lambda shard, path: save_file(shard, path, {"format": "pt"}))
    sharded(OUT / "shards_bin", "pytorch_model", "bin", torch.save)
    both("wrong_hostile", {"weight": torch.ones(2), "hook": Hostile()})
    both("wrong_model", torch.nn.Linear(2, 1))
    both("wrong_nameless", torch.ones(2))
    both("wrong_twice", {"a.b": torch.ones(2), "a": {"b": torch.ones(2)}})
    both("wrong_large", {"weight": torch.ones(1).expand(1 << 40)})
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 1)), OUT / "wrong_script.pt")
    with open(OUT / "wrong_pickle.pt", "wb") as file:
        pickle.dump({"weight": [1.0, 2.0]}, file, protocol=2)
    sizes = [path.stat().st_size for path in OUT.rglob("*") if path.is_file()]
    assert max(sizes) <= 300_000, max(sizes)
    print(f"{len(sizes)} files, {sum(sizes)} bytes, the largest {max(sizes)}")


if __name__ == "__main__":
    main()
