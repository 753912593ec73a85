"""The peer of `mr2 bench loss`: the official CIFAR code's behaviour, one Python loop over all classes, twice a step.

One training step of the loss in float32: forward and backward to logits and features. The step itself is that of
tests/reference/official_loop.py, whose float64 results are the fixtures of our tests; the inputs are those of
`mr2 bench loss`, from the same counter-based generator, so both must arrive at the same loss.
"""
import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "reference"))
from hash_rng import hashes, normal_tensor, stream  # noqa: E402
from official_loop import OfficialState, official_step  # noqa: E402
from timing import report  # noqa: E402

SEED = 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("classes", "batch", "features"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=30)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    labels = hashes(stream(SEED, "labels"), np.arange(o.batch)) % np.uint64(o.classes)
    labels = torch.from_numpy(labels.astype(np.int64))
    features = normal_tensor(SEED, "features", (o.batch, o.features)).float().requires_grad_()
    logits = normal_tensor(SEED, "logits", (o.batch, o.classes)).float().requires_grad_()
    state = OfficialState("cifar", o.classes)

    def step():
        features.grad = logits.grad = None
        loss, _ = official_step(features, logits, labels, state)
        loss.backward()
        return loss.item()

    report(step, o.repetitions, 3)


if __name__ == "__main__":
    main()
