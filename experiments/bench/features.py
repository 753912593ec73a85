"""Features of JPEG files by `mr2 features` beside timm and a DataLoader with the same weights, in turn.

Usage: python experiments/bench/features.py [--mr2 target/release/mr2] [--images 128] [--rounds 3] [--threads 2]

timm is timed from the first batch to the last, without its start. Ours is timed as a command: the time of a folder of
16 images is taken from that of 16 more images than timm sees. Features of 16 PNG files must agree to 1e-4 of the largest;
JPEG decoders differ in the rounding of single pixels, of which random weights make more.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time

import numpy as np
import timm
import torch
from PIL import Image, ImageFilter
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

MODELS = {"vit-b-16": "vit_base_patch16_224", "resnet50": "resnet50"}
BATCH, START = 32, 16


def photographs(folder, count, suffix="jpg"):
    """`count` files of 500 x 375 pixels with as much detail as photographs, in train/, and a few in val/ and test/."""
    random = np.random.default_rng(0)
    sizes = {"train": count, "val": 2, "test": 2}
    for part, images in sizes.items():
        for number in range(images):
            place = os.path.join(folder, part, f"class{number % 2}")
            os.makedirs(place, exist_ok=True)
            coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((500, 375), Image.BICUBIC)
            noise = Image.fromarray(random.integers(0, 256, (375, 500, 3), dtype=np.uint8)).filter(ImageFilter.BoxBlur(2))
            Image.blend(coarse, noise, 0.3).save(os.path.join(place, f"{number:05}.{suffix}"), quality=90)


def by_timm(model, transform, folder, threads):
    loader = DataLoader(ImageFolder(os.path.join(folder, "train"), transform), batch_size=BATCH, num_workers=threads)
    start = time.perf_counter()
    with torch.inference_mode():
        features = torch.cat([model(images) for images, _ in loader])
    return time.perf_counter() - start, features


def by_mr2(program, backbone, weights, folder, threads):
    cache = tempfile.mkdtemp()
    out = os.path.join(cache, "features.safetensors")
    command = [program, "features", "--backbone", backbone, "--weights", weights, "--images", folder, "--split", "train"]
    start = time.perf_counter()
    subprocess.run(
        command + ["--cache", cache, "--out", out, "--threads", str(threads), "--quiet"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    seconds = time.perf_counter() - start
    features = load_file(out)["features"]
    shutil.rmtree(cache)
    return seconds, features


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--mr2", default="target/release/mr2")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as root:
        few, more, same = (os.path.join(root, name) for name in ("few", "more", "same"))
        exact = os.path.join(root, "exact")
        photographs(exact, START, "png")
        for folder, count in ((few, START), (more, START + arguments.images), (same, arguments.images)):
            photographs(folder, count)
        for backbone, name in MODELS.items():
            torch.manual_seed(0)
            model = timm.create_model(name, pretrained=False).eval()
            config = timm.data.resolve_data_config({}, model=model)
            weights = os.path.join(root, backbone)
            os.makedirs(weights)
            save_file(
                {key: value.contiguous() for key, value in model.state_dict().items()},
                os.path.join(weights, "model.safetensors"),
            )
            with open(os.path.join(weights, "config.json"), "w") as file:
                json.dump({"architecture": name, "pretrained_cfg": config}, file)
            model.reset_classifier(0)
            transform = timm.data.create_transform(**config, is_training=False)
            by_timm(model, transform, few, arguments.threads)
            ours, theirs = [], []
            for _ in range(arguments.rounds):
                of_few, _ = by_mr2(arguments.mr2, backbone, weights, few, arguments.threads)
                of_more, _ = by_mr2(arguments.mr2, backbone, weights, more, arguments.threads)
                ours.append(of_more - of_few)
                theirs.append(by_timm(model, transform, same, arguments.threads)[0])
            found = by_mr2(arguments.mr2, backbone, weights, exact, arguments.threads)[1]
            expected = by_timm(model, transform, exact, arguments.threads)[1]
            difference = ((found - expected).abs().max() / expected.abs().max()).item()
            assert difference < 1e-4, f"{backbone}: features differ by {difference:.1e} of the largest"
            ratios = sorted(a / b for a, b in zip(ours, theirs))
            rates = [arguments.images / statistics.median(times) for times in (ours, theirs)]
            print(
                f"{backbone}: {rates[0]:.2f} images/s, timm {rates[1]:.2f}; ratio of times {statistics.median(ratios):.2f} "
                f"({ratios[0]:.2f} to {ratios[-1]:.2f}); largest difference {difference:.1e} of the largest feature"
            )
