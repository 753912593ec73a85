//! The tensors that a baseline's state is saved as and loaded from.
use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor, bail};
use mr2_stats::wide_dtype;

use super::arguments::check_finite_not_negative;

/// A state's numbers on a device, in f64 (f32 on Metal, which has no f64).
pub(super) fn on_device(values: Vec<f64>, device: &Device) -> Result<Tensor> {
    Tensor::new(values, &Device::Cpu)?
        .to_dtype(wide_dtype(device))?
        .to_device(device)
}

/// What is to be saved of it, (numbers) in f64 on the CPU.
///
/// # Errors
/// A number that [`read`] would refuse: on an accelerator nothing has looked at the losses that it comes from.
pub(super) fn to_save(state: &str, name: &str, values: &Tensor) -> Result<Tensor> {
    let values = values.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    check_finite_not_negative(&format!("{state}: {name}"), &values.to_vec1()?)?;
    Ok(values)
}

/// The numbers of exactly the named tensors, each of `length` entries that are finite and not
/// negative.
pub(super) fn read<const N: usize>(
    state: &str,
    tensors: &HashMap<String, Tensor>,
    names: [&str; N],
    length: usize,
) -> Result<[Vec<f64>; N]> {
    let mut unexpected: Vec<&str> = tensors
        .keys()
        .map(String::as_str)
        .filter(|name| !names.contains(name))
        .collect();
    unexpected.sort_unstable();
    if !unexpected.is_empty() {
        bail!("{state}: unexpected tensors {}", unexpected.join(", "))
    }
    let mut values: [Vec<f64>; N] = [const { Vec::new() }; N];
    for (values, name) in values.iter_mut().zip(names) {
        let Some(tensor) = tensors.get(name) else {
            bail!("{state}: the tensor {name} is missing")
        };
        if tensor.dims() != [length] {
            bail!(
                "{state}: {name} must be ({length}), got {:?}",
                tensor.dims()
            )
        }
        *values = tensor
            .to_device(&Device::Cpu)?
            .to_dtype(DType::F64)?
            .to_vec1()?;
        check_finite_not_negative(&format!("{state}: {name}"), values)?;
    }
    Ok(values)
}
