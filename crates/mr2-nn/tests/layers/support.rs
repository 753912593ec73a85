//! Building inputs, running layers and comparing numbers.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::VarBuilder;
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::layers::{BatchNormConfig, Conv2dConfig};
use mr2_nn::params::ParamStore;
use mr2_nn::rng;
use std::collections::HashMap;

pub const CPU: Device = Device::Cpu;
pub const NORM: BatchNormConfig = BatchNormConfig {
    eps: 1e-5,
    momentum: 0.1,
};
pub const PLAIN: Conv2dConfig = Conv2dConfig {
    stride: 1,
    padding: 1,
    dilation: 1,
    groups: 1,
    bias: false,
};

pub fn train(dtype: DType) -> Ctx {
    Ctx::new(&CPU, dtype, Mode::Train).unwrap()
}

pub fn eval(dtype: DType) -> Ctx {
    Ctx::new(&CPU, dtype, Mode::Eval).unwrap()
}

/// Normal numbers of the stream `name`, rounded to f32 as in the Python script.
pub fn draw(seed: u64, name: &str, shape: &[usize], dtype: DType) -> Tensor {
    let stream = rng::stream(seed, name);
    let count = shape.iter().product::<usize>() as u64;
    let values: Vec<f32> = (0..count).map(|i| rng::normal(stream, i) as f32).collect();
    Tensor::from_vec(values, shape, &CPU)
        .unwrap()
        .to_dtype(dtype)
        .unwrap()
}

pub fn variable(name: &str, shape: &[usize], dtype: DType) -> Var {
    Var::from_tensor(&draw(7, name, shape, dtype)).unwrap()
}

/// A builder over given tensors; variables stay variables.
pub fn builder(tensors: HashMap<String, Tensor>, dtype: DType) -> VarBuilder<'static> {
    VarBuilder::from_backend(Box::new(Given(tensors)), dtype, CPU)
}

struct Given(HashMap<String, Tensor>);

impl candle_nn::var_builder::SimpleBackend for Given {
    fn get(
        &self,
        shape: candle_core::Shape,
        name: &str,
        _: candle_nn::Init,
        _: DType,
        _: &Device,
    ) -> Result<Tensor> {
        let tensor = self.0[name].clone();
        assert_eq!(tensor.shape(), &shape, "{name}");
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        Ok(self.0[name].clone())
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// A seeded store in `dtype`.
pub fn store(dtype: DType) -> ParamStore {
    ParamStore::new(3, dtype, &CPU)
}

pub fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor
        .to_dtype(DType::F64)
        .unwrap()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

pub fn gradient(grads: &GradStore, of: &Tensor) -> Vec<f64> {
    numbers(grads.get(of).expect("a gradient"))
}

/// Each number within `tolerance` of the largest.
#[track_caller]
pub fn check(what: &str, actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}: length");
    let largest = expected.iter().fold(1e-3f64, |a, b| a.max(b.abs()));
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!(
            (a - e).abs() <= tolerance * largest,
            "{what}[{i}]: {a} instead of {e}"
        );
    }
}

/// Compares the gradient of `loss` with central differences, in f64, for all elements of `of`.
#[track_caller]
pub fn check_by_differences(of: &Var, cx: &Ctx, loss: impl Fn() -> Result<Tensor>) {
    let grads = cx.backward(&loss().unwrap()).unwrap();
    let analytic = gradient(&grads, of);
    let start = numbers(of);
    let at = |values: Vec<f64>| {
        of.set(&Tensor::from_vec(values, of.shape(), &CPU).unwrap())
            .unwrap();
        loss().unwrap().to_scalar::<f64>().unwrap()
    };
    let step = 1e-6;
    let numeric: Vec<f64> = (0..start.len())
        .map(|i| {
            let (mut up, mut down) = (start.clone(), start.clone());
            up[i] += step;
            down[i] -= step;
            (at(up) - at(down)) / (2.0 * step)
        })
        .collect();
    at(start);
    check("finite differences", &analytic, &numeric, 1e-6);
}

/// What `work` gives, or a panic where it hangs: a deadlock is no failure that `cargo test` would
/// report.
#[track_caller]
pub fn finishes<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    let patience = std::time::Duration::from_secs(120);
    receiver
        .recv_timeout(patience)
        .expect("it neither hangs nor panics")
}

/// The error's own text, without the backtrace that Candle may add.
pub fn message<T>(result: Result<T>) -> String {
    result.err().expect("an error").to_string()
}
