"""The peer of `mr2 bench pass`: a network's forward pass in evaluation, or forward and backward in training."""
import argparse

import torch
import torch.nn.functional as F

import networks
from timing import report


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    networks.arguments(parser)
    parser.add_argument("--backward", action="store_true")
    options = parser.parse_args()
    network, images, labels = networks.prepare(options)

    def forward():
        with torch.inference_mode():
            return network(images)[0, 0].item()

    def both():
        network.zero_grad()
        loss = F.cross_entropy(network(images), labels)
        loss.backward()
        return loss.item()

    network.train(options.backward)
    work = both if options.backward else forward
    report(work, options.repetitions, 2, parameters=networks.parameters(network))


if __name__ == "__main__":
    main()
