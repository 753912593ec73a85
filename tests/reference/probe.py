"""Linear probes from scikit-learn, and from PyTorch's optimisers on the same batches, in float64.

Usage: python tests/reference/probe.py
Features and labels are made here and in crates/mr2-train/tests/probe.rs by the same hash generator.
"""

import warnings

import numpy as np
import torch
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import cross_entropy, linear, normalize

import fixture_file
from hash_rng import hashes, normal_tensor, stream, uniform_tensor

warnings.simplefilter("ignore", ConvergenceWarning)

SEED = 61
WIDTH = 12
IMAGES = {"training": 300, "validation": 120, "test": 200}
# How far the classes' means lie apart, in standard deviations of an image about its mean.
SPREAD = 0.7


def images(part, classes, scaled=False):
    """Features as float32 numbers in float64; column j of scaled ones is 10^(j % 5 - 2) times as large, and shifted."""
    count = IMAGES[part]
    labels = np.arange(count) % classes
    means = normal_tensor(SEED, "means", (classes, WIDTH)).numpy()
    noise = normal_tensor(SEED, f"images.{part}", (count, WIDTH)).numpy()
    # Classes differ in their spread.
    wide = 1.0 + 0.1 * labels[:, None]
    features = SPREAD * means[labels] + wide * noise
    if scaled:
        columns = np.arange(WIDTH)
        features = (features + 0.25 * columns) * 10.0 ** (columns % 5 - 2)
    return features.astype(np.float32).astype(np.float64), labels


def margins(features, labels, classes, norm, budget):
    """MR²'s, from the exact statistics."""
    powers = []
    for k in range(classes):
        x = features[labels == k]
        mean = x.mean(0)
        m = (np.abs(mean) ** norm).sum() ** (2.0 / norm)
        v = ((np.abs(x - mean) ** norm).sum(1) ** (2.0 / norm)).mean()
        powers.append((m + v) ** (1.0 / 3.0))
    powers = np.array(powers)
    return budget * classes * powers / powers.sum()


def objective(weight, bias, features, labels, c):
    """scikit-learn's, divided by C and the number of images; a binary head has one row."""
    logits = features @ weight.T + bias
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], 1)
    loss = cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)).item()
    return loss + 0.5 * (weight**2).sum() / (c * len(labels))


def sklearn_cases(tensors):
    for case, classes, scaled, cs in [
        ("ten", 10, False, (0.01, 1.0, 100.0)),
        ("two", 2, False, (0.01, 1.0, 100.0)),
        ("scaled", 10, True, (0.001, 1.0)),
    ]:
        features, labels = images("training", classes, scaled)
        for c in cs:
            key = f"lbfgs.{case}.{c:g}"
            exact = LogisticRegression(C=c, tol=1e-9, max_iter=100_000).fit(features, labels)
            usual = LogisticRegression(C=c, tol=1e-4, max_iter=1000).fit(features, labels)
            tensors[f"{key}.weight"] = exact.coef_
            tensors[f"{key}.bias"] = exact.intercept_
            values = [objective(m.coef_, m.intercept_, features, labels, c) for m in (exact, usual)]
            tensors[f"{key}.objective"] = np.array(values)
            seen, _ = images("test", classes, scaled)
            tensors[f"{key}.predictions"] = exact.predict(seen).astype(np.uint32)


def lbfgs_with_margins(tensors):
    classes, c = 10, 1.0
    features, labels = images("training", classes)
    gamma = margins(features, labels, classes, 2.0, 2.0)
    x, y = torch.from_numpy(features), torch.from_numpy(labels)
    temperature = torch.from_numpy(gamma)[y][:, None]

    def value_and_gradient(flat):
        head = torch.from_numpy(flat.reshape(classes, WIDTH + 1)).requires_grad_()
        weight, bias = head[:, :WIDTH], head[:, WIDTH]
        loss = cross_entropy(linear(x, weight, bias) / temperature, y)
        loss = loss + 0.5 * (weight**2).sum() / (c * len(y))
        loss.backward()
        return loss.item(), head.grad.numpy().ravel()

    options = {"gtol": 1e-10, "ftol": 0.0, "maxiter": 10_000}
    start = np.zeros(classes * (WIDTH + 1))
    found = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    head = found.x.reshape(classes, WIDTH + 1)
    tensors["lbfgs.margins.gamma"] = gamma
    tensors["lbfgs.margins.weight"] = head[:, :WIDTH].copy()
    tensors["lbfgs.margins.bias"] = head[:, WIDTH].copy()


def search(tensors):
    """C by the search on 97 points, the fit to both parts."""
    classes = 10
    x, y = images("training", classes)
    seen, truth = images("validation", classes)
    grid = np.logspace(-6, 6, 97)
    known = {}

    def accuracy(place):
        if place not in known:
            model = LogisticRegression(C=grid[place], tol=1e-4, max_iter=1000).fit(x, y)
            known[place] = model.score(seen, truth)
        return known[place]

    def best(places):
        return max(sorted(places), key=lambda place: (accuracy(place), -place))

    peak = best(range(0, 97, 16))
    for distance in (8, 4, 2, 1):
        peak = best({max(peak - distance, 0), peak, min(peak + distance, 96)})
    both = LogisticRegression(C=grid[peak], tol=1e-9, max_iter=100_000)
    both.fit(np.concatenate([x, seen]), np.concatenate([y, truth]))
    tensors["search.c"] = np.array([grid[peak]])
    tensors["search.tried"] = np.array(sorted(known), dtype=np.uint32)
    tensors["search.accuracies"] = np.array([known[place] for place in sorted(known)])
    tensors["search.weight"] = both.coef_
    tensors["search.bias"] = both.intercept_


class Lars(torch.optim.Optimizer):
    """As the formula says; one parameter with two dimensions and one with one."""

    def __init__(self, params, lr, momentum, trust, weight_decay):
        super().__init__(params, dict(lr=lr))
        self.momentum, self.trust, self.decay = momentum, trust, weight_decay

    @torch.no_grad()
    def step(self):
        for p in self.param_groups[0]["params"]:
            g = p.grad
            if p.ndim > 1:
                g = g + self.decay * p
                norms = p.norm(), g.norm()
                if norms[0] > 0 and norms[1] > 0:
                    g = g * (self.trust * norms[0] / norms[1])
            moving = self.state[p].get("moving", torch.zeros_like(p))
            self.state[p]["moving"] = self.momentum * moving + g
            p -= self.param_groups[0]["lr"] * self.state[p]["moving"]


def batches(seed, count, size, epochs, length):
    """Images of every step: full batches, all images, or so many steps without borders between shuffles."""

    def order(epoch):
        counter = np.arange(count, dtype=np.uint64)
        return np.argsort(hashes(stream(seed, f"probe.epoch.{epoch}"), counter), kind="stable")

    if isinstance(length, int):
        images_needed = epochs * length * size
        endless = np.concatenate([order(e) for e in range(images_needed // count + 1)])
        return [endless[s * size : (s + 1) * size] for s in range(epochs * length)]
    last = count // size * size if length == "full" else count
    return [order(e)[at : at + size][: last - at] for e in range(epochs) for at in range(0, last, size)]


def train(case, tensors, *, build, lr, factor, size, epochs, length, normal, unit, norm, gamma, cosine=None):
    classes, seed = 10, 5
    features, labels = images("training", classes)
    x, y = torch.from_numpy(features), torch.from_numpy(labels)
    if unit:
        x = normalize(x)
    if normal:
        weight = normal * normal_tensor(seed, "probe.weight", (classes, WIDTH))
        bias = torch.zeros(classes, dtype=torch.float64)
    else:
        bound = WIDTH**-0.5
        weight = bound * (2.0 * uniform_tensor(seed, "probe.weight", (classes, WIDTH)) - 1.0)
        bias = bound * (2.0 * uniform_tensor(seed, "probe.bias", (classes,)) - 1.0)
    weight, bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)
    optimiser = build([weight] if cosine else [weight, bias])
    batch_norm = torch.nn.BatchNorm1d(WIDTH, affine=False, eps=1e-6, momentum=0.1, dtype=torch.float64)
    temperature = torch.from_numpy(np.asarray(gamma(x.numpy(), labels)))
    steps = batches(seed, len(y), size, epochs, length)
    for step, batch in enumerate(steps):
        seen = batch_norm(x[batch]) if norm else x[batch]
        if cosine:
            logits = cosine * linear(seen, normalize(weight))
        else:
            logits = linear(seen, weight, bias)
        loss = cross_entropy(logits / temperature[y[batch]][:, None], y[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.param_groups[0]["lr"] = lr * factor(step, len(steps), epochs)
        optimiser.step()
    weight, bias = weight.detach(), bias.detach()
    if cosine:
        weight, bias = cosine * normalize(weight), torch.zeros_like(bias)
    if norm:
        scale = (batch_norm.running_var + batch_norm.eps).rsqrt()
        weight = weight * scale
        bias = bias - weight @ batch_norm.running_mean
    tensors[f"steps.{case}.weight"] = weight
    tensors[f"steps.{case}.bias"] = bias


def half_cosine(warmup):
    def factor(step, steps, epochs):
        epoch = step * epochs / steps
        if epoch < warmup:
            return epoch / warmup
        return 0.5 * (1.0 + np.cos(np.pi * (epoch - warmup) / (epochs - warmup)))

    return factor


def optimisers(tensors):
    def erm(features, labels):
        return np.ones(10)

    def sgd(params):
        return torch.optim.SGD(params, lr=1.0, momentum=0.9)

    common = dict(normal=0.01, unit=False, norm=False, gamma=erm)
    train(
        "mae", tensors, build=lambda p: Lars(p, 1.0, 0.9, 0.001, 0.0), lr=6.4, factor=half_cosine(2),
        size=64, epochs=6, length="full", **{**common, "norm": True},
    )
    train(
        "lars_decay", tensors, build=lambda p: Lars(p, 1.0, 0.9, 0.001, 0.1), lr=3.0, factor=half_cosine(0),
        size=64, epochs=6, length="full", **common,
    )
    train(
        "moco_v2", tensors, build=sgd, lr=0.5, factor=lambda step, steps, epochs: 0.1 ** (step >= 10),
        size=64, epochs=3, length="all", **common,
    )
    train(
        "clip_benchmark", tensors, build=lambda p: torch.optim.AdamW(p, lr=1.0, weight_decay=0.3), lr=0.1,
        factor=half_cosine(0), size=64, epochs=4, length="all",
        normal=None, unit=True, norm=False, gamma=erm,
    )
    train(
        "dinov2_linear", tensors, build=sgd, lr=0.05, factor=half_cosine(0),
        size=32, epochs=3, length=7, **common,
    )
    train(
        "margins", tensors, build=lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9, weight_decay=0.01), lr=0.1,
        factor=half_cosine(0), size=64, epochs=3, length="all",
        **{**common, "gamma": lambda x, y: margins(x, y, 10, 2.0, 2.0)},
    )
    train(
        "cosine", tensors, build=sgd, lr=0.02, factor=half_cosine(0), size=64, epochs=3, length="all",
        normal=None, unit=True, norm=False, gamma=lambda x, y: margins(x, y, 10, 3.0, 2.0), cosine=16.0,
    )


def nearest(tensors):
    x, y = images("training", 10)
    seen, _ = images("test", 10)
    x, seen = normalize(torch.from_numpy(x)), normalize(torch.from_numpy(seen))
    similarity, places = (seen @ x.T).topk(200, 1)
    weights = (similarity / 0.07).exp()
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(y)[places], 10)
    found = [(weights[:, :k, None] * one_hot[:, :k]).sum(1).argmax(1).numpy() for k in (10, 20, 100, 200)]
    tensors["knn"] = np.stack(found).astype(np.uint32)


if __name__ == "__main__":
    fixture = {}
    sklearn_cases(fixture)
    lbfgs_with_margins(fixture)
    search(fixture)
    optimisers(fixture)
    nearest(fixture)
    fixture_file.write("mr2-train", "probe", "probe.py", SEED, fixture)
