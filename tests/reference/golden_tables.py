"""The numbers of experiments/src/grid/report/golden/rehearsal.md, from the counts in its test.

Prints every mean, interval and p as the report should show it. Shares no code with the crates: ranks, thirds and
Holm's correction are written out here, and the t distribution is scipy's.
"""

from itertools import permutations

import numpy as np
from scipy import stats

ERM = {1: [50, 60, 60, 80, 90, 95], 2: [52, 62, 58, 82, 88, 94], 3: [48, 58, 62, 84, 92, 93]}
BETTER = {
    1: [56, 65, 63, 81, 91, 95],
    2: [57, 67, 62, 83, 89, 94],
    3: [54, 62, 67, 85, 92, 93],
    4: [55, 64, 64, 82, 90, 96],
}
WORSE = {1: [40, 50, 61, 80, 90, 95], 3: [38, 57, 51, 84, 92, 93]}
BEFORE = {("ERM", 2): [52, 62, 60, 82, 90, 96]}


def order(accuracy):
    """Hardest first; of equals the lower index."""
    return sorted(range(6), key=lambda k: (round(accuracy[k], 9), k))


def split(seed):
    others = [run for other, run in ERM.items() if other != seed]
    return order(np.mean(others, axis=0))


def scores(seed, run):
    hardest = split(seed)
    run = np.array(run, float)
    easy, medium, hard = (run[hardest[a:b]].mean() for a, b in ((4, 6), (2, 4), (0, 2)))
    result = {
        "overall": run.mean(),
        "easy": easy,
        "medium": medium,
        "hard": hard,
        "worst class": run[hardest[0]],
        "own minimum": run.min(),
        "gap": easy - hard,
        "ECE": float(seed),
    }
    if seed in ERM:
        same = order(ERM[seed])
        result |= {
            "easy same": run[same[4:]].mean(),
            "hard same": run[same[:2]].mean(),
            "worst same": run[same[0]],
        }
    return result


def mean_sd(values):
    sd = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{sd} ({len(values)})"


def holm(p):
    adjusted, largest = [None] * len(p), 0.0
    known = sorted((v, i) for i, v in enumerate(p) if v is not None)
    for rank, (value, i) in enumerate(known):
        largest = max(largest, min(1.0, value * (len(known) - rank)))
        adjusted[i] = largest
    return adjusted


def paired(difference):
    d = np.array(difference)
    if len(d) < 2 or np.ptp(d) < 1e-9:
        return d.mean(), None, None
    interval = stats.t.interval(0.95, len(d) - 1, d.mean(), stats.sem(d))
    return d.mean(), interval, stats.ttest_1samp(d, 0).pvalue


def written(difference):
    mean, interval, p = paired(difference)
    if np.abs(difference).max() < 1e-12:
        return "identical", p
    ends = "" if interval is None else f" [{interval[0]:+.1f}, {interval[1]:+.1f}]"
    return f"{mean:+.1f}{ends}", p


ARMS = {"ERM": ERM, "better": BETTER, "worse": WORSE}
SCORED = {arm: {seed: scores(seed, run) for seed, run in runs.items()} for arm, runs in ARMS.items()}

print("accuracy")
for arm, runs in SCORED.items():
    names = next(iter(runs.values())).keys()
    print(arm, {name: mean_sd([run[name] for run in runs.values()]) for name in names if all(name in r for r in runs.values())})
print("difference, p by Holm")
for metric in ["overall", "easy", "medium", "hard", "worst class", "gap"]:
    rows = [
        written([run[metric] - SCORED["ERM"][seed][metric] for seed, run in SCORED[arm].items() if seed in ERM])
        for arm in ("better", "worse")
    ]
    print(metric, [text for text, _ in rows], [p if p is None else f"{p:.4f}" for p in holm([p for _, p in rows])])
both = [1, 3]
for metric in ["hard", "overall"]:
    print("better - worse", metric, written([SCORED["better"][s][metric] - SCORED["worse"][s][metric] for s in both]))
print("best epoch on test")
for arm, runs in ARMS.items():
    print(arm, mean_sd([max(np.mean(run), np.mean(BEFORE.get((arm, seed), run))) for seed, run in runs.items()]))
print("phantom gain")
for name, chosen in (("hard", slice(0, 2)), ("easy", slice(4, 6))):
    gains = []
    for seed, run in ERM.items():
        group = order(run)[chosen]
        others = [np.array(other)[group].mean() for s, other in ERM.items() if s != seed]
        gains.append(np.mean(others) - np.array(run)[group].mean())
    print(name, written(gains), len(gains))
print("rank correlations over classes")
accuracy = np.mean(list(ERM.values()), axis=0)
for name, values in (("m + v", [6, 5, 4, 3, 2, 1]), ("v", [1.5, 1, 0.5, 1.5, 1, 0.5])):
    rho = stats.spearmanr(accuracy, values).statistic
    every = [stats.spearmanr(accuracy, other).statistic for other in permutations(values)]
    print(name, f"{rho:.3f}", f"p {np.mean([abs(other) >= abs(rho) - 1e-9 for other in every]):.3f}")
