//! Batch normalisation on the device.

use super::columns::Columns;
use super::{
    Arg, Grid, Module, address, device_of, empty, kernel_for, launch, module, optional, parameter,
    pointer,
};
use crate::kernels::batch_norm::Rectifier;
use candle_core::{CudaDevice, DType, Result, Tensor};

const MODULE: Module = module!("batch_norm");

/// What normalisation does to each channel: `(x - mean) * scale + shift`, in f32.
pub(crate) struct Affine {
    /// (4, channels): means, one over the standard deviations, scales, shifts. Each allocation costs as much as a
    /// small kernel, so there are few.
    statistics: Tensor,
    rectifier: Rectifier,
}

/// The number of the rectifier in batch_norm.cu.
fn kind(rectifier: Rectifier) -> Arg {
    Arg::I32(match rectifier {
        Rectifier::None => 0,
        Rectifier::Relu => 1,
        Rectifier::Relu6 => 2,
    })
}

/// Memory for partial sums of two things: (2, channels, parts of the rows).
fn parts(columns: &Columns, device: &CudaDevice) -> Result<Tensor> {
    let shape = (2, columns.columns, columns.grid.blocks.1);
    empty(device, DType::F32, shape)
}

/// A warp for each channel.
fn warps(columns: &Columns) -> Grid {
    Grid {
        blocks: (columns.columns.div_ceil(8), 1),
        threads: (32, 8),
    }
}

/// From the batch's statistics, which also go into the running ones with the weight `momentum`, if there is one.
pub(crate) fn of_batch(
    x: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    (running_mean, running_var): (&Tensor, &Tensor),
    eps: f64,
    momentum: Option<f64>,
    rectifier: Rectifier,
) -> Result<Affine> {
    let device = device_of(x)?;
    let columns = Columns::of(x)?;
    let parts = parts(&columns, &device)?;
    let [sums, squares] = rows(&parts)?;
    let affine = Affine::empty(&device, columns.columns, rectifier)?;
    let [mean, rate, scale, shift] = rows(&affine.statistics)?;
    launch(
        &device,
        MODULE,
        &columns.kernel("batch_norm_moments", x.dtype())?,
        columns.grid,
        &[
            pointer(x)?,
            sums,
            squares,
            Arg::I64(columns.rows as i64),
            Arg::I32(columns.columns as i32),
        ],
    )?;
    launch(
        &device,
        MODULE,
        &kernel_for("batch_norm_finish", x.dtype())?,
        warps(&columns),
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
            Arg::I32(columns.columns as i32),
            Arg::I32(columns.grid.blocks.1 as i32),
            Arg::I64(columns.rows as i64),
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
    rectifier: Rectifier,
) -> Result<Affine> {
    let device = device_of(x)?;
    let channels = weight.elem_count();
    let affine = Affine::empty(&device, channels, rectifier)?;
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
    fn empty(device: &CudaDevice, channels: usize, rectifier: Rectifier) -> Result<Self> {
        Ok(Self {
            statistics: empty(device, DType::F32, (4, channels))?,
            rectifier,
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
            &columns.kernel("batch_norm_apply", x.dtype())?,
            columns.grid,
            &[
                pointer(x)?,
                optional(skip)?,
                mean,
                scale,
                shift,
                pointer(&out)?,
                Arg::I64(columns.rows as i64),
                Arg::I32(columns.columns as i32),
                kind(self.rectifier),
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
        let parts = parts(&columns, &device)?;
        let [one, other] = rows(&parts)?;
        let [mean, rate, scale, shift] = rows(&self.statistics)?;
        // The gradients of weight and bias, and two terms of the input's.
        let terms = empty(&device, DType::F32, (4, columns.columns))?;
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
            Arg::I64(columns.rows as i64),
            Arg::I32(columns.columns as i32),
            kind(self.rectifier),
        ];
        launch(
            &device,
            MODULE,
            &columns.kernel("batch_norm_gradient_sums", x.dtype())?,
            columns.grid,
            &[&common[..], &[one, other], &sizes].concat(),
        )?;
        launch(
            &device,
            MODULE,
            "batch_norm_gradient_finish_f32",
            warps(&columns),
            &[
                one,
                other,
                rate,
                scale,
                weight,
                bias,
                by_input,
                constant,
                Arg::I32(columns.columns as i32),
                Arg::I32(columns.grid.blocks.1 as i32),
                Arg::I64(columns.rows as i64),
            ],
        )?;
        let like = |wanted: bool| match wanted {
            true => empty(&device, x.dtype(), x.shape()).map(Some),
            false => Ok(None),
        };
        // Without a rectifier what was added gets the gradient as it is.
        let (input, skip) = (
            like(wanted.input)?,
            like(wanted.skip && self.rectifier != Rectifier::None)?,
        );
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
                &columns.kernel("batch_norm_gradient_apply", x.dtype())?,
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
    let base = address(tensor)?;
    let bytes = (tensor.elem_count() / N * size_of::<f32>()) as u64;
    Ok(std::array::from_fn(|row| {
        Arg::Pointer(base + row as u64 * bytes)
    }))
}
