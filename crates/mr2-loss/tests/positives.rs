//! Which samples a sample is drawn to: all of the batch, some of them, or those of a memory too.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};
use mr2_loss::{
    ClassCount, ExponentScale, FeatureMemory, Mr2Config, Pairs, Positives, Preset, Reduction,
    Target, exact, mr2, mr2_with_memory, reduce, reduce_with_memory, representation_margin,
    representation_margin_at_most, representation_margin_with_memory,
};
use mr2_stats::Centre;

const CPU: &Device = &Device::Cpu;
const CLASSES: usize = 9;
const SCALE: ExponentScale = ExponentScale::Constant(7.0);

fn fixture() -> HashMap<String, Tensor> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/positives.safetensors"
    );
    candle_core::safetensors::load(path, CPU).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let tensor = tensor.to_dtype(DType::F64).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn threshold() -> Tensor {
    Tensor::new(2f64, CPU).unwrap()
}

#[track_caller]
fn check(what: &str, actual: &Tensor, expected: &Tensor) {
    let tolerance = match actual.dtype() {
        DType::F64 => 1e-11,
        _ => 1e-5,
    };
    let (actual, expected) = (numbers(actual), numbers(expected));
    assert_eq!(actual.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0f64, |a, b| a.max(b.abs()));
    for (i, (a, e)) in actual.iter().zip(&expected).enumerate() {
        let allowed = tolerance * e.abs().max(1e-2 * largest);
        assert!((a - e).abs() <= allowed, "{what}[{i}]: {a} instead of {e}");
    }
}

/// The gradient of the losses' sum, each with a weight of its own.
fn gradient(losses: &Tensor, features: &Var) -> Tensor {
    let count = losses.elem_count() as f64;
    let weights = Tensor::arange(1.0, count + 1.0, CPU).unwrap();
    let weighted = (losses * weights.to_dtype(losses.dtype()).unwrap()).unwrap();
    let grads = weighted.sum_all().unwrap().backward().unwrap();
    grads.get(features).unwrap().clone()
}

/// The batches of the fixture.
fn batches(fixture: &HashMap<String, Tensor>, dtype: DType) -> Vec<(Var, Pairs)> {
    let batch = |place| {
        let features = fixture["features"].get(place).unwrap();
        let labels: Vec<u32> = fixture["labels"].get(place).unwrap().to_vec1().unwrap();
        let features = Var::from_tensor(&features.to_dtype(dtype).unwrap()).unwrap();
        (features, Pairs::new(&labels, CLASSES).unwrap())
    };
    (0..fixture["features"].dims()[0]).map(batch).collect()
}

#[test]
fn at_most_n_positives_are_those_next_in_the_cycle_and_count_for_all() {
    let fixture = fixture();
    for dtype in [DType::F64, DType::F32] {
        for (place, (features, pairs)) in batches(&fixture, dtype).iter().enumerate() {
            for most in [1, 2, 3, 6, 20] {
                let losses =
                    representation_margin_at_most(features, pairs, most, &threshold(), SCALE);
                let losses = losses.unwrap();
                let key = format!("at_most.{most}.{place}");
                check(&key, &losses, &fixture[&key]);
                let key = format!("{key}.grad");
                check(&key, &gradient(&losses, features), &fixture[&key]);
            }
        }
    }
}

#[test]
fn a_memory_gives_the_newest_samples_before_the_batch() {
    let fixture = fixture();
    for dtype in [DType::F64, DType::F32] {
        for capacity in [5, 17, 40, 200] {
            let mut memory = FeatureMemory::new(capacity, CLASSES, 6, dtype, CPU).unwrap();
            for (place, (features, pairs)) in batches(&fixture, dtype).iter().enumerate() {
                memory.push(features, pairs).unwrap();
                assert_eq!(memory.len(), capacity.min(17 * place));
                let losses = representation_margin_with_memory(
                    features,
                    pairs,
                    &memory,
                    &threshold(),
                    SCALE,
                );
                let losses = losses.unwrap();
                let key = format!("memory.{capacity}.{place}");
                check(&key, &losses, &fixture[&key]);
                let reduction = Reduction::ClassMean(ClassCount::Data);
                let reduced = reduce_with_memory(&losses, pairs, &memory, 6, reduction);
                let reduced_key = format!("{key}.class_mean");
                check(&reduced_key, &reduced.unwrap(), &fixture[&reduced_key]);
                let key = format!("{key}.grad");
                check(&key, &gradient(&losses, features), &fixture[&key]);
            }
        }
    }
}

#[test]
fn with_enough_positives_for_every_class_the_bits_are_those_of_all() {
    let fixture = fixture();
    for (features, pairs) in batches(&fixture, DType::F32) {
        let all = representation_margin(&features, &pairs, &threshold(), SCALE).unwrap();
        let most = pairs.counts().iter().max().copied().unwrap() as usize - 1;
        let some = representation_margin_at_most(&features, &pairs, most, &threshold(), SCALE);
        let some = some.unwrap();
        assert_eq!(numbers(&all), numbers(&some));
        let gradients = [&all, &some].map(|losses| numbers(&gradient(losses, &features)));
        assert_eq!(gradients[0], gradients[1]);
    }
}

#[test]
fn over_the_shifts_of_the_others_the_sum_over_the_drawn_ones_averages_to_the_full_sum() {
    let fixture = fixture();
    let features = fixture["features"].flatten(0, 1).unwrap();
    let features = features.to_dtype(DType::F64).unwrap();
    for count in [4usize, 7, 12] {
        let pairs = Pairs::new(&vec![0; count], 1).unwrap();
        // The sum of the first sample, for the others in the order of the list.
        let sum = |others: &[u32], most: usize| {
            let order: Vec<u32> = [0].into_iter().chain(others.iter().copied()).collect();
            let rows = features
                .index_select(&Tensor::new(order, CPU).unwrap(), 0)
                .unwrap();
            let losses = representation_margin_at_most(&rows, &pairs, most, &threshold(), SCALE);
            numbers(&losses.unwrap())[0].exp_m1()
        };
        let mut others: Vec<u32> = (1..count as u32).collect();
        let full = sum(&others, count);
        for most in 1..count {
            let mut mean = 0.0;
            for _ in 0..others.len() {
                others.rotate_left(1);
                mean += sum(&others, most) / others.len() as f64;
            }
            assert!((mean - full).abs() < 1e-10 * full, "{mean}, not {full}");
        }
    }
}

/// A memory that has taken two batches, so that losses see the first.
fn filled(capacity: usize, labels: &[u32], next: &[u32]) -> (FeatureMemory, Tensor, Pairs) {
    let mut memory = FeatureMemory::new(capacity, 3, 2, DType::F64, CPU).unwrap();
    let rows = |labels: &[u32], from: f64| {
        let values = (0..2 * labels.len()).map(|i| from + (i as f64).sin());
        Tensor::from_iter(values, CPU)
            .unwrap()
            .reshape((labels.len(), 2))
            .unwrap()
    };
    let first = Pairs::new(labels, 3).unwrap();
    memory.push(&rows(labels, 0.0), &first).unwrap();
    let (features, pairs) = (rows(next, 0.5), Pairs::new(next, 3).unwrap());
    memory.push(&features, &pairs).unwrap();
    (memory, features, pairs)
}

#[test]
fn a_loss_with_a_memory_can_be_asked_for_again_and_no_sample_is_its_own_positive() {
    let (memory, features, pairs) = filled(8, &[0, 1], &[0, 2]);
    let ask = || representation_margin_with_memory(&features, &pairs, &memory, &threshold(), SCALE);
    let losses = numbers(&ask().unwrap());
    assert!(losses[0] > 0.0, "the memory has one of its class");
    assert_eq!(losses[1], 0.0, "only the batch has its class");
    assert_eq!(losses, numbers(&ask().unwrap()));
    // A class that the batch has once counts where the memory has it.
    let losses = Tensor::new(&[3f64, 5.0], CPU).unwrap();
    let reduction = Reduction::ClassMean(ClassCount::Data);
    let reduced = reduce_with_memory(&losses, &pairs, &memory, 10, reduction).unwrap();
    assert_eq!(numbers(&reduced), [1.0]);
    assert_eq!(
        numbers(&reduce(&losses, &pairs, 10, reduction).unwrap()),
        [0.0]
    );
}

#[test]
fn masked_samples_do_not_enter_a_memory() {
    let mut memory = FeatureMemory::new(4, 3, 2, DType::F32, CPU).unwrap();
    let features = Tensor::ones((2, 2), DType::F32, CPU).unwrap();
    let none = Pairs::masked(&[0, 1], 3, &[false, false]).unwrap();
    let one = Pairs::masked(&[0, 1], 3, &[false, true]).unwrap();
    for pairs in [&none, &one, &none] {
        memory.push(&features, pairs).unwrap();
    }
    assert_eq!(memory.len(), 1);
    assert_eq!(numbers(&memory.tensors().unwrap()[1].1)[0], 1.0);
}

#[test]
fn a_memory_continues_from_its_tensors_with_the_same_bits() {
    let fixture = fixture();
    let batches = batches(&fixture, DType::F32);
    for capacity in [5, 17, 40] {
        let new = || FeatureMemory::new(capacity, CLASSES, 6, DType::F32, CPU).unwrap();
        let losses = |memory: &FeatureMemory, (features, pairs): &(Var, Pairs)| {
            let losses =
                representation_margin_with_memory(features, pairs, memory, &threshold(), SCALE);
            numbers(&losses.unwrap())
        };
        let bits = |memory: &FeatureMemory| {
            let tensors = memory.tensors().unwrap();
            tensors.iter().map(|(_, t)| numbers(t)).collect::<Vec<_>>()
        };
        let (mut whole, mut resumed) = (new(), new());
        for batch in &batches {
            whole.push(&batch.0, &batch.1).unwrap();
            resumed.push(&batch.0, &batch.1).unwrap();
            assert_eq!(losses(&whole, batch), losses(&resumed, batch));
            let saved = whole.tensors().unwrap();
            let names: Vec<&str> = saved.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["features", "labels", "cursor"]);
            resumed = new();
            resumed.load(&saved.into_iter().collect()).unwrap();
            assert_eq!(bits(&whole), bits(&resumed));
        }
    }
}

#[test]
fn a_damaged_memory_is_refused_and_leaves_the_old_one() {
    let (mut memory, features, pairs) = filled(2, &[0, 1], &[0, 2]);
    let good: HashMap<String, Tensor> = memory.tensors().unwrap().into_iter().collect();
    let before = numbers(&good["features"]);
    let nan = Tensor::new(&[[f64::NAN, 0.0], [0.0, 0.0]], CPU).unwrap();
    let cases = [
        ("features", Some(nan), "must be finite"),
        (
            "features",
            Some(Tensor::zeros((3, 2), DType::F64, CPU).unwrap()),
            "must be [2, 2], got [3, 2]",
        ),
        (
            "features",
            Some(Tensor::zeros((2, 2), DType::F32, CPU).unwrap()),
            "must be F64, got F32",
        ),
        (
            "labels",
            Some(Tensor::new(&[0u32, 7], CPU).unwrap()),
            "below 3 classes, got 7",
        ),
        (
            "cursor",
            Some(Tensor::new(&[2u32], CPU).unwrap()),
            "below its capacity, 2, got 2",
        ),
        ("cursor", None, "lacks the tensor cursor"),
        (
            "more",
            Some(Tensor::new(&[2u32], CPU).unwrap()),
            "no tensor more",
        ),
    ];
    for (name, tensor, expected) in cases {
        let mut tensors = good.clone();
        match tensor {
            Some(tensor) => tensors.insert(name.to_string(), tensor),
            None => tensors.remove(name),
        };
        let error = memory.load(&tensors).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(numbers(&memory.tensors().unwrap()[0].1), before);
    let error = memory.push(&features.narrow(1, 0, 1).unwrap(), &pairs);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("must be (2, 2)"), "{error}");
    let other = Pairs::new(&[0, 2], 5).unwrap();
    let error = memory.push(&features, &other).unwrap_err().to_string();
    assert!(
        error.contains("of 3 classes, as the memory is, got 5"),
        "{error}"
    );
    let error = FeatureMemory::new(0, 3, 2, DType::F32, CPU).err().unwrap();
    assert!(error.to_string().contains("got 0, 3 and 2"), "{error}");
}

/// The representation term of a batch under `positives`.
fn term(positives: Positives, memory: Option<&FeatureMemory>) -> Result<f64, String> {
    let labels = [0, 0, 0, 2];
    let values: Vec<f64> = (0..8).map(|i| f64::from(i).cos()).collect();
    let features = Tensor::from_vec(values, (4, 2), CPU).unwrap();
    let logits = Tensor::zeros((4, 3), DType::F64, CPU).unwrap();
    let mut config: Mr2Config = Preset::Recommended.config();
    config.representation.positives = positives;
    let snapshot = exact(&features, &labels, 3, 2.0, Centre::None).unwrap();
    let pairs = Pairs::new(&labels, 3).unwrap();
    let target = Target::Hard(&labels);
    let terms = match memory {
        None => mr2(&logits, target, &features, &pairs, &snapshot, &config),
        Some(memory) => mr2_with_memory(
            &logits,
            target,
            &features,
            &pairs,
            &snapshot,
            Some(memory),
            &config,
        ),
    };
    let terms = terms.map_err(|error| error.to_string())?;
    Ok(numbers(&terms.representation.unwrap())[0])
}

#[test]
fn the_config_says_which_positives_the_objective_takes() {
    let (memory, ..) = filled(4, &[0, 2], &[1]);
    let all = term(Positives::All, None).unwrap();
    assert_eq!(term(Positives::AtMost(2), None).unwrap(), all);
    assert_ne!(term(Positives::AtMost(1), None).unwrap(), all);
    assert!(term(Positives::Memory(4), Some(&memory)).unwrap() > all);
    let refused = |positives, memory, expected: &str| {
        let error = term(positives, memory).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    refused(
        Positives::Memory(4),
        None,
        "Memory(4); its capacity is none",
    );
    refused(
        Positives::Memory(5),
        Some(&memory),
        "Memory(5); its capacity is 4",
    );
    refused(Positives::All, Some(&memory), "All; its capacity is 4");
    refused(Positives::AtMost(0), None, "at most 1 or more, got 0");
    refused(Positives::Memory(0), None, "at least 1 sample, got 0");
}

#[test]
fn positives_are_written_like_the_other_choices() {
    let mut config = Preset::Recommended.config();
    for (positives, text) in [
        (Positives::All, "\"all\""),
        (Positives::AtMost(4), "{ at_most = 4 }"),
        (Positives::Memory(4096), "{ memory = 4096 }"),
    ] {
        config.representation.positives = positives;
        let written = toml::to_string(&config.representation).unwrap();
        let back = toml::from_str::<toml::Table>(&written).unwrap()["positives"].to_string();
        assert_eq!(back, text);
    }
}
