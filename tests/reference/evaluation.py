"""How timm, torchvision, open_clip and MAE prepare images, for the tests of mr2-data.

    python tests/reference/evaluation.py

Needs numpy, torch, torchvision, timm, open_clip, pillow and safetensors. Writes
crates/mr2-data/tests/fixtures/evaluation.safetensors; the cases and their parameters are in its metadata.
"""

import json
import math
import pathlib

import numpy as np
import open_clip
import PIL
import timm
import torch
import torchvision
from PIL import Image
from safetensors.numpy import save_file
from timm.data import create_transform
from torchvision import transforms as T

SEED = 20261127
OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/mr2-data/tests/fixtures"
RNG = np.random.default_rng(SEED)
TENSORS, CASES = {}, []
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MODES = {"bilinear": T.InterpolationMode.BILINEAR, "bicubic": T.InterpolationMode.BICUBIC}


def case(kind, source, result, **parameters):
    name = f"{kind}.{len(CASES)}"
    if result is not None:
        TENSORS[name] = np.ascontiguousarray(result)
    CASES.append({"name": name, "kind": kind, "source": source, **parameters})


def sources():
    shapes = {"wide": (30, 47), "high": (53, 25), "square": (36, 36), "small": (11, 17)}
    images = {name: RNG.integers(0, 256, (*shape, 3), dtype=np.uint8) for name, shape in shapes.items()}
    for name, pixels in images.items():
        TENSORS[f"source.{name}"] = pixels
    return {name: Image.fromarray(pixels) for name, pixels in images.items()}


def evaluations(images):
    shares = [(16, 0.875), (16, 0.9), (20, 0.95), (21, 0.96), (16, 1.0)]
    for index, (size, crop_pct) in enumerate(shares):
        mode = list(MODES)[index % 2]
        for source, image in images.items():
            transform = create_transform(
                (3, size, size), is_training=False, interpolation=mode, mean=MEAN, std=STD, crop_pct=crop_pct
            )
            case("timm", source, transform(image), size=size, crop_pct=crop_pct, interpolation=mode)
    for source, image in images.items():
        transform = open_clip.image_transform(16, is_train=False, mean=MEAN, std=STD)
        case("short_side", source, transform(image), resize=16, size=16, interpolation="bicubic")
        steps = [T.Resize(18, MODES["bicubic"]), T.CenterCrop(16), T.ToTensor(), T.Normalize(MEAN, STD)]
        case("short_side", source, T.Compose(steps)(image), resize=18, size=16, interpolation="bicubic")
        steps = [T.Resize((16, 16), MODES["bilinear"]), T.ToTensor(), T.Normalize(MEAN, STD)]
        case("whole", source, T.Compose(steps)(image), size=16, interpolation="bilinear")


def mae_box(height, width, scale, ratio, uniforms):
    """One draw, cut to the image, as facebookresearch/mae's util/crop.py does in torchvision's terms."""
    area, shape, top, left = uniforms
    target = height * width * (scale[0] + (scale[1] - scale[0]) * area)
    aspect = math.exp(math.log(ratio[0]) + (math.log(ratio[1]) - math.log(ratio[0])) * shape)
    w = min(int(round(math.sqrt(target * aspect))), width)
    h = min(int(round(math.sqrt(target / aspect))), height)
    return [int(top * (height - h + 1)), int(left * (width - w + 1)), h, w]


def crops(images):
    settings = [((0.08, 1.0), (3 / 4, 4 / 3)), ((0.9, 1.0), (3 / 4, 4 / 3)), ((0.5, 0.6), (5.0, 8.0))]
    for index in range(45):
        scale, ratio = settings[index % 3]
        source = list(images)[index % len(images)]
        width, height = images[source].size
        uniforms = RNG.random(4).tolist()
        box = mae_box(height, width, scale, ratio, uniforms)
        case("crop_once", source, None, scale=scale, ratio=ratio, uniforms=uniforms, box=box)


def main():
    images = sources()
    evaluations(images)
    crops(images)
    versions = {m.__name__: m.__version__ for m in (np, torch, torchvision, timm, open_clip, PIL)}
    record = {"generator": "tests/reference/evaluation.py", "seed": SEED, "versions": versions, "cases": CASES}
    path = OUT / "evaluation.safetensors"
    save_file(TENSORS, path, {"fixture": json.dumps(record, sort_keys=True)})
    print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
