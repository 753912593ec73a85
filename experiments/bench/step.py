"""The peer of `mr2 bench step`: one SGD step of a network in PyTorch."""
import argparse

import torch
import torch.nn.functional as F

import networks
from timing import report


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    networks.arguments(parser)
    options = parser.parse_args()
    network, images, labels = networks.prepare(options)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    report(step, options.repetitions, 2, parameters=networks.parameters(network))


if __name__ == "__main__":
    main()
