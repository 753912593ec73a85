//! The product of a fully connected layer, and what is added to it in the same pass where cuBLASLt can.

mod lt;
mod plan;

use super::gelu::follow;
use super::product::{Matrix, Sizes, multiply};
use super::{
    Arg, Grid, Module, device_of, empty, kernel_for, launch, module, optional, optional_parameter,
    parameter, pointer,
};
use candle_core::{D, DType, Result, Shape, Tensor, bail};

const MODULE: Module = module!("linear");

/// (batch, height, width, channels).
pub(crate) type Dims = (usize, usize, usize, usize);

/// What is added to a product.
#[derive(Clone, Copy, Default)]
pub(crate) struct Added<'a> {
    /// In f32, and in the product's type: which of them is read depends on who adds it.
    pub(crate) bias: Option<(&'a Tensor, &'a Tensor)>,
    /// Of the product's shape and type.
    pub(crate) skip: Option<&'a Tensor>,
}

/// A weight and a bias in the type of the activations `x`: copies, which stay as they are when the layer learns.
pub(crate) fn parameters_in(
    weight: &Tensor,
    bias: Option<&Tensor>,
    x: &Tensor,
) -> Result<(Tensor, Option<Tensor>)> {
    let (device, dtype) = (device_of(x)?, x.dtype());
    let to_weight = empty(&device, dtype, weight.shape())?;
    let to_bias = match bias {
        Some(bias) => Some(empty(&device, dtype, bias.shape())?),
        None => None,
    };
    let (weights, biases) = (weight.elem_count(), bias.map_or(0, Tensor::elem_count));
    let pack = 16 / dtype.size_in_bytes();
    launch(
        &device,
        MODULE,
        &kernel_for("round_parameters", dtype)?,
        Grid::over(weights.div_ceil(pack) + biases.div_ceil(pack)),
        &[
            parameter(weight, &device)?,
            pointer(&to_weight)?,
            Arg::I64(weights as i64),
            optional_parameter(bias, &device)?,
            optional(to_bias.as_ref())?,
            Arg::I64(biases as i64),
        ],
    )?;
    Ok((to_weight, to_bias))
}

/// `x` times the transposed weight, at every pixel or token.
pub(crate) fn product(x: &Tensor, weight: &Tensor, dims: Dims) -> Result<Tensor> {
    let out = empty(&device_of(x)?, x.dtype(), dims)?;
    let sizes = sizes(x, weight, dims, Added::default())?;
    let weight = Matrix::rows(weight)?.transpose();
    multiply(Matrix::rows(x)?, weight, Matrix::rows(&out)?, sizes, 1.0)?;
    Ok(out)
}

/// [`product`], plus the bias and `skip`.
pub(crate) fn product_and_sum(
    x: &Tensor,
    weight: &Tensor,
    added: Added<'_>,
    dims: Dims,
) -> Result<Tensor> {
    if added.bias.is_some() || added.skip.is_some() {
        let sizes = sizes(x, weight, dims, added)?;
        let out = empty(&device_of(x)?, x.dtype(), dims)?;
        let operands = lt::Operands {
            x,
            weight,
            bias: added.bias.map(|(_, rounded)| rounded),
            skip: added.skip,
            out: &out,
        };
        if lt::multiply(operands, sizes)? {
            return Ok(out);
        }
    }
    let out = product(x, weight, dims)?;
    follow(out, added.bias.map(|(bias, _)| bias), added.skip, None)
}

/// The gradient of the weight, (outputs, inputs) in f32, given that of the product of `x` and it.
pub(crate) fn weight_gradient(gradient: &Tensor, x: &Tensor) -> Result<Tensor> {
    let (outputs, inputs) = (gradient.dim(D::Minus1)?, x.dim(D::Minus1)?);
    let part = empty(&device_of(x)?, DType::F32, (outputs, inputs))?;
    let sizes = Sizes {
        batch: 1,
        rows: outputs,
        inner: x.elem_count() / inputs,
        columns: inputs,
    };
    let gradient = Matrix::rows(gradient)?.transpose();
    multiply(gradient, Matrix::rows(x)?, Matrix::rows(&part)?, sizes, 1.0)?;
    Ok(part)
}

/// The gradient of the other factor, of the dimensions `shape`.
pub(crate) fn input_gradient(gradient: &Tensor, weight: &Tensor, shape: &Shape) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    let part = empty(&device_of(gradient)?, weight.dtype(), shape)?;
    let sizes = Sizes {
        batch: 1,
        rows: part.elem_count() / inputs,
        inner: outputs,
        columns: inputs,
    };
    let (gradient, weight) = (Matrix::rows(gradient)?, Matrix::rows(weight)?);
    multiply(gradient, weight, Matrix::rows(&part)?, sizes, 1.0)?;
    Ok(part)
}

/// The product's sizes, of tensors that fit together.
fn sizes(x: &Tensor, weight: &Tensor, dims: Dims, added: Added<'_>) -> Result<Sizes> {
    let (columns, inner) = weight.dims2()?;
    let (batch, height, width, channels) = dims;
    let rows = batch * height * width;
    let fits = x.dim(D::Minus1)? == inner
        && x.elem_count() == rows * inner
        && channels == columns
        && x.dtype() == weight.dtype();
    let bias_fits = added.bias.is_none_or(|(bias, rounded)| {
        bias.dims() == [columns] && rounded.dims() == [columns] && rounded.dtype() == x.dtype()
    });
    let skip_fits = added
        .skip
        .is_none_or(|skip| skip.dtype() == x.dtype() && skip.elem_count() == rows * columns);
    if !fits || !bias_fits || !skip_fits {
        bail!(
            "linear: {} of {:?} times {} of {:?} and what is added do not fit to {dims:?}",
            x.dtype().as_str(),
            x.dims(),
            weight.dtype().as_str(),
            weight.dims()
        );
    }
    Ok(Sizes {
        batch: 1,
        rows,
        inner,
        columns,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use candle_core::Device;

    fn zeros(dims: &[usize], dtype: DType) -> Tensor {
        Tensor::zeros(dims, dtype, &Device::Cpu).unwrap()
    }

    #[test]
    fn tensors_have_to_fit_together() {
        let half = DType::BF16;
        let (x, weight) = (zeros(&[2, 3, 1, 5], half), zeros(&[7, 5], half));
        let (bias, rounded) = (zeros(&[7], DType::F32), zeros(&[7], half));
        let skip = zeros(&[2, 3, 1, 7], half);
        let added = Added {
            bias: Some((&bias, &rounded)),
            skip: Some(&skip),
        };
        let dims = (2, 3, 1, 7);
        let of = sizes(&x, &weight, dims, added).unwrap();
        assert_eq!((of.rows, of.inner, of.columns), (6, 5, 7));

        let refused = |x: &Tensor, weight: &Tensor, dims, added: Added<'_>| {
            let error = sizes(x, weight, dims, added).unwrap_err().to_string();
            assert!(error.contains("do not fit"), "{error}");
        };
        refused(&x, &weight, (2, 4, 1, 7), added);
        refused(&x, &weight, (2, 3, 1, 6), added);
        let weights = [zeros(&[7, 5], DType::F32), zeros(&[7, 6], half)];
        refused(&x, &weights[0], dims, added);
        refused(&x, &weights[1], dims, added);
        let long = zeros(&[8], half);
        let skips = [zeros(&[2, 3, 1, 7], DType::F32), zeros(&[2, 2, 1, 7], half)];
        let wrong = [
            (Some((&bias, &bias)), None),
            (Some((&bias, &long)), None),
            (None, Some(&skips[0])),
            (None, Some(&skips[1])),
        ];
        for (bias, skip) in wrong {
            refused(&x, &weight, dims, Added { bias, skip });
        }
    }
}
