"""What torchvision, on Pillow images, makes of small images, for the tests of mr2-data.

    python tests/reference/transforms.py

Needs numpy, torch, torchvision, pillow and safetensors. Writes
crates/mr2-data/tests/fixtures/transforms.safetensors; the cases and their parameters are in its
metadata. Random parameters are torchvision's own code fed with listed uniform numbers.
"""

import json
import pathlib
import platform

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from safetensors.numpy import save_file
from torchvision import transforms as T
from torchvision.transforms import functional as F

SEED = 20260102
OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/mr2-data/tests/fixtures"
RNG = np.random.default_rng(SEED)
TENSORS = {}
CASES = []
MODES = {"bilinear": T.InterpolationMode.BILINEAR, "bicubic": T.InterpolationMode.BICUBIC}
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]


def array(image):
    pixels = np.asarray(image)
    return np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[..., None])


def case(kind, source, result, **parameters):
    name = f"{kind}.{len(CASES)}"
    TENSORS[name] = np.ascontiguousarray(result)
    CASES.append({"name": name, "kind": kind, "source": source, **parameters})


def sources():
    """Noise has the steepest edges, so that rounding and clipping show."""
    noise = RNG.integers(0, 256, (31, 45, 3), dtype=np.uint8)
    y, x = np.mgrid[0:40, 0:27]
    smooth = np.stack([3 * x + 4 * y, 255 - 6 * y, 128 + 100 * np.sin(x / 3)], -1)
    grey = RNG.integers(0, 256, (23, 19), dtype=np.uint8)
    edges = (RNG.random((17, 17, 3)) < 0.5).astype(np.uint8) * 255
    images = {"noise": noise, "smooth": smooth.clip(0, 255).astype(np.uint8), "edges": edges, "grey": grey}
    for name, pixels in images.items():
        TENSORS[f"source.{name}"] = array(pixels)
    return {name: Image.fromarray(pixels) for name, pixels in images.items()}


def resizes(images):
    sizes = [(16, 24), (7, 5), (40, 33), (48, 3), (1, 1), (31, 20), (17, 45)]
    for mode, interpolation in MODES.items():
        for source, image in images.items():
            for size in sizes:
                result = array(F.resize(image, list(size), interpolation))
                case("resize", source, result, size=size, interpolation=mode)
            for size in (8, 17, 23, 30):
                result = array(F.resize(image, size, interpolation))
                case("resize_short_side", source, result, size=size, interpolation=mode)


def crops(images):
    for source, image in images.items():
        for size in (1, 4, 9, 16, 17, 18, 22, 33):
            case("centre_crop", source, array(F.center_crop(image, [size, size])), size=size)
        case("flip", source, array(F.hflip(image)))
    # Every crop of 5 from an image of 4 x 6 with padding 2.
    small = images["noise"].crop((0, 0, 6, 4))
    TENSORS["source.small"] = array(small)
    padded = F.pad(small, 2, fill=0)
    rows, columns = 4 + 2 * 2 - 5 + 1, 6 + 2 * 2 - 5 + 1
    places = [(top, left) for top in range(rows) for left in range(columns)]
    every = [array(F.crop(padded, top, left, 5, 5)) for top, left in places]
    case("random_crop", "small", np.stack(every), size=5, padding=2)


class Fed:
    """Stands in for torch in torchvision's sampling code: float64, and the uniforms that we list."""

    log, exp = staticmethod(torch.log), staticmethod(torch.exp)

    def __init__(self, uniforms):
        self.uniforms = iter(uniforms)

    def tensor(self, values):
        return torch.tensor(values, dtype=torch.float64)

    def empty(self, _):
        return self

    def uniform_(self, low, high):
        return torch.tensor(float(low), dtype=torch.float64) + (high - low) * next(self.uniforms)

    def randint(self, low, high, size):
        assert low == 0 and size == (1,)
        return torch.tensor(int(next(self.uniforms) * high))


def random_resized_crops(images):
    settings = [
        ((0.08, 1.0), (3 / 4, 4 / 3)),
        ((0.9, 1.0), (3 / 4, 4 / 3)),
        ((0.5, 0.6), (5.0, 8.0)),  # never fits: the middle of the image
        ((0.5, 0.6), (0.1, 0.15)),
        ((4.0, 5.0), (0.5, 2.0)),  # never fits, any ratio is allowed: the whole image
        ((1.0, 1.0), (1.0, 1.0)),
    ]
    for index in range(60):
        scale, ratio = settings[index % len(settings)]
        source = list(images)[index % len(images)]
        mode = list(MODES)[index // 2 % 2]
        uniforms = RNG.random(22).tolist()
        T.transforms.torch = Fed(uniforms)
        top, left, height, width = T.RandomResizedCrop.get_params(images[source], scale, ratio)
        T.transforms.torch = torch
        result = F.resized_crop(images[source], top, left, height, width, [12, 12], MODES[mode])
        case(
            "random_resized_crop",
            source,
            array(result),
            size=12,
            scale=scale,
            ratio=ratio,
            interpolation=mode,
            uniforms=uniforms,
            box=[int(top), int(left), int(height), int(width)],
        )


def numbers(images):
    byte = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(3).reshape(16, 16, 3))
    TENSORS["source.bytes"] = array(byte)
    for source, image in {"bytes": byte, "noise": images["noise"]}.items():
        result = T.Compose([T.ToTensor(), T.Normalize(MEAN, STD)])(image)
        case("normalize", source, result.numpy(), mean=MEAN, std=STD)
        case("no_normalize", source, T.ToTensor()(image).numpy())
    steps = [T.Resize(24, MODES["bicubic"]), T.CenterCrop(21), T.ToTensor(), T.Normalize(MEAN, STD)]
    case("evaluation", "smooth", T.Compose(steps)(images["smooth"]).numpy(), mean=MEAN, std=STD)


def main():
    images = sources()
    resizes(images)
    crops(images)
    random_resized_crops(images)
    numbers(images)
    record = {
        "generator": "tests/reference/transforms.py",
        "seed": SEED,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "pillow": PIL.__version__,
        "cases": CASES,
    }
    save_file(TENSORS, OUT / "transforms.safetensors", {"fixture": json.dumps(record, sort_keys=True)})


if __name__ == "__main__":
    main()
