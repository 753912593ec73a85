"""The peer of `mr2 bench layer`: one layer of PyTorch on its own, forward and backward to the images."""
import argparse

import torch
import torch.nn.functional as F

from timing import report

LAYERS = {
    "max-pool": lambda x: F.max_pool2d(x, 3, 2, 1),
    "avg-pool": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "dropout": lambda x: F.dropout(x, 0.3, training=True),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=LAYERS, required=True)
    for name in ("batch", "size", "channels"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--layout", choices=["channels_last", "contiguous"], default="channels_last")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    layout = torch.channels_last if options.layout == "channels_last" else torch.contiguous_format
    images = torch.randn(options.batch, options.channels, options.size, options.size)
    images = images.to(memory_format=layout).requires_grad_()
    layer = LAYERS[options.kind]
    upstream = torch.ones_like(layer(images))

    def both():
        images.grad = None
        layer(images).backward(upstream)
        return 0.0

    report(both, options.repetitions, 3)


if __name__ == "__main__":
    main()
