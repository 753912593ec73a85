//! What all vision transformers' names have in common.
use candle_core::{Result, Tensor, bail};

use super::Tensors;

/// Where libraries keep their blocks.
const BLOCKS: [&str; 5] = [
    "blocks.",
    "encoder.layer.",
    "encoder.layers.",
    "layers.",
    "transformer.resblocks.",
];

/// Parts of a block, and what they are called here; `attn.q`, `attn.k` and `attn.v` become `attn.qkv`.
const PARTS: [(&str, &str); 27] = [
    // transformers, as published.
    ("attention.attention.query", "attn.q"),
    ("attention.attention.key", "attn.k"),
    ("attention.attention.value", "attn.v"),
    ("attention.output.dense", "attn.proj"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("layer_scale1.lambda1", "ls1.gamma"),
    ("layer_scale2.lambda1", "ls2.gamma"),
    // transformers, since version 5.
    ("attention.q_proj", "attn.q"),
    ("attention.k_proj", "attn.k"),
    ("attention.v_proj", "attn.v"),
    ("attention.o_proj", "attn.proj"),
    // CLIP in transformers.
    ("self_attn.q_proj", "attn.q"),
    ("self_attn.k_proj", "attn.k"),
    ("self_attn.v_proj", "attn.v"),
    ("self_attn.out_proj", "attn.proj"),
    ("layer_norm1", "norm1"),
    ("layer_norm2", "norm2"),
    // OpenAI.
    ("ln_1", "norm1"),
    ("ln_2", "norm2"),
    ("attn.in_proj_weight", "attn.qkv.weight"),
    ("attn.in_proj_bias", "attn.qkv.bias"),
    ("attn.out_proj", "attn.proj"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
];

/// What is outside of the blocks in transformers' ViT, ViTMAE and DINOv2.
const AROUND: [(&str, &str); 5] = [
    ("embeddings.cls_token", "cls_token"),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("layernorm", "norm"),
    ("classifier", "head"),
];

/// The tensors whose names begin with `prefix`, without it; all of them where none does.
pub(super) fn inside(tensors: Tensors, prefix: &str) -> Tensors {
    if !tensors.keys().any(|name| name.starts_with(prefix)) {
        return tensors;
    }
    let inside = |(name, tensor): (String, Tensor)| {
        let name = name.strip_prefix(prefix)?.to_string();
        Some((name, tensor))
    };
    tensors.into_iter().filter_map(inside).collect()
}

/// All tensors, those whose names begin with `prefix` without it.
pub(super) fn without_prefix(tensors: Tensors, prefix: &str) -> Tensors {
    let bare = |(name, tensor): (String, Tensor)| {
        let name = name.strip_prefix(prefix).unwrap_or(&name).to_string();
        (name, tensor)
    };
    tensors.into_iter().map(bare).collect()
}

/// Whether a name is one of `names`, or begins with one that ends in a dot or an underscore.
pub(super) fn is_one_of(name: &str, names: &[&str]) -> bool {
    names
        .iter()
        .any(|&of| name == of || (of.ends_with(['.', '_']) && name.starts_with(of)))
}

/// Renames as transformers' ViT, ViTMAE and DINOv2 need it; timm's names stay.
pub(super) fn from_transformers(tensors: Tensors) -> Result<Tensors> {
    rename(tensors, &AROUND)
}

/// Renames parts of blocks, and outside of them by `around`; then joins queries, keys and values.
pub(super) fn rename(tensors: Tensors, around: &[(&str, &str)]) -> Result<Tensors> {
    let mut renamed = Tensors::new();
    for (name, tensor) in tensors {
        let new = block(&name).or_else(|| translate(&name, around));
        let new = new.unwrap_or_else(|| name.clone());
        if renamed.insert(new.clone(), tensor).is_some() {
            bail!("weights: {name} and another tensor are both {new}; the file mixes two spellings")
        }
    }
    join(renamed)
}

fn block(name: &str) -> Option<String> {
    let inside = BLOCKS.iter().find_map(|blocks| name.strip_prefix(blocks))?;
    let (number, part) = inside.split_once('.')?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = translate(part, &PARTS).unwrap_or_else(|| part.to_string());
    Some(format!("blocks.{number}.{part}"))
}

/// `name` with its beginning replaced, if the table has it: whole, or up to a dot.
fn translate(name: &str, table: &[(&str, &str)]) -> Option<String> {
    table.iter().find_map(|(from, to)| {
        let rest = name.strip_prefix(from)?;
        (rest.is_empty() || rest.starts_with('.')).then(|| format!("{to}{rest}"))
    })
}

/// Queries, keys and values one after the other, as timm has them.
fn join(mut tensors: Tensors) -> Result<Tensors> {
    let queries = |name: &String| name.contains(".attn.q.").then(|| name.clone());
    let queries: Vec<String> = tensors.keys().filter_map(queries).collect();
    for query in queries {
        let mut parts = Vec::with_capacity(3);
        for part in ["q", "k", "v"] {
            let name = query.replace(".attn.q.", &format!(".attn.{part}."));
            match tensors.remove(&name) {
                Some(tensor) => parts.push(tensor),
                None => bail!(
                    "weights: {query} (query) has no {name} beside it; the file is cut short: get it again"
                ),
            }
        }
        let name = query.replace(".attn.q.", ".attn.qkv.");
        let joined = Tensor::cat(&parts, 0).map_err(|cause| cause.context(name.clone()))?;
        tensors.insert(name, joined);
    }
    Ok(tensors)
}
