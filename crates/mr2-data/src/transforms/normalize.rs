//! From bytes to numbers: `torchvision.transforms.ToTensor`, then `Normalize`. There are only 256
//! bytes, so that a table for each channel gives the same bits as the arithmetic, faster.

use super::Canvas;
use crate::error::{Error, Result};

/// What each byte becomes, for each channel.
pub(crate) type Tables = Vec<[f32; 256]>;

pub(crate) fn validate(mean: &[f64], std: &[f64]) -> Result<()> {
    if mean.is_empty() || mean.len() != std.len() {
        let reason = format!(
            "expected as many as `mean` has ({}), got {}",
            mean.len(),
            std.len()
        );
        return Err(Error::config("normalize.std", reason));
    }
    if mean.iter().any(|value| !value.is_finite()) {
        let reason = format!("expected finite numbers, got {mean:?}");
        return Err(Error::config("normalize.mean", reason));
    }
    if std.iter().any(|value| !value.is_finite() || *value <= 0.0) {
        let reason = format!("expected finite numbers above 0, got {std:?}");
        return Err(Error::config("normalize.std", reason));
    }
    Ok(())
}

/// Torch's arithmetic: mean and std are rounded to f32, each operation is in f32.
pub(crate) fn tables(mean: &[f64], std: &[f64]) -> Tables {
    let table = |(&mean, &std): (&f64, &f64)| {
        let value = |byte: usize| (byte as f32 / 255.0 - mean as f32) / std as f32;
        std::array::from_fn(value)
    };
    mean.iter().zip(std).map(table).collect()
}

/// Writes the canvas as (channel, height, width) through the tables.
pub(crate) fn write(canvas: &Canvas, tables: &[[f32; 256]], output: &mut [f32]) {
    let planes = output.chunks_exact_mut((canvas.height * canvas.width).max(1));
    for (channel, (plane, table)) in planes.zip(tables).enumerate() {
        let bytes = canvas.pixels()[channel..].iter().step_by(canvas.channels);
        for (value, &byte) in plane.iter_mut().zip(bytes) {
            *value = table[byte as usize];
        }
    }
}
