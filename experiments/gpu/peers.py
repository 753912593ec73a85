#!/usr/bin/env python3
"""The peers of `mr2 gpu speed`: the same work in PyTorch, eager, and a JSON object on the last line.

    experiments/gpu/peers.py --only resnet50-step [--layout channels_last] [--autocast | --pure]

A training step is forward, loss, backward and a fused update, images on the device. The clock is read when the device has
done all steps of a group. bf16 is torch.autocast, whose weights, statistics and updates are f32; `--pure` has the weights in
bf16 too, which a forward pass alone may have. cuDNN chooses by measuring. `mr2-loss` is the published code's loop over all
classes (tests/reference/official_loop.py) on the same inputs as ours, so both sides must arrive at the same loss.
"""
import argparse
import contextlib
import json
import math
import statistics
import sys
import time

import torch
import torch.nn.functional as F

from machine import ROOT, gpu

sys.path[:0] = [str(ROOT / "experiments" / "bench"), str(ROOT / "tests" / "reference")]

SEED = 0
RATE, MOMENTUM = 1e-3, 0.9
# name: (kind, network, size, classes, batch, precision, rule)
WORKS = {
    "resnet32-step": ("step", "resnet32", 32, 100, 128, "tf32", "sgd"),
    "wrn-28-10-step": ("step", "wrn-28-10", 32, 100, 128, "bf16", "sgd"),
    "resnet50-step": ("step", "resnet50", 224, 1000, 256, "bf16", "sgd"),
    "vit-b16-forward": ("forward", "vit-b16", 224, 1000, 256, "bf16", None),
    "vit-b16-step": ("step", "vit-b16", 224, 1000, 128, "bf16", "adamw"),
    "mr2-loss": ("loss", None, 768, 1000, 512, "f32", None),
}


def network_of(work, device, options):
    from networks import build
    _, name, size, classes, batch, precision, _ = work
    torch.manual_seed(SEED)
    batch = options.batch or batch
    network = build(name, 3, classes, size).to(device)
    images = torch.randn(batch, 3, size, size, device=device)
    if precision == "bf16":
        images = images.bfloat16()
    if options.layout == "channels_last":
        network = network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    return network, images, torch.randint(classes, (batch,), device=device)


def mixed(work, device, options):
    """How a pass computes: under autocast where the work is in bf16."""
    if work[5] == "bf16" and not options.pure:
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def training_step(work, device, options):
    network, images, labels = network_of(work, device, options)
    network.train()
    rules = {"sgd": lambda p: torch.optim.SGD(p, RATE, momentum=MOMENTUM, weight_decay=5e-4, fused=True),
             "adamw": lambda p: torch.optim.AdamW(p, RATE, weight_decay=0.05, fused=True)}
    optimizer = rules[work[6]](network.parameters())

    def step():
        optimizer.zero_grad()
        with mixed(work, device, options):
            loss = F.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()
    return step


def forward(work, device, options):
    network, images, _ = network_of(work, device, options)
    network.eval()
    if options.pure:
        network = network.bfloat16()

    def step():
        with torch.inference_mode(), mixed(work, device, options):
            return network(images)[0, 0].float()
    return step


def official_loss(work, device, options):
    import numpy as np
    from hash_rng import hashes, normal_tensor, stream
    from official_loop import OfficialState, official_step
    _, _, dim, classes, batch, *_ = work
    batch = options.batch or batch
    labels = hashes(stream(SEED, "labels"), np.arange(batch)) % np.uint64(classes)
    labels = torch.from_numpy(labels.astype(np.int64)).to(device)
    features = normal_tensor(SEED, "features", (batch, dim)).float().to(device).requires_grad_()
    logits = normal_tensor(SEED, "logits", (batch, classes)).float().to(device).requires_grad_()
    torch.set_default_device(device)  # what the loop makes belongs to the device too
    state = OfficialState("cifar", classes)

    def step():
        features.grad = logits.grad = None
        loss, _ = official_step(features, logits, labels, state)
        loss.backward()
        return loss.detach()
    return step


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure(step, device, options):
    loss = step()
    for _ in range(1, options.warm_up):
        loss = step()
    wait(device)
    groups = []
    for _ in range(options.groups):
        start = time.perf_counter()
        for _ in range(options.steps):
            loss = step()
        wait(device)
        groups.append((time.perf_counter() - start) * 1e3 / options.steps)
    return groups, loss.item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=WORKS, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--groups", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=10)
    parser.add_argument("--batch", type=int, help="another batch than the work's own, for a rehearsal")
    parser.add_argument("--layout", choices=["channels_last", "contiguous"], default="contiguous")
    parser.add_argument("--pure", action="store_true", help="weights in bf16 too, of a forward pass")
    options = parser.parse_args()
    work, device = WORKS[options.only], torch.device(options.device)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = work[5] == "tf32"
    make = {"step": training_step, "forward": forward, "loss": official_loss}[work[0]]
    groups, loss = measure(make(work, device, options), device, options)
    if not math.isfinite(loss):
        sys.exit(f"{options.only}: the loss is {loss}; expected a finite number")
    on_gpu = device.type == "cuda"
    way = "pure bf16" if options.pure else "autocast" if work[5] == "bf16" else work[5]
    print(json.dumps({
        "name": options.only, "side": "torch", "ms": statistics.median(groups), "groups_ms": groups, "steps": options.steps,
        "precision": work[5], "variant": f"{way}, {options.layout}", "batch": options.batch or work[4], "loss": loss,
        "memory_mib": torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else None,
        "torch": torch.__version__, "gpu": gpu(options.device) if on_gpu else None}))


if __name__ == "__main__":
    main()
