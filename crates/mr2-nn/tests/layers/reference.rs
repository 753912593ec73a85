//! Against PyTorch in float64: outputs, gradients of everything, running statistics.

use super::support::*;
use candle_core::{DType, Result, Tensor, Var};
use mr2_nn::graph::{Act, Ctx};
use mr2_nn::layers::{
    AvgPool2d, BatchNorm2d, Conv2d, Conv2dConfig, ConvBn, CosineLinear, MaxPool2d,
};
use std::collections::{BTreeSet, HashMap};

const SEED: u64 = 53;

/// The same arithmetic in another order.
const F64: f64 = 1e-12;

/// Sums of up to a few hundred products, through batch norm.
const F32: f64 = 2e-5;

fn fixture(name: &str) -> HashMap<String, Tensor> {
    let path = format!(
        "{}/tests/fixtures/{name}.safetensors",
        env!("CARGO_MANIFEST_DIR")
    );
    candle_core::safetensors::load(path, &CPU).unwrap()
}

/// The cases of a fixture: what precedes the last dot of its tensors' names.
fn cases(fixture: &HashMap<String, Tensor>) -> BTreeSet<String> {
    fixture
        .keys()
        .map(|key| key.split_once('.').unwrap().0.to_string())
        .collect()
}

/// Kind and sizes of a case such as `conv-1-3-8`.
pub fn parse(case: &str) -> (&str, Vec<usize>) {
    let (kind, sizes) = case.split_once('-').unwrap();
    (
        kind,
        sizes.split('-').map(|size| size.parse().unwrap()).collect(),
    )
}

/// Runs every case in both element types; `run` gets the variables that the fixture has a gradient
/// for, and returns the output.
pub fn check_fixture(
    name: &str,
    run: impl Fn(&Ctx, &str, &HashMap<String, Var>, DType) -> Result<Tensor>,
) {
    let expected = fixture(name);
    for case in cases(&expected) {
        for (dtype, tolerance) in [(DType::F64, F64), (DType::F32, F32)] {
            let cx = train(dtype);
            let prefix = format!("{case}.");
            let mut inputs = HashMap::new();
            for (key, value) in &expected {
                let Some(key) = key.strip_prefix(&prefix) else {
                    continue;
                };
                if !["out", "eval", "running_mean", "running_var"].contains(&key) {
                    let value = draw(SEED, &format!("{case}.{key}"), value.dims(), dtype);
                    let value = match case.starts_with("max_ties") {
                        true => value.round().unwrap(),
                        false => value,
                    };
                    inputs.insert(key.to_string(), Var::from_tensor(&value).unwrap());
                }
            }
            let out = run(&cx, &case, &inputs, dtype).unwrap();
            let want = |key: &str| numbers(&expected[&format!("{case}.{key}")]);
            check(
                &format!("{case} {dtype:?} out"),
                &numbers(&out),
                &want("out"),
                tolerance,
            );
            let upstream = draw(SEED, &format!("{case}.upstream"), out.dims(), dtype);
            let loss = (&out * upstream).unwrap().sum_all().unwrap();
            let grads = cx.backward(&loss).unwrap();
            for (key, var) in &inputs {
                let what = format!("{case} {dtype:?} gradient of {key}");
                check(&what, &gradient(&grads, var), &want(key), tolerance);
            }
        }
    }
}

pub fn tensors(vars: &HashMap<String, Var>) -> HashMap<String, Tensor> {
    vars.iter()
        .map(|(name, var)| (name.clone(), var.as_tensor().clone()))
        .collect()
}

#[test]
fn convolutions_equal_pytorchs() {
    check_fixture("layers_conv", |cx, case, vars, dtype| {
        let (_, s) = parse(case);
        let config = Conv2dConfig {
            stride: s[6],
            padding: s[7],
            dilation: s[8],
            groups: s[9],
            bias: s[10] == 1,
        };
        let vb = builder(tensors(vars), dtype);
        Conv2d::new(s[1], s[2], s[5], config, vb)?
            .forward(cx, &cx.enter(&vars["x"])?)?
            .to_tensor()
    });
}

/// Batch norm, and what follows by the case's name.
fn normalise(kind: &str, bn: &BatchNorm2d, cx: &Ctx, vars: &HashMap<String, Var>) -> Result<Act> {
    let x = cx.enter(&vars["x"])?;
    match kind {
        "bn" => bn.forward(cx, &x),
        "bn_relu" => bn.forward_relu(cx, &x),
        _ => bn.forward_add_relu(cx, &x, &cx.enter(&vars["skip"])?),
    }
}

#[test]
fn batch_norms_equal_pytorchs_in_training_and_evaluation() {
    let expected = fixture("layers_norm");
    check_fixture("layers_norm", |cx, case, vars, dtype| {
        let (kind, s) = parse(case);
        let mean = draw(SEED, &format!("{case}.running_mean"), &s[1..2], dtype);
        let var = draw(SEED, &format!("{case}.running_var"), &s[1..2], dtype);
        let var = (var.sqr()? + 0.5)?;
        let mut all = tensors(vars);
        all.insert("running_mean".into(), mean.clone());
        all.insert("running_var".into(), var.clone());
        let bn = BatchNorm2d::new(s[1], NORM, builder(all, dtype))?;
        let tolerance = if dtype == DType::F64 { F64 } else { F32 };
        let want = |key: &str| numbers(&expected[&format!("{case}.{key}")]);
        let fixed = normalise(kind, &bn, &eval(dtype), vars)?.to_tensor()?;
        check(
            &format!("{case} eval"),
            &numbers(&fixed),
            &want("eval"),
            tolerance,
        );
        let out = normalise(kind, &bn, cx, vars)?.to_tensor()?;
        check(
            &format!("{case} mean"),
            &numbers(&mean),
            &want("running_mean"),
            tolerance,
        );
        check(
            &format!("{case} var"),
            &numbers(&var),
            &want("running_var"),
            tolerance,
        );
        Ok(out)
    });
}

#[test]
fn pooling_equals_pytorchs_with_overlapping_windows_and_ties() {
    check_fixture("layers_pool", |cx, case, vars, _| {
        let (kind, s) = parse(case);
        let (kernel, stride, padding) = (s[4], s[5], s[6]);
        let x = cx.enter(&vars["x"])?;
        let average = |count_include_pad| AvgPool2d {
            kernel,
            stride,
            padding,
            count_include_pad,
        };
        match kind {
            "avg_padded" => average(true).forward(cx, &x)?.to_tensor(),
            "avg_inside" => average(false).forward(cx, &x)?.to_tensor(),
            _ => MaxPool2d {
                kernel,
                stride,
                padding,
            }
            .forward(cx, &x)?
            .to_tensor(),
        }
    });
}

fn residual_net(cx: &Ctx, vars: &HashMap<String, Var>, dtype: DType) -> Result<Tensor> {
    let mut all = tensors(vars);
    for (name, channels) in [("stem", 4), ("a1", 4), ("a2", 4), ("b1", 7), ("b2", 7)] {
        all.insert(
            format!("{name}.bn.running_mean"),
            Tensor::zeros(channels, dtype, &CPU)?,
        );
        all.insert(
            format!("{name}.bn.running_var"),
            Tensor::ones(channels, dtype, &CPU)?,
        );
    }
    let vb = builder(all, dtype);
    let unit = |name: &str, ins, outs, stride| {
        let vb = vb.pp(name);
        ConvBn::new(ins, outs, 3, stride, 1, NORM, vb.pp("conv"), vb.pp("bn"))
    };
    let x = unit("stem", 2, 4, 1)?.forward_relu(cx, &cx.enter(&vars["x"])?)?;
    let y = unit("a1", 4, 4, 1)?.forward_relu(cx, &x)?;
    let x = unit("a2", 4, 4, 1)?.forward_add_relu(cx, &y, &x)?;
    let y = unit("b1", 4, 7, 2)?.forward_relu(cx, &x)?;
    unit("b2", 7, 7, 1)?
        .forward_add_relu(cx, &y, &x.subsample_pad(2, 7)?)?
        .mean_hw()
}

#[test]
fn a_residual_net_and_a_cosine_head_equal_pytorchs() {
    check_fixture("layers_net", |cx, case, vars, dtype| match case {
        "net" => residual_net(cx, vars, dtype),
        _ => CosineLinear::new(5, 3, 16.0, builder(tensors(vars), dtype))?.forward(&vars["x"]),
    });
}
