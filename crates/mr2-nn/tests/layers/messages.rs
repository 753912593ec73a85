//! Messages of wrong shapes, types and uses.

use super::support::*;
use candle_core::{DType, Tensor};
use mr2_nn::graph::{Act, Ctx, Mode};
use mr2_nn::layers::{
    AvgPool2d, BatchNorm2d, Conv2d, Conv2dConfig, ConvBn, CosineLinear, Dropout, MaxPool2d, linear,
};
use std::collections::HashMap;

const DTYPE: DType = DType::F32;

#[track_caller]
fn says<T>(result: candle_core::Result<T>, text: &str) {
    let message = message(result);
    assert!(message.contains(text), "{message}");
}

fn enter(cx: &Ctx, shape: &[usize]) -> Act {
    cx.enter(&draw(1, "x", shape, DTYPE)).unwrap()
}

#[test]
fn contexts_and_images_of_the_wrong_kind_are_refused() {
    says(
        Ctx::new(&CPU, DType::BF16, Mode::Train),
        "dtype: expected f32 or f64, got bf16",
    );
    let cx = train(DTYPE);
    let images = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, &CPU).unwrap();
    says(
        cx.enter(&images(&[3, 4, 4], DTYPE)),
        "images: expected (batch, channels, height, width), got [3, 4, 4]",
    );
    says(
        cx.enter(&images(&[0, 3, 4, 4], DTYPE)),
        "no dimension may be empty, got [0, 3, 4, 4]",
    );
    says(
        cx.enter(&images(&[1, 3, 4, 4], DType::U8)),
        "images: expected F32, got U8",
    );
    says(
        cx.enter(&images(&[1, 3, 4, 4], DType::F64)),
        "images: expected F32, got F64",
    );
}

#[test]
fn candles_own_backward_is_refused() {
    let (cx, store) = (train(DTYPE), store(DTYPE));
    let conv = Conv2d::new(3, 2, 3, PLAIN, store.var_builder()).unwrap();
    let loss = conv
        .forward(&cx, &enter(&cx, &[1, 3, 4, 4]))
        .unwrap()
        .mean_hw()
        .unwrap();
    says(loss.backward(), "needs Ctx::backward(&loss)");
    assert!(cx.backward(&loss).is_ok(), "the right one still works");
    says(
        train(DTYPE).backward(&loss),
        "cannot join activations of two contexts",
    );
    let images = variable("x", &[1, 3, 4, 4], DTYPE);
    let loss = cx.enter(&images).unwrap().to_tensor().unwrap();
    says(loss.backward(), "needs Ctx::backward(&loss)");
}

#[test]
fn activations_that_do_not_fit_are_refused() {
    let cx = train(DTYPE);
    let x = enter(&cx, &[1, 3, 4, 4]);
    says(
        x.add(&enter(&cx, &[1, 3, 4, 5])),
        "add: shapes (1, 3, 4, 4) and (1, 3, 4, 5) differ",
    );
    says(
        x.add(&enter(&train(DTYPE), &[1, 3, 4, 4])),
        "an activation of one Ctx",
    );
    says(x.subsample_pad(0, 3), "stride must be at least 1, got 0");
    says(
        x.subsample_pad(2, 2),
        "out_channels 2 is below the input's 3",
    );
}

#[test]
fn convolutions_name_what_does_not_fit() {
    let (cx, store) = (train(DTYPE), store(DTYPE));
    let new =
        |ins, outs, kernel, config| Conv2d::new(ins, outs, kernel, config, store.var_builder());
    says(new(0, 2, 3, PLAIN), "in_channels 0");
    says(
        new(3, 4, 3, Conv2dConfig { groups: 2, ..PLAIN }),
        "groups 2 must divide in_channels 3",
    );
    says(
        new(3, 4, 3, Conv2dConfig { stride: 0, ..PLAIN }),
        "at least 1, got 0, 1",
    );
    let conv = new(
        3,
        4,
        5,
        Conv2dConfig {
            padding: 0,
            ..PLAIN
        },
    )
    .unwrap();
    let four = enter(&cx, &[1, 4, 8, 8]);
    says(
        conv.forward(&cx, &four),
        "the layer takes 3 channels, the input has 4",
    );
    let small = enter(&cx, &[1, 3, 4, 8]);
    says(
        conv.forward(&cx, &small),
        "reaches over 5 pixels, but the padded input has 4",
    );
    says(
        conv.forward(&train(DTYPE), &small),
        "an activation of one Ctx",
    );
    let double = train(DType::F64);
    let images = Tensor::zeros((1, 3, 8, 8), DType::F64, &CPU).unwrap();
    let x = double.enter(&images).unwrap();
    says(
        conv.forward(&double, &x),
        "conv2d weight: expected F64, got F32",
    );
}

#[test]
fn a_parameter_computed_from_variables_is_refused() {
    let given = |name: &str, size: &[usize], computed: bool| {
        let tensor = variable(name, size, DTYPE).as_tensor().clone();
        let tensor = if computed {
            (tensor * 2.0).unwrap()
        } else {
            tensor
        };
        (name.to_string(), tensor)
    };
    let text = |layer: &str, name: &str| format!("{layer} {name}: computed from variables");
    let config = Conv2dConfig {
        bias: true,
        ..PLAIN
    };
    for name in ["weight", "bias"] {
        let weight = given("weight", &[2, 3, 3, 3], name == "weight");
        let tensors = HashMap::from([weight, given("bias", &[2], name == "bias")]);
        let conv = Conv2d::new(3, 2, 3, config, builder(tensors, DTYPE));
        says(conv, &text("conv2d", name));
        let buffers = ["running_mean", "running_var"].map(|buffer| given(buffer, &[3], false));
        let parameters = ["weight", "bias"].map(|own| given(own, &[3], own == name));
        let tensors = HashMap::from_iter(buffers.into_iter().chain(parameters));
        let bn = BatchNorm2d::new(3, NORM, builder(tensors, DTYPE));
        says(bn, &text("batch_norm", name));
    }
}

#[test]
fn batch_norm_of_one_value_per_channel_is_refused_in_training_only() {
    let store = store(DTYPE);
    let bn = BatchNorm2d::new(3, NORM, store.var_builder()).unwrap();
    let cx = train(DTYPE);
    let text = "expected more than 1 value per channel when training, got input (1, 3, 1, 1)";
    says(bn.forward(&cx, &enter(&cx, &[1, 3, 1, 1])), text);
    let cx = eval(DTYPE);
    assert!(bn.forward(&cx, &enter(&cx, &[1, 3, 1, 1])).is_ok());
    says(
        bn.forward(&cx, &enter(&cx, &[1, 2, 2, 1])),
        "takes 3 channels, the input has 2",
    );
    let (x, skip) = (enter(&cx, &[1, 3, 2, 1]), enter(&cx, &[1, 3, 1, 2]));
    says(
        bn.forward_add_relu(&cx, &x, &skip),
        "skip is (1, 3, 1, 2), the input (1, 3, 2, 1)",
    );
    let other = ConvBn::from_parts(
        Conv2d::new(3, 4, 3, PLAIN, store.var_builder().pp("conv")).unwrap(),
        bn,
    );
    says(other, "gives 4 channels, the normalisation takes 3");
}

#[test]
fn layer_settings_out_of_range_are_refused() {
    let (cx, store) = (train(DTYPE), store(DTYPE));
    let x = enter(&cx, &[1, 1, 4, 4]);
    let max = |kernel, stride, padding| {
        MaxPool2d {
            kernel,
            stride,
            padding,
        }
        .forward(&cx, &x)
    };
    says(
        max(3, 1, 2),
        "max_pool: padding may be at most half the kernel 3, got 2",
    );
    says(
        max(2, 0, 0),
        "stride and dilation must be at least 1, got 2, 0, 1",
    );
    let avg = AvgPool2d {
        kernel: 5,
        stride: 1,
        padding: 0,
        count_include_pad: true,
    };
    says(
        avg.forward(&cx, &x),
        "avg_pool: the kernel reaches over 5 pixels",
    );
    says(Dropout::new(1.0), "p must be at least 0 and below 1, got 1");
    says(Dropout::new(f64::NAN), "got NaN");
    let vb = || store.var_builder();
    says(linear(0, 3, vb()), "in_dim 0");
    says(
        CosineLinear::new(4, 3, 0.0, vb()),
        "scale must be finite and positive, got 0",
    );
    let head = CosineLinear::new(4, 3, 1.0, vb()).unwrap();
    let features = Tensor::zeros((2, 5), DTYPE, &CPU).unwrap();
    says(head.forward(&features), "expected (batch, 4), got [2, 5]");
}

#[test]
fn dropout_in_training_asks_for_a_step() {
    let cx = train(DTYPE);
    let dropout = Dropout::new(0.5).unwrap();
    says(
        dropout.forward(&cx, &enter(&cx, &[1, 1, 2, 2])),
        "needs Ctx::begin_step(seed, step)",
    );
}
