//! Everything outside the layers against PyTorch in float64 (`tests/reference/*.py`).
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use mr2_nn::ops::{Target, cross_entropy, distance_log1p_sum_exp};
use mr2_nn::optim::{
    AdamW, AdamWConfig, Lars, LarsConfig, Optimizer, ParamGroup, Sgd, SgdConfig, clip_grad_norm,
    grad_norm,
};
use mr2_nn::rng;
use mr2_nn::schedule::Schedule;

/// The same formulas in the same precision.
const EXACT: f64 = 1e-12;

/// What the fused ops promise in f32 against float64 on the same inputs.
const SINGLE: f64 = 1e-5;

fn fixture(name: &str) -> HashMap<String, Tensor> {
    let path = format!(
        "{}/tests/fixtures/{name}.safetensors",
        env!("CARGO_MANIFEST_DIR")
    );
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor
        .to_dtype(DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

/// Each number within `tolerance` of its own size; a thousandth of that of the largest is allowed
/// to numbers that are differences of larger ones.
#[track_caller]
fn check(what: &str, actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0f64, |a, b| a.max(b.abs()));
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        let allowed = tolerance * e.abs().max(1e-3 * largest);
        assert!((a - e).abs() <= allowed, "{what}[{i}]: {a} instead of {e}");
    }
}

fn normals(seed: u64, name: &str, count: usize, offset: usize) -> Vec<f64> {
    let stream = rng::stream(seed, name);
    (offset..offset + count)
        .map(|i| rng::normal(stream, i as u64))
        .collect()
}

fn uniforms(seed: u64, name: &str, count: usize) -> Vec<f64> {
    let stream = rng::stream(seed, name);
    (0..count).map(|i| rng::uniform(stream, i as u64)).collect()
}

#[test]
fn the_generator_gives_pythons_first_values() {
    // Read byte by byte, since Candle has no dtype for u64.
    let path = format!(
        "{}/tests/fixtures/hash_rng.safetensors",
        env!("CARGO_MANIFEST_DIR")
    );
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let integers = |name: &str| -> Vec<u64> {
        let (words, _) = file.tensor(name).unwrap().data().as_chunks();
        words.iter().map(|&word| u64::from_le_bytes(word)).collect()
    };
    let floats = |name: &str| {
        integers(name)
            .into_iter()
            .map(f64::from_bits)
            .collect::<Vec<_>>()
    };
    let hashes = |seed: u64| (0..16).map(|i| rng::hash(seed, i)).collect::<Vec<_>>();
    assert_eq!(hashes(7), integers("hash"));
    assert_eq!(hashes(u64::MAX - 5), integers("hash_of_large_seed"));
    let names = ["", "conv1.weight", "layer1.0.bn1.running_mean"];
    assert_eq!(
        names.map(|name| rng::stream(7, name)).to_vec(),
        integers("stream")
    );
    let uniform: Vec<f64> = (0..16).map(|i| rng::uniform(7, i)).collect();
    assert_eq!(uniform, floats("uniform"));
    let normal: Vec<f64> = (0..16).map(|i| rng::normal(7, i)).collect();
    check("normal", &normal, &floats("normal"), 1e-14);
}

const OPS_SEED: u64 = 31;

/// Value and gradient of `op` on `inputs`, in both dtypes, against the fixture's.
fn check_op(
    name: &str,
    inputs: &[f64],
    shape: &[usize],
    op: impl Fn(&Tensor) -> candle_core::Result<Tensor>,
) {
    let expected = fixture("ops");
    // Rounding exponents of a hundred costs their exponentials a digit.
    for (dtype, tolerance) in [(DType::F64, 10.0 * EXACT), (DType::F32, SINGLE)] {
        let inputs: Vec<f64> = inputs.iter().map(|&x| f64::from(x as f32)).collect();
        let inputs = Tensor::from_vec(inputs, shape, &Device::Cpu).unwrap();
        let x = Var::from_tensor(&inputs.to_dtype(dtype).unwrap()).unwrap();
        let value = op(x.as_tensor()).unwrap();
        let upstream = normals(OPS_SEED, &format!("upstream.{name}"), value.dims()[0], 0);
        let upstream = upstream
            .iter()
            .map(|&x| f64::from(x as f32))
            .collect::<Vec<_>>();
        let upstream = Tensor::new(upstream, &Device::Cpu)
            .unwrap()
            .to_dtype(dtype)
            .unwrap();
        let loss = (&value * upstream).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        let what = format!("{name} {dtype:?}");
        let expected = |part: &str| numbers(&expected[&format!("{name}.{part}")]);
        check(&what, &numbers(&value), &expected("value"), tolerance);
        let gradient = numbers(gradients.get(&x).unwrap());
        check(
            &format!("{what} gradient"),
            &gradient,
            &expected("gradient"),
            tolerance,
        );
    }
}

#[test]
fn cross_entropy_equals_pytorchs_for_every_target() {
    let (batch, classes) = (6, 37);
    let labels = [0, 36, 5, 5, 17, 20];
    let logits = normals(OPS_SEED, "logits", batch * classes, 0);
    let logits: Vec<f64> = logits.iter().map(|x| 3.0 * x).collect();
    let scale = uniforms(OPS_SEED, "row_scale", batch);
    let scale: Vec<f32> = scale.iter().map(|x| (0.25 + 2.0 * x) as f32).collect();
    let scale = Tensor::new(scale, &Device::Cpu).unwrap();
    let soft = uniforms(OPS_SEED, "soft", batch * classes);
    let soft: Vec<f32> = soft.iter().map(|&x| x as f32).collect();
    let soft = Tensor::from_vec(soft, (batch, classes), &Device::Cpu).unwrap();
    let targets = [
        ("hard", Target::Hard(&labels)),
        (
            "smoothed",
            Target::Smoothed {
                labels: &labels,
                epsilon: 0.1,
            },
        ),
        ("soft", Target::Soft(&soft)),
    ];
    for (kind, target) in targets {
        let name = format!("cross_entropy.{kind}");
        check_op(&name, &logits, &[batch, classes], |z| {
            cross_entropy(z, target, None)
        });
        let name = format!("{name}.scaled");
        check_op(&name, &logits, &[batch, classes], |z| {
            cross_entropy(z, target, Some(&scale))
        });
    }
}

const GROUPS: [usize; 7] = [0, 1, 0, 2, 0, 1, 0];

fn pairs() -> (Vec<u32>, Vec<u32>) {
    let all = (0..GROUPS.len()).flat_map(|i| (i + 1..GROUPS.len()).map(move |j| (i, j)));
    all.filter(|&(i, j)| GROUPS[i] == GROUPS[j])
        .map(|(i, j)| (i as u32, j as u32))
        .unzip()
}

#[test]
fn distance_log1p_sum_exp_equals_logsumexp_far_from_the_origin_for_all_sizes_of_exponents() {
    let dim = 45;
    let means = normals(OPS_SEED, "means", 3 * dim, 0);
    let spread = normals(OPS_SEED, "features", GROUPS.len() * dim, 0);
    let features: Vec<f64> = spread
        .iter()
        .enumerate()
        .map(|(i, x)| 1000.0 * means[GROUPS[i / dim] * dim + i % dim] + x)
        .collect();
    let (first, second) = pairs();
    for (name, threshold, scale) in [
        ("moderate", 90f32, 10.0),
        ("tiny", 1000.0, 32.0),
        ("large", 0.0, 1.0),
    ] {
        let threshold = Tensor::new(threshold, &Device::Cpu).unwrap();
        let name = format!("distance_log1p_sum_exp.{name}");
        check_op(&name, &features, &[GROUPS.len(), dim], |x| {
            distance_log1p_sum_exp(x, &first, &second, &threshold, scale)
        });
    }
}

const OPTIM_SEED: u64 = 47;
const SHAPES: [(&str, &[usize]); 3] = [("a", &[4, 3]), ("b", &[5]), ("c", &[2, 2, 3])];

fn parameters() -> Vec<(String, Var)> {
    SHAPES
        .iter()
        .map(|&(name, shape)| {
            let values = normals(OPTIM_SEED, name, shape.iter().product(), 0);
            let values = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
            (name.to_string(), Var::from_tensor(&values).unwrap())
        })
        .collect()
}

fn gradients(params: &[(String, Var)], step: usize, skip_b: bool) -> GradStore {
    let mut store = GradStore::default();
    for (name, var) in params.iter().filter(|(name, _)| !(skip_b && name == "b")) {
        let count = var.elem_count();
        let values = normals(OPTIM_SEED, &format!("gradient.{name}"), count, step * count);
        store.insert(
            var,
            Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap(),
        );
    }
    store
}

fn groups(params: &[(String, Var)], weight_decay: f64) -> Vec<ParamGroup> {
    let [a, b, c] = params else {
        panic!("three parameters")
    };
    vec![
        ParamGroup {
            params: vec![a.clone(), c.clone()],
            lr_scale: 1.0,
            weight_decay,
        },
        ParamGroup {
            params: vec![b.clone()],
            lr_scale: 0.1,
            weight_decay: 0.0,
        },
    ]
}

/// Twenty steps of PyTorch's optimiser: parameters on the way, state at the end.
fn check_optimiser<O: Optimizer>(case: &str, decay: f64, new: impl Fn(Vec<ParamGroup>) -> O) {
    let expected = fixture("optim");
    let params = parameters();
    let mut optimiser = new(groups(&params, decay));
    for step in 0..20 {
        if step == 11 {
            // Saved and loaded in the middle, nothing changes.
            let state = optimiser.state().unwrap().into_iter().collect();
            optimiser = new(groups(&params, decay));
            optimiser.load_state(&state).unwrap();
        }
        let lr = 0.1 * (1.0 - step as f64 / 40.0);
        let store = gradients(&params, step, [0, 3, 4].contains(&step));
        optimiser.step(&store, lr).unwrap();
        for (name, var) in params.iter().filter(|_| [0, 1, 19].contains(&step)) {
            let key = format!("{case}.{step}.{name}");
            check(&key, &numbers(var), &numbers(&expected[&key]), EXACT);
        }
    }
    let state = optimiser.state().unwrap();
    let prefix = format!("{case}.state.");
    assert_eq!(
        state.len(),
        expected
            .keys()
            .filter(|key| key.starts_with(&prefix))
            .count()
    );
    for (name, tensor) in state {
        let key = format!("{prefix}{name}");
        check(&key, &numbers(&tensor), &numbers(&expected[&key]), EXACT);
    }
}

#[test]
fn twenty_steps_of_sgd_equal_pytorchs() {
    let sgd = |momentum, nesterov| {
        move |groups| Sgd::new(groups, SgdConfig { momentum, nesterov }).unwrap()
    };
    check_optimiser("sgd", 0.0, sgd(0.0, false));
    check_optimiser("sgd_decay", 0.05, sgd(0.0, false));
    check_optimiser("sgd_momentum", 5e-4, sgd(0.9, false));
    check_optimiser("sgd_nesterov", 5e-4, sgd(0.9, true));
}

#[test]
fn twenty_steps_of_adamw_with_groups_equal_pytorchs() {
    let adamw = |beta1, beta2, eps| {
        move |groups| AdamW::new(groups, AdamWConfig { beta1, beta2, eps }).unwrap()
    };
    check_optimiser("adamw", 0.1, adamw(0.9, 0.999, 1e-8));
    check_optimiser("adamw_short", 0.1, adamw(0.8, 0.95, 1e-3));
}

#[test]
fn twenty_steps_of_lars_equal_the_rule_of_maes_probes() {
    let lars =
        |momentum, trust| move |groups| Lars::new(groups, LarsConfig { momentum, trust }).unwrap();
    check_optimiser("lars", 0.05, lars(0.9, 0.02));
    check_optimiser("lars_plain", 0.0, lars(0.0, 0.001));
}

#[test]
fn clipping_equals_clip_grad_norm() {
    let expected = fixture("optim");
    for (case, max_norm) in [("clip", 0.5), ("clip_not", 100.0)] {
        let params = parameters();
        let mut store = gradients(&params, 0, false);
        let norm = clip_grad_norm(&params, &mut store, max_norm).unwrap();
        check(
            case,
            &[norm],
            &numbers(&expected[&format!("{case}.norm")]),
            EXACT,
        );
        for (name, var) in &params {
            let key = format!("{case}.{name}");
            check(
                &key,
                &numbers(store.get(var).unwrap()),
                &numbers(&expected[&key]),
                EXACT,
            );
        }
        if case == "clip" {
            assert!((grad_norm(&params, &store).unwrap() - max_norm).abs() < 1e-6);
        }
    }
}

#[test]
fn schedules_equal_pytorchs() {
    let expected = fixture("optim");
    let cosine = |warmup_steps, total_steps, start_factor, final_factor, update_every_steps| {
        Schedule::WarmupCosine {
            warmup_steps,
            total_steps,
            start_factor,
            final_factor,
            update_every_steps,
        }
    };
    let step = |warmup_steps, start_factor| Schedule::Step {
        milestones: vec![10, 25],
        factor: 0.2,
        warmup_steps,
        start_factor,
    };
    let cases = [
        ("warmup_cosine", cosine(7, 50, 1.0 / 3.0, 1e-5, 1)),
        ("warmup_cosine_by_epoch", cosine(15, 50, 1.0 / 3.0, 1e-5, 5)),
        ("cosine", cosine(0, 30, 1.0, 0.0, 1)),
        ("step", step(0, 1.0)),
        ("warmup_step", step(5, 0.1)),
    ];
    for (name, schedule) in cases {
        schedule.validate().unwrap();
        let expected = numbers(&expected[&format!("schedule.{name}")]);
        let factors: Vec<f64> = (0..expected.len())
            .map(|s| schedule.factor(s as u64))
            .collect();
        check(name, &factors, &expected, EXACT);
    }
    assert_eq!(cosine(7, 50, 0.1, 0.01, 1).factor(1_000_000), 0.01);
    assert_eq!(Schedule::Constant {}.factor(3), 1.0);
}
