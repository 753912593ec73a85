//! The distinct layers of the networks whose speed is watched.

/// A layer with its input.
#[derive(Clone, Copy)]
pub(super) struct Layer {
    pub(super) kind: Kind,
    pub(super) batch: usize,
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A convolution without bias, padded by half its kernel, or by nothing where `patches`.
    Conv {
        outputs: usize,
        kernel: usize,
        stride: usize,
        patches: bool,
    },
    /// Batch normalisation with ReLU.
    BatchNorm,
    /// Maximum over 3 x 3 with stride 2.
    MaxPool,
    /// A linear layer on tokens, with bias.
    Linear { outputs: usize },
    /// Layer normalisation.
    LayerNorm,
    /// Attention on queries, keys and values side by side.
    Attention { heads: usize },
}

const fn conv(
    batch: usize,
    size: usize,
    channels: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
) -> Layer {
    let kind = Kind::Conv {
        outputs,
        kernel,
        stride,
        patches: false,
    };
    square(kind, batch, size, channels)
}

const fn norm(batch: usize, size: usize, channels: usize) -> Layer {
    square(Kind::BatchNorm, batch, size, channels)
}

const fn square(kind: Kind, batch: usize, size: usize, channels: usize) -> Layer {
    Layer {
        kind,
        batch,
        channels,
        height: size,
        width: size,
    }
}

/// A layer on the 197 tokens of each of 8 images.
const fn tokens(kind: Kind, channels: usize) -> Layer {
    Layer {
        kind,
        batch: 8,
        channels,
        height: 1,
        width: 197,
    }
}

/// The convolution that decides the speed of the CIFAR nets.
pub(super) const HOT: Layer = conv(128, 8, 64, 64, 3, 1);

const RESNET32: [Layer; 9] = [
    conv(128, 32, 3, 16, 3, 1),
    conv(128, 32, 16, 16, 3, 1),
    conv(128, 32, 16, 32, 3, 2),
    conv(128, 16, 32, 32, 3, 1),
    conv(128, 16, 32, 64, 3, 2),
    HOT,
    norm(128, 32, 16),
    norm(128, 16, 32),
    norm(128, 8, 64),
];

const WRN_16_8: [Layer; 13] = [
    conv(64, 32, 3, 16, 3, 1),
    conv(64, 32, 16, 128, 3, 1),
    conv(64, 32, 16, 128, 1, 1),
    conv(64, 32, 128, 128, 3, 1),
    conv(64, 32, 128, 256, 3, 2),
    conv(64, 32, 128, 256, 1, 2),
    conv(64, 16, 256, 256, 3, 1),
    conv(64, 16, 256, 512, 3, 2),
    conv(64, 16, 256, 512, 1, 2),
    conv(64, 8, 512, 512, 3, 1),
    norm(64, 32, 128),
    norm(64, 16, 256),
    norm(64, 8, 512),
];

const RESNET50: [Layer; 33] = [
    conv(8, 224, 3, 64, 7, 2),
    conv(8, 56, 64, 64, 1, 1),
    conv(8, 56, 64, 64, 3, 1),
    conv(8, 56, 64, 256, 1, 1),
    conv(8, 56, 256, 64, 1, 1),
    conv(8, 56, 256, 128, 1, 1),
    conv(8, 56, 128, 128, 3, 2),
    conv(8, 56, 256, 512, 1, 2),
    conv(8, 28, 128, 512, 1, 1),
    conv(8, 28, 512, 128, 1, 1),
    conv(8, 28, 128, 128, 3, 1),
    conv(8, 28, 512, 256, 1, 1),
    conv(8, 28, 256, 256, 3, 2),
    conv(8, 28, 512, 1024, 1, 2),
    conv(8, 14, 256, 1024, 1, 1),
    conv(8, 14, 1024, 256, 1, 1),
    conv(8, 14, 256, 256, 3, 1),
    conv(8, 14, 1024, 512, 1, 1),
    conv(8, 14, 512, 512, 3, 2),
    conv(8, 14, 1024, 2048, 1, 2),
    conv(8, 7, 512, 2048, 1, 1),
    conv(8, 7, 2048, 512, 1, 1),
    conv(8, 7, 512, 512, 3, 1),
    norm(8, 112, 64),
    norm(8, 56, 64),
    norm(8, 56, 256),
    norm(8, 28, 128),
    norm(8, 28, 512),
    norm(8, 14, 256),
    norm(8, 14, 1024),
    norm(8, 7, 512),
    norm(8, 7, 2048),
    square(Kind::MaxPool, 8, 112, 64),
];

const VIT_B16: [Layer; 7] = [
    square(
        Kind::Conv {
            outputs: 768,
            kernel: 16,
            stride: 16,
            patches: true,
        },
        8,
        224,
        3,
    ),
    tokens(Kind::Linear { outputs: 2304 }, 768),
    tokens(Kind::Attention { heads: 12 }, 2304),
    tokens(Kind::Linear { outputs: 768 }, 768),
    tokens(Kind::Linear { outputs: 3072 }, 768),
    tokens(Kind::Linear { outputs: 768 }, 3072),
    tokens(Kind::LayerNorm, 768),
];

/// The networks by name.
pub(super) const NETWORKS: [(&str, &[Layer]); 4] = [
    ("resnet32", &RESNET32),
    ("wrn-16-8", &WRN_16_8),
    ("resnet50", &RESNET50),
    ("vit-b16", &VIT_B16),
];
