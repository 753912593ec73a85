//! Strict loading: one error says everything, and nothing is changed by it.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use candle_nn::Init;
use mr2_backbones::weights::{Error, Tensors, fit};
use mr2_nn::params::ParamStore;

fn store() -> ParamStore {
    let store = ParamStore::new(3, DType::F32, &Device::Cpu);
    let builder = store.var_builder();
    let init = Init::Const(9.0);
    for (name, shape) in [
        ("conv1.weight", vec![2, 3]),
        ("bn1.running_mean", vec![2]),
        ("head.weight", vec![4, 2]),
        ("head.bias", vec![4]),
    ] {
        builder.get_with_hints(shape, name, init).unwrap();
    }
    store
}

fn ones(tensors: &[(&str, &[usize])]) -> Tensors {
    let one = |shape: &[usize]| Tensor::ones(shape, DType::F16, &Device::Cpu).unwrap();
    let named = tensors.iter();
    named
        .map(|&(name, shape)| (name.to_string(), one(shape)))
        .collect()
}

fn sums(store: &ParamStore) -> Vec<f32> {
    let sum = |tensor: Tensor| tensor.sum_all().unwrap().to_scalar().unwrap();
    store
        .tensors()
        .into_iter()
        .map(|(_, tensor)| sum(tensor))
        .collect()
}

const WHOLE: &[(&str, &[usize])] = &[
    ("conv1.weight", &[2, 3]),
    ("bn1.running_mean", &[2]),
    ("bn1.num_batches_tracked", &[]),
    ("head.weight", &[4, 2]),
    ("head.bias", &[4]),
];

#[test]
fn what_fits_is_loaded_in_the_dtype_of_the_model() {
    let store = store();
    assert!(fit(&store, ones(WHOLE), &[]).unwrap().is_empty());
    assert_eq!(sums(&store), [6.0, 2.0, 8.0, 4.0]);
}

#[test]
fn one_error_names_all_that_does_not_fit_and_nothing_is_changed() {
    let store = store();
    let mut given = ones(&[
        ("conv1.weight", &[2, 3, 1]),
        ("bn1.running_mean", &[2]),
        ("heads.weight", &[4, 2]),
        ("queue", &[5]),
    ]);
    let bad = Tensor::new(&[f32::NAN, 1.0], &Device::Cpu).unwrap();
    given.insert("bn1.running_mean".to_string(), bad);
    let error = fit(&store, given, &["fc.*".to_string()]).unwrap_err();
    assert!(matches!(&error, Error::Fit { problems } if problems.len() == 6));
    assert_eq!(
        error.to_string(),
        "the weights don't fit the model:\n  \
         missing: head.weight [4, 2] (nearest: heads.weight)\n  \
         missing: head.bias [4]\n  \
         unexpected: heads.weight [4, 2] (nearest: head.weight)\n  \
         unexpected: queue [5]\n  \
         wrong shape: conv1.weight expected [2, 3], got [2, 3, 1]\n  \
         not finite: bn1.running_mean: 1 of its 2 values"
    );
    assert_eq!(sums(&store), [54.0, 18.0, 72.0, 36.0]);
}

#[test]
fn what_may_be_missing_stays_as_it_was_and_is_named() {
    let store = store();
    let kept = fit(&store, ones(&WHOLE[..3]), &["head.*".to_string()]).unwrap();
    assert_eq!(kept, ["head.weight", "head.bias"]);
    assert_eq!(sums(&store), [6.0, 2.0, 72.0, 36.0]);
    // Whatever of it is there is loaded, and must fit.
    let kept = fit(&store, ones(&WHOLE[..4]), &["head.*".to_string()]).unwrap();
    assert_eq!(kept, ["head.bias"]);
    assert_eq!(sums(&store), [6.0, 2.0, 8.0, 36.0]);
    let mut other = ones(&WHOLE[..3]);
    other.extend(ones(&[("head.weight", &[10, 2])]));
    let error = fit(&store, other, &["head.*".to_string()]).unwrap_err();
    let expected = "wrong shape: head.weight expected [4, 2], got [10, 2]";
    assert!(error.to_string().ends_with(expected), "{error}");
}

#[test]
fn infinite_values_of_any_float_are_refused_but_only_in_the_view_that_is_given() {
    let store = store();
    let numbers = Tensor::new(&[1f64, 2.0, f64::INFINITY, 4.0], &Device::Cpu).unwrap();
    for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        let numbers = numbers.to_dtype(dtype).unwrap();
        let mut given = ones(WHOLE);
        given.insert("head.bias".to_string(), numbers.clone());
        let error = fit(&store, given.clone(), &[]).unwrap_err().to_string();
        assert!(
            error.ends_with("not finite: head.bias: 1 of its 4 values"),
            "{error}"
        );
        given.insert(
            "head.bias".to_string(),
            numbers.narrow(0, 0, 1).unwrap().repeat(4).unwrap(),
        );
        given.insert(
            "bn1.running_mean".to_string(),
            numbers.narrow(0, 0, 2).unwrap(),
        );
        fit(&store, given, &[]).unwrap();
    }
}
