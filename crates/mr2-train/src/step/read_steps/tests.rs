//! Steps whose numbers are read together count as those that are read one by one.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Tensor};
use mr2_loss::Preset;
use mr2_loss::baselines::AbsentClasses;

use crate::error::Error;
use crate::metrics_log::StepRecord;
use crate::objective::ObjectiveConfig;
use crate::progress::EpochCounters;
use crate::pulls::tests::with_run;
use crate::run::Run;
use crate::step::reading::Reading;

/// Tensors by name, as bits.
type Tensors = Vec<(String, Vec<u64>)>;

/// The records and counters of two epochs of two steps, and every bit that a checkpoint would hold.
fn epochs(
    objective: ObjectiveConfig,
    reading: Reading,
) -> (Vec<StepRecord>, EpochCounters, Tensors) {
    with_run(objective, |run, train| {
        run.reading = reading;
        let mut records = Vec::new();
        for batch in train.epoch(0, 0).chain(train.epoch(1, 0)) {
            run.step(&batch.unwrap()).unwrap();
            if reading == Reading::AtOnce {
                records.extend(run.read_steps().unwrap());
            }
        }
        records.extend(run.read_steps().unwrap());
        let bits = |tensor: Tensor| -> Vec<u64> {
            let flat = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
            let values: Vec<f64> = flat.to_vec1().unwrap();
            values.into_iter().map(f64::to_bits).collect()
        };
        let tensors = run.tensors().unwrap().into_iter();
        let bits = tensors.map(|(name, tensor)| (name, bits(tensor))).collect();
        (records, run.progress.counters.clone(), bits)
    })
}

#[test]
fn steps_read_together_are_the_steps_read_at_once() {
    for objective in [
        ObjectiveConfig::Erm {},
        ObjectiveConfig::Mr2(Preset::Recommended.config()),
    ] {
        let (expected, counters, state) = epochs(objective.clone(), Reading::AtOnce);
        let (found, found_counters, found_state) = epochs(objective, Reading::Together);
        assert_eq!(found.len(), 4);
        assert_eq!(found, expected);
        assert_eq!(found_counters, counters);
        assert_eq!(found_state, state);
    }
}

/// Sets the first number of a parameter of the head, by its rank.
fn spoil(run: &Run<'_>, rank: usize, value: f64) {
    let parameters = run.job.params.parameters();
    let classes = run.job.model.classes();
    let mut own = parameters
        .iter()
        .filter(|(_, var)| var.rank() == rank && var.dims()[0] == classes);
    let (_, var) = own.next().unwrap();
    assert!(own.next().is_none());
    let mut values: Vec<f32> = var.flatten_all().unwrap().to_vec1().unwrap();
    values[0] = value as f32;
    var.set(&Tensor::from_vec(values, var.shape(), var.device()).unwrap())
        .unwrap();
}

#[test]
fn an_infinity_read_late_is_that_of_its_step_and_nothing_from_it_on_counts() {
    with_run(ObjectiveConfig::Erm {}, |run, train| {
        run.reading = Reading::Together;
        let batches: Vec<_> = train.epoch(0, 0).map(|batch| batch.unwrap()).collect();
        run.step(&batches[0]).unwrap();
        // A logit of −∞ has finite gradients: the CPU refuses their norm at once where it isn't.
        spoil(run, 1, f64::NEG_INFINITY);
        run.step(&batches[1]).unwrap();
        let error = run.read_steps().unwrap_err();
        let Error::NotFinite {
            what, step, images, ..
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!((what.as_str(), step), ("a logit", 2));
        assert_eq!(images.len(), batches[1].indices.len());
        assert_eq!(run.progress.counters.steps, 1);
        assert!(run.save().is_err(), "such weights are never saved");
    });
}

#[test]
fn what_an_objective_refuses_is_named_by_the_logit_behind_it() {
    let objective = ObjectiveConfig::GroupDro {
        step_size: 0.01,
        absent: AbsentClasses::Zero,
    };
    with_run(objective, |run, train| {
        run.reading = Reading::Together;
        let batches: Vec<_> = train.epoch(0, 0).map(|batch| batch.unwrap()).collect();
        run.step(&batches[0]).unwrap();
        spoil(run, 2, f64::NAN);
        let error = run.step(&batches[1]).unwrap_err();
        assert!(
            matches!(&error, Error::NotFinite { what, step: 2, .. } if what == "a logit"),
            "{error}"
        );
        assert_eq!(run.progress.counters.steps, 1);
    });
}
