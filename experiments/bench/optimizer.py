"""The peer of `mr2 bench optimizer`: PyTorch's update of a network's parameters by given gradients, all else left out."""
import argparse

import torch

import networks
from timing import report


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rule", choices=["sgd", "adamw"], required=True)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--way", choices=["fused", "foreach"], default="fused")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = networks.build(options.backbone, 3, 100, 32)
    for parameter in network.parameters():
        parameter.grad = 1e-3 * torch.randn_like(parameter)
    way = {options.way: True}
    if options.rule == "sgd":
        rule = torch.optim.SGD(network.parameters(), 1e-4, momentum=0.9, nesterov=True, weight_decay=5e-4, **way)
    else:
        rule = torch.optim.AdamW(network.parameters(), 1e-4, weight_decay=0.05, **way)

    def step():
        rule.step()
        return 0.0

    report(step, options.repetitions, 3, parameters=networks.parameters(network))


if __name__ == "__main__":
    main()
