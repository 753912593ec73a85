//! Branches, several forwards before a backward, dropped losses, weights with two owners.

use super::support::*;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, Var};
use candle_nn::{Module, VarBuilder, VarMap, seq};
use mr2_nn::graph::{Act, Ctx};
use mr2_nn::layers::{
    AsModule, AvgPool2d, BatchNorm2d, Conv2d, Conv2dConfig, ConvBn, CosineLinear, Dropout, Layer,
    MaxPool2d, linear,
};
use mr2_nn::ops::{Target, cross_entropy};
use mr2_nn::optim::{Optimizer, ParamGroup, Sgd, SgdConfig};
use std::collections::HashMap;

const DTYPE: DType = DType::F64;

fn images() -> Var {
    variable("images", &[2, 3, 5, 4], DTYPE)
}

/// A convolution of 3 to `outs` channels with its weight.
fn conv(outs: usize) -> (Conv2d, Var) {
    let weight = variable("weight", &[outs, 3, 3, 3], DTYPE);
    let tensors = HashMap::from([("weight".to_string(), weight.as_tensor().clone())]);
    (
        Conv2d::new(3, outs, 3, PLAIN, builder(tensors, DTYPE)).unwrap(),
        weight,
    )
}

fn energy(x: &Act) -> Result<Tensor> {
    x.to_tensor()?.sqr()?.sum_all()
}

#[test]
fn every_layers_gradient_agrees_with_finite_differences() {
    let store = store(DTYPE);
    let vb = store.var_builder();
    let unit = ConvBn::new(3, 3, 3, 1, 1, NORM, vb.pp("conv"), vb.pp("bn")).unwrap();
    let max = MaxPool2d {
        kernel: 3,
        stride: 2,
        padding: 1,
    };
    let avg = AvgPool2d {
        kernel: 3,
        stride: 1,
        padding: 1,
        count_include_pad: false,
    };
    let dropout = Dropout::new(0.3).unwrap();
    let (cx, images) = (train(DTYPE), images());
    let loss = || {
        cx.begin_step(5, 0);
        let x = cx.enter(&images)?;
        let y = unit.forward_add_relu(&cx, &x, &x)?;
        let y = dropout.forward(&cx, &avg.forward(&cx, &y)?)?;
        let y = max.forward(&cx, &y)?.add(&x.subsample_pad(2, 3)?)?.relu()?;
        energy(&y)? + y.mean_hw()?.sqr()?.sum_all()?
    };
    check_by_differences(&images, &cx, loss);
    for (_, parameter) in store.parameters() {
        check_by_differences(&parameter, &cx, loss);
    }
}

#[test]
fn an_activation_used_three_times_gets_the_sum_of_the_gradients() {
    let (cx, images) = (train(DTYPE), images());
    let (conv, weight) = conv(3);
    let loss = || {
        let x = conv.forward(&cx, &cx.enter(&images)?)?;
        let y = x.add(&x)?.add(&x.relu()?)?;
        energy(&y)? + x.to_tensor()?.sum_all()?
    };
    check_by_differences(&images, &cx, loss);
    check_by_differences(&weight, &cx, loss);
}

#[test]
fn a_branch_that_never_reaches_the_loss_changes_nothing() {
    let (cx, images) = (train(DTYPE), images());
    let ((conv, weight), dead) = (conv(3), variable("dead", &[2, 3, 3, 3], DTYPE));
    let tensors = HashMap::from([("weight".to_string(), dead.as_tensor().clone())]);
    let side = Conv2d::new(3, 2, 3, PLAIN, builder(tensors, DTYPE)).unwrap();
    let run = |branch: bool| {
        let x = conv.forward(&cx, &cx.enter(&images).unwrap()).unwrap();
        let kept = branch.then(|| side.forward(&cx, &x).unwrap().mean_hw().unwrap());
        let grads = cx.backward(&energy(&x).unwrap()).unwrap();
        drop(kept);
        assert!(grads.get(&dead).is_none());
        gradient(&grads, &weight)
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn a_weight_used_twice_gets_the_sum() {
    let (cx, images) = (train(DTYPE), images());
    let (conv, weight) = conv(3);
    check_by_differences(&weight, &cx, || {
        energy(&conv.forward(&cx, &conv.forward(&cx, &cx.enter(&images)?)?)?)
    });
}

#[test]
fn a_weight_also_used_by_candle_operations_gets_the_sum() {
    let (cx, images) = (train(DTYPE), images());
    let (conv, weight) = conv(2);
    check_by_differences(&weight, &cx, || {
        energy(&conv.forward(&cx, &cx.enter(&images)?)?)? + (weight.sqr()?.sum_all()? * 0.7)?
    });
}

#[test]
fn candle_operations_may_stand_between_two_layers() {
    let (cx, images) = (train(DTYPE), images());
    let (conv, weight) = conv(3);
    let loss = || {
        let x = conv.forward(&cx, &cx.enter(&images)?)?.to_tensor()?;
        energy(&conv.forward(&cx, &cx.enter(&x.tanh()?)?)?)
    };
    check_by_differences(&weight, &cx, loss);
    check_by_differences(&images, &cx, loss);
}

#[test]
fn two_forwards_before_one_backward_keep_their_own_activations() {
    let (cx, images) = (train(DTYPE), images());
    let (conv, weight) = conv(2);
    let other = variable("other", &[2, 3, 5, 4], DTYPE);
    let forward = |x: &Tensor| energy(&conv.forward(&cx, &cx.enter(x).unwrap()).unwrap()).unwrap();
    let alone = |x: &Tensor| gradient(&cx.backward(&forward(x)).unwrap(), &weight);
    let (first, second) = (forward(&images), forward(&other));
    assert_eq!(
        gradient(&cx.backward(&first).unwrap(), &weight),
        alone(&images)
    );
    assert_eq!(
        gradient(&cx.backward(&second).unwrap(), &weight),
        alone(&other)
    );
    let sum: Vec<f64> = alone(&images)
        .iter()
        .zip(alone(&other))
        .map(|(a, b)| a + b)
        .collect();
    let joint = (forward(&images) + forward(&other)).unwrap();
    check(
        "joint",
        &gradient(&cx.backward(&joint).unwrap(), &weight),
        &sum,
        1e-12,
    );
}

#[test]
fn a_dropped_loss_and_a_repeated_backward_leave_no_trace() {
    let (cx, images) = (train(DTYPE), images());
    let (conv, weight) = conv(2);
    let forward = || energy(&conv.forward(&cx, &cx.enter(&images).unwrap()).unwrap()).unwrap();
    drop(forward());
    let loss = forward();
    let first = gradient(&cx.backward(&loss).unwrap(), &weight);
    assert_eq!(gradient(&cx.backward(&loss).unwrap(), &weight), first);
    assert_eq!(gradient(&cx.backward(&forward()).unwrap(), &weight), first);
}

#[test]
fn a_weight_changed_after_the_forward_does_not_change_its_gradient() {
    let (cx, images) = (train(DTYPE), images());
    let (conv, weight) = conv(2);
    let loss = energy(&conv.forward(&cx, &cx.enter(&images).unwrap()).unwrap()).unwrap();
    let before = gradient(&cx.backward(&loss).unwrap(), &images);
    weight.set(&weight.zeros_like().unwrap()).unwrap();
    assert_eq!(gradient(&cx.backward(&loss).unwrap(), &images), before);
}

#[test]
fn untracked_images_and_frozen_weights_get_no_gradient() {
    let cx = train(DTYPE);
    let (conv, weight) = conv(2);
    let frozen = HashMap::from([("weight".to_string(), weight.as_tensor().detach())]);
    let frozen = Conv2d::new(3, 2, 3, PLAIN, builder(frozen, DTYPE)).unwrap();
    let images = images().detach();
    let grads =
        cx.backward(&energy(&conv.forward(&cx, &cx.enter(&images).unwrap()).unwrap()).unwrap());
    let grads = grads.unwrap();
    assert_eq!(grads.get_ids().count(), 1, "only the weight");
    assert!(grads.get(&weight).is_some());
    let features = frozen
        .forward(&cx, &cx.enter(&images).unwrap())
        .unwrap()
        .mean_hw()
        .unwrap();
    assert!(!features.track_op());
}

#[test]
fn evaluation_records_no_graph() {
    let cx = eval(DTYPE);
    let (conv, _) = conv(2);
    let x = conv.forward(&cx, &cx.enter(&images()).unwrap()).unwrap();
    assert!(!x.to_tensor().unwrap().track_op());
    assert!(!x.mean_hw().unwrap().track_op());
}

#[test]
fn a_layer_as_module_mixes_with_candle_modules() {
    let (cx, images) = (train(DTYPE), images());
    let (conv, weight) = conv(2);
    let expected = conv
        .forward(&cx, &cx.enter(&images).unwrap())
        .unwrap()
        .to_tensor()
        .unwrap();
    let module = AsModule {
        layer: conv,
        cx: cx.clone(),
    };
    let out = module.forward(&images).unwrap();
    assert_eq!(numbers(&out), numbers(&expected));
    let grads = cx.backward(&out.sum_all().unwrap()).unwrap();
    assert!(grads.get(&weight).is_some());
}

#[test]
fn layers_in_candles_sequential_train() {
    let (cx, store) = (train(DTYPE), store(DTYPE));
    let vb = store.var_builder();
    let unit = ConvBn::new(3, 4, 3, 1, 1, NORM, vb.pp("conv"), vb.pp("bn")).unwrap();
    let pool = MaxPool2d {
        kernel: 2,
        stride: 2,
        padding: 0,
    };
    let net = seq()
        .add(AsModule {
            layer: unit,
            cx: cx.clone(),
        })
        .add(AsModule {
            layer: pool,
            cx: cx.clone(),
        })
        .add_fn(|x| x.flatten_from(1))
        .add(linear(4 * 2 * 2, 2, vb.pp("fc")).unwrap());
    let loss = || {
        let logits = net.forward(&images()).unwrap();
        cross_entropy(&logits, Target::Hard(&[0, 1]), None)
            .unwrap()
            .mean_all()
            .unwrap()
    };
    let group = ParamGroup {
        params: store.parameters(),
        lr_scale: 1.0,
        weight_decay: 0.0,
    };
    let config = SgdConfig {
        momentum: 0.0,
        nesterov: false,
    };
    let mut sgd = Sgd::new(vec![group], config).unwrap();
    let before = loss();
    let grads = cx.backward(&before).unwrap();
    for (name, var) in store.parameters() {
        assert!(grads.get(&var).is_some(), "{name}");
    }
    sgd.step(&grads, 0.05).unwrap();
    assert!(numbers(&loss()) < numbers(&before));
}

#[test]
fn layers_built_from_a_varmap_train_with_candles_optimiser() {
    let (cx, map) = (train(DTYPE), VarMap::new());
    let vb = VarBuilder::from_varmap(&map, DTYPE, &CPU);
    let unit = ConvBn::new(3, 4, 3, 1, 1, NORM, vb.pp("conv"), vb.pp("bn")).unwrap();
    let head = linear(4, 2, vb.pp("fc")).unwrap();
    let values = || -> HashMap<String, Vec<f64>> {
        let vars = map.data().lock().unwrap();
        let named = vars.iter().map(|(name, var)| (name.clone(), numbers(var)));
        named.collect()
    };
    let start = values();
    let x = unit
        .forward_relu(&cx, &cx.enter(&images()).unwrap())
        .unwrap();
    let logits = head.forward(&x.mean_hw().unwrap()).unwrap();
    let labels = Tensor::new(&[0u32, 1], &CPU).unwrap();
    let loss = candle_nn::loss::cross_entropy(&logits, &labels).unwrap();
    let grads = cx.backward(&loss).unwrap();
    let forwarded = values();
    let mut sgd: candle_nn::SGD = candle_nn::Optimizer::new(map.all_vars(), 0.1).unwrap();
    candle_nn::Optimizer::step(&mut sgd, &grads).unwrap();
    let end = values();
    assert_eq!(start.len(), 7);
    for (name, var) in map.data().lock().unwrap().iter() {
        let is_buffer = name.contains("running");
        assert_eq!(grads.get(var).is_none(), is_buffer, "{name}");
        assert_eq!(start[name] != forwarded[name], is_buffer, "{name}");
        assert_eq!(forwarded[name] != end[name], !is_buffer, "{name}");
    }
}

#[test]
fn images_behind_an_operation_without_gradient_leave_the_layers_theirs() {
    let (cx, images) = (train(DTYPE), images());
    let (conv, weight) = conv(3);
    type Cut = fn(&Tensor) -> Result<Tensor>;
    let cuts: [(&str, Cut); 6] = [
        ("round", Tensor::round),
        ("floor", Tensor::floor),
        ("ceil", Tensor::ceil),
        ("sign", Tensor::sign),
        ("times 0", |x| x.affine(0.0, 1.0)),
        ("integers", |x| x.to_dtype(DType::U8)?.to_dtype(DTYPE)),
    ];
    for (name, cut) in cuts {
        let first = conv.forward(&cx, &cx.enter(&images).unwrap()).unwrap();
        for x in [images.as_tensor().clone(), first.to_tensor().unwrap()] {
            let x = cut(&x).unwrap();
            let weights_gradient = |x: &Tensor| {
                let loss = energy(&conv.forward(&cx, &cx.enter(x).unwrap()).unwrap()).unwrap();
                let grads = cx.backward(&loss).unwrap();
                assert!(grads.get(&images).is_none(), "{name}");
                numbers(grads.get(&weight).expect(name))
            };
            assert!(x.track_op(), "{name} belongs into this test");
            assert_eq!(
                weights_gradient(&x),
                weights_gradient(&x.detach()),
                "{name}"
            );
        }
    }
}

#[test]
fn every_layer_works_behind_the_trait() {
    let (cx, store) = (train(DTYPE), store(DTYPE));
    cx.begin_step(1, 0);
    let vb = store.var_builder();
    let layers: Vec<Box<dyn Layer>> = vec![
        Box::new(Conv2d::new(3, 4, 3, PLAIN, vb.pp("conv")).unwrap()),
        Box::new(BatchNorm2d::new(4, NORM, vb.pp("bn")).unwrap()),
        Box::new(ConvBn::new(4, 4, 1, 1, 0, NORM, vb.pp("c"), vb.pp("b")).unwrap()),
        Box::new(MaxPool2d {
            kernel: 2,
            stride: 1,
            padding: 0,
        }),
        Box::new(AvgPool2d {
            kernel: 2,
            stride: 1,
            padding: 0,
            count_include_pad: true,
        }),
        Box::new(Dropout::new(0.5).unwrap()),
    ];
    let mut x = cx.enter(&images()).unwrap();
    for layer in &layers {
        x = layer.forward(&cx, &x).unwrap();
    }
    assert_eq!(x.dims4(), (2, 4, 3, 2));
}

#[test]
fn images_and_gradients_need_not_be_contiguous() {
    let cx = train(DTYPE);
    let (conv, weight) = conv(2);
    let wide = variable("wide", &[2, 4, 5, 3], DTYPE);
    let run = |x: &Tensor| {
        let out = conv
            .forward(&cx, &cx.enter(x).unwrap())
            .unwrap()
            .to_tensor()
            .unwrap();
        // The gradient of a mean is a broadcast: one number with strides of 0.
        cx.backward(&out.transpose(1, 2).unwrap().mean_all().unwrap())
            .unwrap()
    };
    let view = wide.transpose(1, 3).unwrap();
    let (strided, copied) = (run(&view), run(&view.contiguous().unwrap()));
    assert_eq!(gradient(&strided, &weight), gradient(&copied, &weight));
    assert_eq!(gradient(&strided, &wide), gradient(&copied, &wide));
}

/// Logits of a net that has every layer, on enough numbers that each splits its work.
fn one_of_each(cx: &Ctx, vb: &VarBuilder, images: &Tensor) -> Result<Tensor> {
    let unit = ConvBn::new(3, 18, 3, 2, 1, NORM, vb.pp("conv"), vb.pp("bn"))?;
    let config = Conv2dConfig {
        groups: 3,
        bias: true,
        ..PLAIN
    };
    let grouped = Conv2d::new(18, 24, 3, config, vb.pp("grouped"))?;
    let max = MaxPool2d {
        kernel: 3,
        stride: 1,
        padding: 1,
    };
    let avg = AvgPool2d {
        kernel: 3,
        stride: 1,
        padding: 1,
        count_include_pad: true,
    };
    let dropout = Dropout::new(0.3)?;
    let head = CosineLinear::new(27, 50, 16.0, vb.pp("head"))?;
    cx.begin_step(5, 0);
    let x = unit.forward_relu(cx, &cx.enter(images)?)?;
    let y = grouped.forward(cx, &x)?.add(&x.subsample_pad(1, 24)?)?;
    let y = max.forward(cx, &dropout.forward(cx, &y.relu()?)?)?;
    let y = avg.forward(cx, &y)?.subsample_pad(2, 27)?;
    let features = y.mean_hw()?;
    head.forward(&dropout.forward_tensor(cx, &features)?)
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let (cx, store) = (train(DType::F32), store(DType::F32));
            let images = variable("many", &[67, 3, 9, 11], DType::F32);
            let logits = one_of_each(&cx, &store.var_builder(), &images).unwrap();
            let grads = cx.backward(&logits.sqr().unwrap().sum_all().unwrap());
            let grads = grads.unwrap();
            let mut all: Vec<Vec<f64>> = store
                .parameters()
                .iter()
                .map(|(_, var)| gradient(&grads, var))
                .collect();
            all.extend([numbers(&logits), gradient(&grads, &images)]);
            all.extend(store.buffers().iter().map(|(_, var)| numbers(var)));
            all
        })
    };
    let one = run(1);
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

#[test]
fn one_context_serves_two_threads() {
    let cx = train(DTYPE);
    let work = |cx: &Ctx| {
        let (conv, weight) = conv(2);
        let loss = energy(&conv.forward(cx, &cx.enter(&images()).unwrap()).unwrap()).unwrap();
        gradient(&cx.backward(&loss).unwrap(), &weight)
    };
    let alone = work(&cx);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..2).map(|_| scope.spawn(|| work(&cx))).collect();
        for handle in handles {
            assert_eq!(handle.join().unwrap(), alone);
        }
    });
}

/// The identity; its backward takes up a waiting task of rayon's on the same thread, as any
/// parallel loop may while it waits.
struct TakesUpAnotherTask;

impl CustomOp1 for TakesUpAnotherTask {
    fn name(&self) -> &'static str {
        "takes-up-another-task"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((storage.clone(), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        rayon::yield_now();
        Ok(Some(gradient.clone()))
    }
}

#[test]
fn a_backward_may_run_within_another_of_the_same_loss() {
    let (cx, images) = (train(DTYPE), images());
    let (conv, weight) = conv(3);
    let x = conv.forward(&cx, &cx.enter(&images).unwrap()).unwrap();
    let between = x
        .to_tensor()
        .unwrap()
        .apply_op1(TakesUpAnotherTask)
        .unwrap();
    let y = conv.forward(&cx, &cx.enter(&between).unwrap()).unwrap();
    // When the task is taken up, the sum of the gradients of x is not complete.
    let loss = (energy(&y).unwrap() + energy(&x.relu().unwrap()).unwrap()).unwrap();
    let both = move || {
        let grads = cx.backward(&loss).unwrap();
        (gradient(&grads, &weight), gradient(&grads, &images))
    };
    let alone = both();
    let (first, second) = finishes(move || {
        let one = rayon::ThreadPoolBuilder::new().num_threads(1);
        one.build().unwrap().install(|| rayon::join(&both, &both))
    });
    assert_eq!(first, alone);
    assert_eq!(second, alone);
}

#[test]
fn a_failed_backward_leaves_no_trace() {
    let (cx, images) = (train(DTYPE), images());
    let (conv, weight) = conv(2);
    let loss = energy(&conv.forward(&cx, &cx.enter(&images).unwrap()).unwrap()).unwrap();
    let alone = gradient(&cx.backward(&loss).unwrap(), &weight);
    let other = train(DTYPE).enter(&images).unwrap().to_tensor().unwrap();
    let mixed = (&loss + other.sum_all().unwrap()).unwrap();
    assert!(cx.backward(&mixed).is_err());
    assert!(
        loss.backward().is_err(),
        "no backward is under way any more"
    );
    assert_eq!(gradient(&cx.backward(&loss).unwrap(), &weight), alone);
}
