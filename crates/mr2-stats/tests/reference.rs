//! The statistics against a float64 NumPy loop (`tests/reference/stats.py`).
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use mr2_stats::{Centre, ClassStats, Estimator, Pairs, Snapshot, StatsConfig, exact};

/// The same formulas in the same precision, whatever the order of sums.
const EXACT: f64 = 1e-11;
/// What is promised for f32 features, even with class means at 1000 times the spread.
const SINGLE: f64 = 1e-5;

const CENTRES: [(Centre, &str); 2] = [(Centre::None, "none"), (Centre::GlobalMean, "global_mean")];
const ESTIMATORS: [(Estimator, &str); 3] = [
    (Estimator::BatchLocal, "batch_local"),
    (Estimator::Pooled, "pooled"),
    (Estimator::RunningMean, "running_mean"),
];
/// The batches after which the fixture holds a snapshot.
const SNAPSHOTS: [usize; 3] = [0, 1, 3];

fn fixture() -> HashMap<String, Tensor> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/stats.safetensors"
    );
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::F64 { EXACT } else { SINGLE }
}

fn rows(snapshot: &Snapshot) -> Vec<Vec<f64>> {
    let Snapshot {
        m,
        v,
        second_moment,
        pair_spread,
        seen,
        has_spread,
    } = snapshot;
    [m, v, second_moment, pair_spread, seen, has_spread]
        .map(|field| field.to_dtype(DType::F64).unwrap().to_vec1().unwrap())
        .to_vec()
}

#[track_caller]
fn check(what: &str, snapshot: &Snapshot, expected: &Tensor, tolerance: f64) {
    let expected = expected.to_vec2::<f64>().unwrap();
    for (field, (row, expected)) in rows(snapshot).iter().zip(&expected).enumerate() {
        for (class, (x, e)) in row.iter().zip(expected).enumerate() {
            assert!(
                (x - e).abs() <= tolerance * e.abs(),
                "{what}, field {field}, class {class}: {x}, not {e}"
            );
        }
    }
}

struct Data {
    features: Tensor,
    labels: Vec<Vec<u32>>,
    classes: usize,
}

fn data(fixture: &HashMap<String, Tensor>, name: &str, dtype: DType) -> Data {
    let features = fixture[&format!("{name}.features")]
        .to_dtype(dtype)
        .unwrap();
    let labels = fixture[&format!("{name}.labels")].to_vec2::<u32>().unwrap();
    let classes = fixture[&format!("{name}.exact.p2.none")].dims()[1];
    Data {
        features,
        labels,
        classes,
    }
}

#[test]
fn every_estimator_follows_its_definition_over_several_batches() {
    let fixture = fixture();
    for name in ["planned", "sparse", "far"] {
        for dtype in [DType::F64, DType::F32] {
            let data = data(&fixture, name, dtype);
            let dim = data.features.dims()[2];
            for (estimator, estimator_name) in ESTIMATORS {
                for (norm, (centre, centre_name)) in [2.0, 3.0, 5.0]
                    .iter()
                    .flat_map(|&p| CENTRES.map(|centre| (p, centre)))
                {
                    let case = format!("{name}.{estimator_name}.p{norm}.{centre_name}");
                    let config = StatsConfig {
                        norm,
                        decay: 0.9,
                        estimator,
                        centre,
                    };
                    let mut stats =
                        ClassStats::new(config, data.classes, dim, dtype, &Device::Cpu).unwrap();
                    for (batch, labels) in data.labels.iter().enumerate() {
                        let pairs = Pairs::new(labels, data.classes).unwrap();
                        stats
                            .observe(&data.features.get(batch).unwrap(), &pairs)
                            .unwrap();
                        let Some(kept) = SNAPSHOTS.iter().position(|&b| b == batch) else {
                            continue;
                        };
                        let expected = fixture[&case].get(kept).unwrap();
                        let snapshot = stats.snapshot().unwrap();
                        check(&case, &snapshot, &expected, tolerance(dtype));
                    }
                }
            }
        }
    }
}

#[test]
fn exact_follows_its_definition() {
    let fixture = fixture();
    for name in ["planned", "sparse", "far"] {
        for dtype in [DType::F64, DType::F32] {
            let data = data(&fixture, name, dtype);
            let features = data.features.flatten(0, 1).unwrap();
            let labels = data.labels.concat();
            for norm in [2.0, 3.0, 5.0] {
                for (centre, centre_name) in CENTRES {
                    let case = format!("{name}.exact.p{norm}.{centre_name}");
                    let got = exact(&features, &labels, data.classes, norm, centre).unwrap();
                    check(&case, &got, &fixture[&case], tolerance(dtype));
                }
            }
        }
    }
}
