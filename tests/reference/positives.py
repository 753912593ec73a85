"""Writes crates/mr2-loss/tests/fixtures/positives.safetensors: the representation loss of every choice of positives.

Float64 PyTorch, sample by sample: which samples each one is drawn to is written out as the rules read, a memory is a
Python list of all samples that came before. Run from anywhere: python tests/reference/positives.py
"""
import numpy as np
import torch

import fixture_file
import stats
from loss import CLASSES, leaf

SEED = 20603
DIM, BATCH, BATCHES = 6, 17, 4
THRESHOLD, SCALE = 2.0, 7.0
AT_MOST = (1, 2, 3, 6, 20)
CAPACITIES = (5, 17, 40, 200)


def hinge(own, positives, factor):
    """One sample's loss; `positives` are tensors."""
    total = torch.zeros((), dtype=torch.float64)
    for other in positives:
        total = total + torch.exp((((own - other) ** 2).sum() - 2 * THRESHOLD) / SCALE)
    return torch.log1p(factor * total)


def at_most(features, labels, most):
    terms = []
    for i, own in enumerate(features):
        cycle = [j for j in range(len(labels)) if labels[j] == labels[i]]
        others = len(cycle) - 1
        here = cycle.index(i)
        # Behind, before, behind, before, ...: the nearest ones in the cycle.
        offsets = [sign * step for step in range(1, most + 1) for sign in (1, -1)][:most]
        if others <= most:
            chosen, factor = [j for j in cycle if j != i], 1.0
        else:
            chosen, factor = [cycle[(here + offset) % len(cycle)] for offset in offsets], others / most
            assert len(set(chosen)) == most and i not in chosen
        terms.append(hinge(own, [features[j] for j in chosen], factor))
    return torch.stack(terms)


def with_memory(features, labels, past, capacity):
    """`past`: (feature, label) of all samples before the batch, oldest first."""
    memory = past[-capacity:]
    terms = []
    for i, own in enumerate(features):
        positives = [features[j] for j in range(len(labels)) if j != i and labels[j] == labels[i]]
        positives += [torch.tensor(feature) for feature, label in memory if label == labels[i]]
        terms.append(hinge(own, positives, 1.0))
    return torch.stack(terms)


def class_mean(per_sample, labels, past):
    total = 0.0
    for k in set(labels):
        own = [per_sample[i] for i, label in enumerate(labels) if label == k]
        if len(own) >= 2 or any(label == k for _, label in past):
            total = total + sum(own) / len(own)
    return total * DIM / 10 / CLASSES


def put(tensors, name, per_sample, features):
    weights = torch.arange(1, len(per_sample) + 1, dtype=torch.float64)
    (grad,) = torch.autograd.grad((per_sample * weights).sum(), features, retain_graph=True)
    tensors[name], tensors[f"{name}.grad"] = per_sample.detach().numpy(), grad.numpy()


def main():
    rng = np.random.default_rng(SEED)
    tensors = {}
    # The first classes often, the last one never: groups above and below every number of positives.
    odds = np.array([8, 4, 2, 1, 1, 1, 1, 1, 0]) / 19
    labels = [rng.choice(CLASSES, size=BATCH, p=odds) for _ in range(BATCHES)]
    data = [stats.draw(rng, batch, CLASSES, DIM, 1.0) for batch in labels]
    tensors["features"], tensors["labels"] = np.stack(data), np.stack(labels).astype(np.uint32)
    past = []
    for place, (features, own) in enumerate(zip(data, labels)):
        x, own = leaf(features), own.tolist()
        for most in AT_MOST:
            put(tensors, f"at_most.{most}.{place}", at_most(x, own, most), x)
        for capacity in CAPACITIES:
            per_sample = with_memory(x, own, past, capacity)
            put(tensors, f"memory.{capacity}.{place}", per_sample, x)
            reduced = class_mean(per_sample, own, past[-capacity:])
            tensors[f"memory.{capacity}.{place}.class_mean"] = reduced.detach().numpy().reshape(1)
        past += list(zip(features.astype(np.float64), own))
    fixture_file.write("mr2-loss", "positives", "positives.py", SEED, tensors)


if __name__ == "__main__":
    main()
