//! Cross-entropy on the device, forward and backward; below, the soft hinge of pair distances.

pub(crate) mod pairs;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::CudaStorage;
use candle_core::{CudaDevice, DType, Layout, Result, Tensor, bail};

use super::{
    Arg, Grid, Module, device_of, empty, launch, module, optional, pointer, start_of, unread,
};

const MODULE: Module = module!("loss");

/// As in loss.cu.
const THREADS: usize = 256;

/// A block for each of `count`.
fn blocks(count: usize) -> Grid {
    Grid {
        blocks: (count, 1),
        threads: (THREADS, 1),
    }
}

/// The instance of a kernel for f32 or f64.
fn kernel_for(base: &str, dtype: DType) -> String {
    format!("{base}_{}", dtype.as_str())
}

/// The matrix that Candle hands to an op, contiguous and in f32 or f64.
struct Matrix {
    device: CudaDevice,
    dtype: DType,
    rows: usize,
    columns: usize,
    pointer: Arg,
}

impl Matrix {
    fn new(storage: &CudaStorage, layout: &Layout) -> Result<Self> {
        let (rows, columns) = layout.shape().dims2()?;
        let Some((start, _)) = layout.contiguous_offsets() else {
            bail!("expected a contiguous tensor, got {:?}", layout.stride())
        };
        let dtype = storage.dtype();
        let base = values(storage)?;
        let offset = (start * dtype.size_in_bytes()) as u64;
        Ok(Self {
            device: storage.device().clone(),
            dtype,
            rows,
            columns,
            pointer: Arg::Pointer(base + offset),
        })
    }

    /// Memory for a number per row, and where it is.
    fn number_per_row(&self) -> Result<(CudaStorage, Arg)> {
        let storage = match self.dtype {
            DType::F64 => unread::<f64>(&self.device, self.rows)?,
            _ => unread::<f32>(&self.device, self.rows)?,
        };
        let address = values(&storage)?;
        Ok((storage, Arg::Pointer(address)))
    }
}

fn values(storage: &CudaStorage) -> Result<u64> {
    match storage.dtype() {
        DType::F32 => Ok(start_of(storage.as_cuda_slice::<f32>()?)),
        DType::F64 => Ok(start_of(storage.as_cuda_slice::<f64>()?)),
        other => bail!(
            "losses on CUDA must be of f32 or f64, got {}",
            other.as_str()
        ),
    }
}

/// What rows of logits should say, contiguous on the device: labels in u32 or weights in the logits' dtype.
pub(crate) struct Targets {
    /// (batch)
    pub(crate) labels: Option<Tensor>,
    /// (batch, classes), where there are no labels.
    pub(crate) weights: Option<Tensor>,
    /// (batch), in the logits' dtype.
    pub(crate) scale: Option<Tensor>,
    /// The weight of every class beside the label's.
    pub(crate) spread: f64,
}

/// What backward needs of each row: its peak and the sum of the other exponentials, and where the peak is.
pub(crate) struct Rows {
    numbers: Tensor,
    places: Tensor,
}

/// The loss of each row of contiguous logits in f32 or f64 with at least one row.
pub(crate) fn cross_entropy(
    storage: &CudaStorage,
    layout: &Layout,
    targets: &Targets,
) -> Result<(CudaStorage, Rows)> {
    let logits = Matrix::new(storage, layout)?;
    let (loss, loss_pointer) = logits.number_per_row()?;
    let rows = Rows {
        numbers: empty(&logits.device, logits.dtype, (logits.rows, 2))?,
        places: empty(&logits.device, DType::U32, logits.rows)?,
    };
    let args = [
        logits.pointer,
        optional(targets.labels.as_ref())?,
        optional(targets.weights.as_ref())?,
        optional(targets.scale.as_ref())?,
        Arg::F64(targets.spread),
        loss_pointer,
        pointer(&rows.numbers)?,
        pointer(&rows.places)?,
        Arg::I32(logits.columns as i32),
    ];
    let kernel = kernel_for("cross_entropy", logits.dtype);
    let grid = blocks(logits.rows);
    launch(&logits.device, MODULE, &kernel, grid, &args)?;
    Ok((loss, rows))
}

/// The gradient of the logits, given that of each row's loss.
pub(crate) fn cross_entropy_gradient(
    logits: &Tensor,
    targets: &Targets,
    rows: &Rows,
    upstream: &Tensor,
) -> Result<Tensor> {
    let (batch, classes) = logits.dims2()?;
    let (device, dtype) = (device_of(logits)?, logits.dtype());
    let gradient = empty(&device, dtype, (batch, classes))?;
    let args = [
        pointer(logits)?,
        optional(targets.labels.as_ref())?,
        optional(targets.weights.as_ref())?,
        optional(targets.scale.as_ref())?,
        Arg::F64(targets.spread),
        pointer(&rows.numbers)?,
        pointer(&rows.places)?,
        pointer(upstream)?,
        pointer(&gradient)?,
        Arg::I32(classes as i32),
    ];
    let kernel = kernel_for("cross_entropy_gradient", dtype);
    launch(&device, MODULE, &kernel, blocks(batch), &args)?;
    Ok(gradient)
}
