"""Outputs, gradients and parameter counts of Vision Transformers: timm's own, in float64.

Usage: python tests/reference/vit.py
Weights and images come from the hash generator by the rules of backbones.py.
"""

import torch
from timm.models.vision_transformer import VisionTransformer

import fixture_file
from backbones import SEED, count, load
from hash_rng import normal_tensor

BATCH = 3
SMALL = dict(img_size=16, patch_size=4, embed_dim=24, depth=2, num_heads=3, num_classes=10)
FULL = {"vit-ti16": (192, 3), "vit-s16": (384, 6), "vit-b16": (768, 12)}


def run(tensors, case, **settings):
    net = VisionTransformer(**SMALL, **settings).double()
    load(net)
    images = normal_tensor(SEED, "images", (BATCH, 3, 16, 16))
    features = net.forward_head(net.forward_features(images), pre_logits=True)
    logits = net.head(features)
    weights = normal_tensor(SEED, "upstream", tuple(logits.shape))
    (logits * weights).sum().backward()
    tensors[f"{case}.features"] = features
    tensors[f"{case}.logits"] = logits
    for name, parameter in net.named_parameters():
        tensors[f"{case}.gradient.{name}"] = parameter.grad


if __name__ == "__main__":
    fixture = {}
    for name, (dim, heads) in FULL.items():
        net = lambda: VisionTransformer(embed_dim=dim, num_heads=heads, num_classes=10)
        fixture[f"{name}.parameters"] = torch.tensor(count(net))
    run(fixture, "class")
    run(fixture, "mean", global_pool="avg", mlp_ratio=2.0, qkv_bias=False)
    fixture_file.write("mr2-backbones", "vit", "vit.py", SEED, fixture)
