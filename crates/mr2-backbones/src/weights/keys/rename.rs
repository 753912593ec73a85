//! Names, one by one.
use candle_core::{Result, bail};

use crate::weights::Tensors;

/// How often PyTorch's batch norm has been trained: a number that nothing here needs.
const BATCHES: &str = "num_batches_tracked";

/// Wrappers' prefixes: the dictionary of a training checkpoint, and `DistributedDataParallel`.
const WRAPPERS: [&str; 2] = ["state_dict.", "module."];

/// The tensors under the names that `rename` gives them; those without one are dropped, and so are batch norm's counts.
pub(super) fn renamed(
    tensors: Tensors,
    rename: impl Fn(&str) -> Option<String>,
) -> Result<Tensors> {
    let mut ours = Tensors::new();
    for (name, tensor) in tensors {
        if name.rsplit('.').next() == Some(BATCHES) {
            continue;
        }
        let Some(new) = rename(&name) else { continue };
        if ours.contains_key(&new) {
            bail!(
                "weights: {name} and another tensor are both {new} in our net; is it two checkpoints in one file?"
            )
        }
        ours.insert(new, tensor);
    }
    Ok(ours)
}

/// A name without what a training script has put before it.
pub(super) fn unwrapped(mut name: &str) -> &str {
    for wrapper in WRAPPERS {
        name = name.strip_prefix(wrapper).unwrap_or(name);
    }
    name
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use candle_core::{DType, Device, Tensor};

    pub(in super::super) fn tensors(names: &[&str]) -> Tensors {
        let zero = Tensor::zeros((), DType::F32, &Device::Cpu).unwrap();
        let named = names.iter().map(|name| (name.to_string(), zero.clone()));
        named.collect()
    }

    pub(in super::super) fn names(tensors: &Tensors) -> Vec<&str> {
        tensors.keys().map(String::as_str).collect()
    }

    #[test]
    fn two_tensors_of_one_name_are_an_error() {
        let error = renamed(tensors(&["a", "b"]), |_| Some("c".into())).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("b and another tensor are both c")
        );
    }
}
