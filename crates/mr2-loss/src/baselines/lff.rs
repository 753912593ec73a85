//! Learning from failure: a network made to be biased says which samples another must learn.
use std::collections::HashMap;

use candle_core::{Device, Result, Tensor, bail};

use super::arguments::{check_labels, check_values_on_cpu};
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
/// loop keeps and saves (alinlab/LfF util.py and train.py). It lies on the device of the losses, and nothing waits for it
/// there.
#[derive(Debug, Clone)]
pub struct SampleLosses {
    labels: Vec<u32>,
    decay: f64,
    /// (samples), as wide as the device has it
    average: Tensor,
    visited: Vec<bool>,
    by_class: ByClass,
}

impl SampleLosses {
    /// No sample visited yet; each has 0. `decay` is the weight of the past, 0.7 upstream.
    ///
    /// # Shapes
    /// `labels` are those of the whole training set.
    ///
    /// # Errors
    /// A label that is no class, `decay` outside `[0, 1)`.
    pub fn new(labels: &[u32], classes: usize, decay: f64, device: &Device) -> Result<Self> {
        if !(0.0..1.0).contains(&decay) {
            bail!("sample losses: decay must be in [0, 1), got {decay}")
        }
        check_labels(labels, labels.len(), classes)?;
        Ok(Self {
            labels: labels.to_vec(),
            decay,
            average: saved_state::on_device(vec![0.0; labels.len()], device)?,
            visited: vec![false; labels.len()],
            by_class: ByClass::new(labels, classes, device)?,
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
    /// Another shape, an index that is no sample; on the CPU a loss that is negative or not finite. Nothing is changed
    /// then. Elsewhere nothing waits for the losses: a wrong one is kept, and [`SampleLosses::tensors`] refuses it.
    pub fn update(&mut self, indices: &[u32], losses: &Tensor) -> Result<()> {
        if losses.dims() != [indices.len()] {
            bail!(
                "sample losses: losses must be ({}), one per index, got {:?}",
                indices.len(),
                losses.dims()
            )
        }
        self.check_indices(indices)?;
        check_values_on_cpu("sample losses: losses", losses)?;
        let losses = losses.detach().to_dtype(self.average.dtype())?;
        let device = self.average.device().clone();
        for visit in visits(indices) {
            let samples: Vec<u32> = visit.iter().map(|&at| indices[at as usize]).collect();
            let past = samples.iter().map(|&s| self.visited[s as usize]);
            let past = past.map(|v| if v { self.decay } else { 0.0 });
            let past = saved_state::on_device(past.collect(), &device)?;
            let visit = Tensor::new(visit, &device)?;
            let places = Tensor::new(samples.as_slice(), &device)?;
            let before = (self.average.index_select(&places, 0)? * &past)?;
            let now = (losses.index_select(&visit, 0)? * past.affine(-1.0, 1.0)?)?;
            self.average = self.average.scatter(&places, &(before + now)?, 0)?;
            for sample in samples {
                self.visited[sample as usize] = true;
            }
        }
        Ok(())
    }

    /// The running losses of these samples, each over the largest that a sample of its class has in
    /// the whole training set; in `[0, 1]`. A sample of a class whose losses are all 0 has 0.
    ///
    /// # Shapes
    /// `indices` and the result, in f64 (f32 on Metal, which has no f64), are (batch).
    ///
    /// # Errors
    /// An index that is no sample.
    pub fn normalised(&self, indices: &[u32]) -> Result<Tensor> {
        self.check_indices(indices)?;
        let device = self.average.device();
        if indices.is_empty() {
            return self.average.narrow(0, 0, 0);
        }
        let classes: Vec<u32> = indices.iter().map(|&i| self.labels[i as usize]).collect();
        let largest = self.by_class.largest(&self.average)?;
        let largest = largest.index_select(&Tensor::new(classes, device)?, 0)?;
        let own = self
            .average
            .index_select(&Tensor::new(indices, device)?, 0)?;
        let share = (&own / &largest)?;
        largest.gt(0f64)?.where_cond(&share, &own.zeros_like()?)
    }

    /// The running loss of every sample of the training set, (samples), 0 where it has not been visited.
    pub fn average(&self) -> &Tensor {
        &self.average
    }

    /// The state as tensors on the CPU, for a checkpoint.
    ///
    /// # Shapes
    /// `average`, f64, and `visited`, u8, (samples of the training set).
    ///
    /// # Errors
    /// A running loss that is negative or not finite.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let average = saved_state::to_save("sample losses", NAMES[0], &self.average)?;
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
        self.average = saved_state::on_device(average, self.average.device())?;
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

/// Samples in a part of a class.
const PART: usize = 64;

/// Where the samples of each class are, in parts of few, so that one large class doesn't make the others' rows as long.
#[derive(Debug, Clone)]
struct ByClass {
    /// (parts, [`PART`]): samples.
    parts: Tensor,
    /// (classes, parts of the largest class): parts.
    classes: Tensor,
}

impl ByClass {
    fn new(labels: &[u32], classes: usize, device: &Device) -> Result<Self> {
        let mut samples = vec![Vec::new(); classes];
        for (sample, &label) in labels.iter().enumerate() {
            samples[label as usize].push(sample as u32);
        }
        let mut parts = Vec::new();
        let of_class = |samples: Vec<u32>| -> Vec<u32> {
            let first = parts.len();
            parts.extend(samples.chunks(PART).map(<[u32]>::to_vec));
            (first as u32..parts.len() as u32).collect()
        };
        let of_classes: Vec<Vec<u32>> = samples.into_iter().map(of_class).collect();
        let longest = of_classes.iter().map(Vec::len).max().unwrap_or(0);
        Ok(Self {
            parts: rows(parts, PART)?.to_device(device)?,
            classes: rows(of_classes, longest)?.to_device(device)?,
        })
    }

    /// The largest value that a sample of each class has.
    fn largest(&self, values: &Tensor) -> Result<Tensor> {
        let of_rows = |values: &Tensor, rows: &Tensor| {
            let all = values.index_select(&rows.flatten_all()?, 0)?;
            all.reshape(rows.shape())?.max(1)
        };
        of_rows(&of_rows(values, &self.parts)?, &self.classes)
    }
}

/// One tensor of rows, in shorter ones the first number again; 0 in empty ones, which nobody asks for.
fn rows(mut rows: Vec<Vec<u32>>, length: usize) -> Result<Tensor> {
    for row in &mut rows {
        row.resize(length, row.first().copied().unwrap_or(0));
    }
    Tensor::from_vec(rows.concat(), (rows.len(), length), &Device::Cpu)
}

/// The places of a batch, parted so that no part has a sample twice: its first visits, then its second ones, and so on.
fn visits(indices: &[u32]) -> Vec<Vec<u32>> {
    let mut seen = HashMap::new();
    let mut visits: Vec<Vec<u32>> = Vec::new();
    for (place, index) in indices.iter().enumerate() {
        let times: &mut usize = seen.entry(index).or_default();
        if *times == visits.len() {
            visits.push(Vec::new());
        }
        visits[*times].push(place as u32);
        *times += 1;
    }
    visits
}

/// `L_b / (L_b + L_d + 1e-8)` per sample, the weight of the debiased network's cross-entropy, from
/// what [`SampleLosses::normalised`] says of both networks (alinlab/LfF train.py). Upstream's total is
/// the mean of the biased network's losses plus the mean of the weighted ones.
///
/// # Shapes
/// `biased`, `debiased` and the result are (batch), all of one dtype.
///
/// # Errors
/// Different shapes; on the CPU a loss that is negative or not finite.
pub fn lff_weights(biased: &Tensor, debiased: &Tensor) -> Result<Tensor> {
    if debiased.dims() != biased.dims() {
        bail!(
            "lff_weights: debiased must be {:?}, as biased, got {:?}",
            biased.dims(),
            debiased.dims()
        )
    }
    check_values_on_cpu("lff_weights: biased", biased)?;
    check_values_on_cpu("lff_weights: debiased", debiased)?;
    biased / ((biased + debiased)? + EPSILON)?
}
