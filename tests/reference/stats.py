"""Writes crates/mr2-stats/tests/fixtures/stats.safetensors: per-class statistics in float64.

Every estimator is written here sample by sample and class by class, as its definition reads, on inputs that
are exact in float32. Run from anywhere: python tests/reference/stats.py
"""
import numpy as np

import fixture_file

SEED = 20602
NORMS = (2, 3, 5)
ESTIMATORS = ("batch_local", "pooled", "running_mean")
CENTRES = ("none", "global_mean")
DECAY = 0.9
FIELDS = ("m", "v", "second_moment", "pair_spread", "seen", "has_spread")


def norm_squared(vector, p):
    return float(np.sum(np.abs(vector) ** p) ** (2 / p))


class Average:
    """A moving average that its first value sets."""

    def __init__(self, decay):
        self.decay, self.value = decay, None

    def add(self, x):
        self.value = x if self.value is None else self.decay * self.value + (1 - self.decay) * x


class ClassState:
    def __init__(self, decay):
        self.batches = 0
        self.average = {}
        self.decay = decay

    def add(self, name, x):
        self.average.setdefault(name, Average(self.decay)).add(x)

    def get(self, name):
        average = self.average.get(name)
        return None if average is None else average.value


class Statistics:
    """The definitions, one class at a time."""

    def __init__(self, classes, p, estimator, centre, decay=DECAY):
        self.classes, self.p, self.estimator, self.centre, self.decay = classes, p, estimator, centre, decay
        self.restart()

    def restart(self):
        self.states = [ClassState(self.decay) for _ in range(self.classes)]
        self.global_mean = Average(self.decay)

    def observe(self, features, labels):
        features = np.asarray(features, dtype=np.float64)
        if self.centre == "global_mean":
            self.global_mean.add(features.mean(axis=0))
            features = features - self.global_mean.value
        for k in range(self.classes):
            own = [x for x, label in zip(features, labels) if label == k]
            if own:
                getattr(self, self.estimator)(self.states[k], own)
                self.states[k].batches += 1

    def batch_local(self, state, own):
        mean = sum(own) / len(own)
        state.add("m", norm_squared(mean, self.p))
        state.add("v", sum(norm_squared(x - mean, self.p) for x in own) / len(own))
        state.add("pair", sum(norm_squared(x - mean, 2) for x in own) / len(own))

    def pooled(self, state, own):
        mean = sum(own) / len(own)
        state.add("q", sum(norm_squared(x, 2) for x in own) / len(own))
        state.add("m", norm_squared(mean, self.p))
        if len(own) >= 2:
            state.add("s", sum(norm_squared(x - mean, self.p) for x in own))
            state.add("s_pair", sum(norm_squared(x - mean, 2) for x in own))
            state.add("n", len(own) - 1)

    def running_mean(self, state, own):
        before = state.get("mean")
        if before is not None:
            state.add("v", sum(norm_squared(x - before, self.p) for x in own) / len(own))
            state.add("pair", sum(norm_squared(x - before, 2) for x in own) / len(own))
        state.add("mean", sum(own) / len(own))

    def row(self, k):
        state = self.states[k]
        if state.batches == 0:
            return [0.0] * 6
        if self.estimator == "batch_local":
            m, v = state.get("m"), state.get("v")
            return [m, v, m + v, state.get("pair"), 1, 1]
        if self.estimator == "running_mean":
            m, v = norm_squared(state.get("mean"), self.p), state.get("v")
            return [m, 0, 0, 0, 1, 0] if v is None else [m, v, m + v, state.get("pair"), 1, 1]
        n, q = state.get("n"), state.get("q")
        if n is None:
            return [q, 0, q, 0, 1, 0] if self.p == 2 else [state.get("m"), 0, 0, 0, 1, 0]
        v, pair = state.get("s") / n, state.get("s_pair") / n
        if self.p == 2:
            return [max(q - v, 0), v, q, pair, 1, 1]
        return [state.get("m"), v, state.get("m") + v, pair, 1, 1]

    def snapshot(self):
        """(6, classes), rows as in FIELDS."""
        return np.array([self.row(k) for k in range(self.classes)], dtype=np.float64).T


def exact(features, labels, classes, p, centre):
    features = np.asarray(features, dtype=np.float64)
    if centre == "global_mean":
        features = features - features.mean(axis=0)
    out = np.zeros((6, classes))
    for k in range(classes):
        own = features[np.asarray(labels) == k]
        if len(own) == 0:
            continue
        mean = own.mean(axis=0)
        m = norm_squared(mean, p)
        v = float(np.mean([norm_squared(x - mean, p) for x in own]))
        pair = float(np.mean([norm_squared(x - mean, 2) for x in own]))
        out[:, k] = [m, v, m + v, pair, 1, len(own) > 1]
    return out


def draw(rng, labels, classes, dim, distance):
    """Class means at about `distance` times the spread from the origin; exact in float32."""
    means = np.random.default_rng(SEED + classes).normal(size=(classes, dim)) * distance
    spreads = 0.5 + np.random.default_rng(SEED + dim).random(classes)
    features = means[labels] + spreads[labels][:, None] * rng.normal(size=(len(labels), dim))
    return features.astype(np.float32)


def inputs(rng):
    """Batches by name: (features, labels) each."""
    # Class 0 often, 1 once in every batch, 2 in the first batch only, 3 never, 4 first in the third, once.
    plan = [[0, 0, 0, 1, 2, 2, 5, 5, 6, 7], [0, 1, 0, 5, 6, 6, 6, 7, 8, 0], [1, 4, 0, 0, 0, 5, 5, 8, 8, 6],
            [0, 0, 1, 4, 4, 7, 7, 7, 6, 5]]
    planned = [rng.permutation(np.array(labels)) for labels in plan]
    sparse = [rng.integers(20, size=26) for _ in range(4)]  # 1.3 images a class
    return {
        "planned": (9, [(draw(rng, labels, 9, 7, 1.0), labels) for labels in planned]),
        "sparse": (20, [(draw(rng, labels, 20, 5, 1.0), labels) for labels in sparse]),
        "far": (9, [(draw(rng, labels, 9, 7, 1000.0), labels) for labels in planned]),
    }


def main():
    tensors = {}
    for name, (classes, batches) in inputs(np.random.default_rng(SEED)).items():
        tensors[f"{name}.features"] = np.stack([features for features, _ in batches])
        tensors[f"{name}.labels"] = np.stack([labels for _, labels in batches]).astype(np.uint32)
        for p in NORMS:
            for centre in CENTRES:
                for estimator in ESTIMATORS:
                    statistics = Statistics(classes, p, estimator, centre)
                    snapshots = []
                    for features, labels in batches:
                        statistics.observe(features, labels)
                        snapshots.append(statistics.snapshot())
                    kept = [snapshots[0], snapshots[1], snapshots[-1]]
                    tensors[f"{name}.{estimator}.p{p}.{centre}"] = np.stack(kept)
                every = np.concatenate([features for features, _ in batches])
                labels = np.concatenate([labels for _, labels in batches])
                tensors[f"{name}.exact.p{p}.{centre}"] = exact(every, labels, classes, p, centre)
    fixture_file.write("mr2-stats", "stats", "stats.py", SEED, tensors)


if __name__ == "__main__":
    main()
