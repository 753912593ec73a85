//! Losses of a batch and the counts of its classes.

use mr2_train::candle_core::{Device, Tensor};
use mr2_train::objective::{ObjectiveConfig, Reweight};

use super::{
    COUNTS, Seen, check, class_balanced, cross_entropy, host, mean, of_labels, vector,
    weighted_mean,
};
use crate::support::CLASSES;

#[test]
fn focal() {
    check(&ObjectiveConfig::Focal { focusing: 2.0 }, |seen| {
        let losses = cross_entropy(&seen.logits, seen.labels());
        let missed = (1.0 - losses.neg().unwrap().exp().unwrap()).unwrap();
        mean(&(missed.sqr().unwrap() * losses).unwrap())
    });
}

#[test]
fn re_weighting() {
    check(&ObjectiveConfig::ReWeighting { beta: 0.9 }, |seen| {
        let losses = cross_entropy(&seen.logits, seen.labels());
        weighted_mean(&losses, &of_labels(&class_balanced(0.9), seen.labels()))
    });
}

#[test]
fn logit_adjustment_and_balanced_softmax() {
    let with = |tau: f64| {
        move |seen: &Seen<'_>| {
            let shift = vector(COUNTS.map(|n| tau * (n / 26.0).ln()));
            let adjusted = seen.logits.broadcast_add(&shift).unwrap();
            mean(&cross_entropy(&adjusted, seen.labels()))
        }
    };
    check(&ObjectiveConfig::LogitAdjustment { tau: 1.5 }, with(1.5));
    check(&ObjectiveConfig::BalancedSoftmax {}, with(1.0));
}

#[test]
fn vector_scaling() {
    let objective = ObjectiveConfig::VectorScaling {
        gamma: 0.3,
        tau: 1.0,
    };
    check(&objective, |seen| {
        let factor = vector(COUNTS.map(|n| (n / 11.0f64).powf(0.3)));
        let shift = vector(COUNTS.map(|n| (n / 26.0).ln()));
        let scaled = seen.logits.broadcast_mul(&factor).unwrap();
        let adjusted = scaled.broadcast_add(&shift).unwrap();
        mean(&cross_entropy(&adjusted, seen.labels()))
    });
}

#[test]
fn ldam_with_weights_from_the_second_epoch_on() {
    let reweight = Reweight::Deferred {
        epoch: 1,
        beta: 0.9,
    };
    let objective = ObjectiveConfig::Ldam {
        max_margin: 0.5,
        scale: 10.0,
        reweight,
    };
    check(&objective, |seen| {
        let labels = seen.labels();
        let margins = COUNTS.map(|n| 0.5 * (2.0 / n).powf(0.25));
        let subtracted = labels.iter().flat_map(|label| {
            (0..CLASSES).map(move |k| if k as u32 == *label { margins[k] } else { 0.0 })
        });
        let subtracted = vector(subtracted).reshape(seen.logits.shape()).unwrap();
        let logits = ((&seen.logits - subtracted).unwrap() * 10.0).unwrap();
        let losses = cross_entropy(&logits, labels);
        match seen.step < 4 {
            true => mean(&losses),
            false => weighted_mean(&losses, &of_labels(&class_balanced(0.9), labels)),
        }
    });
}

#[test]
fn cvar() {
    check(&ObjectiveConfig::Cvar { alpha: 0.3 }, |seen| {
        let losses = cross_entropy(&seen.logits, seen.labels());
        let share = 0.3 * seen.labels().len() as f64; // 2.4 of 8, 0.6 of the epoch's last 2
        let values = host(&losses);
        let worse = |x: f64| values.iter().filter(|other| **other > x).count() as f64;
        let weights = values
            .iter()
            .map(|x| (share - worse(*x)).clamp(0.0, 1.0) / share);
        (&losses * vector(weights)).unwrap().sum_all().unwrap()
    });
}

#[test]
fn supervised_contrast_for_the_features_and_cross_entropy_for_the_head() {
    let objective = ObjectiveConfig::SupCon {
        temperature: 0.2,
        base_temperature: 0.1,
    };
    check(&objective, |seen| {
        let labels = seen.labels();
        let logits = seen.net.head(&seen.features.detach());
        let norms = seen.features.sqr().unwrap().sum_keepdim(1).unwrap().sqrt();
        let unit = seen.features.broadcast_div(&norms.unwrap()).unwrap();
        let similar = (unit.matmul(&unit.t().unwrap()).unwrap() / 0.2).unwrap();
        // Without a positive in the batch the gradient of the features is 0, but there is one.
        let none = (&seen.features - &seen.features)
            .unwrap()
            .sum_all()
            .unwrap();
        let mut total = (mean(&cross_entropy(&logits, labels)) + none).unwrap();
        for (anchor, label) in labels.iter().enumerate() {
            let others: Vec<u32> = (0..labels.len() as u32)
                .filter(|other| *other as usize != anchor)
                .collect();
            let row = similar.get(anchor).unwrap();
            let others_tensor = Tensor::new(others.clone(), &Device::Cpu).unwrap();
            let row = row.index_select(&others_tensor, 0).unwrap();
            let log = candle_nn::ops::log_softmax(&row, 0).unwrap();
            let same: Vec<f64> = others
                .iter()
                .map(|other| f64::from(u8::from(labels[*other as usize] == *label)))
                .collect();
            let positives: f64 = same.iter().sum();
            if positives > 0.0 {
                let drawn = (log * vector(same)).unwrap().sum_all().unwrap();
                let factor = -2.0 / (positives * labels.len() as f64);
                total = (total + (drawn * factor).unwrap()).unwrap();
            }
        }
        total
    });
}
