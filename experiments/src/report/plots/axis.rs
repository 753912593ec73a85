//! A linear axis with round numbers on it.

/// The range of an axis and where its ticks are.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    /// An axis that holds all of `values`, from tick to tick, with about `ticks` of them.
    /// Without values it runs from 0 to 1.
    pub fn around(values: impl IntoIterator<Item = f64>, ticks: usize) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.into_iter().filter(|v| v.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        // A constant, such as γ of plain cross-entropy, stands in the middle.
        if high - low <= 1e-9 * high.abs().max(1e-9) {
            let margin = if high == 0.0 { 1.0 } else { 0.5 * high.abs() };
            (low, high) = (low - margin, high + margin);
        }
        let step = round_step((high - low) / ticks.max(1) as f64);
        Self {
            low: (low / step).floor() * step,
            high: (high / step).ceil() * step,
            step,
        }
    }

    /// Whole percents from `low` (rounded down to a multiple of ten) to 100.
    pub fn percent(low: f64) -> Self {
        let low = ((low * 10.0 - 1e-9).floor() / 10.0).clamp(0.0, 0.9);
        Self {
            low,
            high: 1.0,
            step: if low < 0.5 { 0.2 } else { 0.1 },
        }
        .on_tick()
    }

    fn on_tick(self) -> Self {
        Self {
            low: (self.low / self.step + 1e-9).floor() * self.step,
            ..self
        }
    }

    /// Where `value` lies: 0 at the low end, 1 at the high end.
    pub fn share(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// The numbers at the ticks.
    pub fn ticks(&self) -> Vec<f64> {
        let count = ((self.high - self.low) / self.step).round() as usize;
        (0..=count)
            .map(|i| self.low + self.step * i as f64)
            .collect()
    }

    /// A tick's number with as many digits as the step has.
    pub fn label(&self, tick: f64) -> String {
        if self.step >= 1e5 || self.step < 1e-4 {
            return format!("{tick:.1e}");
        }
        let decimals = (-self.step.log10().floor()).max(0.0) as usize;
        format!("{:.decimals$}", tick + 0.0)
    }
}

/// 1, 2 or 5 times a power of ten, not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let digit = step / power;
    power
        * [1.0, 2.0, 5.0]
            .into_iter()
            .find(|d| digit <= d + 1e-9)
            .unwrap_or(10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_the_values() {
        let axis = Axis::around([1.31, 2.84], 5);
        assert_eq!(
            axis.ticks()
                .iter()
                .map(|&t| axis.label(t))
                .collect::<Vec<_>>(),
            ["1.0", "1.5", "2.0", "2.5", "3.0"]
        );
        assert_eq!(Axis::around([], 4).ticks(), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn a_constant_stands_in_the_middle() {
        assert_eq!(Axis::around([2.0, 2.0], 4).share(2.0), 0.5);
    }

    #[test]
    fn percent_axes_end_at_100() {
        assert_eq!(Axis::percent(0.61).ticks().len(), 5);
        assert!(Axis::percent(0.95).share(1.0) == 1.0);
        assert!(Axis::percent(0.32).share(0.32) > 0.0);
    }
}
