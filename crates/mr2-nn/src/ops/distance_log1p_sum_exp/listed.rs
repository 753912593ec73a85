//! The pairs of a batch by sample: whose sums they count for, and whose rows they pull at.
use candle_core::{Result, bail};

use super::{NAME, PairList};

impl PairList<'_> {
    pub(super) fn check(&self, batch: usize) -> Result<()> {
        let (first, second) = (self.first, self.second);
        if first.len() != second.len() {
            bail!(
                "{NAME}: first and second must have one entry per pair, got {} and {}",
                first.len(),
                second.len()
            )
        }
        if u32::try_from(first.len()).is_err() {
            bail!("{NAME}: pairs must be fewer than 2^32, got {}", first.len())
        }
        if self.mutual > first.len() {
            bail!(
                "{NAME}: mutual must be at most the number of pairs, {}, got {}",
                first.len(),
                self.mutual
            )
        }
        for (pair, (&i, &j)) in first.iter().zip(second).enumerate() {
            if i as usize >= batch || j as usize >= batch {
                bail!("{NAME}: pair {pair} is samples ({i}, {j}), expected indices below {batch}")
            }
            if i == j {
                bail!("{NAME}: pair {pair} joins sample {i} with itself")
            }
        }
        self.check_factor(batch)
    }

    fn check_factor(&self, batch: usize) -> Result<()> {
        let Some(factor) = self.factor else {
            return Ok(());
        };
        if factor.len() != batch {
            bail!(
                "{NAME}: factor must have one entry per sample, {batch}, got {}",
                factor.len()
            )
        }
        let usable = |factor: f64| factor > 0.0 && factor.is_finite();
        if let Some(sample) = factor.iter().position(|&factor| !usable(factor)) {
            bail!(
                "{NAME}: factor must be positive and finite, got {} for sample {sample}",
                factor[sample]
            )
        }
        Ok(())
    }
}

/// Pairs sorted by sample.
struct BySample {
    /// Where each sample's entries begin; one more for the end of the last.
    start: Vec<usize>,
    /// (pair, the other sample), sample by sample in the order of the list.
    entries: Vec<(u32, u32)>,
}

impl BySample {
    /// Counting sort. The first `both` pairs are entries of both of their samples, the rest of the
    /// first only.
    fn new(pairs: &[(u32, u32)], both: usize, batch: usize) -> Self {
        let of_second = |pair: u32| (pair as usize) < both;
        let mut start = vec![0; batch + 1];
        for (pair, &(i, j)) in (0u32..).zip(pairs) {
            start[i as usize + 1] += 1;
            start[j as usize + 1] += usize::from(of_second(pair));
        }
        for sample in 0..batch {
            start[sample + 1] += start[sample];
        }
        let mut next = start.clone();
        let mut entries = vec![(0, 0); pairs.len() + both];
        for (pair, &(i, j)) in (0u32..).zip(pairs) {
            for (sample, partner) in [(i, j), (j, i)]
                .into_iter()
                .take(1 + usize::from(of_second(pair)))
            {
                entries[next[sample as usize]] = (pair, partner);
                next[sample as usize] += 1;
            }
        }
        Self { start, entries }
    }

    fn of(&self, sample: usize) -> &[(u32, u32)] {
        &self.entries[self.start[sample]..self.start[sample + 1]]
    }

    #[cfg(feature = "cuda")]
    fn into_lists(self) -> crate::kernels::cuda::loss::pairs::BySample {
        let entries = self.entries.into_iter();
        crate::kernels::cuda::loss::pairs::BySample {
            // Below 2^32, as the number of pairs is checked to be before the upload.
            start: self.start.iter().map(|&start| start as u32).collect(),
            entries: entries.flat_map(|(pair, other)| [pair, other]).collect(),
        }
    }
}

/// The pairs, and those of each sample.
pub(super) struct Listed {
    pub(super) pairs: Vec<(u32, u32)>,
    /// Of the pairs, this many at the beginning count for both samples.
    mutual: usize,
    counting: BySample,
    /// Where some pairs count for one sample only; otherwise as `counting`.
    joining: Option<BySample>,
    /// Of each sample; empty for 0 everywhere.
    ln_factor: Vec<f64>,
}

impl Listed {
    pub(super) fn new(list: &PairList, batch: usize) -> Self {
        let (first, second) = (list.first.iter().copied(), list.second.iter().copied());
        let pairs: Vec<_> = first.zip(second).collect();
        let factors = list.factor.unwrap_or_default().iter();
        Self {
            mutual: list.mutual,
            counting: BySample::new(&pairs, list.mutual, batch),
            joining: (list.mutual < pairs.len()).then(|| BySample::new(&pairs, pairs.len(), batch)),
            ln_factor: factors.map(|factor| factor.ln()).collect(),
            pairs,
        }
    }

    /// How many samples there are.
    pub(super) fn batch(&self) -> usize {
        self.counting.start.len() - 1
    }

    /// How many entries all samples have together.
    pub(super) fn entries(&self) -> usize {
        self.joining
            .as_ref()
            .unwrap_or(&self.counting)
            .entries
            .len()
    }

    /// The pairs that count for a sample, each with the other sample.
    pub(super) fn counting_for(&self, sample: usize) -> &[(u32, u32)] {
        self.counting.of(sample)
    }

    /// The pairs that a sample is in, each with the other sample.
    pub(super) fn joining(&self, sample: usize) -> &[(u32, u32)] {
        self.joining.as_ref().unwrap_or(&self.counting).of(sample)
    }

    /// Whether a pair counts for its second sample too.
    pub(super) fn is_mutual(&self, pair: usize) -> bool {
        pair < self.mutual
    }

    /// What is added to the exponents of a sample.
    pub(super) fn ln_factor(&self, sample: usize) -> f64 {
        self.ln_factor.get(sample).copied().unwrap_or(0.0)
    }

    /// The lists as kernels take them.
    #[cfg(feature = "cuda")]
    pub(super) fn into_lists(self) -> crate::kernels::cuda::loss::pairs::HostPairs {
        let (first, second) = self.pairs.into_iter().unzip();
        crate::kernels::cuda::loss::pairs::HostPairs {
            first,
            second,
            mutual: self.mutual,
            counting: self.counting.into_lists(),
            joining: self.joining.map(BySample::into_lists),
            ln_factor: self.ln_factor,
        }
    }
}
