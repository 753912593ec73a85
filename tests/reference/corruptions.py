"""What NumPy, SciPy and Pillow make of the corruptions that are not random.

    python tests/reference/corruptions.py

Needs numpy, pillow, safetensors and scipy. Writes
crates/mr2-data/tests/fixtures/corruptions.safetensors. Severities are those of CIFAR-10-C.
"""

import colorsys
import io
import json
import pathlib

import numpy as np
import PIL
import scipy
from PIL import Image
from safetensors.numpy import save_file
from scipy import ndimage

SEED = 20260104
OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/mr2-data/tests/fixtures"
RNG = np.random.default_rng(SEED)
SIDE = 32


def sources():
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    waves = np.stack([128 + 100 * np.sin(x / 3 + y / 7 + k) for k in range(3)], -1)
    noise = ndimage.gaussian_filter(RNG.normal(128, 120, (24, 24, 3)), (1, 1, 0))
    grey = 128 + 90 * np.cos(x / 4 - y / 5)
    images = {"waves": waves, "noise": noise, "grey": grey[..., None]}
    return {name: np.clip(image, 0, 255).astype(np.uint8) for name, image in images.items()}


def brightness(image, level):
    more = [0.05, 0.1, 0.15, 0.2, 0.3][level]
    if image.shape[2] == 1:
        return np.clip(image / 255 + more, 0, 1) * 255
    out = np.empty(image.shape)
    for at in np.ndindex(image.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image[at] / 255))
        out[at] = colorsys.hsv_to_rgb(hue, saturation, min(value + more, 1))
    return out * 255


def contrast(image, level):
    x = image / 255
    mean = x.mean((0, 1), keepdims=True)
    return np.clip((x - mean) * [0.75, 0.5, 0.4, 0.3, 0.15][level] + mean, 0, 1) * 255


def defocus_blur(image, level):
    radius, alias = [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)][level]
    line = np.arange(-8, 9)
    disk = (line[:, None] ** 2 + line**2 <= radius**2).astype(float)
    edge = np.exp(-np.arange(-1, 2) ** 2 / (2 * alias**2))
    edge /= edge.sum()
    kernel = ndimage.correlate(disk / disk.sum(), np.outer(edge, edge), mode="constant")
    planes = [ndimage.correlate(p / 255, kernel, mode="mirror") for p in np.moveaxis(image, 2, 0)]
    return np.clip(np.stack(planes, -1), 0, 1) * 255


def zoom_blur(image, level):
    factors = np.arange(1, [1.06, 1.11, 1.16, 1.21, 1.26][level], 0.01)
    x = image / 255
    total = x.copy()
    side = len(image)
    for factor in factors:
        kept = int(np.ceil(side / factor))
        top = (side - kept) // 2
        middle = x[top : top + kept, top : top + kept]
        large = ndimage.zoom(middle, (factor, factor, 1), order=1)
        trim = (len(large) - side) // 2
        total += large[trim : trim + side, trim : trim + side]
    return np.clip(total / (len(factors) + 1), 0, 1) * 255


def picture(image):
    return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def pixelate(image, level):
    full = len(image)
    side = int(full * [0.95, 0.9, 0.85, 0.75, 0.65][level])
    box = Image.Resampling.BOX
    return np.atleast_3d(picture(image).resize((side, side), box).resize((full, full), box))


def jpeg_compression(image, level):
    """Without halving the colour channels, unlike Pillow's default."""
    packed = io.BytesIO()
    picture(image).save(packed, "JPEG", quality=[80, 65, 58, 50, 40][level], subsampling=0)
    return np.atleast_3d(Image.open(packed))


def main():
    kinds = [brightness, contrast, defocus_blur, zoom_blur, pixelate, jpeg_compression]
    tensors = {}
    for name, image in sources().items():
        tensors[f"source.{name}"] = image
        for kind in kinds:
            made = [kind(image, level) for level in range(5)]
            tensors[f"{kind.__name__}.{name}"] = np.uint8(np.stack(made))
    versions = {"numpy": np.__version__, "scipy": scipy.__version__, "pillow": PIL.__version__}
    record = {"generator": "tests/reference/corruptions.py", "seed": SEED, **versions}
    save_file(tensors, OUT / "corruptions.safetensors", {"fixture": json.dumps(record, sort_keys=True)})
    print((OUT / "corruptions.safetensors").stat().st_size)


if __name__ == "__main__":
    main()
