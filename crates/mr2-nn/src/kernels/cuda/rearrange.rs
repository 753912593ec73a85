//! The same elements in another order: patches of images, images with their channels last.

use super::{Arg, Grid, Module, device_of, empty, kernel_for, launch, module, pointer};
use candle_core::{DType, Result, Tensor, bail};

const MODULE: Module = module!("rearrange");

/// The widest unit that is moved at once, in bytes.
const WIDEST: usize = 16;

/// Of contiguous (outer, first, second, run), given by these sizes, (outer, second, first, run) with the dimensions `shape`.
pub(crate) fn swap_runs(
    x: &Tensor,
    [first, second, run]: [usize; 3],
    shape: &[usize],
) -> Result<Tensor> {
    let elements = x.elem_count();
    if shape.iter().product::<usize>() != elements
        || !elements.is_multiple_of((first * second * run).max(1))
    {
        bail!(
            "{:?} has no runs of {run} in {first} x {second} for {shape:?}",
            x.dims()
        );
    }
    let device = device_of(x)?;
    let out = empty(&device, x.dtype(), shape)?;
    let (from, to) = (pointer(x)?, pointer(&out)?);
    let bytes = run * x.dtype().size_in_bytes();
    let unit = unit(bytes, [from, to]);
    let units = elements * x.dtype().size_in_bytes() / unit;
    launch(
        &device,
        MODULE,
        &format!("swap_runs_{unit}"),
        Grid::over(units),
        &[
            from,
            to,
            Arg::I64(units as i64),
            Arg::I32(first as i32),
            Arg::I32(second as i32),
            Arg::I32((bytes / unit) as i32),
        ],
    )?;
    Ok(out)
}

/// The widest unit that divides runs of so many bytes and both places in memory.
fn unit(bytes: usize, places: [Arg; 2]) -> usize {
    let places = places.map(|place| match place {
        Arg::Pointer(address) => address as usize,
        _ => 0,
    });
    let bits = bytes | places[0] | places[1] | WIDEST;
    1 << bits.trailing_zeros()
}

/// Of contiguous images (batch, channels, height, width) in f32 or `dtype`, (batch, height, width, channels) in `dtype`.
pub(crate) fn channels_last(images: &Tensor, dtype: DType) -> Result<Tensor> {
    let (batch, channels, height, width) = images.dims4()?;
    let device = device_of(images)?;
    let out = empty(&device, dtype, (batch, height, width, channels))?;
    let kernel = match images.dtype() == dtype {
        true => "channels_last",
        false if images.dtype() == DType::F32 => "channels_last_rounded",
        false => bail!(
            "images: no CUDA kernel rounds {} to {}",
            images.dtype().as_str(),
            dtype.as_str()
        ),
    };
    let pixels = height * width;
    launch(
        &device,
        MODULE,
        &kernel_for(kernel, dtype)?,
        Grid::over(batch * pixels),
        &[
            pointer(images)?,
            pointer(&out)?,
            Arg::I64((batch * pixels) as i64),
            Arg::I32(pixels as i32),
            Arg::I32(channels as i32),
        ],
    )?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_as_wide_as_runs_and_places_allow() {
        let at = |address| Arg::Pointer(address);
        assert_eq!(unit(96, [at(0x100), at(0x200)]), 16);
        assert_eq!(unit(96, [at(0x108), at(0x200)]), 8);
        assert_eq!(unit(36, [at(0x100), at(0x200)]), 4);
        assert_eq!(unit(6, [at(0x100), at(0x200)]), 2);
    }
}
