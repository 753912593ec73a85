//! The store of parameters, and the state that is saved beside it.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::Init;
use mr2_nn::init;
use mr2_nn::layers::linear;
use mr2_nn::optim::{
    AdamW, AdamWConfig, Optimizer, ParamGroup, Sgd, SgdConfig, clip_grad_norm, grad_norm,
};
use mr2_nn::params::ParamStore;
use mr2_nn::rng;
use mr2_nn::schedule::Schedule;
use serde::Deserialize;
use serde::de::value::MapDeserializer;

fn store() -> ParamStore {
    ParamStore::new(7, DType::F32, &Device::Cpu)
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

#[test]
fn a_tensors_values_depend_on_seed_and_name_but_not_on_order() {
    let (a, b) = (store(), store());
    let first = a
        .var_builder()
        .pp("one")
        .get_with_hints((3, 4), "w", init::normal(1.0))
        .unwrap();
    let other = a
        .var_builder()
        .pp("two")
        .get_with_hints((3, 4), "w", init::normal(1.0))
        .unwrap();
    b.var_builder()
        .pp("two")
        .get_with_hints((3, 4), "w", init::normal(1.0))
        .unwrap();
    let again = b
        .var_builder()
        .pp("one")
        .get_with_hints((3, 4), "w", init::normal(1.0))
        .unwrap();
    assert_eq!(numbers(&first), numbers(&again));
    assert_ne!(numbers(&first), numbers(&other));
    let names = |store: &ParamStore| -> Vec<String> {
        store
            .parameters()
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    };
    assert_eq!(names(&a), ["one.w", "two.w"]);
    assert_eq!(names(&b), ["two.w", "one.w"]);
}

#[test]
fn initialisations_have_pytorchs_moments() {
    let check = |hint: Init, stdev: f64, bound: Option<f64>| {
        let store = ParamStore::new(3, DType::F64, &Device::Cpu);
        let weight = store
            .var_builder()
            .get_with_hints((64, 32, 3, 3), "w", hint)
            .unwrap();
        let values = numbers(&weight);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.03 * stdev, "{mean}");
        assert!(
            (variance.sqrt() / stdev - 1.0).abs() < 0.02,
            "{}",
            variance.sqrt()
        );
        let largest = values.iter().fold(0f64, |a, v| a.max(v.abs()));
        match bound {
            Some(bound) => assert!(largest <= bound && largest > 0.99 * bound),
            None => assert!(largest > 3.0 * stdev),
        }
    };
    let (fan_in, fan_out) = (32.0 * 9.0, 64.0 * 9.0);
    check(init::KAIMING_NORMAL_FAN_IN, f64::sqrt(2.0 / fan_in), None);
    check(init::KAIMING_NORMAL_FAN_OUT, f64::sqrt(2.0 / fan_out), None);
    let bound = f64::sqrt(6.0 / fan_in);
    check(
        init::KAIMING_UNIFORM_FAN_IN,
        bound / 3f64.sqrt(),
        Some(bound),
    );
    let bound = 1.0 / f64::sqrt(fan_in);
    check(
        init::pytorch_default(32 * 9),
        bound / 3f64.sqrt(),
        Some(bound),
    );
    check(init::normal(0.01), 0.01, None);
    let vb = store().var_builder();
    assert_eq!(
        numbers(&vb.get_with_hints(3, "ones", init::ONES).unwrap()),
        [1.0; 3]
    );
    assert_eq!(
        numbers(&vb.get_with_hints(3, "zeros", init::ZEROS).unwrap()),
        [0.0; 3]
    );
    assert_eq!(
        numbers(&vb.get_with_hints(3, "half", Init::Const(0.5)).unwrap()),
        [0.5; 3]
    );
}

#[test]
fn buffers_are_kept_apart_from_parameters() {
    let store = store();
    let vb = store.var_builder().pp("bn1");
    for name in ["weight", "running_mean", "bias", "running_var"] {
        vb.get(2, name).unwrap();
    }
    let names = |vars: Vec<(String, Var)>| vars.into_iter().map(|v| v.0).collect::<Vec<_>>();
    assert_eq!(names(store.parameters()), ["bn1.weight", "bn1.bias"]);
    assert_eq!(
        names(store.buffers()),
        ["bn1.running_mean", "bn1.running_var"]
    );
    assert_eq!(store.tensors().len(), 4);
}

#[test]
fn a_second_request_gives_the_same_variable_and_another_shape_an_error() {
    let store = store();
    let vb = store.var_builder();
    let first = vb.get((2, 3), "w").unwrap();
    assert_eq!(first.id(), vb.get((2, 3), "w").unwrap().id());
    assert_eq!(first.id(), vb.get_unchecked("w").unwrap().id());
    assert!(vb.contains_tensor("w") && !vb.contains_tensor("v"));
    let error = vb.get((3, 2), "w").unwrap_err().to_string();
    assert!(error.contains("\"w\" exists with shape [2, 3]"), "{error}");
    let error = vb.get_unchecked("v").unwrap_err().to_string();
    assert!(error.contains("\"v\" doesn't exist yet"), "{error}");
}

#[test]
fn parameters_may_be_asked_for_in_rayon_tasks() {
    let ask = |store: &ParamStore, name: &str| {
        let hint = init::normal(1.0);
        drop(store.var_builder().get_with_hints((512, 1024), name, hint));
    };
    let by_name = |store: ParamStore| -> BTreeMap<String, Vec<f64>> {
        let tensors = store.tensors().into_iter();
        tensors.map(|(name, t)| (name, numbers(&t))).collect()
    };
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(3);
        let threads = threads.build().unwrap();
        for _ in 0..10 {
            let store = &store();
            threads.scope(|scope| {
                // Two threads draw "a"; the first that waits for the other takes up one of the
                // requests that the third has put off.
                scope.spawn(|_| ask(store, "a"));
                scope.spawn(|scope| {
                    let moment = std::time::Duration::from_millis(2);
                    std::thread::sleep(moment);
                    (0..8).for_each(|i| scope.spawn(move |_| ask(store, ["a", "b"][i % 2])));
                    std::thread::sleep(10 * moment);
                });
            });
            sender.send(store.clone()).unwrap();
        }
    });
    let one = store();
    ["a", "b"].iter().for_each(|name| ask(&one, name));
    let one = by_name(one);
    for _ in 0..10 {
        let patience = std::time::Duration::from_secs(120);
        let store = receiver.recv_timeout(patience).expect("it doesn't hang");
        assert!(by_name(store) == one);
    }
}

#[test]
fn a_store_may_be_loaded_with_its_own_tensors() {
    let store = store();
    let vb = store.var_builder();
    vb.get_with_hints(2, "ones", init::ONES).unwrap();
    vb.get_with_hints(2, "zeros", init::ZEROS).unwrap();
    let own: HashMap<_, _> = store.tensors().into_iter().collect();
    store.load(&own).unwrap();
    let swapped = HashMap::from([
        ("ones".to_string(), own["zeros"].clone()),
        ("zeros".to_string(), own["ones"].clone()),
    ]);
    store.load(&swapped).unwrap();
    assert_eq!(numbers(&own["ones"]), [0.0; 2]);
    assert_eq!(numbers(&own["zeros"]), [1.0; 2]);
}

#[test]
fn loading_sets_every_tensor_through_the_variables_that_layers_hold() {
    let store = store();
    let held = store
        .var_builder()
        .get_with_hints((2, 2), "w", init::normal(1.0))
        .unwrap();
    let saved: HashMap<_, _> = store
        .tensors()
        .into_iter()
        .map(|(n, t)| (n, t.copy().unwrap()))
        .collect();
    let before = numbers(&held);
    store.parameters()[0]
        .1
        .set(&held.zeros_like().unwrap())
        .unwrap();
    assert_eq!(numbers(&held), [0.0; 4]);
    store.load(&saved).unwrap();
    assert_eq!(numbers(&held), before);
}

#[test]
fn what_may_be_missing_keeps_its_values_and_is_named() {
    let store = store();
    let vb = store.var_builder();
    for name in ["fc.weight", "fc.bias", "conv.weight"] {
        vb.get_with_hints(2, name, init::ONES).unwrap();
    }
    let zeros = Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap();
    let given = HashMap::from([("conv.weight".to_string(), zeros)]);
    let head = |name: &str| name.starts_with("fc.");
    assert_eq!(store.differences(&given, |_| false).len(), 2);
    assert!(store.differences(&given, head).is_empty());
    let kept = store.load_present(&given, head).unwrap();
    assert_eq!(kept, ["fc.weight", "fc.bias"]);
    let after: Vec<_> = store.tensors().iter().map(|(_, t)| numbers(t)).collect();
    assert_eq!(after, [[1.0; 2], [1.0; 2], [0.0; 2]]);
    assert!(
        store
            .load_present(&given, |name| name == "fc.bias")
            .is_err()
    );
}

#[test]
fn one_error_lists_everything_that_doesnt_fit_and_nothing_changes() {
    let store = store();
    let vb = store.var_builder();
    for name in ["layer1.0.conv1.weight", "linear.weight", "linear.bias"] {
        vb.get_with_hints((2, 3), name, init::ONES).unwrap();
    }
    let tensor = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let given = HashMap::from([
        ("module.layer1.0.conv1.weight".to_string(), tensor(&[2, 3])),
        ("linear.weight".to_string(), tensor(&[5, 3])),
        ("linear.bias".to_string(), tensor(&[2, 3])),
        ("optimizer".to_string(), tensor(&[1])),
    ]);
    let error = store.load(&given).unwrap_err().to_string();
    let expected = "the weights don't fit the model:
  missing: layer1.0.conv1.weight [2, 3] (nearest: module.layer1.0.conv1.weight)
  unexpected: module.layer1.0.conv1.weight [2, 3] (nearest: layer1.0.conv1.weight)
  unexpected: optimizer [1]
  wrong shape: linear.weight expected [2, 3], got [5, 3]";
    assert!(error.starts_with(expected), "{error}");
    for (name, tensor) in store.tensors() {
        assert_eq!(numbers(&tensor), [1.0; 6], "{name}");
    }
}

/// A parameter large enough to be updated in several tasks, and a small one.
fn two_params() -> Vec<(String, Var)> {
    let store = store();
    let vb = store.var_builder();
    vb.get_with_hints(100_003, "large", init::normal(1.0))
        .unwrap();
    vb.get_with_hints(3, "small", init::normal(1.0)).unwrap();
    store.parameters()
}

fn some_gradients(params: &[(String, Var)], step: u64) -> GradStore {
    let mut store = GradStore::default();
    for (name, var) in params {
        let seed = rng::stream(step, name);
        let values: Vec<f32> = (0..var.elem_count() as u64)
            .map(|i| rng::normal(seed, i) as f32)
            .collect();
        store.insert(
            var,
            Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap(),
        );
    }
    store
}

fn group(params: &[(String, Var)]) -> Vec<ParamGroup> {
    vec![ParamGroup {
        params: params.to_vec(),
        lr_scale: 1.0,
        weight_decay: 0.1,
    }]
}

fn check_resumes_to_the_bit<O: Optimizer>(new: impl Fn(Vec<ParamGroup>) -> O) {
    let (straight, resumed) = (two_params(), two_params());
    let (mut a, mut b) = (new(group(&straight)), new(group(&resumed)));
    for step in 0..6 {
        if step == 3 {
            let state = b.state().unwrap().into_iter().collect();
            b = new(group(&resumed));
            b.load_state(&state).unwrap();
        }
        a.step(&some_gradients(&straight, step), 0.1).unwrap();
        b.step(&some_gradients(&resumed, step), 0.1).unwrap();
    }
    for ((name, a), (_, b)) in straight.iter().zip(&resumed) {
        assert_eq!(numbers(a), numbers(b), "{name}");
    }
}

#[test]
fn optimisers_resume_to_the_bit() {
    check_resumes_to_the_bit(sgd);
    check_resumes_to_the_bit(adamw);
}

fn sgd(groups: Vec<ParamGroup>) -> Sgd {
    let config = SgdConfig {
        momentum: 0.9,
        nesterov: true,
    };
    Sgd::new(groups, config).unwrap()
}

fn adamw(groups: Vec<ParamGroup>) -> AdamW {
    AdamW::new(
        groups,
        AdamWConfig {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
        },
    )
    .unwrap()
}

#[test]
fn updates_and_norms_have_the_same_bits_on_any_number_of_threads() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let params = two_params();
            let mut optimiser = adamw(group(&params));
            let mut gradients = some_gradients(&params, 0);
            let norm = clip_grad_norm(&params, &mut gradients, 1.0).unwrap();
            optimiser.step(&gradients, 0.1).unwrap();
            (norm, numbers(&params[0].1))
        })
    };
    assert!(run(1) == run(3));
}

fn state_of(optimiser: &impl Optimizer) -> Vec<(String, Vec<f64>)> {
    let state = optimiser.state().unwrap().into_iter();
    state.map(|(name, t)| (name, numbers(&t))).collect()
}

#[test]
fn a_step_with_one_gradient_that_doesnt_fit_changes_nothing() {
    fn check(new: impl Fn(Vec<ParamGroup>) -> Box<dyn Optimizer>) {
        let params = two_params();
        let mut optimiser = new(group(&params));
        optimiser.step(&some_gradients(&params, 0), 0.1).unwrap();
        let everything = |optimiser: &dyn Optimizer| {
            let state = optimiser.state().unwrap().into_iter();
            let values = params.iter().map(|(_, var)| var.as_tensor().clone());
            let all = state.map(|(_, tensor)| tensor).chain(values);
            all.map(|tensor| numbers(&tensor)).collect::<Vec<_>>()
        };
        let before = everything(&*optimiser);
        let mut wrong = some_gradients(&params, 1);
        let four = Tensor::zeros(4, DType::F32, &Device::Cpu).unwrap();
        wrong.insert(&params[1].1, four);
        assert!(optimiser.step(&wrong, 0.1).is_err());
        assert!(everything(&*optimiser) == before);
    }
    check(|groups| Box::new(adamw(groups)));
    check(|groups| Box::new(sgd(groups)));
}

#[test]
fn a_state_that_doesnt_fit_is_refused_whole() {
    let params = two_params();
    let mut optimiser = adamw(group(&params));
    optimiser.step(&some_gradients(&params, 0), 0.1).unwrap();
    let mut state: HashMap<_, _> = optimiser.state().unwrap().into_iter().collect();
    let square = state.remove("exp_avg_sq.small").unwrap();
    state.insert("exp_avg_sq.tiny".to_string(), square);
    let wrong = Tensor::zeros(4, DType::F32, &Device::Cpu).unwrap();
    state.insert("exp_avg.large".to_string(), wrong);
    let before = state_of(&optimiser);
    let error = optimiser.load_state(&state).unwrap_err().to_string();
    assert_eq!(state_of(&optimiser), before);
    for part in [
        "wrong shape: exp_avg.large expected [100003] F32, got [4] F32",
        "missing: exp_avg_sq.small",
        "unexpected: exp_avg_sq.tiny",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_non_finite_gradient_norm_is_an_error_that_names_the_parameter() {
    let params = two_params();
    for value in [f32::NAN, f32::INFINITY] {
        let mut store = some_gradients(&params, 0);
        let bad = Tensor::new(&[0.0, value, 0.0], &Device::Cpu).unwrap();
        store.insert(&params[1].1, bad);
        let error = clip_grad_norm(&params, &mut store, 1.0)
            .unwrap_err()
            .to_string();
        assert!(error.contains("gradient of \"small\""), "{error}");
    }
    // Squares beyond f32 are no error.
    let mut store = GradStore::default();
    let huge = Tensor::new(&[3e25f32, 4e25, 0.0], &Device::Cpu).unwrap();
    store.insert(&params[1].1, huge);
    assert!((grad_norm(&params, &store).unwrap() / 5e25 - 1.0).abs() < 1e-6);
}

#[test]
fn optimisers_refuse_settings_that_cant_be_meant() {
    let params = two_params();
    let sgd = |groups, momentum, nesterov| {
        let error = Sgd::new(groups, SgdConfig { momentum, nesterov })
            .map(|_| ())
            .unwrap_err();
        error.to_string()
    };
    let has = |text: String, part: &str| assert!(text.contains(part), "{text}");
    has(
        sgd(group(&params), 1.0, false),
        "momentum must lie in [0, 1), got 1",
    );
    has(sgd(group(&params), 0.0, true), "nesterov needs momentum");
    has(
        sgd([group(&params), group(&params)].concat(), 0.9, false),
        "\"large\" appears twice",
    );
    has(sgd(vec![], 0.9, false), "no parameters");
    let mut negative = group(&params);
    negative[0].weight_decay = -0.1;
    has(
        sgd(negative, 0.9, false),
        "weight_decay must be finite and not negative, got -0.1",
    );
    let mut optimiser = adamw(group(&params));
    let step = |optimiser: &mut AdamW, store: &GradStore, lr| {
        optimiser.step(store, lr).unwrap_err().to_string()
    };
    let gradients = some_gradients(&params, 0);
    has(
        step(&mut optimiser, &gradients, f64::NAN),
        "lr must be finite",
    );
    has(
        step(&mut optimiser, &GradStore::default(), 0.1),
        "none of the 2 parameters has a gradient",
    );
    let mut wrong = some_gradients(&params, 0);
    wrong.insert(
        &params[1].1,
        Tensor::zeros(4, DType::F32, &Device::Cpu).unwrap(),
    );
    has(
        step(&mut optimiser, &wrong, 0.1),
        "gradient of \"small\" must be [3] F32",
    );
}

#[test]
fn every_kind_of_schedule_refuses_unknown_keys() {
    let read = |keys: &[(&'static str, &'static str)]| {
        let map = MapDeserializer::<_, serde::de::value::Error>::new(keys.iter().copied());
        Schedule::deserialize(map).map_err(|error| error.to_string())
    };
    let constant = ("kind", "constant");
    assert_eq!(read(&[constant]), Ok(Schedule::Constant {}));
    for kind in [constant, ("kind", "warmup_cosine"), ("kind", "step")] {
        let error = read(&[kind, ("warmup", "5")]).unwrap_err();
        assert!(error.contains("unknown field `warmup`"), "{error}");
    }
}

#[test]
fn schedules_refuse_what_cant_be_meant() {
    let cosine = |warmup_steps, start_factor, update_every_steps| {
        let schedule = Schedule::WarmupCosine {
            warmup_steps,
            total_steps: 100,
            start_factor,
            final_factor: 0.0,
            update_every_steps,
        };
        schedule.validate().unwrap_err().to_string()
    };
    let step = |milestones: &[u64], warmup_steps| {
        let milestones = milestones.to_vec();
        let schedule = Schedule::Step {
            milestones,
            factor: 0.1,
            warmup_steps,
            start_factor: 0.0,
        };
        schedule.validate().unwrap_err().to_string()
    };
    let has = |text: String, part: &str| assert!(text.contains(part), "{text}");
    has(
        cosine(100, 0.0, 1),
        "warmup_steps must be smaller than total_steps, got 100 and 100",
    );
    has(
        cosine(10, -1.0, 1),
        "start_factor must be finite and not negative, got -1",
    );
    has(cosine(10, 0.0, 0), "update_every_steps must be at least 1");
    has(
        step(&[20, 10], 0),
        "milestones must ascend strictly, got [20, 10]",
    );
    has(step(&[20, 30], 25), "milestone 20 and warmup_steps 25");
}

#[test]
fn a_store_of_zeros_has_the_same_names_and_takes_weights() {
    let (drawn, zeros) = (
        ParamStore::new(3, DType::F32, &Device::Cpu),
        ParamStore::zeros(DType::F32, &Device::Cpu),
    );
    for store in [&drawn, &zeros] {
        linear(4, 3, store.var_builder().pp("fc")).unwrap();
    }
    let total = |store: &ParamStore| {
        let sum = |tensor: &Tensor| tensor.abs().unwrap().sum_all().unwrap();
        let tensors = store.tensors();
        tensors
            .iter()
            .map(|(_, t)| sum(t).to_scalar::<f32>().unwrap())
            .sum::<f32>()
    };
    assert_eq!(total(&zeros), 0.0);
    zeros.load(&drawn.tensors().into_iter().collect()).unwrap();
    assert_eq!(total(&zeros), total(&drawn));
}
