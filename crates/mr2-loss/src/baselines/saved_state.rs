//! Checks of the tensors that a baseline's state is loaded from.
use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor, bail};

/// A copy on the CPU of what is to be saved.
///
/// # Errors
/// A number that [`read`] would refuse: on an accelerator nothing looked at what it was made of.
pub(super) fn checked(state: &str, name: &str, values: &Tensor) -> Result<Tensor> {
    let values = values.to_device(&Device::Cpu)?.copy()?;
    let numbers: Vec<f64> = values.to_vec1()?;
    match numbers.iter().find(|x| !(**x >= 0.0 && x.is_finite())) {
        Some(wrong) => bail!("{state}: {name} holds {wrong}: a loss was not finite"),
        None => Ok(values),
    }
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
        if let Some(wrong) = values.iter().find(|x| !(**x >= 0.0 && x.is_finite())) {
            bail!("{state}: {name} holds {wrong}")
        }
    }
    Ok(values)
}
