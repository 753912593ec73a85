//! Branches, several forwards before a backward, dropped losses, weights with two owners.

use super::support::*;
use candle_core::{DType, Result, Tensor, Var};
use candle_nn::Module;
use mr2_nn::graph::{Act, Ctx};
use mr2_nn::layers::{AsModule, AvgPool2d, BatchNorm2d, Conv2d, ConvBn, Dropout, Layer, MaxPool2d};
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
        cx: &cx,
    };
    let out = module.forward(&images).unwrap();
    assert_eq!(numbers(&out), numbers(&expected));
    let grads = cx.backward(&out.sum_all().unwrap()).unwrap();
    assert!(grads.get(&weight).is_some());
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

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let (cx, store) = (train(DType::F32), store(DType::F32));
            let vb = store.var_builder();
            let unit = ConvBn::new(3, 17, 3, 2, 1, NORM, vb.pp("conv"), vb.pp("bn")).unwrap();
            let images = variable("many", &[37, 3, 9, 11], DType::F32);
            let x = unit.forward_relu(&cx, &cx.enter(&images).unwrap()).unwrap();
            let loss = x.mean_hw().unwrap().sqr().unwrap().sum_all().unwrap();
            let grads = cx.backward(&loss).unwrap();
            let mut all: Vec<Vec<f64>> = store
                .parameters()
                .iter()
                .map(|(_, var)| gradient(&grads, var))
                .collect();
            all.push(gradient(&grads, &images));
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
