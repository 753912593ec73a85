//! CLIP's text towers, tokenizer and zero-shot heads against transformers' and open_clip's own code at reduced size
//! (`tests/reference/clip_text.py`).
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use mr2_backbones::clip_text::weights::{Unseen, config_of};
use mr2_backbones::clip_text::{ClipText, ClipTextConfig, Template, Tokenizer, zero_shot_head};
use mr2_backbones::pretrained::{Feature, Files, Request, find, open_text};
use mr2_backbones::weights::keys::Family;
use mr2_backbones::weights::{Tensors, fit};
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::layers::Activation;
use mr2_nn::params::ParamStore;
use serde_json::Value;

/// Two blocks in f32 on both sides; of the largest element.
const F32: f64 = 1e-5;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn fixture() -> HashMap<String, Tensor> {
    let path = fixtures().join("clip_text.safetensors");
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn published(fixture: &HashMap<String, Tensor>, case: &str) -> Tensors {
    let own = |(name, tensor): (&String, &Tensor)| {
        let name = name.strip_prefix(&format!("{case}/"))?;
        Some((name.to_string(), tensor.clone()))
    };
    Family::ClipText
        .to_ours(fixture.iter().filter_map(own).collect())
        .unwrap()
}

fn tower(tensors: Tensors, activation: Activation) -> (ClipText, Ctx) {
    let unseen = Unseen {
        heads: Some(3),
        activation,
        eps: 1e-5,
    };
    let net = config_of(&tensors, unseen).unwrap();
    let store = ParamStore::new(0, DType::F32, &Device::Cpu);
    let tower = ClipText::new(&net, store.var_builder()).unwrap();
    fit(&store, tensors, &["logit_scale".to_string()]).unwrap();
    let cx = Ctx::new(&Device::Cpu, DType::F32, Mode::Eval).unwrap();
    (tower, cx)
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.to_dtype(DType::F64).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn check(what: &str, actual: &Tensor, expected: &Tensor) {
    assert_eq!(actual.dims(), expected.dims(), "{what}");
    let (actual, expected) = (numbers(actual), numbers(expected));
    let largest = expected.iter().fold(0f64, |a, b| a.max(b.abs()));
    for (i, (a, e)) in actual.iter().zip(&expected).enumerate() {
        assert!(
            (a - e).abs() <= F32 * largest,
            "{what}[{i}]: {a} instead of {e}"
        );
    }
}

fn ids(tensor: &Tensor) -> Vec<Vec<u32>> {
    tensor.to_dtype(DType::U32).unwrap().to_vec2().unwrap()
}

const CASES: [(&str, Activation); 4] = [
    ("hf", Activation::QuickGelu),
    ("hf-argmax", Activation::Gelu),
    ("openai", Activation::QuickGelu),
    ("custom", Activation::Gelu),
];

#[test]
fn towers_give_their_features_however_texts_are_padded() {
    let fixture = fixture();
    for (case, activation) in CASES {
        let (tower, cx) = tower(published(&fixture, case), activation);
        for padding in ["zeros", "ends"] {
            let texts = ids(&fixture[&format!("ids|{padding}")]);
            let what = format!("{case}|{padding}");
            check(
                &what,
                &tower.features(&cx, &texts).unwrap(),
                &fixture[&what],
            );
            // One by one none of them is padded.
            for (row, text) in texts.iter().enumerate() {
                let alone = tower.features(&cx, std::slice::from_ref(text)).unwrap();
                let expected = fixture[&what].narrow(0, row, 1).unwrap();
                check(&format!("{what}, text {row}"), &alone, &expected);
            }
        }
    }
}

#[test]
fn both_kinds_of_tokenizer_files_give_transformers_tokens() {
    let folder = fixtures().join("clip_tokenizer");
    let parts = tempfile::tempdir().unwrap();
    for name in ["vocab.json", "merges.txt"] {
        fs::copy(folder.join(name), parts.path().join(name)).unwrap();
    }
    let cases: Value =
        serde_json::from_slice(&fs::read(folder.join("texts.json")).unwrap()).unwrap();
    let cases = cases.as_array().unwrap();
    let mut as_open_clip = 0;
    for tokenizer in [&folder, parts.path()].map(|folder| Tokenizer::read(folder).unwrap()) {
        for case in cases {
            let text = case["text"].as_str().unwrap();
            let found = tokenizer.encode(text, 12).unwrap();
            assert_eq!(serde_json::json!(found), case["ids"], "{text:?}");
            as_open_clip += usize::from(case["ids"] == case["open_clip"]);
        }
    }
    // But for ligatures, which ftfy undoes, and the names of special tokens.
    assert_eq!(as_open_clip, 2 * (cases.len() - 2));
}

#[test]
fn a_text_that_is_too_long_keeps_its_end() {
    let tokenizer = Tokenizer::read(&fixtures().join("clip_tokenizer")).unwrap();
    let whole = tokenizer.encode("the cat the dog", 77).unwrap();
    assert_eq!(whole.len(), 6);
    let cut = tokenizer.encode("the cat the dog", 4).unwrap();
    assert_eq!(cut, [whole[0], whole[1], whole[2], tokenizer.end()]);
    assert_eq!(tokenizer.encode("the", 2).unwrap(), [whole[0], whole[5]]);
    let error = tokenizer.encode("the", 1).unwrap_err().to_string();
    assert!(error.contains("no room for a text"), "{error}");
}

#[test]
fn heads_of_texts_equal_open_clips() {
    let fixture = fixture();
    let tokenizer = Tokenizer::read(&fixtures().join("clip_tokenizer")).unwrap();
    let classes = ["cat", "dog", "thing"].map(String::from);
    let templates = ["a photo of a {}.", "the {}", "{}"].map(|text| Template::new(text).unwrap());
    for (case, activation) in [CASES[2], CASES[3]] {
        let (tower, cx) = tower(published(&fixture, case), activation);
        assert!((tower.logit_factor().unwrap() - 3.5f64.exp()).abs() < 1e-5);
        let head = zero_shot_head(&cx, &tower, &tokenizer, &classes, &templates).unwrap();
        check(case, &head, &fixture[&format!("{case}|head")]);
    }
}

#[track_caller]
fn says<T, E: std::fmt::Display>(result: Result<T, E>, text: &str) {
    let Err(error) = result else {
        panic!("no error, expected: {text}");
    };
    let message = error.to_string();
    assert!(message.contains(text), "{message}");
}

/// A folder as the Hub has it: weights, what the tokenizer is read from, and a configuration.
fn repository(case: &str, config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let prefix = format!("{case}/");
    let own = |(name, tensor): (String, Tensor)| {
        let name = name.strip_prefix(&prefix)?;
        Some((name.to_string(), tensor))
    };
    let tensors: HashMap<String, Tensor> = fixture().into_iter().filter_map(own).collect();
    let path = |name: &str| folder.path().join(name);
    candle_core::safetensors::save(&tensors, path("model.safetensors")).unwrap();
    let tokenizer = fixtures().join("clip_tokenizer/tokenizer.json");
    fs::copy(tokenizer, path("tokenizer.json")).unwrap();
    fs::write(path("config.json"), config).unwrap();
    folder
}

#[test]
fn the_text_tower_of_a_folder_is_as_its_configuration_says() {
    let config = r#"{"text_config": {"hidden_act": "quick_gelu", "num_attention_heads": 3}, "vision_config": {}}"#;
    let folder = repository("openai", config);
    let files = Files::local(folder.path());
    let request = |name: &str| Request {
        entry: find(name).unwrap(),
        image_size: None,
        feature: Feature::Published,
        activation: None,
        positions: None,
        allow_missing: &[],
        classes: 1,
    };
    let open = |name: &str, files: &Files| open_text(&request(name), files, None, &Device::Cpu);
    let text = open("clip-vit-b-16", &files).unwrap();
    let fixture = fixture();
    let cx = Ctx::new(&Device::Cpu, DType::F32, Mode::Eval).unwrap();
    let features = text
        .network
        .features(&cx, &ids(&fixture["ids|zeros"]))
        .unwrap();
    check("opened", &features, &fixture["openai|zeros"]);
    assert_eq!(text.tokenizer.end(), 532);

    let other = Request {
        activation: Some(Activation::Gelu),
        ..request("clip-vit-b-16")
    };
    says(
        open_text(&other, &files, None, &Device::Cpu),
        "leave --activation out",
    );
    says(open("resnet50", &files), "it has no text tower");
    let alone = folder.path().join("clip.safetensors");
    fs::copy(folder.path().join("model.safetensors"), &alone).unwrap();
    let alone = Files::local(&alone);
    says(
        open("clip-vit-b-16", &alone),
        "name the folder of its tokenizer.json",
    );
    fs::remove_file(&alone.weights).unwrap();
    fs::write(folder.path().join("config.json"), "{}").unwrap();
    says(open("clip-vit-b-16", &files), "give --activation");
    let tower = repository("hf", config);
    says(
        open("clip-vit-b-16", &Files::local(tower.path())),
        "logit_scale",
    );
}

#[test]
fn texts_that_are_not_for_this_tower_are_named() {
    let fixture = fixture();
    let (tower, cx) = tower(published(&fixture, "openai"), Activation::QuickGelu);
    let of = |texts: &[Vec<u32>]| tower.features(&cx, texts);
    says(of(&[]), "there is no text");
    says(of(&[vec![1, 532], vec![]]), "text 1 has no tokens");
    says(
        of(&[vec![533]]),
        "text 0 has token 533, the weights' vocabulary only 533",
    );
    let long: Vec<u32> = (0..13).collect();
    says(of(&[long]), "text 0 has 13 tokens, the weights take 12");
    says(Template::new("a photo"), "has no {} for the class");
    let tokenizer = Tokenizer::read(&fixtures().join("clip_tokenizer")).unwrap();
    says(
        zero_shot_head(&cx, &tower, &tokenizer, &["cat".to_string()], &[]),
        "expected classes and templates, got 1 and 0",
    );
}

#[test]
fn weights_without_a_text_tower_and_wrong_sizes_are_named() {
    let fixture = fixture();
    let unseen = Unseen {
        heads: None,
        activation: Activation::Gelu,
        eps: 1e-5,
    };
    says(
        config_of(&Tensors::new(), unseen),
        "there is no token_embedding.weight; the file has no text tower",
    );
    let mut tensors = published(&fixture, "openai");
    let heads = Unseen {
        heads: Some(5),
        ..unseen
    };
    says(config_of(&tensors, heads), "heads 5 must divide dim 12");
    let net: ClipTextConfig = config_of(&tensors, unseen).unwrap();
    assert_eq!((net.vocabulary, net.context, net.depth), (533, 12, 2));
    let flat = tensors["positional_embedding"].flatten_all().unwrap();
    tensors.insert("positional_embedding".to_string(), flat);
    says(
        config_of(&tensors, unseen),
        "positional_embedding: expected 2 dimensions, got [144]",
    );
}

#[test]
fn damaged_tokenizers_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let read = || Tokenizer::read(folder.path());
    says(read(), "holds no tokenizer");
    fs::write(path("merges.txt"), "a b\n").unwrap();
    fs::write(path("vocab.json"), "{\"a\": 0").unwrap();
    says(read(), "vocab.json: not valid JSON");
    fs::write(path("vocab.json"), r#"{"a": 0, "<|startoftext|>": 1}"#).unwrap();
    says(read(), "vocab.json: its vocabulary lacks <|endoftext|>");
    let vocabulary = r#"{"a": 0, "<|startoftext|>": 1, "<|endoftext|>": 2}"#;
    fs::write(path("vocab.json"), vocabulary).unwrap();
    says(read(), "vocab.json: not a tokenizer");
    let whole = fs::read(fixtures().join("clip_tokenizer/tokenizer.json")).unwrap();
    for length in (0..whole.len()).step_by(101) {
        fs::write(path("tokenizer.json"), &whole[..length]).unwrap();
        // A file that ends within a character isn't even text.
        says(read(), "tokenizer.json: ");
    }
    // Other bytes give other tokens or an error, no panic.
    for place in (0..whole.len()).step_by(37) {
        let mut other = whole.clone();
        other[place] = b'7';
        fs::write(path("tokenizer.json"), other).unwrap();
        if let Ok(tokenizer) = read() {
            let _ = tokenizer.encode("a photo of the cat's 100 dogs", 12);
        }
    }
}
