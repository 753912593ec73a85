//! A counter-based random generator: every number is a pure function of a seed and an index.
//!
//! There is no state to save, so a run that resumes draws what the uninterrupted run would have
//! drawn, and numbers don't depend on the order or the thread in which they are asked for.
//! `tests/reference/hash_rng.py` holds the same four functions in Python; a test compares them.
//!
//! ```
//! use mr2_nn::rng;
//! let weights = rng::stream(7, "conv1.weight"); // a seed of its own for every name
//! assert_ne!(weights, rng::stream(7, "conv2.weight"));
//! assert_eq!(rng::normal(weights, 3), rng::normal(weights, 3));
//! ```

/// The step of the counter: 2^64 divided by the golden ratio, as in SplitMix64.
const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// Number `index` of the SplitMix64 sequence (Steele, Lea, Flood 2014) that starts at `seed`.
pub fn hash(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN_GAMMA));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number in `[0, 1)` with 53 random bits.
pub fn uniform(seed: u64, index: u64) -> f64 {
    (hash(seed, index) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// A standard normal number: the cosine branch of Box and Muller on two uniform numbers.
pub fn normal(seed: u64, index: u64) -> f64 {
    // 1 - u lies in (0, 1], so the logarithm is finite.
    let radius = (-2.0 * (1.0 - uniform(seed, 2 * index)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(seed, 2 * index + 1)).cos()
}

/// The seed of the stream called `name` below `seed`: FNV-1a (64 bits) of the name, hashed.
pub fn stream(seed: u64, name: &str) -> u64 {
    let fnv = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325, |state: u64, byte| {
            (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
    hash(seed, fnv)
}
