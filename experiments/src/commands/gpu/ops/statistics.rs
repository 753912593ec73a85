//! Statistics of classes over several batches.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use mr2_stats::{
    Centre, ClassStats, Estimator, Pairs, Snapshot, StatsConfig, exact, neural_collapse,
};

use super::case::{Case, Parts};
use super::side::Side;
use crate::commands::bench::inputs::labels;

const BATCH: usize = 40;
/// More than half of the batch, so that some classes have one sample and some have none.
const CLASSES: usize = 25;
const DIM: usize = 33;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for estimator in Estimator::ALL {
        for centre in Centre::ALL {
            for norm in [2.0, 3.0] {
                let name = format!("class statistics, {estimator:?}, {centre:?}, norm {norm}");
                let config = StatsConfig {
                    norm,
                    decay: 0.9,
                    estimator,
                    centre,
                };
                cases.push(Case::tensors(name, move |side| averages(side, &config)));
            }
        }
    }
    cases.push(Case::tensors("class statistics of a fixed set", |side| {
        let features = side.numbers("features", &[BATCH, DIM])?;
        let labels = labels(BATCH, CLASSES);
        shown(exact(&features, &labels, CLASSES, 2.0, Centre::GlobalMean)?)
    }));
    cases.push(Case::tensors("neural collapse", collapse));
    cases
}

fn averages(side: &Side, config: &StatsConfig) -> Result<Parts> {
    let mut statistics = ClassStats::new(config.clone(), CLASSES, DIM, side.wide, &side.device)?;
    for step in 0..3 {
        let features = side.numbers(&format!("features {step}"), &[BATCH, DIM])?;
        let labels: Vec<u32> = labels(BATCH, CLASSES)
            .iter()
            .map(|label| (label * (step + 1) + step) % CLASSES as u32)
            .collect();
        statistics.observe(&features, &Pairs::new(&labels, CLASSES)?)?;
    }
    shown(statistics.snapshot()?)
}

fn shown(snapshot: Snapshot) -> Result<Parts> {
    let parts = [
        ("m", snapshot.m),
        ("v", snapshot.v),
        ("m + v", snapshot.second_moment),
        ("pair spread", snapshot.pair_spread),
        ("seen", snapshot.seen),
        ("has spread", snapshot.has_spread),
    ];
    Ok(parts
        .map(|(name, tensor)| (name.to_string(), tensor))
        .into())
}

fn collapse(side: &Side) -> Result<Parts> {
    const FEW: usize = 5;
    let labels = labels(BATCH, FEW);
    let features = side.numbers("features", &[BATCH, DIM])?;
    let head = side.numbers("head", &[FEW, DIM])?;
    let found = neural_collapse(&features, &labels, &head, &labels)?;
    let numbers = [
        found.nc1,
        found.nc1_ratio,
        found.nc2_norms,
        found.nc2_angles,
        found.nc2_head_norms,
        found.nc2_head_angles,
        found.nc3,
        Some(found.nc4),
    ];
    let numbers = numbers.map(|number| number.unwrap_or(-1.0));
    let tensor = Tensor::new(&numbers, &Device::Cpu)?.to_dtype(DType::F64)?;
    Ok(vec![("nc1 to nc4".to_string(), tensor)])
}
