//! Compares CLIP's full-size text tower and its tokenizer with open_clip's and transformers'; see
//! `tests/reference/clip_text_full.py`, which writes the folder that this reads.
#![allow(clippy::print_stdout)] // a program
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use mr2_backbones::clip_text::weights::{Unseen, config_of};
use mr2_backbones::clip_text::{ClipText, Template, Tokenizer, zero_shot_head};
use mr2_backbones::weights::keys::Family;
use mr2_backbones::weights::{fit, read};
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::layers::Activation;
use mr2_nn::params::ParamStore;
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("usage: clip_text_parity FOLDER")?;
    let folder = PathBuf::from(folder);
    let tokenizer = Tokenizer::read(&folder)?;
    let texts = tokens(&tokenizer, &folder)?;

    let tensors = Family::ClipText.to_ours(read(&folder.join("model.safetensors"))?.tensors)?;
    let unseen = Unseen {
        heads: None,
        activation: Activation::QuickGelu,
        eps: 1e-5,
    };
    let net = config_of(&tensors, unseen)?;
    let store = ParamStore::zeros(DType::F32, &Device::Cpu);
    let tower = ClipText::new(&net, store.var_builder())?;
    fit(&store, tensors, &[])?;
    let cx = Ctx::new(&Device::Cpu, DType::F32, Mode::Eval)?;
    let expected =
        candle_core::safetensors::load(folder.join("expected.safetensors"), &Device::Cpu)?;
    println!("{net:?}");

    let last = expected["features"].dim(0)?;
    let ids = &texts[texts.len() - last..];
    difference(
        "features",
        &tower.features(&cx, ids)?,
        &expected["features"],
    )?;
    let list = |name: &str| -> Result<Vec<String>> {
        Ok(serde_json::from_slice(&std::fs::read(folder.join(name))?)?)
    };
    let templates = list("templates.json")?;
    let templates: Vec<Template> = templates
        .iter()
        .map(|text| Template::new(text))
        .collect::<std::result::Result<_, _>>()?;
    let classes = list("classes.json")?;
    let start = Instant::now();
    let head = zero_shot_head(&cx, &tower, &tokenizer, &classes, &templates)?;
    let seconds = start.elapsed().as_secs_f64();
    let count = classes.len() * templates.len();
    println!("{count} texts in {seconds:.2} s");
    difference("head", &head, &expected["head"])
}

/// Our tokens of all texts, compared with those of both libraries.
fn tokens(tokenizer: &Tokenizer, folder: &Path) -> Result<Vec<Vec<u32>>> {
    let cases: Value = serde_json::from_slice(&std::fs::read(folder.join("texts.json"))?)?;
    let cases = cases.as_array().ok_or("texts.json: expected a list")?;
    let mut all = Vec::new();
    let mut equal = [0; 2];
    for case in cases {
        let text = case["text"].as_str().ok_or("texts.json: expected texts")?;
        let ids = tokenizer.encode(text, 77)?;
        for (library, equal) in ["transformers", "open_clip"].iter().zip(&mut equal) {
            match case[library] == serde_json::json!(ids) {
                true => *equal += 1,
                false => println!("not {library}'s tokens: {text:?}"),
            }
        }
        all.push(ids);
    }
    let count = cases.len();
    println!(
        "tokens of {count} texts: as transformers {}, as open_clip {}",
        equal[0], equal[1]
    );
    Ok(all)
}

fn difference(what: &str, actual: &Tensor, expected: &Tensor) -> Result<()> {
    let largest = |tensor: &Tensor| tensor.abs()?.max_all()?.to_scalar::<f32>();
    let relative = largest(&(actual - expected)?)? / largest(expected)?;
    println!("{what}: largest difference {relative:.1e} of the largest element");
    Ok(())
}
