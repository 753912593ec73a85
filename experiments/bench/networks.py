"""The networks of mr2-backbones in plain torch.nn, by the names of `mr2 models` and with its parameter names."""
import torch
import torch.nn.functional as F
from torch import nn


def conv(inputs, outputs, kernel, stride=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class CifarBlock(nn.Module):
    """Two 3x3 convolutions with a parameter-free shortcut (He et al. 2015, option A)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        self.stride, self.grow = stride, outputs - inputs

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.grow:
            half = self.grow // 2
            x = F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, half, self.grow - half))
        return F.relu(x + y)


class CifarResNet(nn.Module):
    """3x3 stem, three stages of 16, 32, 64 channels, global average, linear."""

    def __init__(self, depth, channels, classes):
        super().__init__()
        self.conv1, self.bn1 = conv(channels, 16, 3), nn.BatchNorm2d(16)
        blocks, width = (depth - 2) // 6, 16
        for stage, outputs in enumerate((16, 32, 64), 1):
            first = CifarBlock(width, outputs, 1 if stage == 1 else 2)
            rest = [CifarBlock(outputs, outputs, 1) for _ in range(blocks - 1)]
            setattr(self, f"layer{stage}", nn.Sequential(first, *rest))
            width = outputs
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class WideBlock(nn.Module):
    """Normalisation before convolution; no dropout."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, outputs, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv(outputs, outputs, 3)
        self.shortcut = None if inputs == outputs else conv(inputs, outputs, 1, stride)

    def forward(self, x):
        active = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return y + (x if self.shortcut is None else self.shortcut(active))


class WideResNet(nn.Module):
    """WRN-d-k (Zagoruyko and Komodakis 2016)."""

    def __init__(self, depth, widen, channels, classes):
        super().__init__()
        blocks, width, layers = (depth - 4) // 6, 16, []
        self.conv1 = conv(channels, width, 3)
        for stage, outputs in enumerate((16 * widen, 32 * widen, 64 * widen)):
            for block in range(blocks):
                layers.append(WideBlock(width, outputs, 2 if stage and not block else 1))
                width = outputs
        self.layers, self.bn1, self.fc = nn.Sequential(*layers), nn.BatchNorm2d(width), nn.Linear(width, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.layers(self.conv1(x))))
        return self.fc(x.mean((2, 3)))


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride, as in torchvision), 1x1 to four times the channels."""

    def __init__(self, inputs, inner, stride):
        super().__init__()
        outputs = 4 * inner
        self.conv1, self.bn1 = conv(inputs, inner, 1), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = conv(inner, inner, 3, stride), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = conv(inner, outputs, 1), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet50(nn.Module):
    """torchvision.models.resnet50."""

    def __init__(self, channels, classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        width = 64
        for stage, blocks in enumerate((3, 4, 6, 3)):
            inner, layers = 64 << stage, []
            for block in range(blocks):
                layers.append(Bottleneck(width, inner, 2 if stage and not block else 1))
                width = 4 * inner
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(width, classes)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class TransformerBlock(nn.Module):
    """Attention and a perceptron, each behind a normalisation."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        batch, tokens, dim = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        x = x + self.proj(mixed.transpose(1, 2).reshape(batch, tokens, dim))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class VisionTransformer(nn.Module):
    """timm's vit_base_patch16_224: patches of 16, width 768, 12 blocks of 12 heads, class token."""

    def __init__(self, channels, classes, size, patch=16, dim=768, depth=12, heads=12):
        super().__init__()
        self.patches = nn.Conv2d(channels, dim, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2 + 1, dim))
        self.blocks = nn.Sequential(*(TransformerBlock(dim, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


def build(name, channels, classes, size):
    """The network called `name`, in float32."""
    if name == "resnet50":
        return ResNet50(channels, classes)
    if name == "vit-b16":
        return VisionTransformer(channels, classes, size)
    if name.startswith("wrn-"):
        depth, widen = map(int, name.split("-")[1:])
        return WideResNet(depth, widen, channels, classes)
    return CifarResNet(int(name.removeprefix("resnet")), channels, classes)


def arguments(parser):
    """The options that `mr2 bench step` and `mr2 bench pass` have too."""
    parser.add_argument("--backbone", required=True)
    for name in ("batch", "size", "channels", "classes"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--layout", choices=["channels_last", "contiguous"], default="channels_last")


def prepare(options):
    """Network, images and labels from the options, in the layout asked for."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    network = build(options.backbone, options.channels, options.classes, options.size)
    images = torch.randn(options.batch, options.channels, options.size, options.size)
    if options.layout == "channels_last":
        network = network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    return network, images, torch.arange(options.batch) % options.classes


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())
