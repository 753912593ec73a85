"""The peer of `mr2 bench step`: one SGD step of a CIFAR ResNet (option A) in PyTorch, in its faster layout."""
import argparse

import torch
import torch.nn.functional as F
from torch import nn

from timing import report


class Block(nn.Module):
    """Two 3x3 convolutions with a parameter-free shortcut (He et al. 2015, option A)."""

    def __init__(self, in_channels, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.grow = stride, channels - in_channels

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.grow:
            half = self.grow // 2
            x = F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, half, self.grow - half))
        return F.relu(x + y)


class ResNet(nn.Module):
    """3x3 stem, three stages of 16, 32, 64 channels, global average, linear."""

    def __init__(self, blocks, channels, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        layers, width = [], 16
        for out, stride in ((16, 1), (32, 2), (64, 2)):
            for index in range(blocks):
                layers.append(Block(width, out, stride if index == 0 else 1))
                width = out
        self.layers = nn.Sequential(*layers)
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        x = self.layers(F.relu(self.bn1(self.conv1(x))))
        return self.linear(x.mean((2, 3)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("blocks", "batch", "size", "channels", "classes"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--layout", choices=["channels_last", "contiguous"], default="channels_last")
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(0)
    model = ResNet(o.blocks, o.channels, o.classes)
    images = torch.randn(o.batch, o.channels, o.size, o.size)
    if o.layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    labels = torch.arange(o.batch) % o.classes
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    report(step, o.repetitions, 2)


if __name__ == "__main__":
    main()
