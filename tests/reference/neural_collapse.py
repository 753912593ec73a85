"""Writes crates/mr2-stats/tests/fixtures/neural_collapse.safetensors: measures of neural collapse in float64 NumPy.

The definitions of Papyan, Han and Donoho (PNAS 2020) with full covariance matrices and NumPy's pseudo-inverse, where
classes count equally. Run from anywhere: python tests/reference/neural_collapse.py
"""
import itertools

import numpy as np

import fixture_file

SEED = 20604


def collapse(features, labels, head, predictions):
    features, head = np.asarray(features, dtype=np.float64), np.asarray(head, dtype=np.float64)
    present = sorted(set(labels.tolist()))
    k, dim = len(present), features.shape[1]
    means = np.array([features[labels == c].mean(axis=0) for c in present])
    centred = means - means.mean(axis=0)
    within = np.zeros((dim, dim))
    for mean, c in zip(means, present):
        deviations = features[labels == c] - mean
        within += deviations.T @ deviations / len(deviations) / k
    between = sum(np.outer(m, m) for m in centred) / k
    rows = head[present]

    def variation(vectors):
        lengths = [np.linalg.norm(v) for v in vectors]
        return np.std(lengths) / np.mean(lengths)

    def angles(vectors):
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in itertools.combinations(vectors, 2)]
        return np.mean(np.abs(np.array(cosines) + 1 / (k - 1)))

    nearest = [present[int(np.argmin([np.linalg.norm(x - m) for m in means]))] for x in features]
    return np.array([
        np.trace(within @ np.linalg.pinv(between, rcond=1e-12, hermitian=True)) / k,
        np.trace(within) / np.trace(between),
        variation(centred),
        angles(centred),
        variation(rows),
        angles(rows),
        np.linalg.norm(rows / np.linalg.norm(rows) - centred / np.linalg.norm(centred)),
        np.mean(np.array(nearest) != predictions),
    ])


def case(rng, samples, classes, absent, dim, distance, dead=0):
    """Features that are exact in float32, some classes rare and `absent` of them missing."""
    labels = np.concatenate([np.arange(classes - absent), rng.integers(classes - absent, size=samples)])
    means = rng.normal(size=(classes, dim)) + distance
    features = means[labels] + 0.6 * rng.normal(size=(len(labels), dim))
    features[:, :dead] = 0.0
    features = features.astype(np.float32)
    head = rng.normal(size=(classes, dim)).astype(np.float32)
    predictions = np.where(rng.random(len(labels)) < 0.7, labels, rng.integers(classes, size=len(labels)))
    return features, labels, head, predictions


def main():
    rng = np.random.default_rng(SEED)
    cases = {
        "wide": case(rng, 90, 6, 0, 11, 0.0),
        "narrow": case(rng, 90, 9, 0, 4, 0.0),
        "absent": case(rng, 60, 9, 3, 7, 2.0),
        "dead": case(rng, 90, 8, 0, 6, 1.0, dead=2),
        "far": case(rng, 90, 6, 0, 11, 1000.0),
        "slices": case(rng, 2100, 4, 0, 3, 1.0),
    }
    tensors = {}
    for name, (features, labels, head, predictions) in cases.items():
        tensors[f"{name}.features"], tensors[f"{name}.head"] = features, head
        tensors[f"{name}.labels"] = labels.astype(np.uint32)
        tensors[f"{name}.predictions"] = predictions.astype(np.uint32)
        tensors[f"{name}.measures"] = collapse(features, labels, head, predictions)
    fixture_file.write("mr2-stats", "neural_collapse", "neural_collapse.py", SEED, tensors)


if __name__ == "__main__":
    main()
