//! What the f32 kernels do on the way (normalise while they load, sum while they store) against the same net
//! in f64, which does it pass by pass and is held to finite differences in `graph.rs`.

use super::support::*;
use candle_core::{DType, Result, Tensor, Var};
use candle_nn::VarBuilder;
use mr2_nn::graph::{Act, Ctx};
use mr2_nn::layers::{BatchNorm2d, Conv2d, Conv2dConfig, ConvBn, MaxPool2d};
use mr2_nn::params::ParamStore;

/// f32 against f64, in units of the largest number, or of 0.1: a mean that is 0 is the sum of numbers of
/// about 1.
const TOLERANCE: f64 = 2e-5;

type Net = fn(&Ctx, &VarBuilder, &Act) -> Result<Tensor>;

fn unit(vb: &VarBuilder, name: &str, sizes: [usize; 5]) -> Result<ConvBn> {
    let [ins, outs, kernel, stride, padding] = sizes;
    let (conv, bn) = (vb.pp(format!("{name}.conv")), vb.pp(format!("{name}.bn")));
    ConvBn::new(ins, outs, kernel, stride, padding, NORM, conv, bn)
}

fn energy(x: &Act) -> Result<Tensor> {
    x.to_tensor()?.sqr()?.mean_all()
}

/// Blocks as in residual nets: what skips is read by a convolution first, then by the sum.
fn residual(cx: &Ctx, vb: &VarBuilder, x: &Act) -> Result<Tensor> {
    let x = unit(vb, "stem", [3, 17, 3, 1, 1])?.forward_relu(cx, x)?;
    let y = unit(vb, "a", [17, 16, 3, 1, 1])?.forward_relu(cx, &x)?;
    let x = unit(vb, "b", [16, 17, 3, 1, 1])?.forward_add_relu(cx, &y, &x)?;
    let y = unit(vb, "c", [17, 32, 3, 2, 1])?.forward_relu(cx, &x)?;
    let skip = x.subsample_pad(2, 48)?;
    let x = unit(vb, "d", [32, 48, 3, 1, 1])?.forward_add_relu(cx, &y, &skip)?;
    let y = unit(vb, "e", [48, 33, 1, 1, 0])?.forward_relu(cx, &x)?;
    let y = unit(vb, "f", [33, 48, 1, 1, 0])?.forward_add_relu(cx, &y, &x)?;
    energy(&y)? + y.mean_hw()?.sqr()?.sum_all()?
}

/// Normalisation before convolution: its output is read by two of them.
fn two_readers(cx: &Ctx, vb: &VarBuilder, x: &Act) -> Result<Tensor> {
    let x = unit(vb, "stem", [3, 16, 3, 1, 1])?.forward(cx, x)?;
    let active = BatchNorm2d::new(16, NORM, vb.pp("bn"))?.forward_relu(cx, &x)?;
    let y = unit(vb, "a", [16, 32, 3, 2, 1])?.forward(cx, &active)?;
    let config = Conv2dConfig {
        stride: 2,
        padding: 0,
        ..PLAIN
    };
    let z = Conv2d::new(16, 32, 1, config, vb.pp("projection"))?.forward(cx, &active)?;
    energy(&y.add(&z)?)
}

/// Readers that are no convolutions, beside one; a convolution with a bias; normalisation twice.
fn other_readers(cx: &Ctx, vb: &VarBuilder, x: &Act) -> Result<Tensor> {
    let x = unit(vb, "stem", [3, 16, 5, 1, 2])?.forward_relu(cx, x)?;
    let pool = MaxPool2d {
        kernel: 2,
        stride: 1,
        padding: 0,
    };
    let y = unit(vb, "a", [16, 16, 2, 1, 0])?.forward(cx, &x)?;
    let y = y.add(&pool.forward(cx, &x)?)?;
    let config = Conv2dConfig {
        bias: true,
        ..PLAIN
    };
    let y = Conv2d::new(16, 5, 3, config, vb.pp("biased"))?.forward(cx, &y)?;
    let y = BatchNorm2d::new(5, NORM, vb.pp("first"))?.forward(cx, &y)?;
    let y = BatchNorm2d::new(5, NORM, vb.pp("second"))?.forward_relu(cx, &y)?;
    energy(&y)? + energy(&x)?
}

/// A branch that never reaches the loss reads what a convolution reads.
fn lost_reader(cx: &Ctx, vb: &VarBuilder, x: &Act) -> Result<Tensor> {
    let x = unit(vb, "stem", [3, 16, 3, 1, 1])?.forward_relu(cx, x)?;
    unit(vb, "lost", [16, 16, 3, 1, 1])?.forward(cx, &x)?;
    energy(&unit(vb, "a", [16, 16, 3, 1, 1])?.forward_relu(cx, &x)?)
}

/// Kernels that read no other source: groups and dilation.
fn patches(cx: &Ctx, vb: &VarBuilder, x: &Act) -> Result<Tensor> {
    let x = unit(vb, "stem", [3, 16, 3, 1, 1])?.forward_relu(cx, x)?;
    let config = Conv2dConfig {
        groups: 16,
        dilation: 2,
        padding: 2,
        ..PLAIN
    };
    let y = Conv2d::new(16, 16, 3, config, vb.pp("grouped"))?.forward(cx, &x)?;
    let y = BatchNorm2d::new(16, NORM, vb.pp("bn"))?.forward_add_relu(cx, &y, &x)?;
    energy(&unit(vb, "last", [16, 8, 3, 1, 1])?.forward_relu(cx, &y)?)
}

const NETS: [(&str, Net); 5] = [
    ("residual", residual),
    ("two readers", two_readers),
    ("other readers", other_readers),
    ("lost reader", lost_reader),
    ("patches", patches),
];

/// Batch, height, width: one image, many, odd sizes, one that takes several bands of rows.
const SIZES: [[usize; 3]; 4] = [[1, 9, 9], [19, 8, 8], [2, 7, 13], [2, 33, 40]];

/// The loss, the gradients of all parameters and of the images, and the buffers.
fn results(net: Net, size: [usize; 3], dtype: DType) -> Vec<(String, Vec<f64>)> {
    let [batch, height, width] = size;
    let store = ParamStore::new(11, dtype, &CPU);
    let vb = store.var_builder();
    let images = draw(7, "images", &[batch, 3, height, width], dtype);
    let images = Var::from_tensor(&images).unwrap();
    let cx = train(dtype);
    let loss = net(&cx, &vb, &cx.enter(&images).unwrap()).unwrap();
    let grads = cx.backward(&loss).unwrap();
    let again = cx.backward(&loss).unwrap();
    let mut results = vec![
        ("loss".to_string(), numbers(&loss)),
        ("images".to_string(), gradient(&grads, &images)),
    ];
    for (name, parameter) in store.parameters() {
        let Some(gradient) = grads.get(&parameter) else {
            assert!(name.starts_with("lost"), "{name} has no gradient");
            continue;
        };
        let repeated = numbers(again.get(&parameter).unwrap());
        assert_eq!(numbers(gradient), repeated, "{name}: a second backward");
        results.push((name, numbers(gradient)));
    }
    let eval = eval(dtype);
    let evaluated = net(&eval, &vb, &eval.enter(&images).unwrap()).unwrap();
    results.push(("evaluated".to_string(), numbers(&evaluated)));
    for (name, buffer) in store.buffers() {
        results.push((name, numbers(&buffer)));
    }
    results
}

#[track_caller]
fn close(what: &str, actual: &[f64], expected: &[f64]) {
    let largest = expected.iter().fold(0.1f64, |a, b| a.max(b.abs()));
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        let difference = (a - e).abs();
        assert!(
            difference <= TOLERANCE * largest,
            "{what}[{i}]: {a} instead of {e}"
        );
    }
}

#[test]
fn what_kernels_do_on_the_way_equals_one_pass_after_the_other() {
    for (name, net) in NETS {
        for size in SIZES {
            let (narrow, wide) = (
                results(net, size, DType::F32),
                results(net, size, DType::F64),
            );
            assert_eq!(narrow.len(), wide.len());
            for ((what, actual), (_, expected)) in narrow.iter().zip(&wide) {
                let what = format!("{name} {size:?} {what}");
                close(&what, actual, expected);
            }
        }
    }
}

#[test]
fn what_kernels_do_on_the_way_has_the_same_bits_on_any_number_of_threads() {
    for (name, net) in NETS {
        let runs = [1, 2, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().unwrap();
            pool.install(|| results(net, [19, 9, 11], DType::F32))
        });
        assert!(runs[0] == runs[1] && runs[0] == runs[2], "{name}");
    }
}
