"""Outputs, gradients and parameter counts of mr2-backbones' architectures, in float64.

Usage: python tests/reference/backbones.py
The nets are written here from their papers with torch.nn, under the parameter names of
akamaster/pytorch_resnet_cifar10, BeierZhu/MR2 (pre-activation) and xternalz/WideResNet-pytorch;
the ResNets for photographs are torchvision's own.
Weights, images and dropout's masks come from the hash generator; counts are at full size, outputs of
the widest nets at a quarter of their width, of the deepest ResNets for photographs at an eighth.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock as PhotoBasic
from torchvision.models.resnet import Bottleneck

import fixture_file
from hash_rng import hashes, normal_tensor, stream, uniform, uniform_tensor

SEED, STEP = 20260205, 5
BATCH, SIZE = 3, (18, 18)
# Nets that divide the size by 32 keep several pixels a channel, which batch normalisation needs.
PHOTO_BATCH, PHOTO_SIZE = 2, (33, 40)


def conv(inputs, outputs, kernel, stride=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class PadChannels(nn.Module):
    """Shortcut A: every second pixel, zeros around the channels."""

    def __init__(self, outputs):
        super().__init__()
        self.side = outputs // 4

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.side, self.side))


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, shortcut):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if inputs != outputs and shortcut == "a":
            self.shortcut = PadChannels(outputs)
        elif inputs != outputs:
            self.shortcut = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class PreActBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, outputs, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv(outputs, outputs, 3)
        if inputs != outputs:
            self.shortcut = conv(inputs, outputs, 1, stride)

    def forward(self, x):
        active = torch.relu(self.bn1(x))
        skip = self.shortcut(active) if hasattr(self, "shortcut") else x
        return self.conv2(torch.relu(self.bn2(self.conv1(active)))) + skip


class Dropout(nn.Module):
    """mr2-nn's masks in place of torch's: a hash of the seed, the step, the number of the call in the
    step and the element's place in (batch, height, width, channel)."""

    calls = 0

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training or self.p == 0.0:
            return x
        step = hashes(stream(SEED, "dropout"), STEP)
        key = hashes(step, Dropout.calls)
        Dropout.calls += 1
        batch, channels, height, width = x.shape
        kept = uniform(key, np.arange(x.numel(), dtype=np.uint64)) >= self.p
        kept = torch.from_numpy(kept.reshape(batch, height, width, channels)).permute(0, 3, 1, 2)
        return x * kept / (1.0 - self.p)


class WideBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, dropout):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, outputs, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv(outputs, outputs, 3)
        self.convShortcut = None if inputs == outputs else conv(inputs, outputs, 1, stride)
        self.dropout = Dropout(dropout)

    def forward(self, x):
        if self.convShortcut is None:
            y = self.conv1(torch.relu(self.bn1(x)))
        else:
            x = torch.relu(self.bn1(x))
            y = self.conv1(x)
            x = self.convShortcut(x)
        return x + self.conv2(self.dropout(torch.relu(self.bn2(y))))


class WideStage(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.layer = nn.Sequential(*blocks)

    def forward(self, x):
        return self.layer(x)


class Cosine(nn.Module):
    def __init__(self, features, classes, scale):
        super().__init__()
        self.weight, self.scale = nn.Parameter(torch.empty(classes, features)), scale

    def forward(self, x):
        return self.scale * F.linear(F.normalize(x), F.normalize(self.weight))


def sequence(block, inputs, outputs, count, stride):
    first = [block(inputs, outputs, stride)]
    return first + [block(outputs, outputs, 1) for _ in range(count - 1)]


class ResNet(nn.Module):
    def __init__(self, depth, shortcut, width=16, channels=3, classes=10, scale=None):
        super().__init__()
        count = (depth - 2) // 6

        def block(inputs, outputs, stride):
            return BasicBlock(inputs, outputs, stride, shortcut)

        self.conv1, self.bn1 = conv(channels, width, 3), nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(*sequence(block, width, width, count, 1))
        self.layer2 = nn.Sequential(*sequence(block, width, 2 * width, count, 2))
        self.layer3 = nn.Sequential(*sequence(block, 2 * width, 4 * width, count, 2))
        self.linear = (
            nn.Linear(4 * width, classes) if scale is None else Cosine(4 * width, classes, scale)
        )

    def features(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x))).mean((2, 3))

    def head(self, x):
        return self.linear(x)


class PreActResNet(nn.Module):
    def __init__(self, depth, width=16):
        super().__init__()
        count = (depth - 2) // 6
        self.conv1 = conv(3, width, 3)
        self.layer1 = nn.Sequential(*sequence(PreActBlock, width, width, count, 1))
        self.layer2 = nn.Sequential(*sequence(PreActBlock, width, 2 * width, count, 2))
        self.layer3 = nn.Sequential(*sequence(PreActBlock, 2 * width, 4 * width, count, 2))
        self.bn = nn.BatchNorm2d(4 * width)
        self.linear = nn.Linear(4 * width, 10)

    def features(self, x):
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return torch.relu(self.bn(x)).mean((2, 3))

    def head(self, x):
        return self.linear(x)


class WideResNet(nn.Module):
    def __init__(self, depth, widen, width=16, dropout=0.0):
        super().__init__()
        count = (depth - 4) // 6
        wide = [width, widen * width, 2 * widen * width, 4 * widen * width]

        def block(inputs, outputs, stride):
            return WideBlock(inputs, outputs, stride, dropout)

        self.conv1 = conv(3, width, 3)
        self.block1 = WideStage(sequence(block, wide[0], wide[1], count, 1))
        self.block2 = WideStage(sequence(block, wide[1], wide[2], count, 2))
        self.block3 = WideStage(sequence(block, wide[2], wide[3], count, 2))
        self.bn1 = nn.BatchNorm2d(wide[3])
        self.fc = nn.Linear(wide[3], 10)

    def features(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return torch.relu(self.bn1(x)).mean((2, 3))

    def head(self, x):
        return self.fc(x)


class PhotoResNet(torchvision.models.ResNet):
    """torchvision's net, where `width` is not its 64 with every layer narrower by that factor."""

    def __init__(self, block, blocks, width=64):
        self.width = width
        super().__init__(block, blocks)
        if width != 64:
            self.conv1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
        self.fc = nn.Linear(8 * width * block.expansion, 10)

    def _make_layer(self, block, planes, blocks, stride=1, dilate=False):
        if planes == 64:
            self.inplanes = self.width
        return super()._make_layer(block, planes * self.width // 64, blocks, stride, dilate)

    def features(self, x):
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))

    def head(self, x):
        return self.fc(x)


def value(name, tensor):
    """Weights of a size that keeps activations of deep nets within bounds."""
    shape = tuple(tensor.shape)
    if name.endswith("running_var"):
        return 0.5 + uniform_tensor(SEED, name, shape)
    drawn = normal_tensor(SEED, name, shape)
    if len(shape) > 1:
        return drawn * math.sqrt(2.0 / math.prod(shape[1:]))
    if name.endswith("weight"):
        return 1.0 + 0.2 * drawn
    return 0.1 * drawn


def load(net):
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                tensor.copy_(value(name, tensor))


def run(tensors, case, net, channels=3, batch=BATCH, size=SIZE):
    """Evaluation, then one training pass: outputs, gradients, running statistics."""
    net = net.double()
    load(net)
    images = normal_tensor(SEED, "images", (batch, channels, *size))
    net.eval()
    with torch.no_grad():
        tensors[f"{case}.eval.features"] = net.features(images)
        tensors[f"{case}.eval.logits"] = net.head(net.features(images))
    net.train()
    features = net.features(images)
    logits = net.head(features)
    weights = normal_tensor(SEED, "upstream", tuple(logits.shape))
    (logits * weights).sum().backward()
    tensors[f"{case}.train.features"] = features
    tensors[f"{case}.train.logits"] = logits
    norms = [p.grad.norm() for _, p in sorted(net.named_parameters())]
    tensors[f"{case}.train.gradient_norms"] = torch.stack(norms)
    buffers = {n: b for n, b in sorted(net.named_buffers()) if not n.endswith("tracked")}
    tensors[f"{case}.train.buffer_norms"] = torch.stack([b.norm() for b in buffers.values()])


def count(build):
    with torch.device("meta"):
        return sum(p.numel() for p in build().parameters())


FULL = {
    **{f"resnet{d}": (ResNet, d, "a") for d in (8, 20, 32, 44, 56, 110)},
    **{f"resnet{d}-b": (ResNet, d, "b") for d in (8, 20, 32, 44, 56, 110)},
    **{f"preact-resnet{d}": (PreActResNet, d) for d in (20, 32, 44, 56, 110)},
    **{f"wrn-{d}-{k}": (WideResNet, d, k) for d, k in ((16, 8), (28, 2), (28, 10), (40, 2))},
}

PHOTO = {
    "resnet18": (PhotoBasic, [2, 2, 2, 2]),
    "resnet34": (PhotoBasic, [3, 4, 6, 3]),
    "resnet50": (Bottleneck, [3, 4, 6, 3]),
    "resnet101": (Bottleneck, [3, 4, 23, 3]),
    "resnet152": (Bottleneck, [3, 8, 36, 3]),
}

if __name__ == "__main__":
    fixture = {}
    for name, (net, *arguments) in FULL.items():
        parameters = count(lambda: net(*arguments))
        fixture[f"{name}.parameters"] = torch.tensor(parameters)
        print(name, parameters)
        narrow = {"width": 4} if name in ("wrn-16-8", "wrn-28-10") else {}
        run(fixture, name, net(*arguments, **narrow))
    for name, (block, blocks) in PHOTO.items():
        parameters = count(lambda: PhotoResNet(block, blocks))
        fixture[f"{name}.parameters"] = torch.tensor(parameters)
        print(name, parameters)
        narrow = {} if name == "resnet50" else {"width": 8}
        net = PhotoResNet(block, blocks, **narrow)
        run(fixture, name, net, batch=PHOTO_BATCH, size=PHOTO_SIZE)
    cosine = ResNet(8, "a", channels=1, classes=7, scale=16.0)
    run(fixture, "resnet8-cosine", cosine, channels=1)
    run(fixture, "wrn-16-2-dropout", WideResNet(16, 2, width=4, dropout=0.3))
    fixture_file.write("mr2-backbones", "backbones", "backbones.py", SEED, fixture)
