"""The peer of `mr2 bench loss`: the official CIFAR code's behaviour, one Python loop over all classes, twice a step.

Written from the description of that behaviour (statistics of each class present, moving average, margins;
then pair distances per class), as one training step of the loss: forward and backward to logits and features.
"""
import argparse

import torch
import torch.nn.functional as F

from timing import report

DECAY, NORM, WEIGHT = 0.9, 5, 0.1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("classes", "batch", "features"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=30)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(0)
    labels = torch.randint(o.classes, (o.batch,))
    features0 = torch.randn(o.batch, o.features)
    logits0 = torch.randn(o.batch, o.classes)
    averages = torch.zeros(o.classes)
    spreads = torch.zeros(o.classes)
    seen = [False] * o.classes

    def update(features):
        for k in range(o.classes):
            own = features[labels == k]
            if len(own) == 0:
                continue
            centre = own.mean(0)
            size = centre.norm(p=NORM) ** 2
            spread = ((own - centre).norm(p=NORM, dim=1) ** 2).mean()
            keep = DECAY if seen[k] else 0.0
            averages[k] = keep * averages[k] + (1 - keep) * size
            spreads[k] = keep * spreads[k] + (1 - keep) * spread
            seen[k] = True
        root = (averages + spreads) ** (1 / 3)
        return o.classes * root / root.sum().clamp_min(1e-12)

    def representation(features):
        total = features.new_zeros(())
        for k in range(o.classes):
            own = features[labels == k]
            if len(own) < 2:
                continue
            distance = ((own[:, None] - own[None]) ** 2).sum(2) / (10 * o.features)
            off_diagonal = ~torch.eye(len(own), dtype=torch.bool)
            exponentials = distance.exp() * off_diagonal
            total = total + torch.log1p(exponentials.sum(1)).mean()
        return total * (o.features / 10) / o.classes

    def step():
        features = features0.clone().requires_grad_()
        logits = logits0.clone().requires_grad_()
        with torch.no_grad():
            margins = update(features).clamp_min(1e-6)
        loss = F.cross_entropy(logits / margins[labels][:, None], labels) + WEIGHT * representation(features)
        loss.backward()

    report(step, o.repetitions, 3)


if __name__ == "__main__":
    main()
