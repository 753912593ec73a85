"""CLIP's text towers of transformers and open_clip at reduced size, their tokenizers with a short vocabulary, and
open_clip's zero-shot classifier.

Usage: python tests/reference/clip_text.py
Random weights, f32. The vocabulary is made of a few merges of our own; the tokenizer's files are as transformers
writes them.
"""

import gzip
import json
import tempfile
from pathlib import Path

import torch
import transformers
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP
from open_clip.tokenizer import SimpleTokenizer, bytes_to_unicode
from open_clip.zero_shot_classifier import build_zero_shot_classifier

import fixture_file
from pretrained_vits import published, randomise

SEED = 20260401
CONTEXT, DIM, DEPTH, HEADS, OUT = 12, 12, 2, 3, 10
MERGES = [
    "p h", "o t", "ph ot", "phot o</w>", "o f</w>", "t h", "th e</w>", "c a", "ca t</w>", "d o", "do g</w>", "' s</w>",
    "i n", "in g</w>", "Ã ©</w>", "e r", "e r</w>", "a t", "o n",
]
TEXTS = [
    "a photo of a cat.", "A  PHOTO\tof the Dog", "it's the dog's photo, isn't it?", "", "   ", "café CAFÉ cafe\u0301",
    "100 cats & 2,000 dogs!", "猫の写真 🐈", "sing-song_thing", "ﬁne ½ Ⅷ ǅ İ ß",
    "a photo of a cat and a photo of a dog and a photo of the thing that is far too long for it", "<|endoftext|> the",
]
CLASSES = ["cat", "dog", "thing"]
TEMPLATES = ["a photo of a {}.", "the {}", "{}"]


def tokenizers():
    """open_clip's and transformers' tokenizers of the same vocabulary, and the folder of the latter."""
    with tempfile.NamedTemporaryFile(suffix=".gz") as file:
        # The first line is skipped, whatever it says.
        Path(file.name).write_bytes(gzip.compress("\n".join(["#version", *MERGES]).encode()))
        simple = SimpleTokenizer(file.name, context_length=CONTEXT)
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(token, token): number for token, number in simple.encoder.items()}
    ours = transformers.CLIPTokenizer(vocab=vocabulary, merges=[tuple(merge.split(" ")) for merge in MERGES])
    folder = fixture_file.CRATES / "mr2-backbones/tests/fixtures/clip_tokenizer"
    folder.mkdir(parents=True, exist_ok=True)
    ours.backend_tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False) + "\n")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]))
    return simple, ours, folder


def keep(fixture, case, checkpoint, run, ids):
    for name, tensor in checkpoint.items():
        fixture[f"{case}/{name}"] = tensor.clone().contiguous()
    for padding, padded in ids.items():
        with torch.no_grad():
            fixture[f"{case}|{padding}"] = run(padded)


def main():
    torch.manual_seed(SEED)
    simple, ours, folder = tokenizers()
    zeros = simple(TEXTS)
    end = simple.eot_token_id
    ends = ours(TEXTS, padding="max_length", truncation=True, max_length=CONTEXT, return_tensors="pt")["input_ids"]
    bare = ours(TEXTS, truncation=True, max_length=CONTEXT)["input_ids"]
    cases = [{"text": text, "ids": ids, "open_clip": padded[: padded.index(end) + 1]}
             for text, ids, padded in zip(TEXTS, bare, zeros.tolist())]
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (folder / "texts.json").write_text(f"[\n{lines}\n]\n")

    fixture = {"ids|zeros": zeros, "ids|ends": ends}
    ids = {"zeros": zeros, "ends": ends}
    sizes = dict(
        hidden_size=DIM, num_hidden_layers=DEPTH, num_attention_heads=HEADS, intermediate_size=2 * DIM,
        vocab_size=simple.vocab_size, max_position_embeddings=CONTEXT, projection_dim=OUT, attn_implementation="eager",
    )
    for case, act, eos in [("hf", "quick_gelu", end), ("hf-argmax", "gelu", 2)]:
        config = transformers.CLIPTextConfig(
            **sizes, hidden_act=act, eos_token_id=eos, bos_token_id=end - 1, pad_token_id=end)
        net = randomise(transformers.CLIPTextModelWithProjection(config))
        keep(fixture, case, published(net), lambda padded: net(padded).text_embeds, ids)

    text = CLIPTextCfg(
        context_length=CONTEXT, vocab_size=simple.vocab_size, width=DIM, heads=HEADS, layers=DEPTH, mlp_ratio=2.0)
    vision = CLIPVisionCfg(layers=1, width=8, head_width=4, patch_size=4, image_size=8)
    for case, kind, quick in [("openai", CLIP, True), ("custom", CustomTextCLIP, False)]:
        net = randomise(kind(OUT, vision, text, quick_gelu=quick))
        with torch.no_grad():
            net.logit_scale.fill_(3.5)
            weight = build_zero_shot_classifier(net, simple, CLASSES, [lambda c, t=t: t.format(c) for t in TEMPLATES])
            fixture[f"{case}|head"] = (net.logit_scale.exp() * weight).T
        keep(fixture, case, net.state_dict(), net.encode_text, ids)
    fixture_file.write("mr2-backbones", "clip_text", "clip_text.py", SEED, fixture)


if __name__ == "__main__":
    main()
