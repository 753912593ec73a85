//! A linear axis with round numbers on it.

/// Room beyond the values at each end, as a share of their range.
const MARGIN: f64 = 0.04;

/// The range of an axis and where its ticks are.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    /// An axis a little longer than what holds all of `values`, with at least about `ticks` ticks;
    /// it doesn't reach below 0 where no value does. Without values it runs from 0 to 1.
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
            return Self::new(low - margin, high + margin, ticks);
        }
        let margin = MARGIN * (high - low);
        let floor = if low >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
        Self::new((low - margin).max(floor), high + margin, ticks)
    }

    /// An axis from 0 to `high`, which is positive, with at least about `ticks` ticks.
    pub fn from_zero(high: f64, ticks: usize) -> Self {
        Self::new(0.0, high, ticks)
    }

    fn new(low: f64, high: f64, ticks: usize) -> Self {
        let step = round_step((high - low) / ticks.max(1) as f64);
        Self { low, high, step }
    }

    /// Whole percents from `low`, rounded down to a tick, to 100.
    pub fn percent(low: f64) -> Self {
        let low = low.clamp(0.0, 0.98);
        let step = match low {
            low if low < 0.2 => 0.2,
            low if low < 0.75 => 0.1,
            low if low < 0.9 => 0.05,
            _ => 0.02,
        };
        // A value on the tick itself would be cut in half by the edge.
        let low = ((low / step - 1e-9).floor() * step).max(0.0);
        Self {
            low,
            high: 1.0,
            step,
        }
    }

    /// Where `value` lies: 0 at the low end, 1 at the high end.
    pub fn share(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// The numbers at the ticks: the multiples of the step that lie on the axis.
    pub fn ticks(&self) -> Vec<f64> {
        let first = (self.low / self.step - 1e-6).ceil() as i64;
        let last = (self.high / self.step + 1e-6).floor() as i64;
        (first..=last).map(|i| self.step * i as f64).collect()
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

/// 1, 2 or 5 times a power of ten, not above `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let digit = step / power;
    power
        * [5.0, 2.0]
            .into_iter()
            .find(|d| digit >= d - 1e-9)
            .unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_the_axis_is_filled_by_the_values() {
        let axis = Axis::around([1.31, 2.84], 4);
        let labels: Vec<String> = axis.ticks().iter().map(|&t| axis.label(t)).collect();
        assert_eq!(
            labels,
            ["1.4", "1.6", "1.8", "2.0", "2.2", "2.4", "2.6", "2.8"]
        );
        assert!(axis.share(1.31) > 0.0 && axis.share(1.31) < 0.05);
        assert!(axis.share(2.84) < 1.0 && axis.share(2.84) > 0.95);
        assert_eq!(Axis::around([], 2).ticks(), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn an_axis_of_values_that_are_not_negative_begins_at_0_at_the_earliest() {
        assert_eq!(Axis::around([0.0, 3.0], 4).share(0.0), 0.0);
        assert!(Axis::around([-0.1, 3.0], 4).share(-0.1) > 0.0);
    }

    #[test]
    fn a_constant_stands_in_the_middle() {
        assert_eq!(Axis::around([2.0, 2.0], 4).share(2.0), 0.5);
    }

    #[test]
    fn percent_axes_end_at_100_and_hold_the_lowest_value() {
        assert_eq!(Axis::percent(0.61).ticks().len(), 5);
        for low in [0.0, 0.1, 0.32, 0.6, 0.77, 0.95, 1.0] {
            let axis = Axis::percent(low);
            assert_eq!(axis.share(1.0), 1.0);
            assert!(axis.share(low) > 0.0 || low == 0.0, "{low}");
            assert!((2..=8).contains(&axis.ticks().len()), "{low}");
        }
    }
}
