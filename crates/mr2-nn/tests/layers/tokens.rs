//! The layers of transformers, against PyTorch in float64 and by their own rules.

use super::reference::{check_fixture, parse, tensors};
use super::support::*;
use candle_core::{DType, Tensor, Var};
use mr2_nn::graph::{Act, Ctx};
use mr2_nn::layers::{
    Activation, Attention, Layer, LayerNorm, LayerScale, Linear, TokenEmbedding, TokenEmbeddingInit,
};
use std::collections::HashMap;

const EPS: f64 = 1e-6;
const CLASS: TokenEmbeddingInit = TokenEmbeddingInit {
    class: Some(mr2_nn::init::ZEROS),
    positions: mr2_nn::init::ZEROS,
};

fn activation(kind: &str) -> Option<Activation> {
    match kind.trim_start_matches("linear_") {
        "gelu" => Some(Activation::Gelu),
        "gelu_tanh" => Some(Activation::GeluTanh),
        "quick_gelu" => Some(Activation::QuickGelu),
        _ => None,
    }
}

#[test]
fn linear_layers_and_activations_equal_pytorchs() {
    let run = |cx: &Ctx, case: &str, vars: &HashMap<String, Var>, dtype| {
        let (kind, s) = parse(case);
        let x = cx.enter(&vars["x"])?;
        if let Some(activation) = activation(kind).filter(|_| !kind.starts_with("linear")) {
            return activation.forward(cx, &x)?.to_tensor();
        }
        let bias = (kind != "linear_plain").then_some(mr2_nn::init::ZEROS);
        let vb = builder(tensors(vars), dtype);
        let linear = Linear::with_init(s[1], s[2], mr2_nn::init::ZEROS, bias, vb)?;
        match activation(kind) {
            Some(activation) => linear.forward_gelu(cx, &x, activation)?,
            None if kind == "linear_add" => {
                linear.forward_add(cx, &x, &cx.enter(&vars["skip"])?)?
            }
            None => linear.forward(cx, &x)?,
        }
        .to_tensor()
    };
    check_fixture("tokens_linear", run);
    check_fixture("tokens_gelu", run);
}

#[test]
fn layer_norms_equal_pytorchs() {
    check_fixture("tokens_norm", |cx, case, vars, dtype| {
        let (_, s) = parse(case);
        let norm = LayerNorm::new(s[1], EPS, builder(tensors(vars), dtype))?;
        norm.forward(cx, &cx.enter(&vars["x"])?)?.to_tensor()
    });
}

#[test]
fn layer_scales_equal_pytorchs() {
    check_fixture("tokens_scale", |cx, case, vars, dtype| {
        let (_, s) = parse(case);
        let scale = LayerScale::new(s[1], 1.0, builder(tensors(vars), dtype))?;
        let (x, skip) = (cx.enter(&vars["x"])?, cx.enter(&vars["skip"])?);
        scale.forward_add(cx, &x, &skip)?.to_tensor()
    });
}

#[test]
fn attention_equals_pytorchs() {
    check_fixture("tokens_attention", |cx, case, vars, _| {
        let (kind, s) = parse(case);
        let attention = Attention {
            heads: s[1],
            causal: kind == "attention_causal",
        };
        attention.forward(cx, &cx.enter(&vars["x"])?)?.to_tensor()
    });
}

#[test]
fn token_embeddings_equal_pytorchs() {
    check_fixture("tokens_embedding", |cx, case, vars, dtype| {
        let (kind, s) = parse(case);
        let init = TokenEmbeddingInit {
            class: CLASS.class.filter(|_| kind == "embedding_class"),
            ..CLASS
        };
        let vb = builder(tensors(vars), dtype);
        let layer = TokenEmbedding::new(s[2] * s[3], s[1], init, vb)?;
        layer.forward(cx, &cx.enter(&vars["x"])?)?.to_tensor()
    });
}

/// A block of a transformer in which every activation has two consumers.
struct Block {
    norm: LayerNorm,
    qkv: Linear,
    proj: Linear,
    fc: Linear,
    scale: LayerScale,
    heads: usize,
}

impl Block {
    fn new(store: &mr2_nn::params::ParamStore, dim: usize, heads: usize) -> Self {
        let vb = store.var_builder();
        Self {
            norm: LayerNorm::new(dim, EPS, vb.pp("norm")).unwrap(),
            qkv: Linear::new(dim, 3 * dim, vb.pp("qkv")).unwrap(),
            proj: Linear::new(dim, dim, vb.pp("proj")).unwrap(),
            fc: Linear::new(dim, dim, vb.pp("fc")).unwrap(),
            scale: LayerScale::new(dim, 0.7, vb.pp("scale")).unwrap(),
            heads,
        }
    }

    fn forward(&self, cx: &Ctx, x: &Act) -> candle_core::Result<Act> {
        let attention = Attention {
            heads: self.heads,
            causal: true,
        };
        let normal = self.norm.forward(cx, x)?;
        let mixed = attention.forward(cx, &self.qkv.forward(cx, &normal)?)?;
        let y = self.proj.forward_add(cx, &mixed, x)?.add(&normal)?;
        let hidden = self.fc.forward_gelu(cx, &y, Activation::Gelu)?;
        self.scale.forward_add(cx, &hidden, &y)
    }
}

#[test]
fn a_block_has_the_gradients_of_finite_differences() {
    let (cx, store) = (train(DType::F64), store(DType::F64));
    let block = Block::new(&store, 6, 2);
    let x = variable("x", &[2, 4, 6], DType::F64);
    let loss = || {
        let out = block.forward(&cx, &cx.enter_tokens(&x)?)?;
        let all = out.to_tokens()?.sqr()?.sum_all()?;
        all.add(&out.token(1)?.sum_all()?)?
            .add(&out.mean_tokens(2)?.sqr()?.sum_all()?)
    };
    let parameters = store.parameters().into_iter().map(|(_, var)| var);
    for of in std::iter::once(x.clone()).chain(parameters) {
        check_by_differences(&of, &cx, loss);
    }
}

/// Output and all gradients of a block in f32.
fn block_numbers(threads: usize) -> Vec<Vec<f64>> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(|| {
        let (cx, store) = (train(DType::F32), store(DType::F32));
        let block = Block::new(&store, 36, 3);
        let x = variable("x", &[3, 70, 36], DType::F32);
        let out = block.forward(&cx, &cx.enter_tokens(&x).unwrap()).unwrap();
        let out = out.to_tokens().unwrap();
        let grads = cx.backward(&out.sqr().unwrap().sum_all().unwrap()).unwrap();
        let parameters = store.parameters().into_iter().map(|(_, var)| var);
        let gradients = std::iter::once(x)
            .chain(parameters)
            .map(|var| gradient(&grads, &var));
        std::iter::once(numbers(&out)).chain(gradients).collect()
    })
}

#[test]
fn a_block_has_the_same_bits_on_any_number_of_threads() {
    let one = block_numbers(1);
    for threads in [2, 3] {
        assert!(block_numbers(threads) == one, "{threads} threads");
    }
}

#[test]
fn rows_of_scores_beyond_one_block_change_nothing() {
    // 600 tokens take several blocks of rows; one head sees every token alike.
    let cx = train(DType::F32);
    let qkv = draw(1, "long", &[1, 600, 12], DType::F32);
    let attention = Attention {
        heads: 1,
        causal: false,
    };
    let (narrow, wide) = (
        Var::from_tensor(&qkv).unwrap(),
        Var::from_tensor(&qkv.to_dtype(DType::F64).unwrap()).unwrap(),
    );
    let run = |cx: &Ctx, x: &Var| {
        let out = attention.forward(cx, &cx.enter_tokens(x).unwrap()).unwrap();
        let out = out.to_tokens().unwrap();
        let grads = cx.backward(&out.sqr().unwrap().sum_all().unwrap()).unwrap();
        (numbers(&out), gradient(&grads, x))
    };
    let (found, expected) = (run(&cx, &narrow), run(&train(DType::F64), &wide));
    check("output", &found.0, &expected.0, 2e-5);
    check("gradient", &found.1, &expected.1, 2e-5);
}

#[test]
fn tokens_enter_and_leave_as_they_are() {
    let cx = train(DType::F32);
    let x = variable("x", &[2, 3, 4], DType::F32);
    let act = cx.enter_tokens(&x).unwrap();
    assert_eq!(act.dims4(), (2, 4, 1, 3));
    let out = act.to_tokens().unwrap();
    assert_eq!(numbers(&out), numbers(&x));
    let token = act.token(2).unwrap();
    assert_eq!(numbers(&token), numbers(&x.narrow(1, 2, 1).unwrap()));
    let mean = numbers(&x.narrow(1, 1, 2).unwrap().mean(1).unwrap());
    check("mean", &numbers(&act.mean_tokens(1).unwrap()), &mean, 1e-6);
    let grads = cx.backward(&token.sum_all().unwrap()).unwrap();
    let expected: Vec<f64> = (0..24).map(|i| f64::from(i % 12 >= 8)).collect();
    assert_eq!(gradient(&grads, &x), expected);
}

#[test]
fn one_nan_comes_out_of_every_layer_of_a_transformer() {
    let store = store(DType::F32);
    let vb = store.var_builder();
    let mut values = numbers(&draw(1, "x", &[2, 5, 6], DType::F32));
    values[7] = f64::NAN;
    let x = Tensor::from_vec(values, (2, 5, 6), &CPU)
        .unwrap()
        .to_dtype(DType::F32)
        .unwrap();
    let layers: [(&str, Box<dyn Layer>); 5] = [
        (
            "linear",
            Box::new(Linear::new(6, 4, vb.pp("linear")).unwrap()),
        ),
        (
            "norm",
            Box::new(LayerNorm::new(6, EPS, vb.pp("norm")).unwrap()),
        ),
        (
            "attention",
            Box::new(Attention {
                heads: 2,
                causal: false,
            }),
        ),
        (
            "embedding",
            Box::new(TokenEmbedding::new(5, 6, CLASS, vb.clone()).unwrap()),
        ),
        ("gelu", Box::new(Activation::Gelu)),
    ];
    for cx in [eval(DType::F32), train(DType::F32)] {
        for (name, layer) in &layers {
            let out = layer.forward(&cx, &cx.enter_tokens(&x).unwrap()).unwrap();
            let has_nan = |nth| {
                let image = out.to_tokens().unwrap().get(nth).unwrap();
                numbers(&image).iter().any(|value| value.is_nan())
            };
            assert_eq!((has_nan(0), has_nan(1)), (true, false), "{name}");
        }
    }
}

#[test]
fn a_large_mean_costs_layer_norm_no_digits() {
    let store = store(DType::F32);
    let norm = LayerNorm::new(300, EPS, store.var_builder()).unwrap();
    let x = (draw(1, "noise", &[1, 3, 300], DType::F32) + 1000.0).unwrap();
    let cx = eval(DType::F32);
    let out = norm.forward(&cx, &cx.enter_tokens(&x).unwrap()).unwrap();
    let double = x.to_dtype(DType::F64).unwrap();
    let centred = double
        .broadcast_sub(&double.mean_keepdim(2).unwrap())
        .unwrap();
    let var = centred.sqr().unwrap().mean_keepdim(2).unwrap();
    let expected = centred
        .broadcast_div(&(var + EPS).unwrap().sqrt().unwrap())
        .unwrap();
    check(
        "normalised",
        &numbers(&out.to_tokens().unwrap()),
        &numbers(&expected),
        1e-4,
    );
}

#[track_caller]
fn says<T>(result: candle_core::Result<T>, text: &str) {
    let message = message(result);
    assert!(message.contains(text), "{message}");
}

#[test]
fn what_does_not_fit_a_transformer_is_named() {
    let (cx, store) = (train(DType::F32), store(DType::F32));
    let vb = store.var_builder();
    let enter = |shape: &[usize]| cx.enter_tokens(&draw(1, "x", shape, DType::F32)).unwrap();
    let flat = Tensor::zeros((2, 3), DType::F32, &CPU).unwrap();
    says(
        cx.enter_tokens(&flat),
        "tokens: expected (batch, tokens, features), got [2, 3]",
    );
    says(Linear::new(0, 3, vb.pp("a")), "in_dim 0");
    let linear = Linear::new(4, 3, vb.pp("b")).unwrap();
    let x = enter(&[1, 2, 4]);
    says(
        linear.forward(&cx, &enter(&[1, 2, 5])),
        "the layer takes 4 channels, the input has 5",
    );
    says(
        linear.forward_add(&cx, &x, &x),
        "skip is (1, 4, 1, 2), the output (1, 3, 1, 2)",
    );
    says(
        linear.forward(&train(DType::F32), &x),
        "an activation of one Ctx",
    );
    says(
        LayerNorm::new(0, EPS, vb.pp("c")),
        "channels must be at least 1",
    );
    says(
        LayerNorm::new(3, -1.0, vb.pp("c")),
        "eps must be finite and not negative, got -1",
    );
    let norm = LayerNorm::new(3, EPS, vb.pp("d")).unwrap();
    says(
        norm.forward(&cx, &x),
        "the layer takes 3 channels, the input has 4",
    );
    says(
        LayerScale::new(0, 1.0, vb.pp("s")),
        "layer_scale: channels must be at least 1",
    );
    says(
        LayerScale::new(3, f64::NAN, vb.pp("s")),
        "start must be finite, got NaN",
    );
    let scale = LayerScale::new(4, 1.0, vb.pp("s")).unwrap();
    says(
        scale.forward_add(&cx, &enter(&[1, 2, 5]), &x),
        "layer_scale: the layer takes 4 channels, the input has 5",
    );
    says(
        scale.forward_add(&cx, &x, &enter(&[1, 3, 4])),
        "layer_scale: skip is (1, 4, 1, 3), the input (1, 4, 1, 2)",
    );
    for heads in [0, 1] {
        let attention = Attention {
            heads,
            causal: false,
        };
        says(
            attention.forward(&cx, &x),
            &format!("of {heads} heads, got 4 channels"),
        );
    }
    says(
        TokenEmbedding::new(0, 3, CLASS, vb.pp("e")),
        "got patches 0, features 3",
    );
    let embedding = TokenEmbedding::new(3, 4, CLASS, vb.pp("f")).unwrap();
    says(
        embedding.forward(&cx, &x),
        "takes 3 patches of 4 features, the input has 1 x 2 of 4",
    );
    says(x.token(2), "token 2: the sequences have 2 tokens");
    says(x.mean_tokens(5), "token 5: the sequences have 2 tokens");
}

#[test]
fn parameters_of_a_transformer_computed_from_variables_are_refused() {
    let computed = |name: &str, shape: &[usize]| {
        let tensor = (variable(name, shape, DType::F32).as_tensor() * 2.0).unwrap();
        builder(HashMap::from([(name.to_string(), tensor)]), DType::F32)
    };
    let text = "computed from variables";
    says(Linear::new(3, 2, computed("weight", &[2, 3])), text);
    says(LayerNorm::new(3, EPS, computed("weight", &[3])), text);
    says(LayerScale::new(3, 1.0, computed("gamma", &[3])), text);
    says(
        TokenEmbedding::new(2, 3, CLASS, computed("cls_token", &[1, 1, 3])),
        text,
    );
}

#[test]
fn evaluation_gives_the_same_output_and_tracks_nothing() {
    let store = store(DType::F32);
    let block = Block::new(&store, 12, 2);
    let x = draw(1, "x", &[2, 9, 12], DType::F32);
    let run = |cx: &Ctx| block.forward(cx, &cx.enter_tokens(&x).unwrap()).unwrap();
    let (training, evaluation) = (run(&train(DType::F32)), run(&eval(DType::F32)));
    assert_eq!(
        numbers(&training.to_tokens().unwrap()),
        numbers(&evaluation.to_tokens().unwrap())
    );
    assert!(!evaluation.to_tokens().unwrap().track_op());
    assert!(training.to_tokens().unwrap().track_op());
}
