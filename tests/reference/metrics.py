"""Expected numbers for mr2-metrics, from scikit-learn, SciPy and NumPy in float64.

Usage: python tests/reference/metrics.py
Writes crates/mr2-metrics/tests/fixtures/metrics.json.
"""

import itertools
import json
from pathlib import Path

import numpy as np
import scipy
import sklearn
from scipy import stats
from sklearn import metrics as sk

SEED = 20260205
OUT = Path(__file__).resolve().parents[2] / "crates/mr2-metrics/tests/fixtures/metrics.json"


def optional(values):
    return [None if np.isnan(v) else float(v) for v in values]


def class_accuracy(labels, predictions, classes):
    """Recall per class, NaN for absent classes."""
    right = labels == predictions
    return np.array(
        [right[labels == k].mean() if (labels == k).any() else np.nan for k in range(classes)]
    )


def classification(rng):
    """150 images of 7 classes, class 5 absent but sometimes predicted, logits with ties."""
    n, classes = 150, 7
    labels = rng.choice([0, 1, 2, 3, 4, 6], size=n, p=[0.3, 0.2, 0.2, 0.15, 0.1, 0.05])
    logits = np.round(rng.normal(size=(n, classes)) * 1.5 + 2.0 * np.eye(classes)[labels], 1)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    predictions = logits.argmax(1)
    present = np.unique(labels)

    confidence = probabilities.max(1)
    bins = 15
    edges = np.linspace(0, 1, bins + 1)
    index = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, bins - 1)
    ece = 0.0
    for b in range(bins):
        inside = index == b
        if inside.any():
            right = (predictions == labels)[inside].mean()
            ece += inside.mean() * abs(right - confidence[inside].mean())

    top = {}
    for k in [1, 2, 5, 7]:
        order = np.argsort(-logits, axis=1, kind="stable")[:, :k]
        top[str(k)] = float((order == labels[:, None]).any(1).mean())
    return {
        "classes": classes,
        "labels": labels.tolist(),
        "logits": logits.ravel().tolist(),
        "predictions": predictions.tolist(),
        "confusion": sk.confusion_matrix(labels, predictions, labels=range(classes)).tolist(),
        "accuracies": optional(class_accuracy(labels, predictions, classes)),
        "overall": sk.accuracy_score(labels, predictions),
        "mean_recall": sk.recall_score(labels, predictions, labels=present, average="macro"),
        "macro_f1": sk.f1_score(labels, predictions, labels=present, average="macro"),
        "top_k": top,
        "ece": float(ece),
    }


def intervals(rng):
    cases = []
    for n in [2, 3, 5, 10, 30]:
        for level in [0.9, 0.95, 0.99]:
            method, reference = rng.normal(0.72, 0.02, n), rng.normal(0.70, 0.02, n)
            test = stats.ttest_rel(method, reference)
            interval = test.confidence_interval(level)
            difference = method - reference
            cases.append(
                {
                    "method": method.tolist(),
                    "reference": reference.tolist(),
                    "level": level,
                    "mean": difference.mean(),
                    "sd": difference.std(ddof=1),
                    "low": interval.low,
                    "high": interval.high,
                    "p": test.pvalue,
                }
            )
    return cases


def enumerated_p(x, y):
    """Share of all orders of y whose |Spearman's rho| is at least the observed one."""
    x, y = stats.rankdata(x), stats.rankdata(y)
    x, y = x - x.mean(), y - y.mean()
    observed = abs(x @ y)
    orders = np.array(list(itertools.permutations(range(len(y)))))
    return float((np.abs(y[orders] @ x) >= observed - 1e-9).mean())


def sampled_p(rng, x, y, orders=400_000):
    x, y = stats.rankdata(x), stats.rankdata(y)
    x, y = x - x.mean(), y - y.mean()
    shuffled = rng.permuted(np.tile(y, (orders, 1)), axis=1)
    return float((np.abs(shuffled @ x) >= abs(x @ y) - 1e-9).mean())


def correlations(rng):
    cases = []
    for n, levels in [(3, 0), (4, 3), (5, 0), (6, 4), (7, 3), (8, 0), (8, 5), (20, 0), (30, 4)]:
        x = rng.normal(size=n)
        y = 0.4 * x + rng.normal(size=n)
        if levels:
            x = np.round(x * levels / 4)
            y = np.round(y * levels / 4)
        rho = stats.spearmanr(x, y).statistic
        exact = n <= 8
        p = enumerated_p(x, y) if exact else sampled_p(rng, x, y)
        cases.append(
            {"x": x.tolist(), "y": y.tolist(), "rho": float(rho), "p": p, "exact": exact}
        )
    return cases


def split(accuracy):
    """Thirds, worst class and worst tenth of the present classes, by a stable sort."""
    order = [int(k) for k in np.argsort(accuracy, kind="stable") if not np.isnan(accuracy[k])]
    third = len(order) // 3
    return {
        "easy": sorted(order[len(order) - third :]),
        "medium": sorted(order[third : len(order) - third]),
        "hard": sorted(order[:third]),
        "worst_class": order[0],
        "worst_decile": sorted(order[: int(np.ceil(len(order) / 10))]),
    }


def splits(rng):
    cases = []
    for classes in [3, 4, 5, 6, 8, 10, 11, 12, 20, 21, 101]:
        accuracy = rng.integers(0, 9, classes) / 8
        if classes > 5:
            accuracy[rng.integers(classes)] = np.nan
        cases.append({"accuracy": optional(accuracy), **split(accuracy)})
    return cases


def tails(rng):
    """CVaR as the maximum over thresholds t of t - mean(max(t - accuracy, 0)) / alpha."""
    cases = []
    for classes in [1, 3, 10, 37]:
        accuracy = rng.random(classes)
        for alpha in [0.01, 0.1, 0.25, 0.333, 0.9, 1.0]:
            at = lambda t: t - np.maximum(t - accuracy, 0).mean() / alpha
            cases.append(
                {
                    "accuracy": accuracy.tolist(),
                    "alpha": alpha,
                    "cvar": float(max(at(t) for t in accuracy)),
                }
            )
    return cases


def run_scores(labels, predictions, chosen, classes):
    accuracy = class_accuracy(labels, predictions, classes)
    mean = lambda group: float(accuracy[group].mean())
    present = np.unique(labels)
    return {
        "overall": float((labels == predictions).mean()),
        "easy": mean(chosen["easy"]),
        "medium": mean(chosen["medium"]),
        "hard": mean(chosen["hard"]),
        "gap": mean(chosen["easy"]) - mean(chosen["hard"]),
        "worst_class": float(accuracy[chosen["worst_class"]]),
        "worst_decile": mean(chosen["worst_decile"]),
        "own_minimum": float(np.nanmin(accuracy)),
        "mean_recall": float(np.nanmean(accuracy)),
        "macro_f1": sk.f1_score(labels, predictions, labels=present, average="macro"),
    }


def image_interval(rng, labels, gains, resamples=20_000):
    """Percentile bootstrap of sum(gains), images redrawn within their class."""
    total = np.zeros(resamples)
    for k in np.unique(labels):
        own = gains[labels == k]
        total += own[rng.integers(len(own), size=(resamples, len(own)))].sum(1)
    return [float(q) for q in np.quantile(total, [0.025, 0.975])]


def holm(rng):
    """Adjusted p as the smallest level at which Holm's procedure rejects: p_(i) <= level / (m - i + 1) for
    this test and for every one with a smaller p."""
    cases = []
    for m, absent in [(0, 2), (1, 0), (2, 1), (5, 0), (14, 2)]:
        values = np.concatenate([rng.beta(0.4, 2.0, m), np.full(absent, np.nan)])
        values[: m // 4] = np.round(values[: m // 4], 1)
        if m > 4:
            values[1] = values[0]
        values = rng.permutation(values)
        present = values[~np.isnan(values)]
        adjusted = []
        for p in values:
            smaller = np.sort(present[present <= p])
            levels = [q * (len(present) - i) for i, q in enumerate(smaller)]
            adjusted.append(np.nan if np.isnan(p) else min(1.0, max(levels)))
        cases.append({"p": optional(values), "adjusted": optional(adjusted)})
    return cases


def phantom(rng):
    """Every run chooses classes, the others are scored on them; 3 and 5 runs, in the second a class absent."""
    cases = []
    for n, classes, level in [(3, 9, 0.9), (5, 24, 0.95)]:
        runs = np.round(rng.normal(rng.uniform(0.4, 0.9, classes), 0.03, (n, classes)), 3)
        if classes > 3:
            runs[:, 7] = np.nan
        gains = {}
        for group in ["easy", "medium", "hard", "worst_class", "worst_decile"]:
            per_run = []
            for i in range(n):
                chosen = np.atleast_1d(split(runs[i])[group])
                others = np.delete(runs, i, axis=0)[:, chosen].mean()
                per_run.append(others - runs[i, chosen].mean())
            mean, error = np.mean(per_run), stats.sem(per_run)
            half = stats.t.ppf((1 + level) / 2, n - 1) * error
            gains[group] = {
                "per_run": [float(g) for g in per_run],
                "mean": float(mean),
                "sd": float(np.std(per_run, ddof=1)),
                "low": float(mean - half),
                "high": float(mean + half),
            }
        cases.append({"runs": [optional(run) for run in runs], "level": level, "gains": gains})
    return cases


def report(rng):
    """Three runs of a reference and of a method, 11 classes, one absent, uneven counts."""
    classes, seeds = 11, [3, 8, 21]
    counts = [0 if k == 4 else 20 + 3 * k for k in range(classes)]
    labels = np.repeat(np.arange(classes), counts)
    rng.shuffle(labels)
    rate = rng.uniform(0.35, 0.95, classes)

    def predict(lift):
        right = rng.random(len(labels)) < np.minimum(rate + lift, 1.0)[labels]
        wrong = (labels + rng.integers(1, classes, len(labels))) % classes
        return np.where(right, labels, wrong)

    reference = [predict(0.0) for _ in seeds]
    method = [predict(0.05) for _ in seeds]
    accuracy = np.array([class_accuracy(labels, p, classes) for p in reference])
    rows, chosen = {"reference": [], "method": []}, []
    gains = {"overall": np.zeros(len(labels)), "hard": np.zeros(len(labels))}
    for i in range(len(seeds)):
        # Total correct over the other seeds: the order of the mean accuracies, without rounding.
        others = np.delete(accuracy, i, axis=0).sum(0)
        chosen.append(split(np.round(others, 9)))
        for name, predictions in [("reference", reference[i]), ("method", method[i])]:
            scores = run_scores(labels, predictions, chosen[i], classes)
            same = run_scores(labels, predictions, split(accuracy[i]), classes)
            scores |= {f"{m}_same_run": same[m] for m in ["easy", "hard", "worst_class"]}
            rows[name].append(scores)
        gain = (method[i] == labels).astype(float) - (reference[i] == labels)
        gains["overall"] += gain / len(labels) / len(seeds)
        hard = chosen[i]["hard"]
        weight = np.array([1 / len(hard) / counts[k] if k in hard else 0.0 for k in range(classes)])
        gains["hard"] += gain * weight[labels] / len(seeds)
    differences = {}
    for metric in rows["method"][0]:
        a, b = (np.array([r[metric] for r in rows[name]]) for name in ["method", "reference"])
        test = stats.ttest_rel(a, b)
        interval = test.confidence_interval(0.95)
        differences[metric] = {
            "mean": float((a - b).mean()),
            "low": interval.low,
            "high": interval.high,
            "p": test.pvalue,
        }
    return {
        "classes": classes,
        "seeds": seeds,
        "labels": labels.tolist(),
        "reference": [p.tolist() for p in reference],
        "method": [p.tolist() for p in method],
        "splits": chosen,
        "rows": rows,
        "differences": differences,
        "image_bootstrap": {m: image_interval(rng, labels, g) for m, g in gains.items()},
    }


def main():
    rng = np.random.default_rng(SEED)
    fixture = {
        "metadata": {
            "generator": "tests/reference/metrics.py",
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__,
            "seed": SEED,
        },
        "classification": classification(rng),
        "intervals": intervals(rng),
        "correlations": correlations(rng),
        "splits": splits(rng),
        "tails": tails(rng),
        "report": report(rng),
        "holm": holm(rng),
        "phantom": phantom(rng),
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(fixture, allow_nan=False) + "\n")
    print(f"{OUT}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
