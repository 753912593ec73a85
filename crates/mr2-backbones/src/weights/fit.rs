//! Strict loading: every tensor of the model is given, nothing else is, and all numbers are finite.

use std::collections::HashMap;

use candle_core::{CpuStorage, Device, Storage, Tensor};
use mr2_nn::params::ParamStore;

use super::{Error, Result, Tensors};

/// Sets the parameters and buffers of a model; returns the names of those left as they were initialised, in
/// the model's order.
///
/// `allow_missing` says what may be absent, as patterns in which `*` stands for any characters:
/// `head.*`. It excuses no tensor that is there with another shape. `num_batches_tracked`, which PyTorch keeps
/// beside running statistics, is passed over.
///
/// # Shapes
/// Each tensor has the shape of the one that it replaces.
///
/// # Errors
/// One error names all that is missing, unexpected, of another shape or not finite; then nothing is changed.
pub fn fit(params: &ParamStore, tensors: Tensors, allow_missing: &[String]) -> Result<Vec<String>> {
    let tensors: HashMap<String, Tensor> = tensors.into_iter().collect();
    let may_miss = |name: &str| allow_missing.iter().any(|pattern| matches(pattern, name));
    let mut problems = params.differences(&tensors, may_miss);
    let mut names: Vec<&String> = tensors.keys().collect();
    names.sort_unstable();
    for name in names {
        let tensor = &tensors[name];
        let (wrong, all) = (not_finite(tensor)?, tensor.elem_count());
        if wrong > 0 {
            problems.push(format!("not finite: {name}: {wrong} of its {all} values"));
        }
    }
    if !problems.is_empty() {
        return Err(Error::Fit { problems });
    }
    Ok(params.load_present(&tensors, may_miss)?)
}

/// Whether `*` in the pattern can be filled so that it is the name.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(name) = name.strip_prefix(start) else {
        return false;
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut name) = name.strip_suffix(end) else {
        return false;
    };
    // What lies between stars is taken where it comes first: that leaves the most for the rest.
    for part in middle.split('*') {
        match name.split_once(part) {
            Some((_, after)) => name = after,
            None => return false,
        }
    }
    true
}

/// How many values are NaN or infinite.
fn not_finite(tensor: &Tensor) -> Result<usize> {
    let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        return Ok(0);
    };
    let (start, len) = (layout.start_offset(), layout.shape().elem_count());
    let range = start..start + len;
    Ok(match storage {
        CpuStorage::F64(values) => values[range].iter().filter(|v| !v.is_finite()).count(),
        CpuStorage::F32(values) => values[range].iter().filter(|v| !v.is_finite()).count(),
        CpuStorage::F16(values) => values[range].iter().filter(|v| !v.is_finite()).count(),
        CpuStorage::BF16(values) => values[range].iter().filter(|v| !v.is_finite()).count(),
        _ => 0,
    })
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name) in [
            ("head.*", "head.weight"),
            ("head.*", "head.fc.bias"),
            ("*", "head"),
            ("*.bias", "a.b.bias"),
            ("blocks.*.attn.*", "blocks.3.attn.qkv.weight"),
            ("*a*a", "aa"),
            ("*.b*.c", "a.b.c"),
            ("fc.weight", "fc.weight"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("head.*", "head"),
            ("head", "head.weight"),
            ("a*a", "a"),
            ("*.bias", "bias"),
            ("blocks.*.attn.*", "blocks.attn.qkv"),
            ("*a*a", "a"),
            ("", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
