//! What the representation loss costs on the CPU, whatever the runs compute on: each case measured once, in a
//! process of its own whose memory is the case's, and kept in the store.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor, Var};
use mr2_loss::{
    ExponentScale, FeatureMemory, Pairs, Positives, representation_margin,
    representation_margin_at_most, representation_margin_with_memory,
};
use mr2_nn::rng;
use serde::{Deserialize, Serialize};

use super::estimate::peak_memory;
use super::store::{self, Store};
use super::table_file::CostCase;
use crate::commands::bench::inputs::normals;

const WARM_UP: usize = 5;
const REPETITIONS: usize = 30;
const SEED: u64 = 0;
/// The file in the case's folder.
const FILE: &str = "cost.json";

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// The case.
    pub case: CostCase,
    /// Milliseconds of a forward and a backward pass: the median.
    pub milliseconds: f64,
    /// The fastest and the slowest.
    pub range: [f64; 2],
    /// Mean number of positives of a sample.
    pub positives: f64,
    /// Share of the samples that have any.
    pub with_positive: f64,
    /// The most memory of the process.
    pub peak_bytes: Option<u64>,
    /// Threads, CPU, versions.
    pub versions: std::collections::BTreeMap<String, String>,
}

/// The cost of each case: from the store, or measured by this program, started once more.
///
/// # Errors
/// When a case can't be measured or its file can't be written.
pub fn costs(cases: &[CostCase], store: &Store) -> Result<Vec<Cost>> {
    let cost = |case: &CostCase| {
        let key = key(case)?;
        match store.folder_with(&key, FILE) {
            Some(folder) => read(&folder.join(FILE)),
            None => measured_aside(case, &store.folder(&key)),
        }
    };
    cases.iter().map(cost).collect()
}

/// The name of a case's folder.
///
/// # Errors
/// When the case can't be written as JSON.
pub fn key(case: &CostCase) -> Result<String> {
    Ok(format!(
        "cost-{}",
        store::digest(&serde_json::to_vec(case)?)
    ))
}

fn read(path: &Path) -> Result<Cost> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}: no such cost", path.display()))
}

/// In a process of its own, whose memory is the case's.
fn measured_aside(case: &CostCase, folder: &Path) -> Result<Cost> {
    let program = std::env::current_exe().context("cannot start this program again")?;
    let output = Command::new(program)
        .arg("--cost-case")
        .arg(serde_json::to_string(case)?)
        .output()
        .context("cannot start this program again")?;
    if !output.status.success() {
        bail!(
            "measuring {case:?} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let cost: Cost = serde_json::from_slice(&output.stdout).context("the measured cost")?;
    store::write(&folder.join(FILE), &serde_json::to_vec_pretty(&cost)?)?;
    Ok(cost)
}

/// Measures a case in this process.
///
/// # Errors
/// When the case can't be.
pub fn measure(case: &CostCase) -> Result<Cost> {
    let (batch, width) = (case.images_per_batch, case.features);
    let features = Var::from_tensor(&normals("features", &[batch, width])?)?;
    let pairs = Pairs::new(&labels(case, 0), case.classes)?;
    let threshold = Tensor::new(width as f64, &Device::Cpu)?;
    let scale = ExponentScale::TenTimesDim;
    let memory = match case.positives {
        Positives::Memory(capacity) => {
            let (device, dtype) = (&Device::Cpu, DType::F32);
            let mut memory = FeatureMemory::new(capacity, case.classes, width, dtype, device)?;
            // One batch more than it holds: a batch is seen after the next one was taken.
            for turn in 1..=(capacity.div_ceil(batch) as u64 + 1) {
                let pairs = Pairs::new(&labels(case, turn), case.classes)?;
                memory.push(
                    &normals(&format!("memory {turn}"), &[batch, width])?,
                    &pairs,
                )?;
            }
            Some(memory)
        }
        Positives::All | Positives::AtMost(_) => None,
    };
    let pass = || -> Result<f64> {
        let begun = Instant::now();
        let per_sample = match (case.positives, &memory) {
            (Positives::AtMost(most), _) => {
                representation_margin_at_most(&features, &pairs, most, &threshold, scale)?
            }
            (_, Some(memory)) => {
                representation_margin_with_memory(&features, &pairs, memory, &threshold, scale)?
            }
            _ => representation_margin(&features, &pairs, &threshold, scale)?,
        };
        per_sample.mean_all()?.backward()?;
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    };
    for _ in 0..WARM_UP {
        pass()?;
    }
    let mut times = (0..REPETITIONS)
        .map(|_| pass())
        .collect::<Result<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    let (positives, with_positive) = positives(case, &pairs);
    Ok(Cost {
        case: case.clone(),
        milliseconds: times[REPETITIONS / 2],
        range: [times[0], times[REPETITIONS - 1]],
        positives,
        with_positive,
        peak_bytes: peak_memory(),
        versions: crate::run::versions(),
    })
}

/// Labels of a batch: at random, or `images_per_class` of each of as many classes as fit.
fn labels(case: &CostCase, turn: u64) -> Vec<u32> {
    let stream = rng::stream(SEED, &format!("labels {turn}"));
    let label = |index: usize| {
        let classes = case.classes as u64;
        match case.images_per_class {
            None => (rng::hash(stream, index as u64) % classes) as u32,
            // Classes one after the other from a random one on.
            Some(each) => ((rng::hash(stream, 0) + (index / each.max(1)) as u64) % classes) as u32,
        }
    };
    (0..case.images_per_batch).map(label).collect()
}

/// Mean number of positives of a sample, and the share of samples with any.
fn positives(case: &CostCase, pairs: &Pairs) -> (f64, f64) {
    let mut counts = vec![0usize; case.classes];
    for &label in pairs.labels() {
        counts[label as usize] += 1;
    }
    let remembered = match case.positives {
        Positives::Memory(capacity) => {
            let mut counts = vec![0usize; case.classes];
            let turns = capacity.div_ceil(case.images_per_batch) as u64;
            // The newest that losses see, in the order in which they were taken.
            let seen: Vec<u32> = (1..=turns).flat_map(|turn| labels(case, turn)).collect();
            for label in seen.iter().rev().take(capacity) {
                counts[*label as usize] += 1;
            }
            counts
        }
        Positives::All | Positives::AtMost(_) => vec![0; case.classes],
    };
    let of_sample = |label: &u32| {
        let class = *label as usize;
        let all = counts[class] - 1 + remembered[class];
        match case.positives {
            Positives::AtMost(most) => all.min(most),
            Positives::All | Positives::Memory(_) => all,
        }
    };
    let of_samples: Vec<usize> = pairs.labels().iter().map(of_sample).collect();
    let samples = of_samples.len().max(1) as f64;
    let with = of_samples.iter().filter(|&&count| count > 0).count();
    let sum: usize = of_samples.iter().sum();
    (sum as f64 / samples, with as f64 / samples)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn case(images_per_class: Option<usize>, positives: Positives) -> CostCase {
        CostCase {
            classes: 10,
            images_per_batch: 20,
            features: 4,
            images_per_class,
            positives,
        }
    }

    #[test]
    fn a_batch_of_classes_by_images_gives_every_sample_its_positives() {
        let cost = measure(&case(Some(4), Positives::All)).unwrap();
        assert_eq!((cost.positives, cost.with_positive), (3.0, 1.0));
        let cost = measure(&case(Some(4), Positives::AtMost(1))).unwrap();
        assert_eq!(cost.positives, 1.0);
    }

    #[test]
    fn a_memory_adds_what_it_holds_of_the_class() {
        let cost = measure(&case(None, Positives::Memory(200))).unwrap();
        let alone = measure(&case(None, Positives::All)).unwrap();
        let added = cost.positives - alone.positives;
        assert!(
            (10.0..30.0).contains(&added),
            "200 samples of 10 classes: {added}"
        );
    }
}
