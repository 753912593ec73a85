"""The counter-based generator of mr2_nn::rng, so that inputs and weights need not be stored.

Usage: python tests/reference/hash_rng.py
Writes the first values, which a Rust test compares with its own.
"""

import numpy as np
import torch

import fixture_file

GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
MASK = (1 << 64) - 1


def hashes(seed, indices):
    """SplitMix64: the finaliser applied to a counter."""
    with np.errstate(over="ignore"):
        counter = np.asarray(indices, dtype=np.uint64) + np.uint64(1)
        z = np.uint64(seed) + counter * GOLDEN_GAMMA
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def uniform(seed, indices):
    return (hashes(seed, indices) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(seed, indices):
    """Box and Muller, the cosine branch; 1 - u keeps the logarithm finite."""
    indices = np.asarray(indices, dtype=np.uint64)
    two, one = np.uint64(2), np.uint64(1)
    radius = np.sqrt(-2.0 * np.log(1.0 - uniform(seed, indices * two)))
    return radius * np.cos(2.0 * np.pi * uniform(seed, indices * two + one))


def stream(seed, name):
    fnv = 0xCBF29CE484222325
    for byte in name.encode():
        fnv = ((fnv ^ byte) * 0x100000001B3) & MASK
    return int(hashes(seed, np.array([fnv], dtype=np.uint64))[0])


def normal_tensor(seed, name, shape, offset=0):
    """Standard normal numbers of the stream `name`, in float64."""
    count = int(np.prod(shape, dtype=np.int64))
    values = normal(stream(seed, name), np.arange(offset, offset + count, dtype=np.uint64))
    return torch.from_numpy(values.reshape(shape))


def uniform_tensor(seed, name, shape):
    """Uniform numbers of [0, 1) of the stream `name`, in float64."""
    count = int(np.prod(shape, dtype=np.int64))
    values = uniform(stream(seed, name), np.arange(count, dtype=np.uint64))
    return torch.from_numpy(values.reshape(shape))


if __name__ == "__main__":
    first = np.arange(16, dtype=np.uint64)
    names = ["", "conv1.weight", "layer1.0.bn1.running_mean"]
    fixture_file.write(
        "mr2-nn",
        "hash_rng",
        "hash_rng.py",
        7,
        {
            "hash": hashes(7, first),
            "hash_of_large_seed": hashes(MASK - 5, first),
            "uniform": uniform(7, first),
            "normal": normal(7, first),
            "stream": np.array([stream(7, name) for name in names], dtype=np.uint64),
        },
    )
