//! Running statistics, dropout, initial values.

use super::support::*;
use candle_core::{DType, Module, Tensor, Var};
use mr2_nn::graph::Ctx;
use mr2_nn::layers::{
    AvgPool2d, BatchNorm2d, Conv2d, Conv2dConfig, ConvBn, CosineLinear, Dropout, Layer, MaxPool2d,
    linear,
};
use mr2_nn::params::ParamStore;

const DTYPE: DType = DType::F32;

fn norm(store: &ParamStore, channels: usize) -> BatchNorm2d {
    BatchNorm2d::new(channels, NORM, store.var_builder()).unwrap()
}

fn buffers(store: &ParamStore) -> Vec<Vec<f64>> {
    store
        .buffers()
        .iter()
        .map(|(_, buffer)| numbers(buffer))
        .collect()
}

#[test]
fn evaluation_leaves_running_statistics_and_training_updates_them_once_per_forward() {
    let (store, images) = (store(DTYPE), draw(1, "x", &[4, 3, 5, 5], DTYPE));
    let bn = norm(&store, 3);
    let start = buffers(&store);
    let cx = eval(DTYPE);
    bn.forward(&cx, &cx.enter(&images).unwrap()).unwrap();
    assert_eq!(buffers(&store), start);
    let cx = train(DTYPE);
    let loss = bn
        .forward(&cx, &cx.enter(&images).unwrap())
        .unwrap()
        .mean_hw()
        .unwrap();
    let after = buffers(&store);
    assert_ne!(after, start);
    cx.backward(&loss.sum_all().unwrap()).unwrap();
    assert_eq!(buffers(&store), after, "the backward leaves them alone");
}

#[test]
fn a_large_mean_costs_no_digits() {
    let store = store(DTYPE);
    let bn = norm(&store, 2);
    let noise = draw(1, "noise", &[32, 2, 6, 6], DType::F64);
    let images = (noise * 0.5)
        .unwrap()
        .affine(1.0, 1000.0)
        .unwrap()
        .to_dtype(DTYPE)
        .unwrap();
    let cx = train(DTYPE);
    let out = bn
        .forward(&cx, &cx.enter(&images).unwrap())
        .unwrap()
        .to_tensor()
        .unwrap();
    let double = images.to_dtype(DType::F64).unwrap();
    let mean = double.mean_keepdim((0, 2, 3)).unwrap();
    let centred = double.broadcast_sub(&mean).unwrap();
    let var = centred.sqr().unwrap().mean_keepdim((0, 2, 3)).unwrap();
    let expected = centred
        .broadcast_div(&(var + 1e-5).unwrap().sqrt().unwrap())
        .unwrap();
    // The subtraction of a mean rounded to f32 moves all values of a channel alike, by 3e-5.
    check("normalised", &numbers(&out), &numbers(&expected), 1e-4);
}

#[test]
fn one_nan_comes_out_of_every_layer() {
    let store = store(DTYPE);
    let vb = store.var_builder();
    let config = Conv2dConfig {
        groups: 2,
        bias: true,
        ..PLAIN
    };
    let avg = |count_include_pad| AvgPool2d {
        kernel: 3,
        stride: 2,
        padding: 1,
        count_include_pad,
    };
    let max = MaxPool2d {
        kernel: 3,
        stride: 2,
        padding: 1,
    };
    let layers: [(&str, Box<dyn Layer>); 7] = [
        (
            "conv",
            Box::new(Conv2d::new(4, 4, 3, config, vb.pp("conv")).unwrap()),
        ),
        (
            "norm",
            Box::new(BatchNorm2d::new(4, NORM, vb.pp("bn")).unwrap()),
        ),
        (
            "unit",
            Box::new(ConvBn::new(4, 4, 3, 1, 1, NORM, vb.pp("c"), vb.pp("b")).unwrap()),
        ),
        ("max", Box::new(max)),
        ("mean", Box::new(avg(true))),
        ("mean inside", Box::new(avg(false))),
        ("dropout", Box::new(Dropout::new(0.5).unwrap())),
    ];
    let images = with_a_nan(&[2, 4, 5, 5], 4 * 5 * 5 / 2 + 2);
    // Evaluation comes first, for running statistics keep a NaN. Of the steps some drop it.
    let training = (0..8).map(|step| (train(DTYPE), step));
    for (cx, step) in std::iter::once((eval(DTYPE), 0)).chain(training) {
        let x = cx.enter(&images).unwrap();
        for (name, layer) in &layers {
            cx.begin_step(1, step);
            let out = layer.forward(&cx, &x).unwrap().to_tensor().unwrap();
            let (first, second) = (has_nan(&out, 0), has_nan(&out, 1));
            let mixes_images = cx.is_train() && ["norm", "unit"].contains(name);
            assert_eq!((first, second), (true, mixes_images), "{name}");
        }
        let ones = cx.enter(&images.ones_like().unwrap()).unwrap();
        let outs = [
            ("relu", x.relu().unwrap().to_tensor().unwrap()),
            ("add", ones.add(&x).unwrap().to_tensor().unwrap()),
            (
                "subsample",
                x.subsample_pad(2, 6).unwrap().to_tensor().unwrap(),
            ),
            ("mean_hw", x.mean_hw().unwrap()),
        ];
        for (name, out) in outs {
            assert_eq!(
                (has_nan(&out, 0), has_nan(&out, 1)),
                (true, false),
                "{name}"
            );
        }
    }
}

#[test]
fn one_nan_comes_out_of_every_head() {
    let (cx, store) = (train(DTYPE), store(DTYPE));
    let features = with_a_nan(&[2, 6], 3);
    let linear = linear(6, 3, store.var_builder().pp("linear")).unwrap();
    let cosine = CosineLinear::new(6, 3, 16.0, store.var_builder().pp("cosine")).unwrap();
    let dropout = Dropout::new(0.5).unwrap();
    for step in 0..8 {
        cx.begin_step(1, step);
        for out in [
            linear.forward(&features).unwrap(),
            cosine.forward(&features).unwrap(),
            dropout.forward_tensor(&cx, &features).unwrap(),
        ] {
            assert_eq!((has_nan(&out, 0), has_nan(&out, 1)), (true, false));
        }
    }
}

/// Ordinary numbers and one NaN.
fn with_a_nan(shape: &[usize], at: usize) -> Tensor {
    let mut values: Vec<f32> = draw(1, "x", shape, DTYPE)
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap();
    values[at] = f32::NAN;
    Tensor::from_vec(values, shape, &CPU).unwrap()
}

fn has_nan(batch: &Tensor, nth: usize) -> bool {
    numbers(&batch.get(nth).unwrap())
        .iter()
        .any(|value| value.is_nan())
}

#[test]
fn maxima_are_the_same_with_and_without_a_gradient_to_come() {
    let pool = MaxPool2d {
        kernel: 3,
        stride: 2,
        padding: 1,
    };
    let images = variable("x", &[3, 4, 7, 6], DTYPE);
    let maxima = |cx: Ctx| {
        let out = pool.forward(&cx, &cx.enter(&images).unwrap()).unwrap();
        numbers(&out.to_tensor().unwrap())
    };
    assert_eq!(maxima(eval(DTYPE)), maxima(train(DTYPE)));
}

#[test]
fn a_row_of_zeros_gets_pytorchs_gradient_in_a_cosine_head() {
    let store = store(DTYPE);
    let head = CosineLinear::new(3, 2, 4.0, store.var_builder()).unwrap();
    let features = Tensor::new(&[[0f32, 0.0, 0.0], [1.0, 2.0, 2.0]], &CPU).unwrap();
    let features = Var::from_tensor(&features).unwrap();
    let logits = head.forward(&features).unwrap();
    assert_eq!(numbers(&logits.get(0).unwrap()), [0.0; 2]);
    let grads = logits.sum_all().unwrap().backward().unwrap();
    // As torch.nn.functional.normalize: that of a division by 1e-12.
    let directions = numbers(head.weight());
    let unit = |class: usize, at: usize| {
        let row = &directions[3 * class..3 * class + 3];
        row[at] / row.iter().map(|value| value * value).sum::<f64>().sqrt()
    };
    let expected: Vec<f64> = (0..3)
        .map(|at| 4.0 * 1e12 * (unit(0, at) + unit(1, at)))
        .collect();
    let actual = gradient(&grads, &features);
    check("zero row", &actual[..3], &expected, 1e-5);
    assert!(actual[3..].iter().all(|value| value.abs() < 10.0));
}

/// The output of dropout on ones, for a seed and step.
fn dropped(cx: &Ctx, seed: u64, step: u64, calls: usize) -> Vec<Vec<f64>> {
    cx.begin_step(seed, step);
    let ones = Tensor::ones((8, 16, 16, 16), DTYPE, &CPU).unwrap();
    let dropout = Dropout::new(0.25).unwrap();
    (0..calls)
        .map(|_| {
            let x = cx.enter(&ones).unwrap();
            numbers(&dropout.forward(cx, &x).unwrap().to_tensor().unwrap())
        })
        .collect()
}

#[test]
fn dropout_masks_are_a_function_of_seed_step_and_call() {
    let cx = train(DTYPE);
    let first = dropped(&cx, 3, 10, 2);
    assert_eq!(dropped(&train(DTYPE), 3, 10, 2), first);
    assert_ne!(first[0], first[1]);
    assert_ne!(dropped(&cx, 3, 11, 1)[0], first[0]);
    assert_ne!(dropped(&cx, 4, 10, 1)[0], first[0]);
}

#[test]
fn dropout_keeps_the_mean_and_scales_what_it_keeps() {
    let out = dropped(&train(DTYPE), 3, 10, 1).remove(0);
    let scale = f64::from(1f32 / 0.75);
    assert!(
        out.iter()
            .all(|&value| value == 0.0 || (value - scale).abs() < 1e-6)
    );
    let mean = out.iter().sum::<f64>() / out.len() as f64;
    // 32,768 independent elements: four standard errors.
    assert!(
        (mean - 1.0).abs() < 4.0 * (0.25 / 0.75 / out.len() as f64).sqrt(),
        "{mean}"
    );
}

#[test]
fn dropout_on_a_tensor_masks_value_and_gradient_alike() {
    let (cx, x) = (
        train(DType::F64),
        variable("features", &[6, 10], DType::F64),
    );
    let dropout = Dropout::new(0.5).unwrap();
    check_by_differences(&x, &cx, || {
        cx.begin_step(1, 2);
        dropout.forward_tensor(&cx, &x.t()?)?.sqr()?.sum_all()
    });
    let evaluation = eval(DType::F64);
    assert_eq!(
        numbers(&dropout.forward_tensor(&evaluation, &x).unwrap()),
        numbers(&x)
    );
}

#[test]
fn default_initial_values_are_pytorchs() {
    let store = store(DType::F64);
    let vb = store.var_builder();
    let config = Conv2dConfig {
        groups: 2,
        bias: true,
        ..PLAIN
    };
    Conv2d::new(8, 16, 3, config, vb.pp("conv")).unwrap();
    linear(100, 40, vb.pp("fc")).unwrap();
    for (name, fan_in) in [("conv", 4 * 9), ("fc", 100)] {
        let bound = 1.0 / f64::from(fan_in).sqrt();
        for (full, var) in store
            .parameters()
            .iter()
            .filter(|(full, _)| full.starts_with(name))
        {
            let values = numbers(var);
            assert!(values.iter().all(|value| value.abs() <= bound), "{full}");
            let largest = values.iter().fold(0f64, |a, b| a.max(b.abs()));
            assert!(largest > 0.8 * bound, "{full}: {largest} of {bound}");
        }
    }
}
