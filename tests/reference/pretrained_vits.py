"""Vision transformers of timm, transformers and open_clip at reduced size, in the spelling that each publishes:
checkpoints, and the features of images of two sizes. And positions for other grids, by each library's own function.

Usage: python tests/reference/pretrained_vits.py
Random weights, every bias, normalisation and LayerScale among them; f32, as published files are.
"""

import copy
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers
from open_clip.model import CLIP, resize_pos_embed
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer

import fixture_file

SEED = 20260301
PATCH, DIM, DEPTH, HEADS, OUT = 4, 24, 2, 3, 10
SIDES = (16, 24)
HF = dict(
    hidden_size=DIM, num_hidden_layers=DEPTH, num_attention_heads=HEADS, intermediate_size=48, image_size=SIDES[0],
    patch_size=PATCH, attn_implementation="eager",
)
TIMM = dict(img_size=SIDES[0], patch_size=PATCH, embed_dim=DIM, depth=DEPTH, num_heads=HEADS, mlp_ratio=2.0)
TEXT = dict(context_length=6, vocab_size=12, width=8, heads=2, layers=1)
HF_TEXT = dict(
    hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=12,
    max_position_embeddings=6, bos_token_id=0, eos_token_id=1,
)


def randomise(net):
    """Weights large enough that every one of them moves the features."""
    for name, parameter in net.named_parameters():
        draw = torch.randn(parameter.shape)
        with torch.no_grad():
            if parameter.dim() > 1 and "token" not in name and "pos" not in name:
                parameter.copy_(draw * (1.5 / parameter[0].numel()) ** 0.5)
            elif parameter.dim() == 1 and name.endswith(("weight", "gamma", "lambda1")):
                parameter.copy_(1 + 0.3 * draw)
            else:
                parameter.copy_(0.5 * draw)
    return net.eval()


def images(side):
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side))


def keep(fixture, case, checkpoint, features):
    """Tensors as `case/name`, and what `features` of images and their side gives as `case|kind|side`."""
    for name, tensor in checkpoint.items():
        fixture[f"{case}/{name}"] = tensor.clone().contiguous()
    for side in SIDES:
        with torch.no_grad():
            for kind, tensor in features(images(side), side).items():
                fixture[f"{case}|{kind}|{side}"] = tensor


def published(net):
    """What `save_pretrained` writes: the spelling of the Hub, whatever the modules are called in memory."""
    with tempfile.TemporaryDirectory() as folder:
        net.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors")


def from_transformers(fixture):
    net = randomise(transformers.ViTForImageClassification(transformers.ViTConfig(**HF, num_labels=5)))

    def run(x, side):
        hidden = net.vit(x, interpolate_pos_encoding=True).last_hidden_state
        return {"class": hidden[:, 0], "logits": net(x, interpolate_pos_encoding=True).logits}

    keep(fixture, "vit-hf", published(net), run)
    keep(fixture, "vit-hf-memory", net.state_dict(), run)
    net = randomise(transformers.ViTModel(transformers.ViTConfig(**HF)))
    keep(fixture, "vit-hf-pooler", published(net), lambda x, side: {
        "class": net(x, interpolate_pos_encoding=True).last_hidden_state[:, 0]})

    config = transformers.ViTMAEConfig(
        **HF, decoder_hidden_size=8, decoder_num_hidden_layers=1, decoder_num_attention_heads=2,
        decoder_intermediate_size=8, mask_ratio=0.0,
    )
    mae = randomise(transformers.ViTMAEForPreTraining(config))

    def run_mae(x, side):
        # Without masking tokens are still shuffled: increasing noise keeps their order.
        noise = torch.arange((side // PATCH) ** 2, dtype=torch.float32).expand(len(x), -1)
        out = mae.vit(x, noise=noise, interpolate_pos_encoding=True)
        return {"class": out.last_hidden_state[:, 0]}

    keep(fixture, "mae-hf", published(mae), run_mae)

    vision = dict(HF, hidden_act="quick_gelu")
    config = transformers.CLIPConfig(vision_config=vision, text_config=HF_TEXT, projection_dim=OUT)
    clip = randomise(transformers.CLIPModel(config))
    with_ids = published(clip)
    with_ids["vision_model.embeddings.position_ids"] = torch.arange(17)[None]

    def run_clip(x, side):
        pooled = clip.vision_model(x, interpolate_pos_encoding=True).pooler_output
        return {"class": pooled, "projected": clip.visual_projection(pooled)}

    keep(fixture, "clip-hf", with_ids, run_clip)
    config = transformers.CLIPVisionConfig(**dict(HF, hidden_act="gelu"), projection_dim=OUT)
    tower = randomise(transformers.CLIPVisionModelWithProjection(config))
    keep(fixture, "clip-hf-tower", published(tower), lambda x, side: {
        "projected": tower(x, interpolate_pos_encoding=True).image_embeds})

    config = transformers.Dinov2Config(**HF, mlp_ratio=2, num_labels=5)
    dino = randomise(transformers.Dinov2ForImageClassification(config))

    def run_dino(x, side):
        hidden = dino.dinov2(x).last_hidden_state
        return {"class": hidden[:, 0], "logits": dino(x).logits,
                "concatenated": torch.cat([hidden[:, 0], hidden[:, 1:].mean(1)], 1)}

    keep(fixture, "dinov2-hf", published(dino), run_dino)


def resized(net, side, resample):
    """A timm net for images of `side`, with the weights of `net` and its positions resampled."""
    if side == SIDES[0]:
        return net
    state = net.state_dict()
    state["pos_embed"] = resample(state["pos_embed"], side // PATCH)
    other = copy.deepcopy(net)
    other.set_input_size(img_size=side)
    other.load_state_dict(state)
    return other


def timm_case(fixture, case, settings, run, resample=None, rename=lambda name: name, more={}):
    net = randomise(VisionTransformer(**(TIMM | settings)))
    resample = resample or (lambda pos, n: resample_abs_pos_embed(pos, [n, n]))
    checkpoint = {rename(name): tensor.clone() for name, tensor in net.state_dict().items()}
    keep(fixture, case, checkpoint | more, lambda x, side: run(resized(net, side, resample), x))


def by_size(pos, n):
    """MAE's util/pos_embed.py: bicubic, to a size, without antialias."""
    side = int((pos.shape[1] - 1) ** 0.5)
    patches = pos[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    patches = F.interpolate(patches, size=(n, n), mode="bicubic", align_corners=False)
    return torch.cat([pos[:, :1], patches.permute(0, 2, 3, 1).flatten(1, 2)], 1)


def by_factor(pos, n):
    """DINOv2's vision_transformer.py: bicubic, by a factor that is a little more than the new size needs."""
    side = int((pos.shape[1] - 1) ** 0.5)
    patches = pos[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    factor = float(n + 0.1) / side
    patches = F.interpolate(patches, scale_factor=(factor, factor), mode="bicubic")
    assert patches.shape[-2:] == (n, n)
    return torch.cat([pos[:, :1], patches.permute(0, 2, 3, 1).flatten(1, 2)], 1)


def pooled(net, x):
    return net.forward_head(net.forward_features(x), pre_logits=True)


def last_blocks(net, x):
    """The features of DINOv2's linear evaluation, from the last two blocks."""
    tokens = net.forward_intermediates(x, indices=2, norm=True, return_prefix_tokens=True, output_fmt="NLC",
                                       intermediates_only=True)
    classes = [prefix[:, 0] for _, prefix in tokens]
    patches = tokens[-1][0].mean(1)
    return {"class": pooled(net, x), "blocks": torch.cat(classes, 1), "blocks-mean": torch.cat([*classes, patches], 1)}


def from_timm(fixture):
    def with_logits(net, x):
        return {"class": pooled(net, x), "logits": net(x)}

    timm_case(fixture, "vit-timm", dict(num_classes=5), with_logits)
    # MAE's own files: {"model": ...}, and decoder_* in those that draw pictures.
    decoder = {"model.mask_token": torch.randn(1, 1, 8), "model.decoder_pos_embed": torch.randn(1, 17, 8),
               "model.decoder_blocks.0.norm1.weight": torch.randn(8)}
    prefixed = lambda name: f"model.{name}"
    timm_case(fixture, "mae-original", dict(num_classes=0), lambda net, x: {"class": pooled(net, x)},
              resample=by_size, rename=prefixed, more=decoder)

    def mean(net, x):
        """As MAE is fine-tuned, before its first step: no norm, the mean of the patches, a fresh fc_norm."""
        net.norm = torch.nn.Identity()
        return {"mean": F.layer_norm(net.forward_features(x)[:, 1:].mean(1), (DIM,), eps=1e-6)}

    timm_case(fixture, "mae-mean", dict(num_classes=0), mean, resample=by_size, rename=prefixed)
    clip = dict(pre_norm=True, act_layer="quick_gelu", norm_layer=lambda n, **_: torch.nn.LayerNorm(n, eps=1e-5))

    def projection(net, x):
        net.head.bias.data.zero_()
        return {"class": pooled(net, x), "projected": net(x)}

    timm_case(fixture, "clip-timm", clip | dict(num_classes=OUT), projection,
              more={"head.bias": torch.zeros(OUT)})
    timm_case(fixture, "dinov2-meta", dict(init_values=1e-5, num_classes=0), last_blocks, resample=by_factor,
              more={"mask_token": torch.randn(1, DIM)})


def from_open_clip(fixture):
    for case, quick in [("clip-open", False), ("clip-openai", True)]:
        vision = dict(image_size=SIDES[0], layers=DEPTH, width=DIM, head_width=DIM // HEADS, patch_size=PATCH, mlp_ratio=2.0)
        net = randomise(CLIP(OUT, vision, TEXT, quick_gelu=quick))
        checkpoint = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        if quick:
            # What OpenAI's archives hold besides.
            for name in ("input_resolution", "context_length", "vocab_size"):
                checkpoint[name] = torch.tensor(1)

        def run(x, side):
            other = net
            if side != SIDES[0]:
                other = CLIP(OUT, vision | dict(image_size=side), TEXT, quick_gelu=quick).eval()
                state = net.state_dict()
                resize_pos_embed(state, other)
                other.load_state_dict(state)
            projected = other.encode_image(x)
            proj, other.visual.proj = other.visual.proj, None
            before = other.encode_image(x)
            other.visual.proj = proj
            return {"class": before, "projected": projected}

        keep(fixture, case, checkpoint, run)


def gradients(fixture):
    """One pass of training through the quick GELU, LayerScale and the norm before the blocks, in float64."""
    net = VisionTransformer(**TIMM, num_classes=5, pre_norm=True, act_layer="quick_gelu", init_values=0.1,
                            norm_layer=lambda n, **_: torch.nn.LayerNorm(n, eps=1e-5))
    randomise(net).double()
    for name, tensor in net.state_dict().items():
        fixture[f"training/{name}"] = tensor.clone()
    upstream = torch.randn(2, 5).double()
    (net(images(SIDES[0]).double()) * upstream).sum().backward()
    fixture["training|upstream|16"] = upstream
    for name, parameter in net.named_parameters():
        fixture[f"training|gradient {name}|16"] = parameter.grad


def positions():
    """Up and down, with ratios that aren't whole, in each library's way."""
    fixture = {}
    # A learned embedding is smooth: a walk along the rows and one along the columns.
    for old, news in [(7, (4, 5, 7, 12)), (14, (9, 16, 24))]:
        steps = torch.randn(2, old, 6).cumsum(1)
        grid = steps[0][:, None] + steps[1][None] + 0.2 * torch.randn(old, old, 6)
        pos = torch.cat([torch.randn(1, 1, 6), grid.reshape(1, -1, 6)], 1)
        fixture[f"{old}"] = pos
        config = dict(HF, hidden_size=6, num_attention_heads=1, patch_size=1, image_size=old)
        tower = transformers.models.vit.modeling_vit.ViTEmbeddings(transformers.ViTConfig(**config))
        tower.position_embeddings.data = pos
        for new in news:
            tokens = torch.zeros(1, new * new + 1, 6)
            visual = type("Visual", (), {"grid_size": (new, new)})
            state = {"visual.positional_embedding": pos[0].clone()}
            resize_pos_embed(state, type("Model", (), {"visual": visual}))
            ways = {
                "transformers": tower.interpolate_pos_encoding(tokens, new, new),
                "timm": resample_abs_pos_embed(pos, [new, new]),
                "open_clip": state["visual.positional_embedding"][None],
                "mae": pos if old == new else by_size(pos, new),
                "meta": pos if old == new else by_factor(pos, new),
            }
            for way, tensor in ways.items():
                fixture[f"{old} {new} {new} {way}"] = tensor
        fixture[f"{old} 5 9 timm"] = resample_abs_pos_embed(pos, [5, 9])
        tokens = torch.zeros(1, 46, 6)
        fixture[f"{old} 5 9 transformers"] = tower.interpolate_pos_encoding(tokens, 5, 9)
    return fixture


if __name__ == "__main__":
    torch.manual_seed(SEED)
    for part in (from_transformers, from_timm, from_open_clip, gradients):
        tensors = {}
        part(tensors)
        groups = {}
        for name, tensor in tensors.items():
            family = name.replace("|", "/").split("/")[0].split("-")[0]
            groups.setdefault(f"pretrained_{part.__name__}_{family}", {})[name] = tensor
        for name, group in groups.items():
            for side in SIDES:
                group[f"images|{side}"] = images(side)
            fixture_file.write("mr2-backbones", name, "pretrained_vits.py", SEED, group)
    fixture_file.write("mr2-backbones", "positions", "pretrained_vits.py", SEED, positions())
