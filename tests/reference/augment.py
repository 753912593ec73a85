"""What torchvision's AutoAugment and RandAugment operations make of Pillow images.

    python tests/reference/augment.py

Needs numpy, pillow, safetensors, torch and torchvision. Writes
crates/mr2-data/tests/fixtures/augment.safetensors: sources, the strengths of each operation, and
each operation's result at several magnitudes of both signs.
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
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import AutoAugment, AutoAugmentPolicy, RandAugment, _apply_op

SEED = 20260103
OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/mr2-data/tests/fixtures"
RNG = np.random.default_rng(SEED)
TENSORS = {}
CASES = []
STRENGTHS = []

NAMES = {
    "Identity": "identity", "ShearX": "shear_x", "ShearY": "shear_y", "TranslateX": "translate_x",
    "TranslateY": "translate_y", "Rotate": "rotate", "Brightness": "brightness", "Color": "color",
    "Contrast": "contrast", "Sharpness": "sharpness", "Posterize": "posterize",
    "Solarize": "solarize", "AutoContrast": "auto_contrast", "Equalize": "equalize",
    "Invert": "invert",
}


def sources():
    """Odd sizes; one dull (for contrast and histograms), one of a single colour, one tiny."""
    noise = RNG.integers(0, 256, (7, 11, 3))
    dull = np.clip(RNG.normal([90, 120, 140], 12, (17, 16, 3)), 60, 180)
    large = np.clip(RNG.normal(130, 40, (17, 23)) // 4 * 4, 0, 255)
    images = {
        "noise": noise, "dull": dull, "flat": np.full((4, 3, 3), 77), "tiny": noise[:2, :9],
        "grey": RNG.integers(0, 256, (9, 5)), "grey_large": large,
    }
    for name, pixels in images.items():
        pixels = pixels.astype(np.uint8)
        TENSORS[f"source.{name}"] = np.atleast_3d(pixels).copy()
        yield name, Image.fromarray(pixels)


def magnitudes(op, image):
    """Those of the policies, and some that none has."""
    height, width = image.height, image.width
    space = RandAugment()._augmentation_space(31, (height, width))
    space |= AutoAugment(AutoAugmentPolicy.CIFAR10)._augmentation_space(10, (height, width))
    values, signed = space[op]
    if values.ndim == 0:
        return [0.0]
    chosen = [float(values[index]) for index in ((9,) if height > 15 else (1, 5, 9))]
    extra = {"Rotate": [45.0, 90.0, 180.0], "Solarize": [128.0], "Posterize": [1.0]}
    chosen += extra.get(op, [])
    if signed:
        chosen += [-value for value in chosen] + [0.0]
    if op in ("Brightness", "Color", "Contrast", "Sharpness"):
        chosen += [-1.0, 2.5]
    return chosen


def operations():
    for name, image in sources():
        results = []
        for op, ours in NAMES.items():
            for fill in [0, 41] if ours in ("shear_x", "translate_y", "rotate") else [0]:
                for magnitude in magnitudes(op, image) if op != "Identity" else [0.0]:
                    fills = None if fill == 0 else [fill] * len(image.getbands())
                    made = _apply_op(image, op, magnitude, InterpolationMode.NEAREST, fills)
                    results.append(np.atleast_3d(np.array(made)))
                    CASES.append([name, len(results) - 1, ours, magnitude, fill])
        TENSORS[f"result.{name}"] = np.stack(results)


def strengths():
    for bins in (10, 31, 7):
        for height, width in ((32, 32), (13, 17), (224, 200)):
            space = RandAugment()._augmentation_space(bins, (height, width))
            for op, (values, signed) in space.items():
                values = values.double().reshape(-1).tolist()
                STRENGTHS.append({
                    "op": NAMES[op], "bins": bins, "height": height, "width": width,
                    "signed": signed, "values": values,
                })


def policy():
    steps = AutoAugment(AutoAugmentPolicy.CIFAR10).policies
    return [[[NAMES[op], chance, strength or 0] for op, chance, strength in pair] for pair in steps]


def main():
    operations()
    strengths()
    record = {
        "generator": "tests/reference/augment.py",
        "seed": SEED,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "pillow": PIL.__version__,
        "cases": CASES,
        "strengths": STRENGTHS,
        "cifar10": policy(),
    }
    save_file(TENSORS, OUT / "augment.safetensors", {"fixture": json.dumps(record, sort_keys=True)})
    print((OUT / "augment.safetensors").stat().st_size, len(CASES))


if __name__ == "__main__":
    main()
