//! The baselines against float64 PyTorch: losses, gradients and what moves over several steps
//! (`tests/reference/baselines.py`).
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor, Var};
use mr2_loss::baselines::{
    AbsentClasses, FocalProbability, GroupWeights, SampleLosses, Sharpness, apply,
    balanced_softmax, centre_loss, centre_step, class_balanced_weights, class_mean_losses,
    class_weighted_mean, cvar, focal, generalized_cross_entropy, group_dro, ldam, ldam_margins,
    lff_weights, logit_adjusted, perturbation, post_hoc_adjusted, supcon, vector_scaling,
    weighted_cross_entropy,
};
use mr2_loss::{Target, cross_entropy};
use mr2_nn::optim::{Optimizer, ParamGroup, Sgd, SgdConfig};

const CPU: &Device = &Device::Cpu;
const DTYPES: [DType; 2] = [DType::F64, DType::F32];

struct Fixture(HashMap<String, Tensor>);

fn fixture() -> Fixture {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/baselines.safetensors"
    );
    Fixture(candle_core::safetensors::load(path, CPU).unwrap())
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    let wide = tensor.to_dtype(DType::F64).unwrap();
    wide.flatten_all().unwrap().to_vec1().unwrap()
}

fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::F64 { 1e-11 } else { 1e-5 }
}

/// Each number within `tolerance` of its own size; of a hundredth of the largest for those that
/// are differences of larger ones.
#[track_caller]
fn check(what: &str, actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0f64, |a, b| a.max(b.abs()));
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        let allowed = tolerance * e.abs().max(1e-2 * largest);
        assert!((a - e).abs() <= allowed, "{what}[{i}]: {a} instead of {e}");
    }
}

impl Fixture {
    fn numbers(&self, name: &str) -> Vec<f64> {
        numbers(&self.0[name])
    }

    fn var(&self, name: &str, dtype: DType) -> Var {
        Var::from_tensor(&self.0[name].to_dtype(dtype).unwrap()).unwrap()
    }

    fn step(&self, name: &str, step: usize, dtype: DType) -> Var {
        let all = self.0[name].to_dtype(dtype).unwrap();
        Var::from_tensor(&all.get(step).unwrap().copy().unwrap()).unwrap()
    }

    fn logits(&self, dtype: DType) -> Var {
        self.step("logits", 0, dtype)
    }

    fn labels(&self) -> Vec<u32> {
        self.0["labels"].to_vec1().unwrap()
    }

    fn counts(&self) -> Vec<u64> {
        let counts = self.numbers("counts");
        counts.into_iter().map(|count| count as u64).collect()
    }

    /// Values, and the gradient of the sum in which sample `i` counts `i + 1` times.
    #[track_caller]
    fn check_loss(&self, name: &str, input: &Var, loss: &Tensor) {
        let tolerance = tolerance(input.dtype());
        check(name, &numbers(loss), &self.numbers(name), tolerance);
        let total = match loss.rank() {
            0 => loss.clone(),
            _ => {
                let factors = (1..=loss.elem_count()).map(|i| i as f64);
                let factors = Tensor::from_iter(factors, CPU).unwrap();
                let factors = factors.to_dtype(loss.dtype()).unwrap();
                (loss * factors).unwrap().sum_all().unwrap()
            }
        };
        self.check_gradient(&format!("{name}.grad"), input, &total);
    }

    #[track_caller]
    fn check_gradient(&self, name: &str, input: &Var, total: &Tensor) {
        let store = total.backward().unwrap();
        let gradient = numbers(store.get(input).unwrap());
        let tolerance = tolerance(input.dtype());
        check(name, &gradient, &self.numbers(name), tolerance);
    }

    /// A loss of the logits and labels, in both precisions.
    fn check_on_logits(&self, name: &str, loss: impl Fn(&Tensor, &[u32]) -> Result<Tensor>) {
        for dtype in DTYPES {
            let logits = self.logits(dtype);
            let loss = loss(&logits, &self.labels()).unwrap();
            self.check_loss(name, &logits, &loss);
        }
    }
}

#[test]
fn focal_gives_both_published_forms() {
    let fixture = fixture();
    let weights = fixture.numbers("weights");
    for (name, focusing) in [("0.5", 0.5), ("1.0", 1.0), ("2.0", 2.0)] {
        for (form, weights, probability) in [
            ("plain", None, FocalProbability::OfLogits),
            ("plain", None, FocalProbability::OfWeightedLoss),
            (
                "of_logits",
                Some(weights.as_slice()),
                FocalProbability::OfLogits,
            ),
            (
                "of_weighted_loss",
                Some(weights.as_slice()),
                FocalProbability::OfWeightedLoss,
            ),
        ] {
            fixture.check_on_logits(&format!("focal.{form}.{name}"), |logits, labels| {
                focal(logits, labels, focusing, weights, probability)
            });
        }
    }
}

#[test]
fn class_balanced_weights_and_the_weighted_mean_are_upstreams() {
    let fixture = fixture();
    let balanced = class_balanced_weights(&fixture.counts(), 0.9999).unwrap();
    let name = "class_balanced_weights";
    check(name, &balanced, &fixture.numbers(name), 1e-11);

    let weights = fixture.numbers("weights");
    fixture.check_on_logits("weighted_cross_entropy", |logits, labels| {
        weighted_cross_entropy(logits, labels, &weights)
    });
    fixture.check_on_logits("class_weighted_mean", |logits, labels| {
        let losses = weighted_cross_entropy(logits, labels, &weights)?;
        class_weighted_mean(&losses, labels, &weights)
    });
}

#[test]
fn losses_that_know_the_prior_are_the_reference() {
    let fixture = fixture();
    let counts = fixture.counts();
    for (name, tau) in [("0.5", 0.5), ("1.0", 1.0), ("2.0", 2.0)] {
        fixture.check_on_logits(&format!("logit_adjusted.{name}"), |logits, labels| {
            logit_adjusted(logits, labels, &counts, tau)
        });
    }
    fixture.check_on_logits("balanced_softmax", |logits, labels| {
        balanced_softmax(logits, labels, &counts)
    });
    fixture.check_on_logits("vector_scaling", |logits, labels| {
        vector_scaling(logits, labels, &counts, 0.3, 1.2)
    });
    for dtype in DTYPES {
        let adjusted = post_hoc_adjusted(&fixture.logits(dtype), &counts, 1.5).unwrap();
        let log_softmax: Vec<f64> = adjusted
            .to_dtype(DType::F64)
            .unwrap()
            .to_vec2::<f64>()
            .unwrap()
            .iter()
            .flat_map(|row| {
                let log_sum = row.iter().map(|z| z.exp()).sum::<f64>().ln();
                row.iter().map(move |z| z - log_sum).collect::<Vec<_>>()
            })
            .collect();
        let name = "post_hoc_adjusted";
        check(name, &log_softmax, &fixture.numbers(name), tolerance(dtype));
    }
}

#[test]
fn ldam_is_upstreams_with_and_without_weights() {
    let fixture = fixture();
    let margins = ldam_margins(&fixture.counts(), 0.5).unwrap();
    check(
        "ldam.margins",
        &margins,
        &fixture.numbers("ldam.margins"),
        1e-11,
    );
    let weights = fixture.numbers("weights");
    for (name, weights) in [("plain", None), ("weighted", Some(weights.as_slice()))] {
        for dtype in DTYPES {
            let cosines = fixture.var("cosines", dtype);
            let loss = ldam(&cosines, &fixture.labels(), &margins, 30.0, weights).unwrap();
            fixture.check_loss(&format!("ldam.{name}"), &cosines, &loss);
        }
    }
}

#[test]
fn supcon_takes_all_views_as_anchors_and_gives_0_without_a_positive() {
    let fixture = fixture();
    for (name, count, temperature, base) in [("two", 2, 0.1, 0.07), ("one", 1, 0.5, 0.5)] {
        for dtype in DTYPES {
            let views = fixture.var("views", dtype);
            let chosen = views.narrow(1, 0, count).unwrap();
            let loss = supcon(&chosen, &fixture.labels(), temperature, base).unwrap();
            fixture.check_loss(&format!("supcon.{name}"), &views, &loss);
            // Sample 8 is alone in its class: only with a second view has it a positive.
            assert_eq!(numbers(&loss)[8 * count] == 0.0, count == 1);
        }
    }
}

#[test]
fn centre_loss_and_its_centres_are_upstreams_but_for_the_clamp() {
    let fixture = fixture();
    let labels = fixture.labels();
    for dtype in DTYPES {
        let features = fixture.step("features", 0, dtype);
        let mut centres = fixture.0["centres"].to_dtype(dtype).unwrap();
        let loss = centre_loss(&features, &labels, &centres).unwrap();
        fixture.check_loss("centre_loss", &features, &loss);
        if dtype == DType::F64 {
            let mean = numbers(&loss.mean_all().unwrap())[0];
            let upstream = fixture.numbers("centre_loss.upstream")[0];
            let others = (centres.dims()[0] - 1) as f64;
            assert!((upstream - mean - others * 1e-12).abs() < 5e-14 * mean);
        }
        for step in 0..5 {
            let features = fixture.step("features", step, dtype);
            centres = centre_step(&centres, &features, &labels, 0.5).unwrap();
        }
        let name = "centres.after";
        let expected = fixture.numbers(name);
        check(name, &numbers(&centres), &expected, tolerance(dtype));
    }
}

#[test]
fn group_weights_follow_upstream_and_may_pass_over_absent_classes() {
    let fixture = fixture();
    let classes = fixture.counts().len();
    for (name, absent) in [("zero", AbsentClasses::Zero), ("skip", AbsentClasses::Skip)] {
        for dtype in DTYPES {
            let mut weights = GroupWeights::new(classes, CPU).unwrap();
            for step in 0..5 {
                let logits = fixture.step("logits", step, dtype);
                let mut labels = fixture.labels();
                match step % 2 {
                    0 => labels.rotate_right(step),
                    _ => {
                        for label in &mut labels {
                            *label = (*label + step as u32) % classes as u32;
                        }
                    }
                }
                let losses = cross_entropy(&logits, Target::Hard(&labels), None).unwrap();
                let (means, present) = class_mean_losses(&losses, &labels, classes).unwrap();
                assert!(present.contains(&false));
                weights.update(&means, &present, 0.5, absent).unwrap();
                let key = format!("group_dro.{name}.weights");
                let expected = numbers(&fixture.0[&key].get(step).unwrap());
                check(
                    &key,
                    &numbers(weights.weights()),
                    &expected,
                    tolerance(dtype),
                );
                if step == 4 {
                    let key = "group_dro.means";
                    let expected = fixture.numbers(key);
                    check(key, &numbers(&means), &expected, tolerance(dtype));
                    let objective = group_dro(&means, &weights).unwrap();
                    fixture.check_loss(&format!("group_dro.{name}"), &logits, &objective);
                }
            }
        }
    }
}

#[test]
fn cvar_gives_the_weight_that_is_left_to_the_next_sample() {
    let fixture = fixture();
    for (name, alpha) in [
        ("0.05", 0.05),
        ("0.1", 0.1),
        ("0.25", 0.25),
        ("0.37", 0.37),
        ("1.0", 1.0),
    ] {
        fixture.check_on_logits(&format!("cvar.{name}"), |logits, labels| {
            cvar(&cross_entropy(logits, Target::Hard(labels), None)?, alpha)
        });
    }
}

#[test]
fn the_biased_loss_has_q_times_the_gradient_of_its_closed_form() {
    fixture().check_on_logits("generalized_cross_entropy", |logits, labels| {
        generalized_cross_entropy(logits, labels, 0.7)
    });
}

#[test]
fn learning_from_failure_follows_upstream_step_by_step() {
    let fixture = fixture();
    let labels: Vec<u32> = fixture.0["lff.labels"].to_vec1().unwrap();
    let classes = fixture.counts().len();
    for dtype in DTYPES {
        let new = || SampleLosses::new(&labels, classes, 0.7, CPU).unwrap();
        let mut running = [new(), new()];
        for step in 0..5 {
            let indices: Vec<u32> = fixture.0["lff.indices"]
                .get(step)
                .unwrap()
                .to_vec1()
                .unwrap();
            let targets: Vec<u32> = indices.iter().map(|&i| labels[i as usize]).collect();
            let logits = fixture.step("logits", step, dtype);
            let reversed = Var::from_tensor(&logits.flip(&[0]).unwrap()).unwrap();
            let losses = [&logits, &reversed]
                .map(|logits| cross_entropy(logits, Target::Hard(&targets), None).unwrap());
            for (running, losses) in running.iter_mut().zip(&losses) {
                running.update(&indices, losses).unwrap();
            }
            let average = [0, 1].map(|i: usize| numbers(running[i].average()));
            let average = average.concat();
            let expected = numbers(&fixture.0["lff.average"].get(step).unwrap());
            check("lff.average", &average, &expected, tolerance(dtype));
            let [biased, debiased] =
                [0, 1].map(|i: usize| running[i].normalised(&indices).unwrap());
            let weights = lff_weights(&biased, &debiased).unwrap();
            let expected = numbers(&fixture.0["lff.weights"].get(step).unwrap());
            check(
                "lff.weights",
                &numbers(&weights),
                &expected,
                tolerance(dtype),
            );
            if step == 4 {
                let first = generalized_cross_entropy(&logits, &targets, 0.7).unwrap();
                let second = (&losses[1] * weights.to_dtype(dtype).unwrap()).unwrap();
                let total = (first.mean_all().unwrap() + second.mean_all().unwrap()).unwrap();
                let expected = fixture.numbers("lff.total");
                check("lff.total", &numbers(&total), &expected, tolerance(dtype));
                fixture.check_gradient("lff.biased.grad", &logits, &total);
                fixture.check_gradient("lff.debiased.grad", &reversed, &total);
            }
        }
    }
}

#[test]
fn sharpness_aware_steps_end_where_upstreams_do() {
    let fixture = fixture();
    let labels = fixture.labels();
    for (name, config) in [
        ("sam", Sharpness::Sam { rho: 0.1 }),
        (
            "asam",
            Sharpness::Asam {
                rho: 1.0,
                eta: 0.01,
            },
        ),
    ] {
        for dtype in DTYPES {
            let input = fixture.0["sam.x"].to_dtype(dtype).unwrap();
            let [weight, bias] =
                ["weight", "bias"].map(|p| fixture.var(&format!("sam.{p}"), dtype));
            let params = vec![
                ("fc.weight".to_string(), weight.clone()),
                ("fc.bias".to_string(), bias.clone()),
            ];
            let group = ParamGroup {
                params: params.clone(),
                lr_scale: 1.0,
                weight_decay: 0.0,
            };
            let config_sgd = SgdConfig {
                momentum: 0.0,
                nesterov: false,
            };
            let mut sgd = Sgd::new(vec![group], config_sgd).unwrap();
            let gradients = || {
                let logits = input.matmul(&weight.t().unwrap()).unwrap();
                let logits = logits.broadcast_add(&bias).unwrap();
                let loss = cross_entropy(&logits, Target::Hard(&labels), None).unwrap();
                loss.mean_all().unwrap().backward().unwrap()
            };
            for _ in 0..5 {
                let steps = perturbation(&params, &gradients(), &config).unwrap();
                let perturbed = apply(&steps).unwrap();
                let second = gradients();
                perturbed.undo().unwrap();
                sgd.step(&second, 0.3).unwrap();
            }
            for (part, var) in [("weight", &weight), ("bias", &bias)] {
                let key = format!("{name}.{part}.after");
                let expected = fixture.numbers(&key);
                check(&key, &numbers(var), &expected, tolerance(dtype));
            }
        }
    }
}
