"""Published preprocessing configurations and what the libraries that read them make of them, for
crates/mr2-backbones/src/pretrained: the sizes that an image of 500 x 375 pixels has before and after the crop,
the filter, and the numbers of the normalisation. Needs timm, open_clip_torch, transformers.

    python tests/reference/preprocessing.py
"""

import json
from pathlib import Path

import open_clip
import timm
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torchvision import transforms as tv
from transformers import CLIPImageProcessor, ConvNextImageProcessor, ViTImageProcessor

OUT = Path(__file__).parents[2] / "crates/mr2-backbones/src/pretrained/preprocessing/published.json"
IMAGE = Image.new("RGB", (500, 375))
PIL_FILTERS = {2: "bilinear", 3: "bicubic"}

TIMM = [
    "resnet50.a1_in1k",
    "resnet50.tv_in1k",
    "vit_base_patch16_224.augreg2_in21k_ft_in1k",
    "vit_base_patch16_224.mae",
    "tf_efficientnet_lite0.in1k",
    "vit_base_patch14_dinov2.lvd142m",
    "vit_base_patch16_clip_224.openai",
]
OPEN_CLIP = [("ViT-B-16", "openai"), ("RN50", "openai"), ("ViT-L-14-336", "openai"), ("ViT-B-16-SigLIP", "webli")]
# The class, and the settings that differ from its defaults, of files on the Hub and of old spellings.
TRANSFORMERS = [
    (CLIPImageProcessor, {}),
    (CLIPImageProcessor, {"size": 224, "crop_size": 224}),
    (CLIPImageProcessor, {"size": {"shortest_edge": 256}}),
    (ViTImageProcessor, {}),
    (ViTImageProcessor, {"size": 224}),
    (ConvNextImageProcessor, {"size": {"shortest_edge": 224}}),
    (ConvNextImageProcessor, {}),
]


def from_torchvision(transform):
    steps = transform.transforms
    image, found = IMAGE, {}
    for step in steps:
        if isinstance(step, tv.Normalize):
            found["mean"], found["std"] = [[float(v) for v in values] for values in (step.mean, step.std)]
        elif isinstance(step, (tv.Resize, tv.CenterCrop)):
            image = step(image)
            if isinstance(step, tv.Resize):
                found["resized"], found["filter"] = list(image.size), step.interpolation.value
    return found | {"cropped": list(image.size)}


def from_transformers(processor, config):
    made = processor(**config)
    resized = made(IMAGE, do_center_crop=False, return_tensors="pt")["pixel_values"].shape
    if processor is ConvNextImageProcessor:  # It has no switch for its crop.
        edge = made.size["shortest_edge"]
        resized = [1, 3, edge, edge] if edge >= 384 else [1, 3, int(edge / made.crop_pct), int(edge / made.crop_pct * 500 / 375)]
    cropped = made(IMAGE, return_tensors="pt")["pixel_values"].shape
    return {
        "resized": [resized[3], resized[2]],
        "cropped": [cropped[3], cropped[2]],
        "filter": PIL_FILTERS[int(made.resample)],
        "mean": list(made.image_mean),
        "std": list(made.image_std),
    }


def cases():
    for name in TIMM:
        config = timm.get_pretrained_cfg(name).to_dict()
        text = {"architecture": name.split(".")[0], "pretrained_cfg": {k: v for k, v in config.items() if v is not None}}
        transform = create_transform(**resolve_data_config(pretrained_cfg=config))
        yield "timm", name, text, from_torchvision(transform)
    for name, tag in OPEN_CLIP:
        model = open_clip.get_model_config(name)
        config = {k: v for k, v in open_clip.get_pretrained_cfg(name, tag).items() if k in ("mean", "std", "interpolation", "resize_mode")}
        size = model["vision_cfg"]["image_size"]
        transform = image_transform_v2(PreprocessCfg(size=size, **config), is_train=False)
        yield "open_clip", f"{name} {tag}", {"model_cfg": model, "preprocess_cfg": config}, from_torchvision(transform)
    for processor, config in TRANSFORMERS:
        text = json.loads(processor().to_json_string()) | config
        yield "transformers", f"{processor.__name__} {config}", text, from_transformers(processor, config)


OUT.parent.mkdir(exist_ok=True)
rows = [{"kind": kind, "name": name, "config": json.dumps(text), "expected": found} for kind, name, text, found in cases()]
OUT.write_text(json.dumps(rows, indent=1) + "\n")
print(f"{len(rows)} configurations in {OUT.name}")
