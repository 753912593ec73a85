"""Convolutional nets as they are published: timm's EfficientNet-Lite, torchvision's and transformers' ResNet, open_clip's.

Usage: python tests/reference/pretrained_convs.py
The architectures are the libraries' own, narrow and shallow; weights and batch norm's statistics are random. A fixture holds
the checkpoint under its published names, images of two sizes, and features and logits (float64, rounded to float32).
"""

from functools import partial

import torch
from open_clip.modified_resnet import ModifiedResNet
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.efficientnet import EfficientNet
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from transformers import ResNetConfig, ResNetForImageClassification

import fixture_file

SEED = 20260205
CLASSES = 10
BATCH = 2
CRATE = "mr2-backbones"
SCRIPT = "pretrained_convs.py"

LITE = [
    ["ds_r1_k3_s1_e1_c16"],
    ["ir_r2_k3_s2_e6_c24"],
    ["ir_r2_k5_s2_e6_c40"],
    ["ir_r3_k3_s2_e6_c80"],
    ["ir_r3_k5_s1_e6_c112"],
    ["ir_r4_k5_s2_e6_c192"],
    ["ir_r1_k3_s1_e6_c320"],
]


def lite(width, depth, stem, features):
    """As timm's `tf_efficientnet_lite0`, whose stem and feature have one size."""
    return EfficientNet(
        decode_arch_def(LITE, depth, fix_first_last=True),
        num_classes=CLASSES,
        num_features=features,
        stem_size=stem,
        fix_stem=True,
        round_chs_fn=partial(round_channels, multiplier=width),
        act_layer=nn.ReLU6,
        norm_layer=partial(nn.BatchNorm2d, eps=1e-3),
        pad_type="same",
    )


class NarrowResNet(ResNet):
    """torchvision's, a sixteenth of the width."""

    def __init__(self, block, layers):
        super().__init__(block, layers, num_classes=CLASSES)
        self.fc = nn.Linear(32 * block.expansion, CLASSES)

    @property
    def inplanes(self):
        return self.__dict__["channels"]

    @inplanes.setter
    def inplanes(self, channels):
        self.__dict__["channels"] = channels if "channels" in self.__dict__ else channels // 16

    def _make_layer(self, block, planes, *arguments, **settings):
        return super()._make_layer(block, planes // 16, *arguments, **settings)


def randomise(net, dtype=torch.float32):
    """Signals of about one size in every layer, but not one that batch norm would give."""
    generator = torch.Generator().manual_seed(SEED)
    normal = lambda tensor: torch.randn(tensor.shape, generator=generator)
    uniform = lambda tensor: torch.rand(tensor.shape, generator=generator)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            values = [
                (module.weight, 0.5 + uniform(module.weight)),
                (module.bias, 0.5 * normal(module.bias)),
                (module.running_mean, 0.3 * normal(module.running_mean)),
                (module.running_var, 0.5 + uniform(module.running_var)),
            ]
        else:
            values = [
                (p, normal(p) * (2 / p[0].numel()) ** 0.5 if p.dim() > 1 else 0.1 * normal(p))
                for p in module.parameters(recurse=False)
            ]
        for target, value in values:
            target.data = value.to(dtype).float()
    return net


def images(size):
    generator = torch.Generator().manual_seed(SEED + size[0])
    return torch.randn((BATCH, 3, *size), generator=generator)


def outputs(net, features_of, logits_of, size, fixture, dtype=torch.float32):
    net = net.double().eval()
    with torch.no_grad():
        features = features_of(net, images(size).to(dtype).double())
        fixture[f"images.{size[0]}"] = images(size).to(dtype)
        fixture[f"features.{size[0]}"] = features.float()
        if logits_of:
            fixture[f"logits.{size[0]}"] = logits_of(net, features).float()


def checkpoint(net, dtype=torch.float32):
    narrow = lambda value: value.to(dtype) if value.is_floating_point() else value
    return {f"checkpoint.{name}": narrow(value).clone() for name, value in net.state_dict().items()}


def write(name, fixture):
    fixture_file.write(CRATE, name, SCRIPT, SEED, fixture)


def efficientnet_lite():
    net = randomise(lite(0.085, 0.5, 8, 32))
    fixture = checkpoint(net)
    features_of = lambda net, x: net.forward_head(net.forward_features(x), pre_logits=True)
    for size in [(33, 40), (48, 48)]:
        outputs(net, features_of, lambda net, x: net.classifier(x), size, fixture)
    write("efficientnet_lite", fixture)

    net.train()
    logits = net(images((33, 40)).double())
    generator = torch.Generator().manual_seed(SEED)
    upstream = torch.randn(logits.shape, generator=generator)
    (logits * upstream.double()).sum().backward()
    fixture = {"upstream": upstream, "logits": logits.float()}
    for name, parameter in net.named_parameters():
        fixture[f"gradient.{name}"] = parameter.grad.float()
    for name, buffer in net.named_buffers():
        if buffer.is_floating_point():
            fixture[f"buffer.{name}"] = buffer.float()
    write("efficientnet_lite_training", fixture)


def torchvision_features(net, x):
    net.fc, head = nn.Identity(), net.fc
    features = net(x)
    net.fc = head
    return features


def resnets():
    for name, block, layers in [("basic", BasicBlock, [2, 1, 1, 1]), ("bottleneck", Bottleneck, [2, 1, 1, 1])]:
        net = randomise(NarrowResNet(block, layers))
        fixture = checkpoint(net)
        for size in [(33, 40), (48, 48)]:
            outputs(net, torchvision_features, lambda net, x: net.fc(x), size, fixture)
        write(f"resnet_torchvision_{name}", fixture)

    config = ResNetConfig(
        embedding_size=4, hidden_sizes=[16, 32, 64, 128], depths=[2, 1, 1, 1], num_labels=CLASSES
    )
    net = randomise(ResNetForImageClassification(config))
    fixture = checkpoint(net)
    features_of = lambda net, x: net.resnet(x).pooler_output.flatten(1)
    for size in [(33, 40), (48, 48)]:
        outputs(net, features_of, lambda net, x: net.classifier(x), size, fixture)
    write("resnet_transformers", fixture)


def clip():
    """In half precision, as OpenAI's file is. An image size is a net of its own, with positions of its own."""
    half = torch.float16
    build = lambda size: ModifiedResNet([1, 2, 1, 1], output_dim=24, heads=4, image_size=size, width=2)
    net = randomise(build(64), half)
    fixture = {f"checkpoint.visual.{name[11:]}": value for name, value in checkpoint(net, half).items()}
    fixture["checkpoint.logit_scale"] = torch.tensor(4.6)
    outputs(net, lambda net, x: net(x), None, (64, 64), fixture, half)

    larger = build(96)
    positions = larger.attnpool.positional_embedding.data.to(half)
    fixture["positions.96"] = positions
    larger.load_state_dict(net.float().state_dict() | {"attnpool.positional_embedding": positions.float()})
    outputs(larger, lambda net, x: net(x), None, (96, 96), fixture, half)

    larger.attnpool.c_proj = nn.Identity()
    larger.attnpool.c_proj.weight = torch.eye(64, dtype=torch.float64)
    larger.attnpool.c_proj.bias = torch.zeros(64, dtype=torch.float64)
    with torch.no_grad():
        fixture["pooled.96"] = larger(images((96, 96)).to(half).double()).float()
    write("clip_resnet", fixture)


if __name__ == "__main__":
    efficientnet_lite()
    resnets()
    clip()
