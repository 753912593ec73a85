//! The layers of convolutional networks, and the edges of images.

use mr2_nn::graph::{Act, Mode};
use mr2_nn::layers::{
    AvgPool2d, BatchNorm2d, BatchNormConfig, Conv2d, Conv2dConfig, ConvBn, Dropout, MaxPool2d,
};

use super::case::Case;

const NORM: BatchNormConfig = BatchNormConfig {
    eps: 1e-5,
    momentum: 0.1,
};
const PLAIN: Conv2dConfig = Conv2dConfig {
    stride: 1,
    padding: 1,
    dilation: 1,
    groups: 1,
    bias: false,
};
/// Not square, and no multiple of a vector's or a tile's width.
const IMAGES: &[usize] = &[3, 16, 13, 10];
const WIDER: &[usize] = &[3, 24, 13, 10];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = convolutions();
    cases.extend(norms());
    cases.extend(units());
    cases.extend(pools());
    cases.extend(edges());
    cases
}

fn conv(name: &str, channels: [usize; 2], kernel: usize, config: Conv2dConfig) -> Case {
    // Shapes are borrowed for the program's life: there are few.
    let shape: &'static [usize] = match channels[0] {
        1 => &[3, 1, 13, 10],
        3 => &[2, 3, 32, 32],
        _ => IMAGES,
    };
    Case::layer(
        name,
        Mode::Train,
        [shape],
        move |vb| Conv2d::new(channels[0], channels[1], kernel, config, vb),
        |conv, cx, x| conv.forward(cx, &x[0])?.to_tensor(),
    )
}

fn convolutions() -> Vec<Case> {
    let with = |change: fn(&mut Conv2dConfig)| {
        let mut config = PLAIN;
        change(&mut config);
        config
    };
    let stride = with(|c| c.stride = 2);
    let point = with(|c| c.padding = 0);
    let strided_point = with(|c| (c.padding, c.stride) = (0, 2));
    let stem = with(|c| (c.padding, c.stride) = (3, 2));
    let patches = with(|c| (c.padding, c.stride, c.bias) = (0, 8, true));
    let dilated = with(|c| (c.padding, c.dilation) = (2, 2));
    vec![
        conv("conv 3x3", [16, 24], 3, PLAIN),
        conv("conv 3x3, 1 channel", [1, 16], 3, PLAIN),
        conv("conv 3x3, 3 channels", [3, 16], 3, PLAIN),
        conv("conv 3x3, 5 outputs", [16, 5], 3, PLAIN),
        conv("conv 3x3, stride 2", [16, 24], 3, stride),
        conv("conv 3x3, bias", [16, 24], 3, with(|c| c.bias = true)),
        conv("conv 3x3, dilation 2", [16, 24], 3, dilated),
        conv("conv 3x3, 4 groups", [16, 24], 3, with(|c| c.groups = 4)),
        conv("conv 3x3, depthwise", [16, 16], 3, with(|c| c.groups = 16)),
        conv("conv 1x1", [16, 24], 1, point),
        conv("conv 1x1, stride 2", [16, 24], 1, strided_point),
        conv("conv 5x5", [16, 24], 5, with(|c| c.padding = 2)),
        conv("conv 7x7, stride 2", [3, 16], 7, stem),
        conv("conv 8x8, stride 8, bias (patches)", [3, 24], 8, patches),
        same("conv 3x3, stride 2, SAME", 24, stride),
        same(
            "conv 3x3, depthwise, stride 2, SAME",
            16,
            with(|c| (c.groups, c.stride) = (16, 2)),
        ),
    ]
}

/// With TensorFlow's padding: on the device, a padded copy where the sides differ.
fn same(name: &str, outputs: usize, config: Conv2dConfig) -> Case {
    Case::layer(
        name,
        Mode::Train,
        [IMAGES],
        move |vb| Ok(Conv2d::new(16, outputs, 3, config, vb)?.padded_to_same()),
        |conv: &Conv2d, cx, x| conv.forward(cx, &x[0])?.to_tensor(),
    )
}

fn norms() -> Vec<Case> {
    let mut cases = Vec::new();
    for (mode, word) in [(Mode::Train, "training"), (Mode::Eval, "evaluation")] {
        let build = |vb| BatchNorm2d::new(16, NORM, vb);
        cases.extend([
            Case::layer(
                format!("batch norm, {word}"),
                mode,
                [IMAGES],
                build,
                |bn: &BatchNorm2d, cx, x| bn.forward(cx, &x[0])?.to_tensor(),
            ),
            Case::layer(
                format!("batch norm + relu, {word}"),
                mode,
                [IMAGES],
                build,
                |bn: &BatchNorm2d, cx, x| bn.forward_relu(cx, &x[0])?.to_tensor(),
            ),
            Case::layer(
                format!("batch norm + relu6, {word}"),
                mode,
                [IMAGES],
                build,
                |bn: &BatchNorm2d, cx, x| bn.forward_relu6(cx, &x[0])?.to_tensor(),
            ),
            Case::layer(
                format!("batch norm + add, {word}"),
                mode,
                [IMAGES, IMAGES],
                build,
                |bn: &BatchNorm2d, cx, x| bn.forward_add(cx, &x[0], &x[1])?.to_tensor(),
            ),
            Case::layer(
                format!("batch norm + add + relu, {word}"),
                mode,
                [IMAGES, IMAGES],
                build,
                |bn: &BatchNorm2d, cx, x| bn.forward_add_relu(cx, &x[0], &x[1])?.to_tensor(),
            ),
        ]);
    }
    cases
}

fn units() -> Vec<Case> {
    let mut cases = Vec::new();
    for (mode, word) in [(Mode::Train, "training"), (Mode::Eval, "evaluation")] {
        let build = |vb: candle_nn::VarBuilder<'static>| {
            ConvBn::new(16, 24, 3, 1, 1, NORM, vb.pp("conv"), vb.pp("bn"))
        };
        cases.extend([
            Case::layer(
                format!("conv + batch norm, {word}"),
                mode,
                [IMAGES],
                build,
                |unit: &ConvBn, cx, x| unit.forward(cx, &x[0])?.to_tensor(),
            ),
            Case::layer(
                format!("conv + batch norm + relu, {word}"),
                mode,
                [IMAGES],
                build,
                |unit: &ConvBn, cx, x| unit.forward_relu(cx, &x[0])?.to_tensor(),
            )
            .kinked(),
            Case::layer(
                format!("conv + batch norm + add + relu, {word}"),
                mode,
                [IMAGES, WIDER],
                build,
                |unit: &ConvBn, cx, x| unit.forward_add_relu(cx, &x[0], &x[1])?.to_tensor(),
            )
            .kinked(),
        ]);
    }
    cases
}

fn pools() -> Vec<Case> {
    let average = |kernel, stride, padding, count_include_pad| {
        let words = if count_include_pad {
            "counted"
        } else {
            "not counted"
        };
        let pool = AvgPool2d {
            kernel,
            stride,
            padding,
            count_include_pad,
        };
        plain(
            format!("average of {kernel}x{kernel}, stride {stride}, padding {padding} {words}"),
            move |x, cx| pool.forward(cx, x),
        )
    };
    let maximum = |kernel, stride, padding| {
        let pool = MaxPool2d {
            kernel,
            stride,
            padding,
        };
        plain(
            format!("maximum of {kernel}x{kernel}, stride {stride}, padding {padding}"),
            move |x, cx| pool.forward(cx, x),
        )
    };
    vec![
        average(2, 2, 0, true),
        average(3, 2, 1, true),
        average(3, 2, 1, false),
        maximum(2, 2, 0),
        maximum(3, 2, 1),
    ]
}

/// A layer without parameters on images.
fn plain(
    name: impl Into<String>,
    forward: impl Fn(&Act, &mr2_nn::graph::Ctx) -> candle_core::Result<Act> + 'static,
) -> Case {
    Case::layer(
        name,
        Mode::Train,
        [IMAGES],
        |_| Ok(()),
        move |(), cx, x| forward(&x[0], cx)?.to_tensor(),
    )
}

fn edges() -> Vec<Case> {
    let drop = |x: &Act, cx: &mr2_nn::graph::Ctx| Dropout::new(0.3)?.forward(cx, x);
    vec![
        plain("in and out (to_tensor)", |x, _| Ok(x.clone())),
        plain("relu", |x, _| x.relu()),
        plain("add, one input twice", |x, _| x.relu()?.add(x)),
        plain("dropout", drop),
        plain("dropout, twice in a step", move |x, cx| {
            drop(&drop(x, cx)?, cx)
        }),
        plain("subsample 2, channels to 33", |x, _| x.subsample_pad(2, 33)),
        plain("subsample 1, channels to 32", |x, _| x.subsample_pad(1, 32)),
        Case::layer(
            "add",
            Mode::Train,
            [IMAGES, IMAGES],
            |_| Ok(()),
            |(), _, x| x[0].add(&x[1])?.to_tensor(),
        ),
        Case::layer(
            "mean over pixels",
            Mode::Train,
            [IMAGES],
            |_| Ok(()),
            |(), _, x| x[0].mean_hw(),
        ),
        Case::layer(
            "to tokens",
            Mode::Train,
            [IMAGES],
            |_| Ok(()),
            |(), _, x| x[0].to_tokens(),
        ),
    ]
}
