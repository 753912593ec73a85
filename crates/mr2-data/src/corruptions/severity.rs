//! The parameters of every kind at severities 1 to 5: those of CIFAR-10-C, from
//! hendrycks/robustness ImageNet-C/create_c/make_cifar_c.py, where pixels are in 0..=1.

/// Standard deviation.
pub(super) const GAUSSIAN: [f64; 5] = [0.04, 0.06, 0.08, 0.09, 0.10];
/// Photons at full brightness.
pub(super) const SHOT: [f64; 5] = [500.0, 250.0, 100.0, 75.0, 50.0];
/// Share of the bytes.
pub(super) const IMPULSE: [f64; 5] = [0.01, 0.02, 0.03, 0.05, 0.07];
/// Radius of the disk, deviation of the blur that smooths its edge.
pub(super) const DEFOCUS: [(f64, f64); 5] =
    [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)];
/// Deviation of the blurs, largest move, rounds.
pub(super) const GLASS: [(f64, usize, usize); 5] = [
    (0.05, 1, 1),
    (0.25, 1, 1),
    (0.4, 1, 1),
    (0.25, 1, 2),
    (0.4, 1, 2),
];
/// Radius, deviation.
pub(super) const MOTION: [(usize, f64); 5] = [(6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5)];
/// Number of enlargements 1.00, 1.01, ... (what `np.arange(1, 1.06, 0.01)` and so on hold).
pub(super) const ZOOM: [usize; 5] = [7, 12, 16, 21, 26];

/// Flakes: mean, deviation, enlargement, smallest value, radius and deviation of the streaks; share
/// that the image keeps of its colours.
pub(super) struct Snow {
    pub mean: f64,
    pub deviation: f64,
    pub zoom: f64,
    pub least: f64,
    pub streak: (usize, f64),
    pub keep: f64,
}

const fn snow([mean, deviation, zoom, least]: [f64; 4], streak: (usize, f64), keep: f64) -> Snow {
    Snow {
        mean,
        deviation,
        zoom,
        least,
        streak,
        keep,
    }
}

pub(super) const SNOW: [Snow; 5] = [
    snow([0.1, 0.2, 1.0, 0.6], (8, 3.0), 0.95),
    snow([0.1, 0.2, 1.0, 0.5], (10, 4.0), 0.9),
    snow([0.15, 0.3, 1.75, 0.55], (10, 4.0), 0.9),
    snow([0.25, 0.3, 2.25, 0.6], (12, 6.0), 0.85),
    snow([0.3, 0.3, 1.25, 0.65], (14, 12.0), 0.8),
];
/// Weights of the image and of the frost.
pub(super) const FROST: [(f64, f64); 5] = [
    (1.0, 0.2),
    (1.0, 0.3),
    (0.9, 0.4),
    (0.85, 0.4),
    (0.75, 0.45),
];
/// Weight of the fog, how fast its details fade.
pub(super) const FOG: [(f64, f64); 5] =
    [(0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)];
/// Added to the value.
pub(super) const BRIGHTNESS: [f64; 5] = [0.05, 0.1, 0.15, 0.2, 0.3];
/// Share of the contrast that is kept.
pub(super) const CONTRAST: [f64; 5] = [0.75, 0.5, 0.4, 0.3, 0.15];
/// Height and deviation of the displacements, largest move of the affine map's three points; as
/// shares of the image's shorter side.
pub(super) const ELASTIC: [(f64, f64, f64); 5] = [
    (0.0, 0.0, 0.08),
    (0.05, 0.2, 0.07),
    (0.08, 0.06, 0.06),
    (0.1, 0.04, 0.05),
    (0.1, 0.03, 0.03),
];
/// Share of the sides that is kept.
pub(super) const PIXELATE: [f64; 5] = [0.95, 0.9, 0.85, 0.75, 0.65];
/// Quality.
pub(super) const JPEG: [u8; 5] = [80, 65, 58, 50, 40];
