"""Expected outputs and gradients of mr2_nn::layers, from PyTorch in float64.

Usage: python tests/reference/nn_layers.py
Inputs, weights and upstream gradients come from the hash generator, rounded to f32 so that both
dtypes can be tested on them. A case is named by its sizes, which the Rust test reads back.
"""

import torch
import torch.nn.functional as F

import fixture_file
from hash_rng import normal_tensor

SEED = 53

# batch, in, out, height, width, kernel, stride, padding, dilation, groups, bias
CONVS = [
    (1, 1, 1, 5, 5, 1, 1, 0, 1, 1, 1),
    (2, 3, 17, 7, 5, 3, 2, 1, 1, 1, 1),
    (1, 17, 3, 6, 6, 3, 1, 1, 1, 1, 0),
    (2, 3, 4, 8, 7, 3, 2, 0, 1, 1, 0),
    (3, 4, 6, 9, 9, 3, 1, 2, 2, 2, 1),
    (1, 3, 16, 11, 9, 7, 2, 3, 1, 1, 1),
    (2, 6, 6, 5, 4, 3, 1, 1, 1, 6, 0),
    (2, 5, 7, 6, 5, 1, 2, 0, 1, 1, 0),
    (2, 4, 8, 3, 3, 1, 1, 0, 1, 2, 1),
    (1, 2, 3, 4, 6, 5, 1, 3, 1, 1, 0),
    (2, 3, 2, 7, 8, 3, 3, 1, 2, 1, 0),
    (2, 2, 2, 3, 3, 1, 1, 1, 1, 1, 1),
    (1, 1, 2, 2, 1, 3, 2, 3, 1, 1, 0),
    (19, 3, 2, 3, 3, 3, 1, 1, 1, 1, 0),
]
# batch, channels, height, width
NORMS = [(2, 1, 3, 3), (1, 3, 5, 4), (4, 17, 3, 2), (2, 16, 4, 4), (3, 33, 1, 2), (19, 2, 3, 3)]
# batch, channels, height, width, kernel, stride, padding
POOLS = [
    (2, 3, 7, 6, 3, 2, 1),
    (1, 1, 5, 5, 2, 2, 0),
    (1, 17, 6, 7, 3, 1, 1),
    (2, 4, 8, 8, 3, 3, 0),
    (1, 2, 5, 4, 2, 1, 1),
    (1, 3, 3, 3, 3, 1, 0),
]


def draw(name, shape):
    return normal_tensor(SEED, name, shape).to(torch.float32).to(torch.float64)


def case_name(kind, sizes):
    return kind + "-" + "-".join(str(size) for size in sizes)


def leaves(case, **shapes):
    return {key: draw(f"{case}.{key}", shape).requires_grad_() for key, shape in shapes.items()}


def record(tensors, case, inputs, out):
    """The output, and the gradients of its sum weighted by upstream numbers."""
    (out * draw(f"{case}.upstream", tuple(out.shape))).sum().backward()
    tensors[f"{case}.out"] = out.detach()
    for key, value in inputs.items():
        tensors[f"{case}.{key}"] = value.grad


def convolutions(tensors):
    for sizes in CONVS:
        batch, ins, outs, height, width, kernel, stride, padding, dilation, groups, bias = sizes
        case = case_name("conv", sizes)
        shapes = dict(x=(batch, ins, height, width), weight=(outs, ins // groups, kernel, kernel))
        if bias:
            shapes["bias"] = (outs,)
        inputs = leaves(case, **shapes)
        settings = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
        out = F.conv2d(inputs["x"], inputs["weight"], inputs.get("bias"), **settings)
        record(tensors, case, inputs, out)


def normalisations(tensors):
    for sizes in NORMS:
        for kind in ("bn", "bn_relu", "bn_add_relu"):
            case = case_name(kind, sizes)
            shapes = dict(x=sizes, weight=sizes[1:2], bias=sizes[1:2])
            if "add" in kind:
                shapes["skip"] = sizes
            inputs = leaves(case, **shapes)
            mean = draw(f"{case}.running_mean", sizes[1:2])
            var = draw(f"{case}.running_var", sizes[1:2]).square() + 0.5
            settings = dict(weight=inputs["weight"], bias=inputs["bias"], momentum=0.1, eps=1e-5)
            finish = lambda y: F.relu(y + inputs.get("skip", 0.0)) if "relu" in kind else y
            fixed = F.batch_norm(inputs["x"], mean, var, training=False, **settings)
            tensors[f"{case}.eval"] = finish(fixed).detach()
            out = F.batch_norm(inputs["x"], mean, var, training=True, **settings)
            record(tensors, case, inputs, finish(out))
            tensors[f"{case}.running_mean"] = mean
            tensors[f"{case}.running_var"] = var


def pooling(tensors):
    for sizes in POOLS:
        shape, (kernel, stride, padding) = sizes[:4], sizes[4:]
        windows = dict(kernel_size=kernel, stride=stride, padding=padding)
        kinds = {
            "max": lambda x: F.max_pool2d(x, **windows),
            "max_ties": lambda x: F.max_pool2d(x, **windows),
            "avg_padded": lambda x: F.avg_pool2d(x, **windows, count_include_pad=True),
            "avg_inside": lambda x: F.avg_pool2d(x, **windows, count_include_pad=False),
        }
        for kind, pool in kinds.items():
            case = case_name(kind, sizes)
            x = draw(f"{case}.x", shape)
            # Whole numbers have many ties within a window.
            x = (x.round() if kind == "max_ties" else x).requires_grad_()
            record(tensors, case, {"x": x}, pool(x))


def heads(tensors):
    inputs = leaves("cosine", x=(4, 5), weight=(3, 5))
    rows, weights = F.normalize(inputs["x"], dim=1), F.normalize(inputs["weight"], dim=1)
    record(tensors, "cosine", inputs, 16.0 * rows @ weights.T)


def residual_net(tensors):
    """Stem, a block, a block with the option-A shortcut: fan-out, and every edge of the graph."""
    shapes = dict(x=(3, 2, 7, 6))
    convs = {"stem": (4, 2), "a1": (4, 4), "a2": (4, 4), "b1": (7, 4), "b2": (7, 7)}
    for name, (outs, ins) in convs.items():
        shapes |= {f"{name}.conv.weight": (outs, ins, 3, 3)}
        shapes |= {f"{name}.bn.weight": (outs,), f"{name}.bn.bias": (outs,)}
    p = leaves("net", **shapes)

    def conv_bn(name, x, stride=1):
        y = F.conv2d(x, p[f"{name}.conv.weight"], stride=stride, padding=1)
        settings = dict(weight=p[f"{name}.bn.weight"], bias=p[f"{name}.bn.bias"], training=True)
        return F.batch_norm(y, None, None, **settings)

    x = F.relu(conv_bn("stem", p["x"]))
    x = F.relu(conv_bn("a2", F.relu(conv_bn("a1", x))) + x)
    shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 2))
    x = F.relu(conv_bn("b2", F.relu(conv_bn("b1", x, stride=2))) + shortcut)
    record(tensors, "net", p, x.mean(dim=(2, 3)))


if __name__ == "__main__":
    parts = {
        "layers_conv": [convolutions],
        "layers_norm": [normalisations],
        "layers_pool": [pooling],
        "layers_net": [heads, residual_net],
    }
    for name, builders in parts.items():
        tensors = {}
        for builder in builders:
            builder(tensors)
        fixture_file.write("mr2-nn", name, "nn_layers.py", SEED, tensors)
