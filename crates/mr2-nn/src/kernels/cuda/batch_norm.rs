//! Batch normalisation on the device.

use super::{
    Arg, Grid, Module, device_of, empty, kernel_for, launch, module, optional, parameter, pointer,
};
use candle_core::{CudaDevice, DType, Result, Tensor, bail};

const MODULE: Module = module!("batch_norm");

/// Threads of a block, over channels and rows.
const THREADS: usize = 256;

/// Blocks that keep a large GPU busy.
const BLOCKS: usize = 1024;

/// What normalisation does to each channel: `(x - mean) * scale + shift`, in f32.
pub(crate) struct Affine {
    /// (4, channels): means, one over the standard deviations, scales, shifts. Each allocation costs as much as a
    /// small kernel, so there are few.
    statistics: Tensor,
    relu: bool,
}

/// How threads lie over (rows, channels).
struct Columns {
    rows: i64,
    channels: i32,
    width: &'static str,
    grid: Grid,
}

impl Columns {
    fn of(x: &Tensor) -> Result<Self> {
        let channels = x.dim(candle_core::D::Minus1)?;
        let rows = x.elem_count() / channels;
        let wide = 16 / x.dtype().size_in_bytes();
        let (width, packs) = match channels.is_multiple_of(wide) {
            true => ("wide", channels / wide),
            false => ("one", channels),
        };
        let across = packs.next_power_of_two().min(32);
        let down = THREADS / across;
        let over_channels = packs.div_ceil(across);
        let most = (BLOCKS / over_channels).max(1);
        Ok(Self {
            rows: rows as i64,
            channels: channels as i32,
            width,
            grid: Grid {
                // A thread has a few rows at least, so that its sums are worth writing.
                blocks: (over_channels, rows.div_ceil(down * 4).clamp(1, most)),
                threads: (across, down),
            },
        })
    }

    fn kernel(&self, base: &str, dtype: DType) -> Result<String> {
        kernel_for(&format!("batch_norm_{base}_{}", self.width), dtype)
    }

    /// Memory for partial sums of two things: (2, channels, parts of the rows).
    fn parts(&self, device: &CudaDevice) -> Result<Tensor> {
        let shape = (2, self.channels as usize, self.grid.blocks.1);
        empty(device, DType::F32, shape)
    }

    /// A warp for each channel.
    fn finish(&self) -> Grid {
        Grid {
            blocks: ((self.channels as usize).div_ceil(8), 1),
            threads: (32, 8),
        }
    }
}

/// From the batch's statistics, which also go into the running ones with the weight `momentum`, if there is one.
pub(crate) fn of_batch(
    x: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    (running_mean, running_var): (&Tensor, &Tensor),
    eps: f64,
    momentum: Option<f64>,
    relu: bool,
) -> Result<Affine> {
    let device = device_of(x)?;
    let columns = Columns::of(x)?;
    let parts = columns.parts(&device)?;
    let [sums, squares] = rows(&parts)?;
    let affine = Affine::empty(&device, columns.channels as usize, relu)?;
    let [mean, rate, scale, shift] = rows(&affine.statistics)?;
    launch(
        &device,
        MODULE,
        &columns.kernel("moments", x.dtype())?,
        columns.grid,
        &[
            pointer(x)?,
            sums,
            squares,
            Arg::I64(columns.rows),
            Arg::I32(columns.channels),
        ],
    )?;
    launch(
        &device,
        MODULE,
        &kernel_for("batch_norm_finish", x.dtype())?,
        columns.finish(),
        &[
            pointer(x)?,
            sums,
            squares,
            parameter(weight, &device)?,
            parameter(bias, &device)?,
            parameter(running_mean, &device)?,
            parameter(running_var, &device)?,
            mean,
            rate,
            scale,
            shift,
            Arg::I32(columns.channels),
            Arg::I32(columns.grid.blocks.1 as i32),
            Arg::I64(columns.rows),
            Arg::F64(eps),
            Arg::F64(momentum.unwrap_or(-1.0)),
        ],
    )?;
    Ok(affine)
}

/// From running statistics, for activations on the device of `x`.
pub(crate) fn of_running(
    x: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    (running_mean, running_var): (&Tensor, &Tensor),
    eps: f64,
    relu: bool,
) -> Result<Affine> {
    let device = device_of(x)?;
    let channels = weight.elem_count();
    let affine = Affine::empty(&device, channels, relu)?;
    let [mean, rate, scale, shift] = rows(&affine.statistics)?;
    launch(
        &device,
        MODULE,
        "batch_norm_running_f32",
        Grid::over(channels),
        &[
            parameter(running_mean, &device)?,
            parameter(running_var, &device)?,
            parameter(weight, &device)?,
            parameter(bias, &device)?,
            mean,
            rate,
            scale,
            shift,
            Arg::I32(channels as i32),
            Arg::F64(eps),
        ],
    )?;
    Ok(affine)
}

impl Affine {
    fn empty(device: &CudaDevice, channels: usize, relu: bool) -> Result<Self> {
        Ok(Self {
            statistics: empty(device, DType::F32, (4, channels))?,
            relu,
        })
    }

    /// `x` normalised, `+ skip`, then the rectifier if there is one.
    pub(crate) fn apply(&self, x: &Tensor, skip: Option<&Tensor>) -> Result<Tensor> {
        let device = device_of(x)?;
        let columns = Columns::of(x)?;
        let out = empty(&device, x.dtype(), x.shape())?;
        let [mean, _, scale, shift] = rows(&self.statistics)?;
        launch(
            &device,
            MODULE,
            &columns.kernel("apply", x.dtype())?,
            columns.grid,
            &[
                pointer(x)?,
                optional(skip)?,
                mean,
                scale,
                shift,
                pointer(&out)?,
                Arg::I64(columns.rows),
                Arg::I32(columns.channels),
                Arg::I32(self.relu.into()),
            ],
        )?;
        Ok(out)
    }

    /// The gradients, given that of the output. `out`, the output, is needed if something was added to it before
    /// the rectifier.
    pub(crate) fn backward(
        &self,
        x: &Tensor,
        gradient: &Tensor,
        out: Option<&Tensor>,
        wanted: Wanted,
    ) -> Result<Gradients> {
        let device = device_of(x)?;
        let columns = Columns::of(x)?;
        let parts = columns.parts(&device)?;
        let [one, other] = rows(&parts)?;
        let [mean, rate, scale, shift] = rows(&self.statistics)?;
        // The gradients of weight and bias, and two terms of the input's.
        let terms = empty(&device, DType::F32, (4, columns.channels as usize))?;
        let [weight, bias, by_input, constant] = rows(&terms)?;
        let common = [
            pointer(x)?,
            pointer(gradient)?,
            optional(out)?,
            mean,
            scale,
            shift,
        ];
        let sizes = [
            Arg::I64(columns.rows),
            Arg::I32(columns.channels),
            Arg::I32(self.relu.into()),
        ];
        launch(
            &device,
            MODULE,
            &columns.kernel("gradient_sums", x.dtype())?,
            columns.grid,
            &[&common[..], &[one, other], &sizes].concat(),
        )?;
        launch(
            &device,
            MODULE,
            "batch_norm_gradient_finish_f32",
            columns.finish(),
            &[
                one,
                other,
                rate,
                scale,
                weight,
                bias,
                by_input,
                constant,
                Arg::I32(columns.channels),
                Arg::I32(columns.grid.blocks.1 as i32),
                Arg::I64(columns.rows),
            ],
        )?;
        let like = |wanted: bool| match wanted {
            true => empty(&device, x.dtype(), x.shape()).map(Some),
            false => Ok(None),
        };
        // Without a rectifier what was added gets the gradient as it is.
        let (input, skip) = (like(wanted.input)?, like(wanted.skip && self.relu)?);
        if input.is_some() || skip.is_some() {
            let to = [
                by_input,
                constant,
                optional(input.as_ref())?,
                optional(skip.as_ref())?,
            ];
            launch(
                &device,
                MODULE,
                &columns.kernel("gradient_apply", x.dtype())?,
                columns.grid,
                &[&common[..], &to, &sizes].concat(),
            )?;
        }
        let skip = skip.or_else(|| wanted.skip.then(|| gradient.clone()));
        Ok(Gradients {
            input,
            skip,
            weight: terms.get(0)?,
            bias: terms.get(1)?,
        })
    }
}

/// Which gradients of activations are asked for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) input: bool,
    pub(crate) skip: bool,
}

/// The gradients of a batch norm.
pub(crate) struct Gradients {
    pub(crate) input: Option<Tensor>,
    pub(crate) skip: Option<Tensor>,
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
}

/// Pointers to the N equal parts of a tensor in f32.
fn rows<const N: usize>(tensor: &Tensor) -> Result<[Arg; N]> {
    let Arg::Pointer(base) = pointer(tensor)? else {
        bail!("batch_norm: a tensor has no address");
    };
    let bytes = (tensor.elem_count() / N * size_of::<f32>()) as u64;
    Ok(std::array::from_fn(|row| {
        Arg::Pointer(base + row as u64 * bytes)
    }))
}
