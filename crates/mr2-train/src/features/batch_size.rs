//! How many images go through a network at once, and how many rows into a file.

use super::FeatureType;

/// Activations of the largest layer's size that are alive at once in evaluation: a layer's input and output,
/// a skip connection and scratch.
const LARGEST_ALIVE: u64 = 4;
/// Batches that each thread of a loader holds: one being made, two waiting ([`mr2_data::Epoch`]).
const BATCHES_PER_WORKER: u64 = 3;
/// Beyond this a batch gains nothing: every product is large enough.
const MOST_IMAGES: u64 = 256;
/// Bytes of features in a file: few files for a large data set, little lost in a kill.
const SHARD_BYTES: usize = 64 << 20;

/// The largest power of two of images whose activations take at most half of `memory_bytes`, from 1 to 256.
///
/// An image takes 4 bytes for each of its own values in every batch that is under way (one computed, three for
/// each of `workers` threads), and for four times `largest_activation`, the values of one image in the network's
/// largest layer (for a ViT 4 × tokens × width, of the MLP; for a ResNet-50 64 × 112 × 112). The other half of the
/// memory is for weights and what else runs.
pub fn images_per_batch(
    memory_bytes: u64,
    image_shape: [usize; 3],
    largest_activation: usize,
    workers: usize,
) -> usize {
    let image = image_shape
        .iter()
        .fold(1u64, |product, &side| product.saturating_mul(side as u64));
    let under_way = (workers as u64)
        .saturating_mul(BATCHES_PER_WORKER)
        .saturating_add(1);
    let activations = (largest_activation as u64).saturating_mul(LARGEST_ALIVE);
    let values = image.saturating_mul(under_way).saturating_add(activations);
    let fit = (memory_bytes / 2 / values.saturating_mul(4).max(1)).clamp(1, MOST_IMAGES);
    1 << fit.ilog2()
}

/// Bytes of memory that a program may take now, as Linux estimates them; `None` elsewhere. A container's own
/// limit may be lower.
pub fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Rows of a shard of about 64 MiB.
pub fn images_per_shard(feature_dim: usize, dtype: FeatureType) -> usize {
    (SHARD_BYTES / (feature_dim * dtype.bytes()).max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_takes_at_most_half_of_the_memory() {
        // ResNet-50 at 224: 3 * 224 * 224 * 7 + 4 * 64 * 112 * 112 values of 4 bytes, 17 MB an image.
        let resnet50 = |memory| images_per_batch(memory, [3, 224, 224], 64 * 112 * 112, 2);
        assert_eq!(resnet50(16 << 30), 256);
        assert_eq!(resnet50(4 << 30), 64);
        assert_eq!(resnet50(0), 1);
        assert_eq!(
            images_per_batch(u64::MAX, [usize::MAX; 3], usize::MAX, usize::MAX),
            1
        );
        assert_eq!(images_per_shard(2048, FeatureType::F32), 8192);
        assert_eq!(images_per_shard(usize::MAX / 8, FeatureType::F16), 1);
    }
}
