//! Mean and standard deviation of the pixels of a set, for a descriptor.

use crate::error::Result;
use crate::image_set::ImageSet;

/// Statistics of each channel over all pixels of all images, pixels in 0..=1.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelStatistics {
    /// Mean of each channel.
    pub mean: Vec<f64>,
    /// Standard deviation of each channel (divided by n).
    pub std: Vec<f64>,
}

/// Computes the statistics of a set; the sums are exact. NaN for an empty set.
///
/// # Errors
/// An image that cannot be read.
pub fn pixel_statistics(set: &ImageSet) -> Result<PixelStatistics> {
    let channels = set.channels();
    let mut histograms = vec![[0u64; 256]; channels];
    for index in 0..set.len() {
        let image = set.image(index)?;
        for pixel in image.pixels.chunks_exact(channels) {
            for (histogram, &byte) in histograms.iter_mut().zip(pixel) {
                histogram[byte as usize] += 1;
            }
        }
    }
    let (mut means, mut stds) = (Vec::new(), Vec::new());
    for histogram in &histograms {
        let sum = |power: u32| -> u128 {
            let terms = histogram.iter().enumerate();
            terms
                .map(|(byte, &n)| (byte as u128).pow(power) * u128::from(n))
                .sum()
        };
        // n² times the variance, in whole numbers: nothing cancels.
        let (count, total) = (sum(0), sum(1));
        let spread = count * sum(2) - total * total;
        means.push(total as f64 / count as f64 / 255.0);
        stds.push((spread as f64).sqrt() / count as f64 / 255.0);
    }
    Ok(PixelStatistics {
        mean: means,
        std: stds,
    })
}
