//! A step along a direction that satisfies the strong Wolfe conditions.

/// The least decrease, of what the slope promises (the constants of L-BFGS-B, Moré and Thuente 1994).
const DECREASE: f64 = 1e-3;

/// The largest slope at the end, of that at the beginning.
const FLATNESS: f64 = 0.9;

/// Trials before the search gives up, as scikit-learn asks for.
const TRIALS: usize = 50;

/// Where the function has been looked at.
#[derive(Clone, Copy)]
struct Point {
    step: f64,
    value: f64,
    slope: f64,
}

/// The step, or nothing where rounding hides every decrease. `at` gives value and slope at a step; `first` is tried
/// first; differences up to `noise` are none. The last step that was looked at is the one that is returned.
pub(super) fn step(
    value: f64,
    slope: f64,
    first: f64,
    noise: f64,
    mut at: impl FnMut(f64) -> (f64, f64),
) -> Option<f64> {
    // The best point that decreases enough, and the other end of the interval that holds a good one.
    let mut low = Point {
        step: 0.0,
        value,
        slope,
    };
    let mut high: Option<Point> = None;
    let mut step = first;
    for _ in 0..TRIALS {
        let (found, found_slope) = at(step);
        let point = Point {
            step,
            value: found,
            slope: found_slope,
        };
        let enough = found <= value + DECREASE * step * slope + noise;
        if !found.is_finite() || !enough || found > low.value + noise {
            high = Some(point);
        } else {
            if found_slope.abs() <= FLATNESS * slope.abs() {
                return Some(step);
            }
            let beyond = match high {
                Some(high) => found_slope * (high.step - low.step) >= 0.0,
                None => found_slope >= 0.0,
            };
            if beyond {
                high = Some(low);
            }
            low = point;
        }
        step = match high {
            None => 4.0 * step,
            Some(high) => between(low, high),
        };
        if step == low.step {
            return None;
        }
    }
    None
}

/// The minimum of the cubic through both points, kept away from the ends.
fn between(low: Point, high: Point) -> f64 {
    let width = high.step - low.step;
    let middle = low.step + 0.5 * width;
    if !high.value.is_finite() || !high.slope.is_finite() {
        return middle;
    }
    let bend = low.slope + high.slope - 3.0 * (high.value - low.value) / width;
    let root = (bend * bend - low.slope * high.slope).sqrt() * width.signum();
    let step =
        high.step - width * (high.slope + root - bend) / (high.slope - low.slope + 2.0 * root);
    if !step.is_finite() {
        return middle;
    }
    let (least, most) = (low.step + 0.1 * width, high.step - 0.1 * width);
    step.clamp(least.min(most), least.max(most))
}
