//! Features of earlier batches, for samples that have no other of their class in their own.
use candle_core::{DType, Device, Result, Tensor, bail};
use mr2_stats::{NO_SEGMENT, Pairs};

mod persist;

/// The label of a place that holds no sample.
const EMPTY: u32 = u32::MAX;
/// The newest samples of earlier batches, whatever their classes, as constants: a memory bank, first
/// in, first out.
///
/// [`FeatureMemory::push`] takes a batch before its loss is asked for, as statistics do. What the
/// losses see is what came before that batch, so no sample is its own positive and a loss asked for
/// again is the same; the batch itself moves in with the next push. (Where the last samples of one
/// epoch return among the first of the next, an image may meet its own older feature.)
///
/// A capacity of some batches is meant: features of a network that has moved on are no longer near
/// those of today's.
pub struct FeatureMemory {
    /// (capacity, dim)
    features: Tensor,
    /// Of each place.
    labels: Vec<u32>,
    /// How many samples each class has.
    counts: Vec<u32>,
    /// The place that is written next: the oldest sample's, once all are taken.
    cursor: usize,
    /// The batch that moves in next.
    waiting: Option<(Tensor, Vec<u32>)>,
}

/// What a memory has of the classes in a batch.
pub(crate) struct Remembered {
    /// (samples, dim), in the batch's dtype.
    pub(crate) rows: Tensor,
    /// Pairs of a sample of the batch and one of the rows, counted on from the batch.
    pub(crate) first: Vec<u32>,
    pub(crate) second: Vec<u32>,
}

impl FeatureMemory {
    /// An empty memory of `capacity` samples; features are kept in `dtype`.
    ///
    /// # Errors
    /// A capacity, number of classes or width of 0, a dtype that is no float.
    pub fn new(
        capacity: usize,
        classes: usize,
        feature_dim: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        if capacity == 0 || classes == 0 || feature_dim == 0 {
            bail!(
                "a memory must have a capacity, classes and a feature_dim of at least 1, got \
                 {capacity}, {classes} and {feature_dim}"
            )
        }
        if u32::try_from(capacity).is_err() {
            bail!("a memory's capacity must be below 2^32, got {capacity}")
        }
        if !dtype.is_float() {
            bail!("a memory's dtype must be a float dtype, got {dtype:?}")
        }
        Ok(Self {
            features: Tensor::zeros((capacity, feature_dim), dtype, device)?,
            labels: vec![EMPTY; capacity],
            counts: vec![0; classes],
            cursor: 0,
            waiting: None,
        })
    }

    /// How many samples there is room for.
    pub fn capacity(&self) -> usize {
        self.labels.len()
    }

    /// The width of the features.
    pub fn feature_dim(&self) -> usize {
        self.features.dims()[1]
    }

    /// How many samples losses see.
    pub fn len(&self) -> usize {
        self.labels.iter().filter(|&&label| label != EMPTY).count()
    }

    /// Whether losses see none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether losses see a sample of the class.
    pub(crate) fn has(&self, class: u32) -> bool {
        self.counts[class as usize] > 0
    }

    /// Takes a batch, which losses see after the next one was taken. No gradient passes. Samples that
    /// `pairs` masks are left out; of a batch above the capacity, the last ones stay.
    ///
    /// # Shapes
    /// `features` (batch, feature_dim), of any float dtype, on the memory's device.
    ///
    /// # Errors
    /// Another shape, device or number of classes. After an error the memory is as before.
    pub fn push(&mut self, features: &Tensor, pairs: &Pairs) -> Result<()> {
        self.check(features, pairs)?;
        let kept = |&(_, &place): &(u32, &u32)| place != NO_SEGMENT;
        let samples = (0u32..).zip(pairs.segment()).filter(kept);
        let samples: Vec<u32> = samples.map(|(sample, _)| sample).collect();
        let samples = &samples[samples.len().saturating_sub(self.capacity())..];
        let labels = samples.iter().map(|&i| pairs.labels()[i as usize]);
        let rows = Tensor::new(samples, features.device())?;
        let rows = features.detach().index_select(&rows, 0)?;
        let rows = rows.to_dtype(self.features.dtype())?;
        let waiting = (rows, labels.collect());
        self.move_in()?;
        self.waiting = Some(waiting);
        Ok(())
    }

    fn check(&self, features: &Tensor, pairs: &Pairs) -> Result<()> {
        self.check_classes(pairs)?;
        if features.dims() != [pairs.batch(), self.feature_dim()] {
            bail!(
                "features must be ({}, {}), as pairs and memory have them, got {:?}",
                pairs.batch(),
                self.feature_dim(),
                features.dims()
            )
        }
        if !features.device().same_device(self.features.device()) {
            bail!(
                "features must be on {:?}, where the memory is, got {:?}",
                self.features.device().location(),
                features.device().location()
            )
        }
        Ok(())
    }

    pub(crate) fn check_classes(&self, pairs: &Pairs) -> Result<()> {
        if pairs.classes() != self.counts.len() {
            bail!(
                "pairs must be of {} classes, as the memory is, got {}",
                self.counts.len(),
                pairs.classes()
            )
        }
        Ok(())
    }

    /// The batch that waits takes the places of the oldest samples.
    fn move_in(&mut self) -> Result<()> {
        let Some((rows, labels)) = self.waiting.take() else {
            return Ok(());
        };
        let until_end = labels.len().min(self.capacity() - self.cursor);
        for (from, count, to) in [
            (0, until_end, self.cursor),
            (until_end, labels.len() - until_end, 0),
        ] {
            if count > 0 {
                let part = rows.narrow(0, from, count)?.contiguous()?;
                self.features.slice_set(&part, 0, to)?;
            }
        }
        for label in labels {
            let place = &mut self.labels[self.cursor];
            if *place != EMPTY {
                self.counts[*place as usize] -= 1;
            }
            *place = label;
            self.counts[label as usize] += 1;
            self.cursor = (self.cursor + 1) % self.labels.len();
        }
        Ok(())
    }

    /// The samples of the batch's classes; `None` if there are none.
    pub(crate) fn remembered(
        &self,
        features: &Tensor,
        pairs: &Pairs,
    ) -> Result<Option<Remembered>> {
        self.check(features, pairs)?;
        let mut group = vec![None; self.counts.len()];
        for (place, &class) in pairs.present().iter().enumerate() {
            group[class as usize] = Some(place);
        }
        let (mut slots, mut first, mut second) = (Vec::new(), Vec::new(), Vec::new());
        for (slot, &label) in (0u32..).zip(&self.labels) {
            let Some(&Some(place)) = group.get(label as usize) else {
                continue;
            };
            let row = (pairs.batch() + slots.len()) as u32;
            slots.push(slot);
            first.extend_from_slice(pairs.members(place));
            second.resize(first.len(), row);
        }
        if slots.is_empty() {
            return Ok(None);
        }
        let slots = Tensor::new(slots, features.device())?;
        let rows = self.features.index_select(&slots, 0)?;
        Ok(Some(Remembered {
            rows: rows.to_dtype(features.dtype())?,
            first,
            second,
        }))
    }
}
