//! The labels of a batch, sorted by class once on the host: groups and pairs of one class.
use candle_core::{Result, bail};

/// The segment of a sample that belongs to none, in [`Pairs::segment`].
pub const NO_SEGMENT: u32 = u32::MAX;

/// Samples grouped by class. Only classes that are present have a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Groups {
    pub labels: Vec<u32>,
    pub classes: usize,
    /// The classes present, ascending.
    pub present: Vec<u32>,
    /// Samples of each class present.
    pub counts: Vec<u32>,
    /// Per sample: its class's place in `present`, or `NO_SEGMENT`.
    pub segment: Vec<u32>,
    /// Samples that are in a group, sorted by class, then by place in the batch.
    members: Vec<u32>,
    /// Where each group begins in `members`; one more entry for the end of the last.
    starts: Vec<usize>,
}

impl Groups {
    /// Counting sort by label of the samples that `keep` keeps (all, if there is none).
    pub fn new(labels: &[u32], classes: usize, keep: Option<&[bool]>) -> Result<Self> {
        if let Some(keep) = keep
            && keep.len() != labels.len()
        {
            bail!(
                "keep must have one flag per sample: expected {}, got {}",
                labels.len(),
                keep.len()
            )
        }
        if u32::try_from(labels.len()).is_err() {
            bail!("labels must be fewer than 2^32, got {}", labels.len())
        }
        let kept = |sample: usize| keep.is_none_or(|keep| keep[sample]);
        let mut totals = vec![0u32; classes];
        for (sample, &label) in labels.iter().enumerate() {
            match totals.get_mut(label as usize) {
                Some(total) => *total += u32::from(kept(sample)),
                None => {
                    bail!("sample {sample} has label {label}, expected below {classes} classes")
                }
            }
        }
        Ok(Self::sorted(labels, totals, kept))
    }

    /// `totals` holds the kept samples of each class; here it becomes each class's place.
    fn sorted(labels: &[u32], mut totals: Vec<u32>, kept: impl Fn(usize) -> bool) -> Self {
        let classes = totals.len();
        let present: Vec<u32> = (0u32..)
            .zip(&totals)
            .filter(|&(_, &n)| n > 0)
            .map(|(class, _)| class)
            .collect();
        let counts: Vec<u32> = present
            .iter()
            .map(|&class| totals[class as usize])
            .collect();
        let mut starts = Vec::with_capacity(present.len() + 1);
        starts.push(0);
        for (place, &count) in counts.iter().enumerate() {
            totals[present[place] as usize] = place as u32;
            starts.push(starts[place] + count as usize);
        }
        let mut next = starts.clone();
        let mut members = vec![0u32; starts[present.len()]];
        let mut segment = vec![NO_SEGMENT; labels.len()];
        for (sample, &label) in labels
            .iter()
            .enumerate()
            .filter(|&(sample, _)| kept(sample))
        {
            let place = totals[label as usize];
            segment[sample] = place;
            members[next[place as usize]] = sample as u32;
            next[place as usize] += 1;
        }
        Self {
            labels: labels.to_vec(),
            classes,
            present,
            counts,
            segment,
            members,
            starts,
        }
    }

    /// The samples of the class at `place` among those present.
    pub fn group(&self, place: usize) -> &[u32] {
        &self.members[self.starts[place]..self.starts[place + 1]]
    }

    /// A number for every class, made of its samples.
    pub fn of_every_class(&self, number: impl Fn(u32) -> f64) -> Vec<f64> {
        let mut numbers = vec![number(0); self.classes];
        for (&class, &count) in self.present.iter().zip(&self.counts) {
            numbers[class as usize] = number(count);
        }
        numbers
    }

    /// The samples of each class present, class by class.
    pub fn iter(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.present.len()).map(|place| self.group(place))
    }
}

/// The labels of a batch, sorted, with every pair of samples of one class: made once per batch on
/// the host, taken by statistics and losses.
///
/// ```
/// use mr2_stats::Pairs;
/// let pairs = Pairs::new(&[4, 1, 4, 4], 10)?;
/// assert_eq!(pairs.present(), [1, 4]);
/// assert_eq!(pairs.counts(), [1, 3]);
/// assert_eq!(pairs.segment(), [1, 0, 1, 1]);
/// assert_eq!(pairs.members(1), [0, 2, 3]);
/// assert_eq!((pairs.first(), pairs.second()), (&[0, 0, 2][..], &[2, 3, 3][..]));
/// assert_eq!(pairs.with_positive(), 3);
/// # Ok::<(), mr2_stats::candle_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairs {
    groups: Groups,
    first: Vec<u32>,
    second: Vec<u32>,
}

impl Pairs {
    /// Sorts the labels of a batch and lists its pairs.
    ///
    /// # Errors
    /// A label that is no class; the error names the sample and the label.
    pub fn new(labels: &[u32], classes: usize) -> Result<Self> {
        Ok(Self::from_groups(Groups::new(labels, classes, None)?))
    }

    /// As [`Pairs::new`], but samples whose flag in `keep` is false are in no group and no pair:
    /// mixed samples (mixup, CutMix) have two labels and belong to neither class.
    ///
    /// # Errors
    /// As [`Pairs::new`], and a `keep` whose length is not the batch's.
    pub fn masked(labels: &[u32], classes: usize, keep: &[bool]) -> Result<Self> {
        Ok(Self::from_groups(Groups::new(labels, classes, Some(keep))?))
    }

    fn from_groups(groups: Groups) -> Self {
        let total = groups
            .counts
            .iter()
            .map(|&n| n as usize * (n as usize - 1) / 2)
            .sum();
        let (mut first, mut second) = (Vec::with_capacity(total), Vec::with_capacity(total));
        for group in groups.iter() {
            for (place, &i) in group.iter().enumerate() {
                for &j in &group[place + 1..] {
                    first.push(i);
                    second.push(j);
                }
            }
        }
        Self {
            groups,
            first,
            second,
        }
    }

    /// The label of each sample, kept or not.
    pub fn labels(&self) -> &[u32] {
        &self.groups.labels
    }

    /// How many classes there are, present or not.
    pub fn classes(&self) -> usize {
        self.groups.classes
    }

    /// How many samples the batch has, kept or not.
    pub fn batch(&self) -> usize {
        self.groups.labels.len()
    }

    /// The classes that kept samples have, ascending.
    pub fn present(&self) -> &[u32] {
        &self.groups.present
    }

    /// How many kept samples each class in [`Pairs::present`] has.
    pub fn counts(&self) -> &[u32] {
        &self.groups.counts
    }

    /// The kept samples of the class at `place` in [`Pairs::present`], in the order of the batch.
    ///
    /// # Panics
    /// If there is no such place.
    pub fn members(&self, place: usize) -> &[u32] {
        self.groups.group(place)
    }

    /// For each sample, the place of its class in [`Pairs::present`], or [`NO_SEGMENT`].
    pub fn segment(&self) -> &[u32] {
        &self.groups.segment
    }

    /// The first sample of each unordered pair of one class, always before the second in the batch.
    pub fn first(&self) -> &[u32] {
        &self.first
    }

    /// The second sample of each pair.
    pub fn second(&self) -> &[u32] {
        &self.second
    }

    /// How many samples share their class with another of the batch.
    pub fn with_positive(&self) -> usize {
        self.counts()
            .iter()
            .filter(|&&n| n > 1)
            .map(|&n| n as usize)
            .sum()
    }

    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }
}
