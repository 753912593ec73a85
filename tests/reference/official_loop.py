"""The behaviour of the published MR2 training code, one class at a time, as plain PyTorch.

Written from a description of that behaviour: statistics in the squared 5-norm by a Python loop over all
classes, their moving average, the margins, then the pair distances by a second loop over all classes, divided
by ten times the width of the features, and the reduction (D/10)(1/K) of class means. K is always that of the
data, or 1000 in the fine-grained and ImageNet variant, whatever the data have: a class that no batch has had adds
0 to the sums and still counts, so the margins of the others are too large until all have been seen. (Its own is
1 here. In the published code nobody can read it, since a batch is observed before its margins are used.)

Used twice: its float64 results are fixtures (loss.py), and in float32 it is the peer of the speed benchmark.
"""
import torch
import torch.nn.functional as F

NORM = 5
WEIGHT = 0.1
SCALE = 10.0


class OfficialState:
    """What the published code keeps between batches."""

    def __init__(self, variant, classes):
        if variant not in ("cifar", "imagenet"):
            raise ValueError(f"variant must be cifar or imagenet, got {variant}")
        self.variant = variant
        self.classes = classes
        self.counted = classes if variant == "cifar" else 1000
        self.decay = 0.9 if variant == "cifar" else 0.999
        self.restart()

    def restart(self):
        """The CIFAR code makes a new object at every epoch."""
        self.sizes = torch.zeros(self.classes, dtype=torch.float64)
        self.spreads = torch.zeros(self.classes, dtype=torch.float64)
        self.seen = torch.zeros(self.classes, dtype=torch.bool)


def observe(features, labels, state):
    for k in range(state.classes):
        own = features[labels == k]
        if len(own) == 0:
            continue
        mean = own.mean(0)
        size = mean.norm(p=NORM) ** 2
        spread = ((own - mean).norm(p=NORM, dim=1) ** 2).mean()
        keep = state.decay if state.seen[k] else 0.0
        state.sizes[k] = keep * state.sizes[k] + (1 - keep) * size
        state.spreads[k] = keep * state.spreads[k] + (1 - keep) * spread
        state.seen[k] = True


def margins(state, like):
    roots = (state.sizes + state.spreads) ** (1 / 3)
    gamma = torch.where(state.seen, state.counted * roots / roots.sum(), torch.ones_like(roots))
    return gamma.to(like.dtype)


def threshold(state, like):
    if state.variant == "cifar":
        return torch.zeros((), dtype=like.dtype)
    return (state.spreads.sum() / state.counted).to(like.dtype)


def representation(features, labels, state, s):
    dim = features.shape[1]
    total = features.new_zeros(())
    for k in range(state.classes):
        own = features[labels == k]
        if len(own) < 2:
            continue
        distances = ((own[:, None] - own[None]) ** 2).sum(2)
        exponentials = ((distances - 2 * s) / (SCALE * dim)).exp()
        others = 1 - torch.eye(len(own), dtype=own.dtype)
        total = total + torch.log1p((exponentials * others).sum(1)).mean()
    return total * dim / 10 / state.counted


def official_step(features, logits, labels, state):
    """One step's loss (a scalar with gradient) and its parts, after updating `state`."""
    with torch.no_grad():
        observe(features, labels, state)
        gamma = margins(state, features)
        s = threshold(state, features)
    logit_margin = F.cross_entropy(logits / gamma[labels][:, None], labels)
    pulled = representation(features, labels, state, s)
    return logit_margin + WEIGHT * pulled, {
        "gamma": gamma, "spread_threshold": s, "logit_margin": logit_margin, "representation": pulled}
