"""Writes a fixture: float64 tensors in safetensors, with its origin in one metadata key."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

CRATES = Path(__file__).resolve().parents[2] / "crates"


def write(crate, name, generator, seed, tensors):
    """One metadata key, since safetensors doesn't keep the order of several."""
    origin = {
        "generator": f"tests/reference/{generator}",
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "seed": seed,
    }
    arrays = {
        key: np.ascontiguousarray(value.detach().numpy() if torch.is_tensor(value) else value)
        for key, value in tensors.items()
    }
    path = CRATES / crate / "tests/fixtures" / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(arrays, path, metadata={"origin": json.dumps(origin, sort_keys=True)})
    size = path.stat().st_size
    assert size <= 300_000, f"{path.name} takes {size} bytes"
    print(path.relative_to(CRATES.parent), size)
