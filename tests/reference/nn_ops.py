"""Expected values and gradients of mr2_nn::ops, from PyTorch in float64.

Usage: python tests/reference/nn_ops.py
Inputs come from the hash generator, rounded to f32 so that both dtypes can be tested on them.
"""

import torch
import torch.nn.functional as F

import fixture_file
from hash_rng import normal_tensor, uniform_tensor

SEED = 31
BATCH, CLASSES, DIM = 6, 37, 45
LABELS = [0, 36, 5, 5, 17, 20]
# Classes of the pair ops: one with four samples, one with two, one alone.
GROUPS = [0, 1, 0, 2, 0, 1, 0]


def f32(tensor):
    return tensor.to(torch.float32).to(torch.float64)


def upstream(name, length):
    return f32(normal_tensor(SEED, f"upstream.{name}", (length,)))


def differentiate(tensors, name, inputs, result):
    """Adds the result and the gradient of its sum weighted by the upstream numbers."""
    (result * upstream(name, len(result))).sum().backward()
    tensors[f"{name}.value"] = result
    tensors[f"{name}.gradient"] = inputs.grad


def cross_entropy(tensors):
    logits = f32(3.0 * normal_tensor(SEED, "logits", (BATCH, CLASSES)))
    scale = f32(0.25 + 2.0 * uniform_tensor(SEED, "row_scale", (BATCH,)))
    weights = f32(uniform_tensor(SEED, "soft", (BATCH, CLASSES)))
    labels = torch.tensor(LABELS)
    for name, factor in [("", torch.ones(BATCH, dtype=torch.float64)), (".scaled", scale)]:
        cases = {
            "hard": dict(target=labels),
            "smoothed": dict(target=labels, label_smoothing=0.1),
            "soft": dict(target=weights),
        }
        for kind, arguments in cases.items():
            z = logits.clone().requires_grad_()
            losses = F.cross_entropy(z * factor[:, None], reduction="none", **arguments)
            differentiate(tensors, f"cross_entropy.{kind}{name}", z, losses)


def pairs():
    count = len(GROUPS)
    return [(i, j) for i in range(count) for j in range(i + 1, count) if GROUPS[i] == GROUPS[j]]


def distance_log1p_sum_exp(tensors):
    """Class means at 1,000 times the spread, where Gram matrices fail in f32; exponents about 0, far below and
    far above it."""
    means = 1000.0 * normal_tensor(SEED, "means", (3, DIM))
    spread = normal_tensor(SEED, "features", (len(GROUPS), DIM))
    for name, threshold, scale in [("moderate", 90.0, 10.0), ("tiny", 1000.0, 32.0), ("large", 0.0, 1.0)]:
        x = f32(means[GROUPS] + spread).requires_grad_()
        exponents = {(i, j): (F.mse_loss(x[i], x[j], reduction="sum") - threshold) / scale for i, j in pairs()}
        soft = []
        for sample in range(len(GROUPS)):
            own = [value for pair, value in exponents.items() if sample in pair]
            zero = torch.zeros((), dtype=x.dtype)
            if name == "tiny":
                soft.append(torch.log1p(torch.stack([*own, zero - torch.inf]).exp().sum()))
            else:
                soft.append(torch.logsumexp(torch.stack([zero, *own]), 0))
        differentiate(tensors, f"distance_log1p_sum_exp.{name}", x, torch.stack(soft))


if __name__ == "__main__":
    fixture = {}
    cross_entropy(fixture)
    distance_log1p_sum_exp(fixture)
    fixture_file.write("mr2-nn", "ops", "nn_ops.py", SEED, fixture)
