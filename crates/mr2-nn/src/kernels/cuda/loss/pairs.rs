//! The soft hinge of the distances of pairs on the device, forward and backward.

use candle_core::cuda_backend::CudaStorage;
use candle_core::{DType, Device, Layout, Result, Tensor, bail};

use super::super::{Arg, Grid, device_of, empty, launch, pointer};
use super::{MODULE, Matrix, THREADS, blocks, kernel_for, optional};

/// Pairs or samples that a block takes, a warp for each.
const WARPS: usize = THREADS / 32;

/// Pairs as (pair, other sample), sorted by sample.
#[derive(Default)]
pub(crate) struct BySample {
    /// Where the entries of each sample begin, and one more for the end.
    pub(crate) start: Vec<u32>,
    /// Two numbers an entry.
    pub(crate) entries: Vec<u32>,
}

/// Pairs of samples on the host.
pub(crate) struct HostPairs {
    pub(crate) first: Vec<u32>,
    pub(crate) second: Vec<u32>,
    /// The first pairs, which count for both samples.
    pub(crate) mutual: usize,
    /// The pairs that count for each sample.
    pub(crate) counting: BySample,
    /// The pairs that each sample is in; `None` if those are the same.
    pub(crate) joining: Option<BySample>,
    /// Of each sample; empty for 0 everywhere.
    pub(crate) ln_factor: Vec<f64>,
}

/// The same on the device, in one upload (two with factors).
pub(crate) struct DevicePairs {
    /// All lists, one behind the other, in u32: the first samples of the pairs first.
    lists: Tensor,
    /// (batch) in f64.
    ln_factor: Option<Tensor>,
    pairs: usize,
    mutual: usize,
    /// Where the other lists begin.
    second: usize,
    counting: [usize; 2],
    joining: [usize; 2],
}

impl DevicePairs {
    pub(crate) fn new(host: HostPairs, device: &Device) -> Result<Self> {
        let pairs = host.first.len();
        let mut lists = host.first;
        let mut push = |list: &[u32]| {
            let start = lists.len();
            lists.extend_from_slice(list);
            start
        };
        let second = push(&host.second);
        let counting = [push(&host.counting.start), push(&host.counting.entries)];
        let joining = match &host.joining {
            None => counting,
            Some(joining) => [push(&joining.start), push(&joining.entries)],
        };
        if u32::try_from(lists.len()).is_err() {
            bail!(
                "{pairs} pairs are too many for a CUDA kernel: take a smaller batch, or at most a few positives"
            )
        }
        let ln_factor = match host.ln_factor.is_empty() {
            true => None,
            false => Some(Tensor::new(host.ln_factor, device)?),
        };
        Ok(Self {
            lists: Tensor::new(lists, device)?,
            ln_factor,
            pairs,
            mutual: host.mutual,
            second,
            counting,
            joining,
        })
    }

    fn list(&self, start: usize) -> Result<Arg> {
        pointer(&self.lists.narrow(0, start, 1)?)
    }
}

/// What backward needs of forward, in f64.
pub(crate) struct Softmax {
    /// Of each pair.
    exponents: Tensor,
    /// (batch, 2)
    rows: Tensor,
}

/// [`crate::ops::weighted_distance_log1p_sum_exp`] of contiguous features in f32 or f64, with at least one pair;
/// the threshold is a scalar in f64 on the device.
pub(crate) fn distance_log1p_sum_exp(
    storage: &CudaStorage,
    layout: &Layout,
    pairs: &DevicePairs,
    threshold: &Tensor,
    scale: f64,
) -> Result<(CudaStorage, Softmax)> {
    let features = Matrix::new(storage, layout)?;
    let (device, dtype) = (&features.device, features.dtype);
    let softmax = Softmax {
        exponents: empty(device, DType::F64, pairs.pairs)?,
        rows: empty(device, DType::F64, (features.rows, 2))?,
    };
    let (out, out_pointer) = features.number_per_row()?;
    let args = [
        features.pointer,
        pairs.list(0)?,
        pairs.list(pairs.second)?,
        pointer(threshold)?,
        Arg::F64(scale),
        pointer(&softmax.exponents)?,
        Arg::I64(pairs.pairs as i64),
        Arg::I32(features.columns as i32),
    ];
    let grid = blocks(pairs.pairs.div_ceil(WARPS));
    let kernel = kernel_for("pair_exponents", dtype);
    launch(device, MODULE, &kernel, grid, &args)?;
    let args = [
        pointer(&softmax.exponents)?,
        pairs.list(pairs.counting[0])?,
        pairs.list(pairs.counting[1])?,
        optional(pairs.ln_factor.as_ref())?,
        pointer(&softmax.rows)?,
        out_pointer,
        Arg::I32(features.rows as i32),
    ];
    let grid = blocks(features.rows.div_ceil(WARPS));
    let kernel = kernel_for("pairs_log1p_sum_exp", dtype);
    launch(device, MODULE, &kernel, grid, &args)?;
    Ok((out, softmax))
}

/// The gradient of the features, given that of each sample's result.
pub(crate) fn distance_gradient(
    features: &Tensor,
    pairs: &DevicePairs,
    softmax: &Softmax,
    upstream: &Tensor,
    scale: f64,
) -> Result<Tensor> {
    let (batch, dim) = features.dims2()?;
    let (device, dtype) = (device_of(features)?, features.dtype());
    let pulls = empty(&device, DType::F64, pairs.pairs)?;
    let args = [
        pointer(&softmax.exponents)?,
        pairs.list(0)?,
        pairs.list(pairs.second)?,
        optional(pairs.ln_factor.as_ref())?,
        pointer(&softmax.rows)?,
        pointer(upstream)?,
        Arg::F64(scale),
        pointer(&pulls)?,
        Arg::I64(pairs.pairs as i64),
        Arg::I64(pairs.mutual as i64),
    ];
    let kernel = kernel_for("pair_pulls", dtype);
    launch(&device, MODULE, &kernel, Grid::over(pairs.pairs), &args)?;
    let gradient = empty(&device, dtype, (batch, dim))?;
    let args = [
        pointer(features)?,
        pointer(&pulls)?,
        pairs.list(pairs.joining[0])?,
        pairs.list(pairs.joining[1])?,
        pointer(&gradient)?,
        Arg::I32(dim as i32),
    ];
    let kernel = kernel_for("pairs_gradient", dtype);
    launch(&device, MODULE, &kernel, blocks(batch), &args)?;
    Ok(gradient)
}
