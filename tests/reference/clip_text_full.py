"""CLIP's text tower at full size and its tokenizer with OpenAI's vocabulary, for `examples/clip_text_parity`.

Usage: python tests/reference/clip_text_full.py FOLDER
       cargo run --release -p mr2-backbones --example clip_text_parity -- FOLDER
FOLDER gets the vocabulary as open_clip ships it, in transformers' files; texts with their tokens, as open_clip and as
transformers have them; and ViT-B/16's two towers with open_clip's random start, with the features and the zero-shot
head of some texts.
"""

import json
import sys
from pathlib import Path

import open_clip
import torch
import transformers
from open_clip.tokenizer import SimpleTokenizer
from open_clip.zero_shot_classifier import build_zero_shot_classifier
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES
from safetensors.torch import save_file

SEED = 20260402
MORE = [
    "", " ", "Ünïcödé ÀÉÎ õ ø ß", "naïve café cafe\u0301", "日本語のテキスト", "русский текст", "عربى", "한국어", "🐈‍⬛ 👩🏽‍🔬 ✨",
    "it's they're I'd we'll you've I'm don't", "1234567890 3.14159 1e-5", "a\tb\nc   d", "C++ & C# <html> @user #tag $5",
    "snake_case-and-dashes", "x" * 200, "word " * 100, "“quotes” — dashes… ½ № ™", "é" * 90,
]


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    simple = SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(token, token): number for token, number in simple.encoder.items()}
    merges = [" ".join(pair) for pair in sorted(simple.bpe_ranks, key=simple.bpe_ranks.get)]
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    theirs = transformers.CLIPTokenizer(vocab=vocabulary, merges=[tuple(merge.split(" ")) for merge in merges])
    templates = OPENAI_IMAGENET_TEMPLATES
    texts = [templates[i % len(templates)](name) for i, name in enumerate(IMAGENET_CLASSNAMES)] + MORE
    padded = simple(texts).tolist()
    cases = [
        {"text": text, "transformers": ids, "open_clip": row[: row.index(simple.eot_token_id) + 1]}
        for text, ids, row in zip(texts, theirs(texts, truncation=True, max_length=77)["input_ids"], padded)
    ]
    (folder / "texts.json").write_text(json.dumps(cases, ensure_ascii=False))

    model = open_clip.create_model("ViT-B-16-quickgelu", pretrained=None).eval()
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    said = templates[:7]
    (folder / "templates.json").write_text(json.dumps([template("{}") for template in said]))
    (folder / "classes.json").write_text(json.dumps(IMAGENET_CLASSNAMES[:10]))
    with torch.no_grad():
        head = build_zero_shot_classifier(model, simple, IMAGENET_CLASSNAMES[:10], said)
        features = model.encode_text(simple(texts[-24:]))
        expected = {"head": (model.logit_scale.exp() * head).T.contiguous(), "features": features}
    save_file(expected, folder / "expected.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
