//! Learning from failure: a network made to be biased says which samples another must learn.
use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor, bail};

use super::arguments::{check_finite_not_negative, check_labels};
use super::saved_state;
use crate::{Target, cross_entropy};

/// The names of the tensors that hold the state.
const NAMES: [&str; 2] = ["average", "visited"];
/// What upstream adds to the denominator of the weights.
const EPSILON: f64 = 1e-8;

/// `q p_y^q · cross-entropy` per sample, the factor being a constant in the backward pass (Nam et
/// al., NeurIPS 2020, arXiv 2007.02561; alinlab/LfF module/loss.py, with q = 0.7): the loss of the
/// biased network. Its gradient is `q` times that of `(1 − p_y^q) / q`, so `q` also scales the
/// learning rate.
///
/// # Shapes
/// `logits` (batch, classes), f32 or f64; the result is (batch).
///
/// # Errors
/// Another shape, a label that is no class, `q` outside `(0, 1]`.
pub fn generalized_cross_entropy(logits: &Tensor, labels: &[u32], q: f64) -> Result<Tensor> {
    if !(q > 0.0 && q <= 1.0) {
        bail!("generalized_cross_entropy: q must be in (0, 1], got {q}")
    }
    let losses = cross_entropy(logits, Target::Hard(labels), None)?;
    let factor = ((losses.detach() * -q)?.exp()? * q)?;
    losses * factor
}

/// A running loss for each sample of the training set, one of these per network: what a training
/// loop keeps and saves (alinlab/LfF util.py and train.py).
#[derive(Debug, Clone, PartialEq)]
pub struct SampleLosses {
    labels: Vec<u32>,
    classes: usize,
    decay: f64,
    average: Vec<f64>,
    visited: Vec<bool>,
}

impl SampleLosses {
    /// No sample visited yet; each has 0. `decay` is the weight of the past, 0.7 upstream.
    ///
    /// # Shapes
    /// `labels` are those of the whole training set.
    ///
    /// # Errors
    /// A label that is no class, `decay` outside `[0, 1)`.
    pub fn new(labels: &[u32], classes: usize, decay: f64) -> Result<Self> {
        if !(0.0..1.0).contains(&decay) {
            bail!("sample losses: decay must be in [0, 1), got {decay}")
        }
        check_labels(labels, labels.len(), classes)?;
        Ok(Self {
            labels: labels.to_vec(),
            classes,
            decay,
            average: vec![0.0; labels.len()],
            visited: vec![false; labels.len()],
        })
    }

    /// Takes in the cross-entropies of a batch: the first visit of a sample sets its loss, later ones
    /// move it by `1 − decay`. Update first and read [`SampleLosses::normalised`] then, as upstream.
    /// A sample that a batch has twice is visited twice.
    ///
    /// # Shapes
    /// `indices` into the training set and `losses`, (batch).
    ///
    /// # Errors
    /// Another length, an index that is no sample, a loss that is negative or not finite; nothing is
    /// changed.
    pub fn update(&mut self, indices: &[u32], losses: &[f64]) -> Result<()> {
        if losses.len() != indices.len() {
            bail!(
                "sample losses: losses must have one entry per index: {}, got {}",
                indices.len(),
                losses.len()
            )
        }
        self.check_indices(indices)?;
        check_finite_not_negative("sample losses: losses", losses)?;
        for (&index, &loss) in indices.iter().zip(losses) {
            let index = index as usize;
            let past = match self.visited[index] {
                true => self.decay,
                false => 0.0,
            };
            self.average[index] = past * self.average[index] + (1.0 - past) * loss;
            self.visited[index] = true;
        }
        Ok(())
    }

    /// The running losses of these samples, each over the largest that a sample of its class has in
    /// the whole training set; in `[0, 1]`. A sample of a class whose losses are all 0 has 0.
    ///
    /// # Shapes
    /// `indices` and the result are (batch).
    ///
    /// # Errors
    /// An index that is no sample.
    pub fn normalised(&self, indices: &[u32]) -> Result<Vec<f64>> {
        self.check_indices(indices)?;
        let mut largest = vec![0f64; self.classes];
        for (&label, &loss) in self.labels.iter().zip(&self.average) {
            let largest = &mut largest[label as usize];
            *largest = largest.max(loss);
        }
        let normalised = |&index: &u32| {
            let largest = largest[self.labels[index as usize] as usize];
            match largest > 0.0 {
                true => self.average[index as usize] / largest,
                false => 0.0,
            }
        };
        Ok(indices.iter().map(normalised).collect())
    }

    /// The running loss of every sample of the training set, 0 where it has not been visited.
    pub fn average(&self) -> &[f64] {
        &self.average
    }

    /// The state as tensors on the CPU, for a checkpoint.
    ///
    /// # Shapes
    /// `average`, f64, and `visited`, u8, (samples of the training set).
    ///
    /// # Errors
    /// Only Candle's own.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let average = Tensor::new(self.average.as_slice(), &Device::Cpu)?;
        let visited = self.visited.iter().map(|&visited| u8::from(visited));
        let visited = Tensor::from_iter(visited, &Device::Cpu)?;
        let [average_name, visited_name] = NAMES.map(str::to_string);
        Ok(vec![(average_name, average), (visited_name, visited)])
    }

    /// Puts back what [`SampleLosses::tensors`] gave, to the bit.
    ///
    /// # Shapes
    /// As [`SampleLosses::tensors`].
    ///
    /// # Errors
    /// A tensor too many, missing or of another shape, a number that can't be; nothing is changed.
    pub fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<()> {
        let samples = self.labels.len();
        let [average, visited] = saved_state::read("sample losses", tensors, NAMES, samples)?;
        if let Some(wrong) = visited.iter().find(|&&x| x != 0.0 && x != 1.0) {
            bail!("sample losses: visited must hold 0 and 1, got {wrong}")
        }
        self.average = average;
        self.visited = visited.into_iter().map(|x| x == 1.0).collect();
        Ok(())
    }

    fn check_indices(&self, indices: &[u32]) -> Result<()> {
        let samples = self.labels.len();
        match indices.iter().find(|&&index| index as usize >= samples) {
            None => Ok(()),
            Some(index) => bail!("sample losses: index {index}, expected below {samples} samples"),
        }
    }
}

/// `L_b / (L_b + L_d + 1e-8)` per sample, the weight of the debiased network's cross-entropy, from
/// what [`SampleLosses::normalised`] says of both networks (alinlab/LfF train.py). Upstream's total is
/// the mean of the biased network's losses plus the mean of the weighted ones.
///
/// # Shapes
/// `biased`, `debiased` and the result are (batch).
///
/// # Errors
/// Different lengths, a loss that is negative or not finite.
pub fn lff_weights(biased: &[f64], debiased: &[f64]) -> Result<Vec<f64>> {
    if debiased.len() != biased.len() {
        bail!(
            "lff_weights: debiased must have {} losses, as many as biased, got {}",
            biased.len(),
            debiased.len()
        )
    }
    check_finite_not_negative("lff_weights: biased", biased)?;
    check_finite_not_negative("lff_weights: debiased", debiased)?;
    let weight = |(biased, debiased)| biased / (biased + debiased + EPSILON);
    Ok(biased.iter().zip(debiased).map(weight).collect())
}

/// The values of a tensor of losses on the host, for [`SampleLosses::update`].
///
/// # Shapes
/// `per_sample` (batch).
///
/// # Errors
/// Another shape.
pub fn loss_values(per_sample: &Tensor) -> Result<Vec<f64>> {
    per_sample.to_dtype(DType::F64)?.to_vec1()
}
