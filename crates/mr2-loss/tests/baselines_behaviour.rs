//! What the baselines promise: when they are cross-entropy, their traps, edges, state and errors.
#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};

use candle_core::{DType, Device, Result, Tensor, Var};
use mr2_loss::baselines::{
    AbsentClasses, Baseline, FocalProbability, GroupWeights, SampleLosses, Sharpness, apply,
    balanced_softmax, centre_loss, centre_step, class_balanced_weights, class_mean_losses,
    class_weighted_mean, cvar, error_set, focal, generalized_cross_entropy, group_dro, jtt_weights,
    ldam, ldam_margins, lff_weights, logit_adjusted, perturbation, post_hoc_adjusted,
    resampling_probabilities, sample_weighted, supcon, vector_scaling, weighted_cross_entropy,
};
use mr2_loss::{Target, cross_entropy, logit_margin};
use proptest::prelude::*;

const CPU: &Device = &Device::Cpu;

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let wide = tensor.to_dtype(DType::F64).unwrap();
    wide.flatten_all().unwrap().to_vec1().unwrap()
}

/// Numbers in `[-size, size]`, the same in every run.
fn var(rows: usize, columns: usize, size: f64, dtype: DType) -> Var {
    let value = |i: u32| f64::from(i.wrapping_mul(2_654_435_761) % 2003) / 1001.0 - 1.0;
    let values = (1..=(rows * columns) as u32).map(|i| value(i) * size);
    let tensor = Tensor::from_iter(values, CPU).unwrap();
    let tensor = tensor.reshape((rows, columns)).unwrap();
    Var::from_tensor(&tensor.to_dtype(dtype).unwrap()).unwrap()
}

fn vector(values: &[f64]) -> Tensor {
    Tensor::new(values, CPU).unwrap()
}

/// What a checkpoint would hold.
fn saved(tensors: Result<Vec<(String, Tensor)>>) -> Vec<(String, Vec<f64>)> {
    let saved = tensors.unwrap().into_iter();
    saved
        .map(|(name, tensor)| (name, numbers(&tensor)))
        .collect()
}

fn gradient(total: &Tensor, input: &Var) -> Vec<f64> {
    let store = total.backward().unwrap();
    numbers(store.get(input).unwrap())
}

fn plain(logits: &Tensor, labels: &[u32]) -> Tensor {
    cross_entropy(logits, Target::Hard(labels), None).unwrap()
}

#[test]
fn every_baseline_is_listed_once_with_what_it_is_and_its_source() {
    let mut names = HashSet::new();
    for baseline in Baseline::ALL {
        let name = baseline.name();
        assert!(names.insert(name), "{name} is listed twice");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        assert!((20..100).contains(&baseline.summary().len()), "{name}");
        // A repository and a file of it.
        assert!(baseline.source().contains('/'), "{name}");
    }
}

/// The loss per sample that `baseline` trains with where each of 4 classes has 250 samples; nothing
/// where it is no loss of logits alone.
fn on_balanced_counts(baseline: Baseline, logits: &Tensor, labels: &[u32]) -> Option<Tensor> {
    let counts = [250u64; 4];
    let loss = match baseline {
        Baseline::ClassBalanced => {
            let weights = class_balanced_weights(&counts, 0.9999).unwrap();
            weighted_cross_entropy(logits, labels, &weights)
        }
        Baseline::Resampling => {
            // The expectation over draws is the mean of this over the training set.
            let weights = class_balanced_weights(&counts, 0.9999).unwrap();
            let drawn = resampling_probabilities(labels, &weights).unwrap();
            let relative: Vec<f64> = drawn.iter().map(|p| p * labels.len() as f64).collect();
            sample_weighted(&plain(logits, labels), &relative)
        }
        Baseline::LogitAdjustment => logit_adjusted(logits, labels, &counts, 1.3),
        Baseline::PostHocAdjustment => Ok(plain(
            &post_hoc_adjusted(logits, &counts, 1.3).unwrap(),
            labels,
        )),
        Baseline::BalancedSoftmax => balanced_softmax(logits, labels, &counts),
        Baseline::VectorScaling => vector_scaling(logits, labels, &counts, 0.3, 1.3),
        Baseline::Focal => focal(logits, labels, 2.0, None, FocalProbability::OfLogits),
        Baseline::Ldam => {
            let margins = ldam_margins(&counts, 0.5).unwrap();
            ldam(logits, labels, &margins, 30.0, None)
        }
        Baseline::SupCon
        | Baseline::CentreLoss
        | Baseline::GroupDro
        | Baseline::Cvar
        | Baseline::Lff
        | Baseline::Jtt
        | Baseline::Sam
        | Baseline::Asam => return None,
    };
    Some(loss.unwrap())
}

#[test]
fn only_baselines_that_say_so_are_cross_entropy_on_balanced_counts_and_those_to_the_bit() {
    let labels = [0, 1, 2, 3, 3, 2, 1, 0];
    for dtype in [DType::F32, DType::F64] {
        let logits = var(8, 4, 1.0, dtype);
        let expected = plain(&logits, &labels);
        let expected_gradient = gradient(&expected.mean_all().unwrap(), &logits);
        for baseline in Baseline::ALL {
            let Some(loss) = on_balanced_counts(baseline, &logits, &labels) else {
                assert!(!baseline.is_cross_entropy_when_balanced());
                continue;
            };
            let gradient = gradient(&loss.mean_all().unwrap(), &logits);
            let same_value = numbers(&loss) == numbers(&expected);
            let same_gradient = gradient == expected_gradient;
            let same = baseline.is_cross_entropy_when_balanced();
            assert_eq!((same_value, same_gradient), (same, same), "{baseline:?}");
        }
    }
}

#[test]
fn ldam_on_balanced_counts_is_a_cosine_head_with_one_margin() {
    let labels = [0, 2, 1];
    let cosines = var(3, 3, 1.0, DType::F64);
    let margins = ldam_margins(&[70; 3], 0.5).unwrap();
    assert_eq!(margins, [0.5; 3]);
    let loss = numbers(&ldam(&cosines, &labels, &margins, 30.0, None).unwrap());
    let scaled = numbers(&plain(&(cosines.as_tensor() * 30.0).unwrap(), &labels));
    let constant = (0..3).map(|i| {
        let row: Vec<f64> = numbers(&cosines.get(i).unwrap());
        let logit = |k: usize| 30.0 * (row[k] - if k == labels[i] as usize { 0.5 } else { 0.0 });
        let sum: f64 = (0..3).map(|k| logit(k).exp()).sum();
        sum.ln() - logit(labels[i] as usize)
    });
    for ((loss, constant), scaled) in loss.iter().zip(constant).zip(scaled) {
        assert!((loss - constant).abs() < 1e-12 * constant.max(1.0));
        assert!(*loss > scaled);
    }
}

#[test]
fn vector_scaling_is_not_the_logit_margin() {
    let (counts, labels) = ([100, 25, 4], [0, 1, 2]);
    let logits = var(3, 3, 4.0, DType::F64);
    let scaling = vector_scaling(&logits, &labels, &counts, 0.5, 0.0).unwrap();
    // Margins of the same numbers, each sample by its own label's: 1 / (n / n_max)^0.5.
    let gamma = Tensor::new(&[1.0, 2.0, 5.0], CPU).unwrap();
    let margin = logit_margin(&logits, Target::Hard(&labels), &gamma).unwrap();
    for (scaling, margin) in numbers(&scaling).into_iter().zip(numbers(&margin)) {
        assert!((scaling - margin).abs() > 1e-3);
    }
}

#[test]
fn focal_without_focusing_is_cross_entropy_to_the_bit() {
    let (logits, labels) = (var(4, 3, 3.0, DType::F32), [0, 1, 2, 0]);
    let loss = focal(&logits, &labels, 0.0, None, FocalProbability::OfLogits).unwrap();
    assert_eq!(numbers(&loss), numbers(&plain(&logits, &labels)));
}

#[test]
fn focal_keeps_digits_and_finite_gradients_where_the_loss_is_tiny_or_0() {
    // Losses of about 1e-5 and, in f32, 0.
    let rows = [[11.5f32, 0.0], [200.0, 0.0]];
    let logits = Var::new(&rows, CPU).unwrap();
    let wide = Var::from_tensor(&logits.to_dtype(DType::F64).unwrap()).unwrap();
    for focusing in [0.1, 0.5, 1.0, 2.0] {
        let run = |logits: &Var| {
            let form = FocalProbability::OfLogits;
            let loss = focal(logits, &[0, 0], focusing, None, form).unwrap();
            let gradient = gradient(&loss.sum_all().unwrap(), logits);
            (numbers(&loss), gradient)
        };
        let ((loss, slope), (exact, exact_slope)) = (run(&logits), run(&wide));
        assert!((loss[0] - exact[0]).abs() < 1e-5 * exact[0]);
        assert!((slope[0] - exact_slope[0]).abs() < 1e-5 * exact_slope[0].abs());
        assert!(slope.iter().chain(&exact_slope).all(|g| g.is_finite()));
        assert_eq!(loss[1], 0.0);
    }
}

#[test]
fn class_weights_move_the_focus_only_in_the_upstream_form() {
    let (logits, labels, weights) = (var(3, 3, 2.0, DType::F64), [0, 1, 2], [0.5, 1.0, 4.0]);
    let run = |form, weights: Option<&[f64]>| {
        numbers(&focal(&logits, &labels, 1.0, weights, form).unwrap())
    };
    let plain = run(FocalProbability::OfLogits, None);
    let outside = run(FocalProbability::OfLogits, Some(&weights));
    let inside = run(FocalProbability::OfWeightedLoss, Some(&weights));
    for (class, weight) in weights.into_iter().enumerate() {
        assert!((outside[class] - weight * plain[class]).abs() < 1e-15);
        assert_eq!(inside[class] > outside[class], weight > 1.0);
    }
}

#[test]
fn a_class_without_samples_weighs_nothing_and_is_not_counted() {
    let weights = class_balanced_weights(&[10, 0, 10], 0.999).unwrap();
    assert_eq!(weights, [1.0, 0.0, 1.0]);
    let weights = class_balanced_weights(&[10, 0, 1000], 0.0).unwrap();
    assert_eq!(weights, [1.0, 0.0, 1.0]);
    // Near 1 the weights are those of inverse counts.
    let weights = class_balanced_weights(&[1, 3], 1.0 - 1e-12).unwrap();
    assert!((weights[0] - 1.5).abs() < 1e-6 && (weights[1] - 0.5).abs() < 1e-6);
}

#[test]
fn a_common_factor_of_all_class_weights_leaves_the_weighted_mean_alone() {
    let (logits, labels) = (var(4, 3, 2.0, DType::F64), [0, 2, 2, 1]);
    let mean = |weights: &[f64]| {
        let losses = weighted_cross_entropy(&logits, &labels, weights).unwrap();
        numbers(&class_weighted_mean(&losses, &labels, weights).unwrap())[0]
    };
    assert!((mean(&[1.0, 2.0, 3.0]) - mean(&[10.0, 20.0, 30.0])).abs() < 1e-14);
    assert!(
        (mean(&[7.0; 3]) - numbers(&plain(&logits, &labels).mean_all().unwrap())[0]).abs() < 1e-14
    );
}

#[test]
fn post_hoc_adjustment_turns_predictions_to_rare_classes() {
    let logits = Tensor::new(&[[1.0f64, 0.5]], CPU).unwrap();
    let adjusted = numbers(&post_hoc_adjusted(&logits, &[100, 10], 1.0).unwrap());
    assert!((adjusted[0] - 1.0).abs() < 1e-15);
    assert!((adjusted[1] - (0.5 + 10f64.ln())).abs() < 1e-12);
}

#[test]
fn supcon_ignores_the_size_of_features_and_survives_zeros_and_a_single_view() {
    let (features, labels) = (var(6, 4, 1.0, DType::F64), [0, 1, 0, 2, 1, 0]);
    let views = features.as_tensor().reshape((6, 1, 4)).unwrap();
    let loss = supcon(&views, &labels, 0.2, 0.2).unwrap();
    let larger = supcon(&(&views * 50.0).unwrap(), &labels, 0.2, 0.2).unwrap();
    for (loss, larger) in numbers(&loss).into_iter().zip(numbers(&larger)) {
        assert!((loss - larger).abs() < 1e-12);
    }
    for (rows, labels) in [(3, &[0, 0, 1][..]), (1, &[5])] {
        let zeros = Var::zeros((rows, 1, 4), DType::F32, CPU).unwrap();
        let loss = supcon(&zeros, labels, 0.07, 0.07).unwrap();
        let gradient = gradient(&loss.sum_all().unwrap(), &zeros);
        assert!(
            numbers(&loss)
                .iter()
                .chain(&gradient)
                .all(|x| x.is_finite())
        );
        assert_eq!(numbers(&loss)[rows - 1], 0.0);
    }
}

#[test]
fn the_centre_loss_has_no_gradient_for_centres_and_absent_classes_stay() {
    let features = var(3, 2, 1.0, DType::F64);
    let centres = var(4, 2, 3.0, DType::F64);
    let labels = [1, 1, 3];
    let loss = centre_loss(&features, &labels, &centres).unwrap();
    let store = loss.sum_all().unwrap().backward().unwrap();
    assert!(store.get(&features).is_some() && store.get(&centres).is_none());
    let after = centre_step(&centres, &features, &labels, 0.5).unwrap();
    let (before, after) = (numbers(&centres), numbers(&after));
    assert_eq!(before[..2], after[..2]);
    assert_eq!(before[4..6], after[4..6]);
    // (2 / 3) of the way per sample, times half, for class 3, which has one.
    let expected = before[6] - (before[6] - numbers(&features)[4]) / 3.0;
    assert!((after[6] - expected).abs() < 1e-15);
}

#[test]
fn an_absent_class_loses_weight_or_keeps_it_as_asked() {
    let (means, present) = (vector(&[2.0, 0.0, 1.0]), [true, false, true]);
    let moved = |absent| {
        let mut weights = GroupWeights::new(3, CPU).unwrap();
        weights.update(&means, &present, 0.1, absent).unwrap();
        weights
    };
    let [zero, mut skip] = [AbsentClasses::Zero, AbsentClasses::Skip].map(moved);
    let [of_zero, of_skip] = [&zero, &skip].map(|weights| numbers(weights.weights()));
    assert!(of_zero[1] < 1.0 / 3.0);
    assert_eq!(of_skip[1], 1.0 / 3.0);
    for weights in [of_zero, of_skip.clone()] {
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        assert!((weights[0] / weights[2] - 0.1f64.exp()).abs() < 1e-14);
    }
    skip.update(&means, &[false; 3], 0.1, AbsentClasses::Skip)
        .unwrap();
    assert_eq!(numbers(skip.weights()), of_skip);
    // Whatever stands in its place, its loss is 0.
    for junk in [7.0, f64::NAN] {
        let mut weights = GroupWeights::new(3, CPU).unwrap();
        let means = vector(&[2.0, junk, 1.0]);
        weights
            .update(&means, &present, 0.1, AbsentClasses::Zero)
            .unwrap();
        assert_eq!(numbers(weights.weights()), numbers(zero.weights()));
    }
}

#[test]
fn an_adjustment_of_equal_counts_and_huge_losses_do_no_harm_to_group_weights() {
    let mut weights = GroupWeights::new(2, CPU).unwrap();
    let mut adjusted = weights.clone();
    let update = |weights: &mut GroupWeights, losses: [f64; 2], step_size| {
        let means = vector(&losses);
        weights
            .update(&means, &[true; 2], step_size, AbsentClasses::Zero)
            .unwrap();
    };
    for losses in [[0.5, 1.5], [0.2, 0.9]] {
        update(&mut weights, losses, 0.3);
        let shifted = losses.map(|loss| loss + 3.0 / 250f64.sqrt());
        update(&mut adjusted, shifted, 0.3);
    }
    let [own, other] = [&weights, &adjusted].map(|weights| numbers(weights.weights()));
    for (a, b) in own.iter().zip(other) {
        assert!((a - b).abs() < 1e-14);
    }
    update(&mut weights, [1e5, 2.0], 1.0);
    assert_eq!(numbers(weights.weights()), [1.0, 0.0]);
    // Of classes whose weights are 0 none can gain any.
    let means = vector(&[0.0, 3.0]);
    weights
        .update(&means, &[false, true], 1.0, AbsentClasses::Skip)
        .unwrap();
    assert_eq!(numbers(weights.weights()), [1.0, 0.0]);
}

#[test]
fn class_means_of_an_absent_class_are_0_and_marked() {
    let losses = Var::new(&[1f32, 3., 5.], CPU).unwrap();
    let (means, present) = class_mean_losses(&losses, &[2, 2, 0], 4).unwrap();
    assert_eq!(numbers(&means), [5.0, 0.0, 2.0, 0.0]);
    assert_eq!(present, [true, false, true, false]);
    let objective = group_dro(&means, &GroupWeights::new(4, CPU).unwrap()).unwrap();
    assert_eq!(gradient(&objective, &losses), [0.125, 0.125, 0.25]);
}

#[test]
fn running_losses_are_divided_by_the_largest_of_the_class_in_the_whole_set() {
    let mut losses = SampleLosses::new(&[0, 0, 0, 1, 1], 3, 0.7, CPU).unwrap();
    losses.update(&[0, 1], &vector(&[4.0, 1.0])).unwrap();
    // Sample 1 alone is read, but the largest is sample 0's; class 1 has not been visited.
    let normalised = |losses: &SampleLosses, of: &[u32]| numbers(&losses.normalised(of).unwrap());
    assert_eq!(normalised(&losses, &[1, 3]), [0.25, 0.0]);
    // 0.7 is the weight of the past.
    losses.update(&[0], &vector(&[0.0])).unwrap();
    assert!((numbers(losses.average())[0] - 2.8).abs() < 1e-15);
    // The first visit isn't shrunk, however late.
    losses.update(&[2], &vector(&[5.6])).unwrap();
    let all = normalised(&losses, &[0, 1, 2]);
    assert!((all[0] - 0.5).abs() < 1e-15 && all[2] == 1.0);
    assert!(normalised(&losses, &[]).is_empty());
    let weights = lff_weights(&vector(&[0.0, 1.0]), &vector(&[0.0, 0.0])).unwrap();
    assert_eq!(numbers(&weights)[0], 0.0);
}

#[test]
fn the_largest_running_loss_is_found_among_any_number_of_samples() {
    // Classes of 200, 64, 1 and no samples.
    let labels = [vec![0; 200], vec![1; 64], vec![2]].concat();
    let mut losses = SampleLosses::new(&labels, 4, 0.7, CPU).unwrap();
    let all: Vec<u32> = (0..labels.len() as u32).collect();
    let values: Vec<f64> = all.iter().map(|&i| f64::from(i * 37 % 265)).collect();
    losses.update(&all, &vector(&values)).unwrap();
    let largest = |range: std::ops::Range<usize>| values[range].iter().fold(0f64, |a, &b| a.max(b));
    let largest = [largest(0..200), largest(200..264), largest(264..265)];
    let normalised = numbers(&losses.normalised(&all).unwrap());
    for (sample, found) in normalised.iter().enumerate() {
        assert_eq!(*found, values[sample] / largest[labels[sample] as usize]);
    }
}

#[test]
fn a_sample_that_a_batch_has_more_than_once_is_visited_in_turn() {
    let new = || SampleLosses::new(&[0, 0, 1], 2, 0.7, CPU).unwrap();
    let (mut at_once, mut in_turn) = (new(), new());
    let (indices, losses) = ([2, 0, 2, 2, 0], [1.0, 0.5, 3.0, 0.25, 8.0]);
    at_once.update(&indices, &vector(&losses)).unwrap();
    for (index, loss) in indices.into_iter().zip(losses) {
        in_turn.update(&[index], &vector(&[loss])).unwrap();
    }
    assert_eq!(saved(at_once.tensors()), saved(in_turn.tensors()));
    let clone = at_once.clone();
    at_once.update(&[1], &vector(&[1.0])).unwrap();
    assert_eq!(saved(clone.tensors()), saved(in_turn.tensors()));
}

#[test]
fn the_biased_loss_prefers_samples_that_are_easy_already() {
    let logits = Tensor::new(&[[3.0f64, 0.0], [0.0, 3.0]], CPU).unwrap();
    let logits = Var::from_tensor(&logits).unwrap();
    let labels = [0, 0];
    let factor = |q| {
        let biased = generalized_cross_entropy(&logits, &labels, q).unwrap();
        let both = (numbers(&biased), numbers(&plain(&logits, &labels)));
        [0, 1].map(|i: usize| both.0[i] / both.1[i])
    };
    let [easy, hard] = factor(0.7);
    assert!(easy > 5.0 * hard && easy < 0.7);
}

#[test]
fn jtt_weights_are_the_objective_of_appended_copies() {
    let labels = [0u32, 1, 2, 1];
    let wrong = error_set(&labels, &[0, 2, 2, 0]).unwrap();
    assert_eq!(wrong, [false, true, false, true]);
    let logits = var(4, 3, 2.0, DType::F64);
    let weights = jtt_weights(&wrong, 5.0).unwrap();
    let losses = plain(&logits, &labels);
    let weighted = sample_weighted(&losses, &weights)
        .unwrap()
        .sum_all()
        .unwrap();
    let weighted = numbers(&weighted)[0] / weights.iter().sum::<f64>();
    let losses = numbers(&losses);
    let mut appended = losses.clone();
    for _ in 0..5 {
        appended.extend([losses[1], losses[3]]);
    }
    let mean = appended.iter().sum::<f64>() / appended.len() as f64;
    assert!((weighted - mean).abs() < 1e-14);
}

/// Two parameters with gradients and one without.
fn params() -> (Vec<(String, Var)>, candle_core::backprop::GradStore) {
    let weight = var(9, 7, 1.0, DType::F32);
    let bias = var(1, 7, 1.0, DType::F32);
    let unused = var(2, 2, 1.0, DType::F32);
    let cubes = |var: &Var| var.as_tensor().powf(3.0).unwrap().sum_all().unwrap();
    let store = (cubes(&weight) + cubes(&bias)).unwrap().backward().unwrap();
    let named = [
        ("fc.weight", weight),
        ("fc.bias", bias),
        ("off.weight", unused),
    ];
    let named = named.map(|(name, var)| (name.to_string(), var));
    (named.to_vec(), store)
}

#[test]
fn weights_come_back_to_the_bit_where_subtracting_the_perturbation_would_not() {
    let (params, store) = params();
    let bits = || -> Vec<Vec<f64>> { params.iter().map(|(_, var)| numbers(var)).collect() };
    let before = bits();
    let steps = perturbation(&params, &store, &Sharpness::Sam { rho: 0.37 }).unwrap();
    assert_eq!(
        steps.len(),
        2,
        "the parameter without a gradient is left out"
    );
    let norm: f64 = steps
        .iter()
        .flat_map(|(_, step)| numbers(step))
        .map(|x| x * x)
        .sum();
    assert!((norm.sqrt() - 0.37).abs() < 1e-6);
    let perturbed = apply(&steps).unwrap();
    assert!(
        bits()[..2]
            .iter()
            .zip(&before)
            .all(|(now, then)| now != then)
    );
    assert_eq!(bits()[2], before[2]);
    let subtracted = (steps[0].0.as_tensor() - &steps[0].1).unwrap();
    assert_ne!(numbers(&subtracted), before[0]);
    perturbed.undo().unwrap();
    assert_eq!(bits(), before);
}

#[test]
fn asam_scales_weights_by_their_size_and_leaves_biases_plain() {
    let (params, store) = params();
    let config = Sharpness::Asam {
        rho: 1.0,
        eta: 0.01,
    };
    let steps = perturbation(&params, &store, &config).unwrap();
    let ratio = |place: usize| -> Vec<f64> {
        let gradient = numbers(store.get(&steps[place].0).unwrap());
        let values = numbers(&params[place].1);
        let step = numbers(&steps[place].1);
        (0..step.len())
            .filter(|&i| gradient[i] > 1e-3)
            .map(|i| match place {
                0 => step[i] / gradient[i] / (values[i].abs() + 0.01).powi(2),
                _ => step[i] / gradient[i],
            })
            .collect()
    };
    let all: Vec<f64> = [ratio(0), ratio(1)].concat();
    assert!(
        all.iter().all(|x| (x - all[0]).abs() < 1e-5 * all[0]),
        "{all:?}"
    );
}

#[test]
fn a_gradient_of_0_moves_nothing_and_bad_gradients_are_refused() {
    let (params, mut store) = params();
    let sam = Sharpness::Sam { rho: 0.1 };
    for (_, var) in &params[..2] {
        store.insert(var, var.zeros_like().unwrap());
    }
    for config in [sam, Sharpness::Asam { rho: 0.1, eta: 0.0 }] {
        for (_, step) in perturbation(&params, &store, &config).unwrap() {
            assert!(numbers(&step).iter().all(|&x| x == 0.0));
        }
    }
    let nan = (params[1].1.zeros_like().unwrap() + f64::NAN).unwrap();
    store.insert(&params[1].1, nan);
    refused(perturbation(&params, &store, &sam), "fc.bias");
    store.insert(&params[1].1, Tensor::zeros(3, DType::F32, CPU).unwrap());
    refused(perturbation(&params, &store, &sam), "fc.bias");
    refused(perturbation(&params[2..], &store, &sam), "no gradient");
}

#[test]
fn sharpness_is_written_in_full_and_unknown_fields_are_refused() {
    let config: Sharpness = toml::from_str("kind = \"asam\"\nrho = 1.0\neta = 0.01").unwrap();
    assert_eq!(
        config,
        Sharpness::Asam {
            rho: 1.0,
            eta: 0.01
        }
    );
    assert!(toml::from_str::<Sharpness>("kind = \"asam\"\nrho = 1.0").is_err());
    assert!(toml::from_str::<Sharpness>("kind = \"sam\"\nrho = 1.0\neta = 0.1").is_err());
}

#[test]
fn states_come_back_to_the_bit_and_wrong_ones_change_nothing() {
    let map = |tensors: Vec<(String, Tensor)>| tensors.into_iter().collect::<HashMap<_, _>>();
    let mut weights = GroupWeights::new(3, CPU).unwrap();
    let (losses, present) = (vector(&[0.3, 1.1, 0.0]), [true, true, false]);
    weights
        .update(&losses, &present, 0.7, AbsentClasses::Zero)
        .unwrap();
    let mut other = GroupWeights::new(3, CPU).unwrap();
    other.load(&map(weights.tensors().unwrap())).unwrap();
    assert_eq!(saved(other.tensors()), saved(weights.tensors()));

    let mut running = SampleLosses::new(&[0, 1, 1], 2, 0.7, CPU).unwrap();
    running
        .update(&[0, 2, 0], &vector(&[0.1, 0.7, 0.3]))
        .unwrap();
    let mut twin = SampleLosses::new(&[0, 1, 1], 2, 0.7, CPU).unwrap();
    twin.load(&map(running.tensors().unwrap())).unwrap();
    assert_eq!(saved(twin.tensors()), saved(running.tensors()));

    for (values, found) in [
        (&[0.5, 0.5][..], "(3)"),
        (&[0.5, 0.6, -0.1], "-0.1"),
        (&[0.5, 0.6, 0.1], "sum to 1"),
    ] {
        let wrong = map(vec![("weights".to_string(), vector(values))]);
        refused(other.load(&wrong), found);
    }
    refused(other.load(&HashMap::new()), "weights is missing");
    assert_eq!(saved(other.tensors()), saved(weights.tensors()));

    let mut wrong = map(running.tensors().unwrap());
    wrong.insert("visited".to_string(), vector(&[0.0, 2.0, 1.0]));
    refused(twin.load(&wrong), "visited");
    wrong.insert("labels".to_string(), vector(&[0.0]));
    refused(twin.load(&wrong), "labels");
    refused(twin.update(&[0, 3], &vector(&[1.0, 1.0])), "index 3");
    refused(twin.update(&[0, 1], &vector(&[1.0, f64::NAN])), "entry 1");
    refused(twin.update(&[0, 1], &vector(&[1.0])), "must be (2)");
    assert_eq!(saved(twin.tensors()), saved(running.tensors()));
}

#[track_caller]
fn refused<T>(result: Result<T>, names: &str) {
    let error = result.err().unwrap().to_string();
    assert!(error.contains(names), "{error:?} doesn't name {names:?}");
}

#[test]
fn losses_name_the_argument_that_is_out_of_range() {
    let (logits, labels) = (var(2, 3, 1.0, DType::F32), [0, 2]);
    let counts = [5, 1, 9];
    let form = FocalProbability::OfLogits;
    refused(focal(&logits, &labels, -1.0, None, form), "focusing");
    refused(
        focal(&logits, &labels, 1.0, Some(&[1.0]), form),
        "class_weights",
    );
    refused(
        focal(&logits, &[0, 3], 1.0, None, form),
        "sample 1 has label 3",
    );
    refused(focal(&logits, &[0], 1.0, None, form), "labels");
    refused(
        weighted_cross_entropy(&logits, &labels, &[1.0, -1.0, 1.0]),
        "entry 1",
    );
    refused(
        class_weighted_mean(&logits, &labels, &[1.0; 3]),
        "per_sample",
    );
    let losses = plain(&logits, &labels);
    refused(
        class_weighted_mean(&losses, &labels, &[0.0, 1.0, 0.0]),
        "sum to 0",
    );
    refused(logit_adjusted(&logits, &labels, &counts, f64::NAN), "tau");
    refused(logit_adjusted(&logits, &labels, &[1, 0, 2], 1.0), "class 1");
    refused(post_hoc_adjusted(&logits, &counts, -1.0), "tau");
    refused(balanced_softmax(&logits, &labels, &[1, 2]), "counts");
    refused(
        vector_scaling(&logits, &labels, &counts, -0.1, 1.0),
        "gamma",
    );
    refused(vector_scaling(&logits, &labels, &counts, 0.1, -1.0), "tau");
    refused(ldam(&logits, &labels, &[0.5; 3], 0.0, None), "scale");
    refused(ldam(&logits, &labels, &[0.5; 2], 30.0, None), "margins");
    let linear = (logits.as_tensor() * 9.0).unwrap();
    refused(ldam(&linear, &labels, &[0.5; 3], 30.0, None), "cosine");
    let views = logits.as_tensor().reshape((2, 1, 3)).unwrap();
    refused(supcon(&views, &labels, 0.0, 1.0), "temperature");
    refused(supcon(&views, &labels, 1.0, -1.0), "base_temperature");
    refused(supcon(&logits, &labels, 1.0, 1.0), "features");
    refused(centre_loss(&logits, &labels, &linear), "label 2");
    refused(
        centre_loss(&logits, &labels, &linear.t().unwrap()),
        "centres",
    );
    refused(centre_step(&linear, &logits, &[0, 1], f64::INFINITY), "lr");
    refused(cvar(&losses, 0.0), "alpha");
    refused(cvar(&losses, 1.5), "alpha");
    refused(generalized_cross_entropy(&logits, &labels, 0.0), "q must");
    refused(sample_weighted(&losses, &[1.0]), "per_sample");
    refused(class_mean_losses(&losses, &labels, 2), "label 2");
}

#[test]
fn weights_and_states_name_the_argument_that_is_out_of_range() {
    refused(class_balanced_weights(&[1, 2], 1.0), "beta");
    refused(class_balanced_weights(&[0, 0], 0.9), "counts");
    refused(ldam_margins(&[1, 0], 0.5), "class 1");
    refused(ldam_margins(&[1, 2], 0.0), "max_margin");
    refused(resampling_probabilities(&[0, 1], &[1.0]), "sample 1");
    refused(resampling_probabilities(&[0, 0], &[0.0, 1.0]), "sum to 0");
    refused(GroupWeights::new(0, CPU), "class");
    let mut weights = GroupWeights::new(2, CPU).unwrap();
    let mut update = |means: &[f64], present: &[bool], step_size| {
        weights.update(&vector(means), present, step_size, AbsentClasses::Zero)
    };
    refused(update(&[0.0; 2], &[true; 2], -0.1), "step_size");
    refused(update(&[0.0; 2], &[true], 0.1), "present");
    refused(update(&[0.0], &[true; 2], 0.1), "means");
    refused(update(&[0.0, f64::NAN], &[false, true], 0.1), "class 1");
    assert_eq!(numbers(weights.weights()), [0.5; 2]);
    refused(SampleLosses::new(&[0], 1, 1.0, CPU), "decay");
    refused(SampleLosses::new(&[0, 1], 1, 0.7, CPU), "sample 1");
    let ones = vector(&[1.0]);
    refused(lff_weights(&ones, &vector(&[])), "debiased");
    refused(lff_weights(&ones, &vector(&[-1.0])), "debiased");
    refused(error_set(&[0], &[]), "predictions");
    refused(jtt_weights(&[true], -1.0), "upweight");
    refused(Sharpness::Sam { rho: 0.0 }.check(), "rho");
    refused(
        Sharpness::Asam {
            rho: 1.0,
            eta: -1.0,
        }
        .check(),
        "eta",
    );
}

proptest! {
    #[test]
    fn cvar_lies_between_the_mean_and_the_largest_loss(
        losses in prop::collection::vec(0f64..10.0, 1..40),
        alpha in 0.001f64..=1.0,
    ) {
        let tensor = Tensor::new(losses.as_slice(), CPU).unwrap();
        let value = cvar(&tensor, alpha).unwrap().to_scalar::<f64>().unwrap();
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        let largest = losses.iter().fold(0f64, |a, &b| a.max(b));
        prop_assert!(value >= mean - 1e-9 && value <= largest + 1e-9, "{value}");
        let whole = cvar(&tensor, 1.0).unwrap().to_scalar::<f64>().unwrap();
        prop_assert!((whole - mean).abs() < 1e-9);
    }

    #[test]
    fn cvar_takes_the_worst_and_of_equal_losses_the_first(
        losses in prop::collection::vec(0u8..4, 1..40),
        alpha in 0.001f64..=1.0,
    ) {
        let losses: Vec<f64> = losses.into_iter().map(f64::from).collect();
        let batch = losses.len();
        let mut worst_first: Vec<usize> = (0..batch).collect();
        worst_first.sort_by(|&a, &b| losses[b].total_cmp(&losses[a]));
        let mut left = alpha * batch as f64;
        let mut expected = vec![0.0; batch];
        for sample in worst_first {
            expected[sample] = left.clamp(0.0, 1.0) / (alpha * batch as f64);
            left -= 1.0;
        }
        let tensor = Var::new(losses.as_slice(), CPU).unwrap();
        let weights = gradient(&cvar(&tensor, alpha).unwrap(), &tensor);
        for (weight, expected) in weights.iter().zip(&expected) {
            prop_assert!((weight - expected).abs() < 1e-9, "{weights:?}, {expected:?}");
        }
    }

    #[test]
    fn class_balanced_weights_fall_with_the_count_and_average_to_1(
        counts in prop::collection::vec(1u64..100_000, 1..30),
        beta in 0f64..0.999_999,
    ) {
        let weights = class_balanced_weights(&counts, beta).unwrap();
        let sum: f64 = weights.iter().sum();
        prop_assert!((sum - counts.len() as f64).abs() < 1e-9);
        for (i, a) in counts.iter().enumerate() {
            for (j, b) in counts.iter().enumerate() {
                prop_assert!(a < b || weights[i] <= weights[j]);
            }
        }
    }

    #[test]
    fn group_weights_sum_to_1_and_order_classes_by_their_losses(
        steps in prop::collection::vec(prop::collection::vec(prop::option::of(0f64..50.0), 6), 1..20),
        skip: bool,
    ) {
        let absent = if skip { AbsentClasses::Skip } else { AbsentClasses::Zero };
        let mut weights = GroupWeights::new(6, CPU).unwrap();
        for losses in &steps {
            let before = numbers(weights.weights());
            let means: Vec<f64> = losses.iter().map(|loss| loss.unwrap_or(0.0)).collect();
            let present: Vec<bool> = losses.iter().map(Option::is_some).collect();
            weights.update(&vector(&means), &present, 0.1, absent).unwrap();
            let after = numbers(weights.weights());
            prop_assert!((after.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            for (class, loss) in losses.iter().enumerate() {
                prop_assert!(!skip || loss.is_some() || after[class] == before[class]);
            }
        }
    }
}
