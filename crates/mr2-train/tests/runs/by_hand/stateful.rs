//! Methods that keep something from step to step: weights of classes, centres, a second network.

use mr2_nn::rng;
use mr2_train::Sharpness;
use mr2_train::objective::{AbsentClasses, ObjectiveConfig};

use super::{Trained, check, cross_entropy, host, mean, net_seed, process, vector};
use crate::support::{CLASSES, FEATURES};

#[test]
fn group_dro_with_absent_classes_losing_weight() {
    let objective = ObjectiveConfig::GroupDro {
        step_size: 0.5,
        absent: AbsentClasses::Zero,
    };
    let mut q = [1.0 / CLASSES as f64; CLASSES];
    check(&objective, |seen| {
        let losses = cross_entropy(&seen.logits, seen.labels());
        let mut of_class = [(0.0, 0.0); CLASSES];
        for (label, loss) in seen.labels().iter().zip(host(&losses)) {
            let (sum, count) = &mut of_class[*label as usize];
            *sum += loss;
            *count += 1.0;
        }
        for (q, (sum, count)) in q.iter_mut().zip(of_class) {
            *q *= (0.5 * sum / f64::max(count, 1.0)).exp();
        }
        let total: f64 = q.iter().sum();
        q.iter_mut().for_each(|q| *q /= total);
        let weight = |label: &u32| q[*label as usize] / of_class[*label as usize].1;
        let weights = vector(seen.labels().iter().map(weight));
        (losses * weights).unwrap().sum_all().unwrap()
    });
}

#[test]
fn centre_loss() {
    let objective = ObjectiveConfig::CentreLoss {
        weight: 0.1,
        centre_lr: 0.5,
    };
    let stream = rng::stream(net_seed(), "centres");
    let start = (0..(CLASSES * FEATURES) as u64).map(|i| rng::normal(stream, i));
    let mut centres: Vec<f64> = start.collect();
    check(&objective, |seen| {
        let labels = seen.labels();
        let row = |label: u32| label as usize * FEATURES..(label as usize + 1) * FEATURES;
        let own = labels
            .iter()
            .flat_map(|label| centres[row(*label)].to_vec());
        let own = vector(own).reshape(seen.features.shape()).unwrap();
        let apart = (&seen.features - own).unwrap();
        let squares = apart.sqr().unwrap().sum(1).unwrap();
        for (label, apart) in labels.iter().zip(apart.detach().to_vec2::<f32>().unwrap()) {
            for (centre, apart) in centres[row(*label)].iter_mut().zip(apart) {
                *centre += 0.5 * 2.0 / labels.len() as f64 * f64::from(apart);
            }
        }
        let classification = mean(&cross_entropy(&seen.logits, labels));
        (classification + (mean(&squares) * 0.1).unwrap()).unwrap()
    });
}

#[test]
fn learning_from_failure_beside_a_biased_twin() {
    let objective = ObjectiveConfig::Lff { q: 0.7, decay: 0.6 };
    let other = process(&objective, Sharpness::Off {});
    let mut twin = Trained::new(&other.twin.0, &other.twin.1);
    let twin_seed = rng::stream(net_seed(), "twin");
    let labels = other.train.set().labels().to_vec();
    // Running losses of both networks, by image.
    let mut averages = [vec![None; labels.len()], vec![None; labels.len()]];
    check(&objective, |seen| {
        let features = twin.features(seen.batch, twin_seed, seen.step);
        let biased = cross_entropy(&twin.head(&features), seen.labels());
        let debiased = cross_entropy(&seen.logits, seen.labels());
        let mut relative = [Vec::new(), Vec::new()];
        for (of_net, losses) in [&biased, &debiased].into_iter().enumerate() {
            let averages = &mut averages[of_net];
            for (index, loss) in seen.batch.indices.iter().zip(host(losses)) {
                let average: &mut Option<f64> = &mut averages[*index as usize];
                *average = Some(average.map_or(loss, |past| 0.6 * past + 0.4 * loss));
            }
            let largest = |class: u32| {
                let of_class = averages.iter().zip(&labels).filter(|(_, l)| **l == class);
                of_class.filter_map(|(loss, _)| *loss).fold(0.0, f64::max)
            };
            relative[of_net] = seen
                .batch
                .indices
                .iter()
                .map(|&i| averages[i as usize].unwrap() / largest(labels[i as usize]))
                .collect::<Vec<f64>>();
        }
        let pairs = relative[0].iter().zip(&relative[1]);
        let weights = vector(pairs.map(|(b, d)| b / (b + d + 1e-8)));
        let p = biased.detach().neg().unwrap().exp().unwrap();
        let factor = (p.powf(0.7).unwrap() * 0.7).unwrap();
        let generalised = mean(&(biased * factor).unwrap());
        let gradients = twin.cx.backward(&generalised).unwrap();
        twin.descend(&gradients);
        let own = mean(&(debiased * weights).unwrap());
        (own + generalised.detach()).unwrap()
    });
}
