"""What Pillow's convert("RGB") and convert("L") make of image files, for the tests of mr2-data.

    python tests/reference/decode.py

Needs numpy, pillow and safetensors. Writes crates/mr2-data/tests/fixtures/decode.safetensors: the files themselves
(`file.NAME`) and the pixels that Pillow reads from them (`rgb.NAME`, `grey.NAME`).
"""

import io
import json
import pathlib
import struct
import zlib

import numpy as np
import PIL
from PIL import Image
from safetensors.numpy import save_file

SEED = 20261127
OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/mr2-data/tests/fixtures"
RNG = np.random.default_rng(SEED)
FILES = {}
HEIGHT, WIDTH = 13, 19


def noise(*shape, most=256, dtype=np.uint8):
    return RNG.integers(0, most, shape).astype(dtype)


def smooth(height, width, channels):
    """Curves of several periods, as photographs have: what JPEG is made for."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    planes = []
    for channel in range(channels):
        a, b, c = RNG.uniform(0.05, 0.35, 3)
        planes.append(127 + 70 * np.sin(a * x + channel) + 50 * np.cos(b * y - c * x))
    pixels = np.stack(planes, -1)
    pixels[height // 3 : height // 2, width // 4 : width // 2] = RNG.integers(0, 256, channels)
    return pixels.clip(0, 255).astype(np.uint8)


def save(name, image, **options):
    file = io.BytesIO()
    image.save(file, format=name.split(".")[0], **options)
    FILES[name] = file.getvalue()


def png(depth, colour, samples, *chunks):
    """A PNG of a kind that Pillow does not write; `samples` (rows, bytes)."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    width = samples.shape[1] * 8 // depth // channels
    head = struct.pack(">IIBBBBB", width, len(samples), depth, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def tiff(order, depth, photometric, samples, values):
    """An uncompressed TIFF of one strip; `values` (rows, columns, samples)."""
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    height, width = values.shape[:2]
    at = 8 + 2 + 12 * 9 + 4
    bits = struct.pack(f"{order}{samples}H", *[depth] * samples)
    depth_field = (3, samples, at) if samples > 2 else (3, samples, depth)
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, *depth_field), (259, 3, 1, 1)]
    tags += [(262, 3, 1, photometric), (273, 4, 1, at + len(bits)), (277, 3, 1, samples)]
    tags += [(278, 3, 1, height), (279, 4, 1, len(data))]
    body = struct.pack(f"{order}H", len(tags))
    for tag, kind, count, value in tags:
        short = kind == 3 and count <= 2
        packed = struct.pack(f"{order}HH", value, 0) if short else struct.pack(f"{order}I", value)
        body += struct.pack(f"{order}HHI", tag, kind, count) + packed
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}I", 8) + body + struct.pack(f"{order}I", 0) + bits + data


def pngs(rgb, grey, palette):
    save("png.rgb", Image.fromarray(rgb))
    save("png.grey", Image.fromarray(grey))
    save("png.one_bit", Image.fromarray(grey).convert("1"))
    save("png.rgba", Image.fromarray(noise(HEIGHT, WIDTH, 4)))
    save("png.grey_alpha", Image.fromarray(noise(HEIGHT, WIDTH, 2), mode="LA"))
    save("png.palette", palette)
    save("png.palette_4_bits", Image.fromarray(rgb).quantize(16), bits=4)
    save("png.palette_1_bit", Image.fromarray(rgb).quantize(2), bits=1)
    save("png.palette_one_transparent", palette, transparency=3)
    save("png.palette_alpha", palette, transparency=bytes(noise(200)))
    save("png.grey_one_transparent", Image.fromarray(grey), transparency=int(grey[0, 0]))
    save("png.rgb_one_transparent", Image.fromarray(rgb), transparency=tuple(map(int, rgb[0, 0])))
    for depth in (2, 4):
        FILES[f"png.grey_{depth}_bits"] = png(depth, 0, noise(HEIGHT, 8 // depth * 2))
    words = noise(HEIGHT, WIDTH, most=300, dtype=np.uint16)
    words[::5] = noise(len(words[::5]), WIDTH, most=1 << 16, dtype=np.uint16)
    words[0, :6] = [0, 1, 254, 255, 256, 65535]
    save("png.grey_16_bits", Image.fromarray(words))
    FILES["png.grey_16_bits_one_transparent"] = png(16, 0, words.byteswap().view(np.uint8), (b"tRNS", b"\1\0"))
    for name, colour, channels in [("rgb", 2, 3), ("grey_alpha", 4, 2), ("rgba", 6, 4)]:
        FILES[f"png.{name}_16_bits"] = png(16, colour, noise(HEIGHT, WIDTH * channels * 2))
    return words


def tiffs(rgb, grey, palette, words):
    save("tiff.rgb", Image.fromarray(rgb))
    save("tiff.rgb_lzw", Image.fromarray(rgb), compression="tiff_lzw")
    save("tiff.rgb_deflate", Image.fromarray(rgb), compression="tiff_adobe_deflate")
    save("tiff.rgb_packbits", Image.fromarray(rgb), compression="packbits")
    save("tiff.rgba", Image.fromarray(noise(HEIGHT, WIDTH, 4)))
    save("tiff.grey", Image.fromarray(grey))
    save("tiff.one_bit", Image.fromarray(grey).convert("1"))
    save("tiff.palette", palette)
    save("tiff.cmyk", Image.fromarray(noise(HEIGHT, WIDTH, 4), mode="CMYK"))
    save("tiff.grey_16_bits", Image.fromarray(words))
    FILES["tiff.grey_16_bits_big_endian"] = tiff(">", 16, 1, 1, words[..., None])
    FILES["tiff.grey_white_is_zero"] = tiff("<", 8, 0, 1, grey[..., None])
    FILES["tiff.rgb_16_bits"] = tiff("<", 16, 2, 3, noise(HEIGHT, WIDTH, 3, most=1 << 16, dtype=np.uint16))
    FILES["tiff.rgb_16_bits_big_endian"] = tiff(">", 16, 2, 3, noise(HEIGHT, WIDTH, 3, most=1 << 16, dtype=np.uint16))


def gifs(grey, palette):
    save("gif.palette", palette)
    save("gif.grey", Image.fromarray(grey))
    save("gif.transparent", palette, transparency=5)
    frames = [Image.fromarray(noise(HEIGHT, WIDTH, 3)).quantize(32) for _ in range(3)]
    save("gif.animated", frames[0], save_all=True, append_images=frames[1:], duration=40, loop=0)
    # A first frame that does not fill the screen.
    for name in ("gif.palette", "gif.transparent"):
        small = bytearray(FILES[name])
        small[6:10] = struct.pack("<HH", WIDTH + 7, HEIGHT + 5)
        at = small.index(b"\x2c\0\0\0\0" + struct.pack("<HH", WIDTH, HEIGHT))
        small[at + 1 : at + 5] = struct.pack("<HH", 4, 3)
        FILES[f"{name}_part_of_screen"] = bytes(small)


def others(rgb, grey, palette):
    save("bmp.rgb", Image.fromarray(rgb))
    save("bmp.grey", Image.fromarray(grey))
    save("bmp.one_bit", Image.fromarray(grey).convert("1"))
    save("bmp.palette", palette)
    save("bmp.rgba", Image.fromarray(noise(HEIGHT, WIDTH, 4)))
    save("webp.rgb", Image.fromarray(rgb), lossless=True)
    save("webp.rgba", Image.fromarray(noise(HEIGHT, WIDTH, 4)), lossless=True, exact=True)
    frames = [Image.fromarray(noise(HEIGHT, WIDTH, 3)) for _ in range(2)]
    save("webp.animated", frames[0], save_all=True, append_images=frames[1:], lossless=True)
    save("webp.lossy", Image.fromarray(smooth(33, 45, 3)), quality=80)


def jpegs():
    picture = Image.fromarray(smooth(41, 53, 3))
    for name, subsampling in [("444", 0), ("422", 1), ("420", 2)]:
        for quality in (75, 95):
            save(f"jpeg.{name}_{quality}", picture, subsampling=subsampling, quality=quality)
    save("jpeg.progressive_420", picture, subsampling=2, quality=85, progressive=True)
    save("jpeg.progressive_444", picture, subsampling=0, quality=85, progressive=True)
    save("jpeg.restarts", picture, subsampling=2, quality=85, restart_marker_rows=1)
    save("jpeg.stored_as_rgb", picture, quality=90, keep_rgb=True)
    save("jpeg.narrow", Image.fromarray(smooth(33, 5, 3)), quality=90)
    save("jpeg.grey", Image.fromarray(smooth(41, 53, 1)[..., 0]), quality=90)
    rotated = Image.Exif()
    rotated[0x0112] = 6
    save("jpeg.exif_rotated", picture, subsampling=0, quality=90, exif=rotated)
    save("jpeg.cmyk", Image.fromarray(smooth(41, 53, 4), mode="CMYK"), quality=90)
    cmyk = FILES["jpeg.cmyk"]
    adobe = cmyk.index(b"\xff\xee")
    FILES["jpeg.cmyk_without_adobe"] = cmyk[:adobe] + cmyk[adobe + 2 + 14 :]
    transform = adobe + 4 + 11
    assert cmyk[adobe + 4 : adobe + 9] == b"Adobe" and cmyk[transform] == 0
    FILES["jpeg.ycck"] = cmyk[:transform] + b"\2" + cmyk[transform + 1 :]


def main():
    rgb, grey = noise(HEIGHT, WIDTH, 3), noise(HEIGHT, WIDTH)
    palette = Image.fromarray(rgb).quantize(200)
    words = pngs(rgb, grey, palette)
    tiffs(rgb, grey, palette, words)
    gifs(grey, palette)
    others(rgb, grey, palette)
    jpegs()
    tensors, modes = {}, {}
    for name, file in FILES.items():
        tensors[f"file.{name}"] = np.frombuffer(file, np.uint8)
        image = Image.open(io.BytesIO(file))
        image.load()
        modes[name] = image.mode
        for kind, mode in [("rgb", "RGB"), ("grey", "L")]:
            pixels = np.asarray(image.convert(mode))
            tensors[f"{kind}.{name}"] = np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1))
    record = {
        "generator": "tests/reference/decode.py",
        "seed": SEED,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "modes": modes,
    }
    path = OUT / "decode.safetensors"
    save_file(tensors, path, {"fixture": json.dumps(record, sort_keys=True)})
    print(path.name, path.stat().st_size, modes)


if __name__ == "__main__":
    main()
