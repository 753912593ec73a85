"""16 linear heads on frozen features, one after another: the peer of `crates/mr2-train/examples/probe_sweep.rs`.

Usage: python experiments/bench/probe.py [threads]
"""

import sys
import time

import torch
from torch.nn.functional import cross_entropy

IMAGES, BATCH, WIDTH, CLASSES, HEADS, TRIES = 8192, 1024, 768, 100, 16, 7


def sweep(features, labels):
    for head in range(HEADS):
        linear = torch.nn.Linear(WIDTH, CLASSES)
        optimiser = torch.optim.SGD(linear.parameters(), lr=0.01 * (head + 1), momentum=0.9)
        for batch in torch.randperm(IMAGES).split(BATCH):
            loss = cross_entropy(linear(features[batch]), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            (linear(features[:128]).argmax(1) == labels[:128]).float().mean().item()


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
    features = torch.randn(IMAGES, WIDTH)
    labels = torch.arange(IMAGES) % CLASSES
    times = []
    for _ in range(TRIES):
        start = time.perf_counter()
        sweep(features, labels)
        times.append(time.perf_counter() - start)
    times.sort()
    seconds = times[TRIES // 2]
    operations = 4 * IMAGES * WIDTH * CLASSES * HEADS
    print(f"threads {torch.get_num_threads()}")
    print(f"sweep {1e3 * seconds:.1f} ms, {operations / seconds * 1e-9:.1f} GF/s")
