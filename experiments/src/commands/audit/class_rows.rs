//! What an audit says of each class.

use mr2_metrics::{Confusion, Interval, PerClass};
use serde::Serialize;

use super::predictions::Audited;

/// The normal quantile of a 95 % interval.
const Z: f64 = 1.959_963_984_540_054;

/// One class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassRow {
    /// Its index.
    pub class: usize,
    /// Its name.
    pub name: String,
    /// Images of it.
    pub images: u64,
    /// Those predicted correctly.
    pub correct: u64,
    /// Accuracy (recall); `None` without images.
    pub accuracy: Option<f64>,
    /// Wilson's 95 % interval.
    pub interval: Option<Interval>,
    /// How often other images were taken for it.
    pub wrongly_predicted: u64,
    /// What its images are most often taken for; `None` where all are right or there are none.
    pub most_taken_for: Option<TakenFor>,
}

/// Another class that images are taken for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TakenFor {
    /// Its index.
    pub class: usize,
    /// Its name.
    pub name: String,
    /// How many images.
    pub images: u64,
}

/// Every class: those with images in `order`, then those without.
pub fn class_rows(
    audited: &Audited,
    per_class: &PerClass,
    confusion: &Confusion,
    order: &[usize],
) -> Vec<ClassRow> {
    let classes = per_class.classes();
    let mut wrongly_predicted = vec![0; classes];
    let mut most: Vec<Option<(u32, u64)>> = vec![None; classes];
    for cell in confusion
        .cells()
        .iter()
        .filter(|cell| cell.label != cell.prediction)
    {
        wrongly_predicted[cell.prediction as usize] += cell.count;
        let slot = &mut most[cell.label as usize];
        if slot.is_none_or(|(_, count)| cell.count > count) {
            *slot = Some((cell.prediction, cell.count));
        }
    }
    let absent = (0..classes).filter(|&k| per_class.count[k] == 0);
    let rows = order.iter().copied().chain(absent).map(|class| {
        let (correct, images) = (per_class.correct[class], per_class.count[class]);
        ClassRow {
            class,
            name: audited.class_names[class].clone(),
            images,
            correct,
            accuracy: per_class.accuracy(class),
            interval: wilson(correct, images),
            wrongly_predicted: wrongly_predicted[class],
            most_taken_for: most[class].map(|(k, images)| TakenFor {
                class: k as usize,
                name: audited.class_names[k as usize].clone(),
                images,
            }),
        }
    });
    rows.collect()
}

/// Wilson's score interval of a share: it stays inside [0, 1] and has a width for 0 and for all,
/// which the bootstrap hasn't.
pub fn wilson(correct: u64, images: u64) -> Option<Interval> {
    if images == 0 {
        return None;
    }
    let (n, share) = (images as f64, correct as f64 / images as f64);
    let spread = 1.0 + Z * Z / n;
    let centre = (share + Z * Z / (2.0 * n)) / spread;
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt() / spread;
    Some(Interval {
        low: (centre - half).max(0.0),
        high: (centre + half).min(1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::wilson;

    #[test]
    fn wilsons_interval_is_the_textbooks() {
        // Newcombe 1998, table I: 81 of 263, 0.2553 to 0.3662; 0 of 20, 0 to 0.1611.
        let interval = wilson(81, 263).expect("there are images");
        assert!((interval.low - 0.2553).abs() < 5e-5 && (interval.high - 0.3662).abs() < 5e-5);
        let none = wilson(0, 20).expect("there are images");
        assert!(none.low < 1e-12 && (none.high - 0.1611).abs() < 5e-5);
        assert!(wilson(0, 0).is_none());
    }
}
