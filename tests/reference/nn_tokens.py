"""Expected outputs and gradients of mr2_nn's transformer layers, from PyTorch in float64.

Usage: python tests/reference/nn_tokens.py
Inputs and weights as in nn_layers.py; activations are (batch, features, height, width), a token being a
pixel.
"""

import math

import torch
import torch.nn.functional as F

import fixture_file
from nn_layers import SEED, case_name, leaves, record

# batch, in, out, height, width
LINEARS = [(1, 1, 1, 1, 1), (2, 3, 17, 1, 5), (1, 160, 3, 1, 1), (1, 17, 160, 2, 3)]
# Also many rows, whose products are summed in parts.
PLAIN_LINEARS = [(3, 33, 40, 1, 19), (1, 5, 4, 1, 600)]
ACTIVATIONS = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
}
# batch, features, height, width
NORMS = [(1, 1, 1, 1), (1, 3, 1, 5), (2, 17, 2, 3), (3, 160, 1, 7), (1, 64, 1, 1), (20, 5, 1, 3)]
# batch, heads, features of a head, tokens
ATTENTIONS = [(1, 1, 1, 1), (1, 1, 3, 5), (2, 3, 17, 6), (1, 2, 8, 1), (2, 4, 5, 33), (1, 1, 160, 4)]
# batch, features, height, width
EMBEDDINGS = [(1, 1, 1, 1), (2, 3, 2, 3), (3, 17, 1, 2)]


def linear(inputs):
    x = inputs["x"].movedim(1, -1)
    return F.linear(x, inputs["weight"], inputs.get("bias")).movedim(-1, 1)


def linears(tensors, gelu):
    for sizes in LINEARS + PLAIN_LINEARS:
        batch, ins, outs, height, width = sizes
        shapes = dict(x=(batch, ins, height, width), weight=(outs, ins))
        bias, skip = dict(bias=(outs,)), dict(skip=(batch, outs, height, width))
        kinds = {
            "linear": (bias, lambda y, _: y),
            "linear_plain": ({}, lambda y, _: y),
            "linear_add": (bias | skip, lambda y, inputs: y + inputs["skip"]),
            **{f"linear_{n}": (bias, lambda y, _, f=f: f(y)) for n, f in ACTIVATIONS.items()},
        }
        for kind, (more, finish) in kinds.items():
            if ("gelu" in kind) != gelu or (sizes in PLAIN_LINEARS and kind != "linear"):
                continue
            # Three outputs where a GELU is nearly 0: f32 is measured by the largest output.
            if gelu and sizes == (1, 160, 3, 1, 1):
                continue
            case = case_name(kind, sizes)
            inputs = leaves(case, **shapes, **more)
            record(tensors, case, inputs, finish(linear(inputs), inputs))


def activations(tensors):
    for kind, function in ACTIVATIONS.items():
        case = case_name(kind, (2, 3, 4, 5))
        inputs = leaves(case, x=(2, 3, 4, 5))
        record(tensors, case, inputs, function(inputs["x"]))


def normalisations(tensors):
    for sizes in NORMS:
        case = case_name("layer_norm", sizes)
        inputs = leaves(case, x=sizes, weight=sizes[1:2], bias=sizes[1:2])
        x = inputs["x"].movedim(1, -1)
        out = F.layer_norm(x, sizes[1:2], inputs["weight"], inputs["bias"], eps=1e-6)
        record(tensors, case, inputs, out.movedim(-1, 1))


def scales(tensors):
    for sizes in NORMS:
        case = case_name("layer_scale", sizes)
        inputs = leaves(case, x=sizes, gamma=sizes[1:2], skip=sizes)
        out = inputs["skip"] + inputs["gamma"][:, None, None] * inputs["x"]
        record(tensors, case, inputs, out)


def attentions(tensors):
    """Written out, with the order of heads of timm's fused weight."""
    for sizes in ATTENTIONS:
        batch, heads, features, tokens = sizes
        for kind in ("attention", "attention_causal"):
            case = case_name(kind, sizes)
            inputs = leaves(case, x=(batch, 3 * heads * features, 1, tokens))
            qkv = inputs["x"][:, :, 0].transpose(1, 2).reshape(batch, tokens, 3, heads, features)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            scores = q @ k.transpose(-1, -2) / math.sqrt(features)
            if kind == "attention_causal":
                unseen = torch.ones(tokens, tokens).triu(1).bool()
                scores = scores.masked_fill(unseen, -math.inf)
            out = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, heads * features)
            record(tensors, case, inputs, out.transpose(1, 2)[:, :, None])


def embeddings(tensors):
    for sizes in EMBEDDINGS:
        batch, features, height, width = sizes
        for kind in ("embedding", "embedding_class"):
            case = case_name(kind, sizes)
            prefix = int(kind == "embedding_class")
            shapes = dict(x=sizes, pos_embed=(1, height * width + prefix, features))
            if prefix:
                shapes["cls_token"] = (1, 1, features)
            inputs = leaves(case, **shapes)
            x = inputs["x"].flatten(2).transpose(1, 2)
            if prefix:
                x = torch.cat([inputs["cls_token"].expand(batch, -1, -1), x], dim=1)
            x = x + inputs["pos_embed"]
            record(tensors, case, inputs, x.transpose(1, 2)[:, :, None])


if __name__ == "__main__":
    parts = {
        "tokens_linear": [lambda tensors: linears(tensors, gelu=False)],
        "tokens_gelu": [lambda tensors: linears(tensors, gelu=True), activations],
        "tokens_norm": [normalisations],
        "tokens_scale": [scales],
        "tokens_attention": [attentions],
        "tokens_embedding": [embeddings],
    }
    for name, builders in parts.items():
        tensors = {}
        for builder in builders:
            builder(tensors)
        fixture_file.write("mr2-nn", name, "nn_tokens.py", SEED, tensors)
