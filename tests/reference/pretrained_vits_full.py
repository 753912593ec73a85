"""Parity of the pretrained vision transformers at full size, and the time of their forward pass beside ours.

Usage: python tests/reference/pretrained_vits_full.py write FOLDER [NAME ...]
       cargo run --release -p mr2-backbones --example vit_parity -- FOLDER [NAME ...]
       python tests/reference/pretrained_vits_full.py time FOLDER [NAME ...]
The first writes checkpoints with random weights, images and features (1.1 GB); the second compares ours with them, and
times ours; the third times PyTorch's. Both take batches of 16 and print the CPU
time of the fastest of three passes; set RAYON_NUM_THREADS=1 for the second, the third has one thread.
"""

import sys
import time
from pathlib import Path

import open_clip
import timm
import torch
from safetensors.torch import save_file

from pretrained_vits import by_factor, randomise

SEED = 20260302
BATCH = 16


NETS = {
    "vit": lambda: timm.create_model("vit_base_patch16_224"),
    "clip": lambda: open_clip.create_model("ViT-B-16-quickgelu"),
    "dinov2": lambda: timm.create_model("vit_base_patch14_dinov2", num_classes=0),
}


def features(name, net, x):
    if name == "clip":
        return net.encode_image(x)
    return net.forward_head(net.forward_features(x), pre_logits=True)


def built(name):
    """The net with its published checkpoint's tensors, and for 224 pixels."""
    torch.manual_seed(SEED)
    net = randomise(NETS[name]().float())
    checkpoint = {key: tensor.clone().contiguous() for key, tensor in net.state_dict().items()}
    if name == "dinov2":
        positions = by_factor(checkpoint["pos_embed"], 16)
        net.set_input_size(img_size=224)
        net.pos_embed.data = positions
    return net, checkpoint


def main(what, folder, *names):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    x = torch.randn(BATCH, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    for name in names or NETS:
        net, checkpoint = built(name)
        with torch.no_grad():
            if what == "write":
                out = {"images": x, "features": features(name, net, x).contiguous()}
                save_file(checkpoint, folder / f"{name}.safetensors")
                save_file(out, folder / f"{name}-features.safetensors")
                continue
            times = []
            for _ in range(3):
                start = time.process_time()
                features(name, net, x)
                times.append(time.process_time() - start)
            print(f"{name}: {min(times):.3f} s", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
