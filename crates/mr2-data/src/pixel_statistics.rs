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
        let moment = |power: u32| {
            let terms = histogram.iter().enumerate();
            let sum: u128 = terms
                .map(|(byte, &n)| (byte as u128).pow(power) * n as u128)
                .sum();
            sum as f64
        };
        let count = moment(0);
        let mean = moment(1) / count;
        // Variance from exact sums: n Σx² - (Σx)² has no rounding before this point.
        let variance = (count * moment(2) - moment(1) * moment(1)) / (count * count);
        means.push(mean / 255.0);
        stds.push(variance.max(0.0).sqrt() / 255.0);
    }
    Ok(PixelStatistics {
        mean: means,
        std: stds,
    })
}
