"""Writes crates/mr2-loss/tests/fixtures/loss.safetensors: margins, losses and gradients in float64 PyTorch.

The official presets come from official_loop.py, the others from the formulas below, sample by sample, on the
statistics of stats.py. Run from anywhere: python tests/reference/loss.py
"""
import numpy as np
import torch

import fixture_file
import stats
from hash_rng import normal_tensor
from official_loop import OfficialState, official_step

SEED = 20601
CLASSES, BATCH, DIM = 9, 14, 6
FAR_LABELS = [0, 1, 0, 1, 2, 0, 1, 0]


def gammas(statistic, budget, exponent, counted=None):
    """Margins of a list of statistics; None or 0 where a class has none."""
    known = [k for k, s in enumerate(statistic) if s]
    total = sum(statistic[k] ** exponent for k in known)
    count = len(known) if counted is None else counted
    return [budget * count * statistic[k] ** exponent / total if k in known else budget
            for k in range(len(statistic))]


def logit_margin(logits, labels, gamma):
    terms = []
    for z, y in zip(logits, labels):
        scaled = z / gamma[y]
        terms.append(torch.logsumexp(scaled, 0) - scaled[y])
    return torch.stack(terms)


def smoothed(logits, labels, gamma, epsilon):
    terms = []
    for z, y in zip(logits, labels):
        scaled = z / gamma[y]
        against = torch.logsumexp(scaled, 0) - scaled
        terms.append((1 - epsilon) * against[y] + epsilon * against.mean())
    return torch.stack(terms)


def representation(features, labels, s, scale, kept=None):
    terms = []
    for i, x in enumerate(features):
        exponents = [torch.full((), -torch.inf, dtype=torch.float64)]
        for j, other in enumerate(features):
            paired = i != j and labels[i] == labels[j]
            if paired and (kept is None or (kept[i] and kept[j])):
                exponents.append((((x - other) ** 2).sum() - 2 * s) / scale)
        exponents = torch.stack(exponents)
        if exponents.max() < 0:  # keeps the digits of a small sum
            terms.append(torch.log1p(exponents.exp().sum()))
        else:
            terms.append(torch.logsumexp(torch.cat([torch.zeros(1, dtype=torch.float64), exponents]), 0))
    return torch.stack(terms)


def class_mean(per_sample, labels, dim, counted):
    total = 0.0
    for k in set(labels):
        own = [per_sample[i] for i, label in enumerate(labels) if label == k]
        if len(own) >= 2:
            total = total + sum(own) / len(own)
    return total * dim / 10 / counted


def batches(rng, classes, count, distance=1.0):
    """(features, logits, labels); the last class is never there, others often, once, or not at all."""
    out = []
    for _ in range(count):
        labels = rng.integers(classes - 1, size=BATCH)
        features = stats.draw(rng, labels, classes, DIM, distance)
        logits = (2 * rng.normal(size=(BATCH, classes))).astype(np.float32)
        out.append((features, logits, labels))
    return out


def leaf(array):
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def put(tensors, name, loss, features, logits, parts):
    loss.backward()
    for key, value in {**parts, "total": loss}.items():
        value = torch.as_tensor(value, dtype=torch.float64).detach().numpy().reshape(-1)
        tensors[f"{name}.{key}"] = value
    tensors[f"{name}.features.grad"] = features.grad.numpy()
    tensors[f"{name}.logits.grad"] = logits.grad.numpy()


def our_preset(tensors, name, data, p, estimator, source, budget, weight, scale, reduction):
    statistics = stats.Statistics(CLASSES, p, estimator, "none", decay=0.9)
    for features, _, labels in data:
        statistics.observe(features, labels)
    m, v, second_moment, pair_spread, _, has_spread = statistics.snapshot()
    relative = [b / a if a else 0.0 for a, b in zip(m, v)]
    gamma = gammas({"m + v": second_moment, "v / m": relative}[source], budget, 1 / 3)
    s = pair_spread[has_spread == 1].mean()
    features, logits, labels = leaf(data[-1][0]), leaf(data[-1][1]), data[-1][2]
    margin = logit_margin(logits, labels, gamma).mean()
    pulled = reduction(representation(features, labels, s, scale), labels)
    parts = {"gamma": gamma, "spread_threshold": s, "logit_margin": margin, "representation": pulled}
    put(tensors, name, margin + weight * pulled, features, logits, parts)


def official_preset(tensors, name, data, variant):
    """The first batch is an epoch of its own, which the CIFAR code forgets."""
    state = OfficialState(variant, CLASSES)
    for place, (features, logits, labels) in enumerate(data):
        if variant == "cifar" and place == 1:
            state.restart()
        features, logits = leaf(features), leaf(logits)
        total, parts = official_step(features, logits, torch.from_numpy(labels), state)
    put(tensors, name, total, features, logits, parts)


def presets(tensors, data):
    def sample_mean(per_sample, _):
        return per_sample.mean()

    def by_class(per_sample, labels):
        return class_mean(per_sample, labels.tolist(), DIM, CLASSES)

    our_preset(tensors, "paper_linear", data, 2, "batch_local", "m + v", 2.0, 0.3, 1.0, sample_mean)
    our_preset(tensors, "paper_cosine", data, 3, "batch_local", "m + v", 2.0, 0.3, 1.0, sample_mean)
    our_preset(tensors, "recommended", data, 2, "pooled", "m + v", 1.0, 3.0, 10.0 * DIM, by_class)
    official_preset(tensors, "official_cifar", data, "cifar")
    official_preset(tensors, "official_imagenet", data, "imagenet")


def gamma_sources(tensors):
    """Margins of every source on an exact snapshot; classes without v, without m, or unseen are there."""
    m = [4.0, 0.25, 9.0, 0.0, 2.0, 0.0, 16.0]
    v = [1.0, 0.5, 0.0, 3.0, 8.0, 0.0, 2.0]
    tensors["sources.m"], tensors["sources.v"] = np.array(m), np.array(v)
    second_moment = [a + b for a, b in zip(m, v)]
    ratio = [b / a if a else 0.0 for a, b in zip(m, v)]
    for name, statistic in (("second_moment", second_moment), ("spread", v), ("relative_spread", ratio)):
        for exponent_name, exponent in (("third", 1 / 3), ("one", 1.0), ("inverse", -0.5)):
            tensors[f"sources.{name}.{exponent_name}"] = np.array(gammas(statistic, 1.5, exponent))
    for name, counted in (("all", len(m)), ("fixed", 40)):
        tensors[f"sources.second_moment.{name}"] = np.array(gammas(second_moment, 1.5, 1 / 3, counted))


def soft_labels(tensors, batch):
    features, logits, labels = batch
    gamma = np.linspace(0.5, 2.5, CLASSES)
    other = (labels + 1) % CLASSES
    share = np.linspace(0.0, 1.0, BATCH)
    soft = np.random.default_rng(SEED).dirichlet(np.ones(CLASSES), size=BATCH)
    z = leaf(logits)
    losses = {
        "hard": logit_margin(z, labels, gamma),
        "smoothed": smoothed(z, labels, gamma, 0.1),
        "soft": torch.stack([(torch.tensor(t) * (torch.logsumexp(row / gamma[y], 0) - row / gamma[y])).sum()
                             for row, y, t in zip(z, labels, soft)]),
        "mixed": torch.stack([w * a + (1 - w) * b for w, a, b in zip(
            share, logit_margin(z, labels, gamma), logit_margin(z, other, gamma))]),
    }
    tensors["soft_labels.gamma"], tensors["soft_labels.share"] = gamma, share
    tensors["soft_labels.targets"] = soft
    for name, per_sample in losses.items():
        (grad,) = torch.autograd.grad((per_sample * torch.arange(1, BATCH + 1)).sum(), z)
        tensors[f"soft_labels.{name}"] = per_sample.detach().numpy()
        tensors[f"soft_labels.{name}.grad"] = grad.numpy()
    kept = np.arange(BATCH) % 3 != 0
    x = leaf(features)
    per_sample = representation(x, labels, 0.7, 5.0, kept)
    (grad,) = torch.autograd.grad(per_sample.sum(), x)
    tensors["soft_labels.kept"] = kept.astype(np.uint8)
    tensors["soft_labels.representation"] = per_sample.detach().numpy()
    tensors["soft_labels.representation.grad"] = grad.numpy()


def far_features(dim, spread):
    """Class means at about 1000 times the spread from the origin, in every coordinate; exact in float32."""
    means = 1000 * spread * normal_tensor(SEED, "far.means", (len(set(FAR_LABELS)), dim))
    features = means[FAR_LABELS] + spread * normal_tensor(SEED, "far.features", (len(FAR_LABELS), dim))
    return features.float().numpy()


def far_means(tensors):
    """The representation loss and its gradient where distances are large and far from the origin."""
    for dim in (64, 768):
        for spread in (1, 3):
            for name, scale in (("one", 1.0), ("ten_times_dim", 10.0 * dim)):
                if (spread, name) == (3, "ten_times_dim"):
                    continue
                x = leaf(far_features(dim, spread))
                # 2 s is the expected squared distance, so exponents of both signs occur.
                per_sample = representation(x, FAR_LABELS, dim * spread**2, scale)
                (grad,) = torch.autograd.grad(per_sample.sum(), x)
                key = f"far.{dim}.{spread}.{name}"
                tensors[key], tensors[f"{key}.grad"] = per_sample.detach().numpy(), grad.numpy()


def main():
    rng = np.random.default_rng(SEED)
    tensors = {}
    data = batches(rng, CLASSES, 3)
    for place, name in enumerate(("features", "logits")):
        tensors[name] = np.stack([batch[place] for batch in data])
    tensors["labels"] = np.stack([batch[2] for batch in data]).astype(np.uint32)
    presets(tensors, data)
    gamma_sources(tensors)
    soft_labels(tensors, data[-1])
    far_means(tensors)
    fixture_file.write("mr2-loss", "loss", "loss.py", SEED, tensors)


if __name__ == "__main__":
    main()
