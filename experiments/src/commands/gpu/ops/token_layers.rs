//! The layers of transformers, and the edges of sequences.

use candle_nn::Init;
use mr2_nn::graph::Mode;
use mr2_nn::init::normal;
use mr2_nn::layers::{
    Activation, Attention, CosineLinear, Dropout, Layer, LayerNorm, LayerScale, Linear,
    TokenEmbedding, TokenEmbeddingInit, linear,
};

use super::case::Case;

/// (batch, tokens, features): a token count that no tile divides.
const TOKENS: &[usize] = &[2, 17, 48];
const WIDER: &[usize] = &[2, 17, 80];
/// Queries, keys and values of 2 heads of 64 features, as ViT-B has them.
const QKV: &[usize] = &[2, 50, 384];
const PATCHES: &[usize] = &[2, 48, 3, 5];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = linears();
    cases.extend(activations());
    cases.extend(mixing());
    cases.extend(edges());
    cases
}

fn linears() -> Vec<Case> {
    let build = |vb| Linear::new(48, 80, vb);
    let mut cases = vec![
        Case::layer(
            "linear",
            Mode::Train,
            [TOKENS],
            build,
            |l: &Linear, cx, x| l.forward(cx, &x[0])?.to_tokens(),
        ),
        Case::layer(
            "linear without bias, 7 outputs",
            Mode::Train,
            [TOKENS],
            |vb| Linear::with_init(48, 7, normal(0.1), None::<Init>, vb),
            |l, cx, x| l.forward(cx, &x[0])?.to_tokens(),
        ),
        Case::layer(
            "linear + add",
            Mode::Train,
            [TOKENS, WIDER],
            build,
            |l: &Linear, cx, x| l.forward_add(cx, &x[0], &x[1])?.to_tokens(),
        ),
        Case::layer(
            "linear + gelu, evaluation",
            Mode::Eval,
            [TOKENS],
            build,
            |l: &Linear, cx, x| l.forward_gelu(cx, &x[0], Activation::Gelu)?.to_tokens(),
        ),
    ];
    for (activation, name) in ACTIVATIONS {
        cases.push(Case::layer(
            format!("linear + {name}"),
            Mode::Train,
            [TOKENS],
            build,
            move |l: &Linear, cx, x| l.forward_gelu(cx, &x[0], activation)?.to_tokens(),
        ));
    }
    cases
}

const ACTIVATIONS: [(Activation, &str); 3] = [
    (Activation::Gelu, "gelu"),
    (Activation::GeluTanh, "gelu by tanh"),
    (Activation::QuickGelu, "quick gelu"),
];

fn activations() -> Vec<Case> {
    let one = |(activation, name): (Activation, &str)| {
        Case::layer(
            name,
            Mode::Train,
            [TOKENS],
            |_| Ok(()),
            move |(), cx, x| activation.forward(cx, &x[0])?.to_tokens(),
        )
    };
    ACTIVATIONS.into_iter().map(one).collect()
}

fn mixing() -> Vec<Case> {
    let attention = |name: &str, mode, shape: &'static [usize], heads, causal| {
        let layer = Attention { heads, causal };
        Case::layer(
            name,
            mode,
            [shape],
            |_| Ok(()),
            move |(), cx, x| layer.forward(cx, &x[0])?.to_tokens(),
        )
    };
    vec![
        Case::layer(
            "layer norm",
            Mode::Train,
            [TOKENS],
            |vb| LayerNorm::new(48, 1e-6, vb),
            |norm, cx, x| norm.forward(cx, &x[0])?.to_tokens(),
        ),
        Case::layer(
            "layer norm of images",
            Mode::Train,
            [&[2, 20, 5, 7]],
            |vb| LayerNorm::new(20, 1e-6, vb),
            |norm, cx, x| norm.forward(cx, &x[0])?.to_tensor(),
        ),
        Case::layer(
            "layer scale + add",
            Mode::Train,
            [TOKENS, TOKENS],
            |vb| LayerScale::new(48, 0.5, vb),
            |scale: &LayerScale, cx, x| scale.forward_add(cx, &x[0], &x[1])?.to_tokens(),
        ),
        Case::layer(
            "layer scale + add, 7 features",
            Mode::Train,
            [&[2, 17, 7], &[2, 17, 7]],
            |vb| LayerScale::new(7, 0.5, vb),
            |scale: &LayerScale, cx, x| scale.forward_add(cx, &x[0], &x[1])?.to_tokens(),
        ),
        attention("attention, 2 heads of 64", Mode::Train, QKV, 2, false),
        attention("attention, causal", Mode::Train, QKV, 2, true),
        attention("attention, 4 heads of 4", Mode::Train, TOKENS, 4, false),
        attention("attention, evaluation", Mode::Eval, QKV, 2, false),
    ]
}

fn edges() -> Vec<Case> {
    let embedding = |name: &str, class: Option<Init>, inputs: &'static [usize]| {
        let init = TokenEmbeddingInit {
            class,
            positions: normal(0.02),
        };
        Case::layer(
            name,
            Mode::Train,
            [inputs],
            move |vb| TokenEmbedding::new(15, 48, init, vb),
            |e, cx, x| e.forward(cx, &x[0])?.to_tokens(),
        )
    };
    vec![
        embedding(
            "token embedding with class token",
            Some(normal(0.02)),
            PATCHES,
        ),
        embedding("token embedding", None, PATCHES),
        Case::layer(
            "in and out (to_tokens)",
            Mode::Train,
            [TOKENS],
            |_| Ok(()),
            |(), _, x| x[0].to_tokens(),
        ),
        Case::layer(
            "one token",
            Mode::Train,
            [TOKENS],
            |_| Ok(()),
            |(), _, x| x[0].token(3),
        ),
        Case::layer(
            "mean of tokens from the second on",
            Mode::Train,
            [TOKENS],
            |_| Ok(()),
            |(), _, x| x[0].mean_tokens(1),
        ),
        Case::layer(
            "head, linear",
            Mode::Train,
            [TOKENS],
            |vb| linear(48, 10, vb),
            |head, _, x| {
                candle_nn::Module::forward(head, &as_weights(&x[0].token(0)?, head.weight())?)
            },
        ),
        Case::layer(
            "head, cosine",
            Mode::Train,
            [TOKENS],
            |vb| CosineLinear::new(48, 10, 16.0, vb),
            |head, _, x| head.forward(&as_weights(&x[0].token(0)?, head.weight())?),
        ),
        Case::layer(
            "dropout of features",
            Mode::Train,
            [TOKENS],
            |_| Ok(()),
            |(), cx, x| {
                let features = x[0].token(0)?;
                Dropout::new(0.3)?.forward_tensor(cx, &features)
            },
        ),
    ]
}

/// Features in the type of a head's weight.
fn as_weights(
    features: &candle_core::Tensor,
    weight: &candle_core::Tensor,
) -> candle_core::Result<candle_core::Tensor> {
    features.to_dtype(weight.dtype())
}
