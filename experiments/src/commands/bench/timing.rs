//! The median time of repeated work, on the wall and on the CPU.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;

/// What repeated work took. The peers in experiments/bench print the same object.
#[derive(Serialize)]
pub(super) struct Timing {
    /// Wall time of a repetition, the median.
    seconds: f64,
    /// CPU time of all threads in a repetition, the median; `None` where the system doesn't tell.
    cpu_seconds: Option<f64>,
    /// How many there were.
    repetitions: u32,
    /// The loss of the last one.
    loss: f64,
    /// Trainable parameters of the network, where the work has one: a peer's must be as many.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<usize>,
}

impl Timing {
    /// Repeats `work`, which returns its loss, without counting the first `warm_up` times.
    ///
    /// # Errors
    /// Those of `work`; a loss that isn't finite, since arithmetic on NaN isn't timed for anyone.
    pub(super) fn of(
        warm_up: u32,
        repetitions: u32,
        mut work: impl FnMut() -> Result<f64>,
    ) -> Result<Self> {
        Self::of_prepared(warm_up, repetitions, || Ok(()), |()| work())
    }

    /// As [`Timing::of`], with what `prepare` makes for each repetition before the clock starts.
    ///
    /// # Errors
    /// As [`Timing::of`]; those of `prepare`.
    pub(super) fn of_prepared<P>(
        warm_up: u32,
        repetitions: u32,
        mut prepare: impl FnMut() -> Result<P>,
        mut work: impl FnMut(P) -> Result<f64>,
    ) -> Result<Self> {
        for _ in 0..warm_up {
            work(prepare()?)?;
        }
        let (mut wall, mut cpu, mut loss) = (Vec::new(), Vec::new(), f64::NAN);
        for _ in 0..repetitions {
            let prepared = prepare()?;
            let (start, start_cpu) = (Instant::now(), cpu_time());
            loss = work(prepared)?;
            wall.push(start.elapsed().as_secs_f64());
            if let (Some(before), Some(after)) = (start_cpu, cpu_time()) {
                cpu.push(after.saturating_sub(before).as_secs_f64());
            }
        }
        if !loss.is_finite() {
            bail!("the loss is {loss} after {repetitions} repetitions; expected a finite number");
        }
        let Some(seconds) = median(&mut wall) else {
            bail!("repetitions must be at least 1, got 0");
        };
        Ok(Self {
            seconds,
            cpu_seconds: median(&mut cpu),
            repetitions,
            loss,
            parameters: None,
        })
    }

    /// With the number of the network's parameters.
    pub(super) fn with_parameters(mut self, parameters: usize) -> Self {
        self.parameters = Some(parameters);
        self
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ms", self.seconds * 1e3)?;
        if let Some(cpu) = self.cpu_seconds {
            write!(f, " (CPU {:.3} ms)", cpu * 1e3)?;
        }
        write!(f, ", median of {}", self.repetitions)
    }
}

/// The middle value, or the mean of the middle two.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some((values[low] + values[high]) / 2.0)
}

/// CPU time of all threads of this process.
#[cfg(unix)]
fn cpu_time() -> Option<Duration> {
    use rustix::time::{ClockId, clock_gettime};
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).ok()
}

#[cfg(not(unix))]
fn cpu_time() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&mut []), None);
    }

    #[test]
    fn the_warm_up_is_not_timed() {
        let mut calls = 0;
        let timing = Timing::of(1, 3, || {
            calls += 1;
            if calls == 1 {
                std::thread::sleep(Duration::from_millis(200));
            }
            Ok(0.5)
        })
        .expect("the work has no errors");
        assert_eq!((calls, timing.repetitions, timing.loss), (4, 3, 0.5));
        assert!(timing.seconds < 0.1, "{}", timing.seconds);
    }

    #[test]
    fn work_on_the_cpu_takes_cpu_time() {
        let timing = Timing::of(0, 1, || {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(20) {
                std::hint::spin_loop();
            }
            Ok(0.0)
        })
        .expect("the work has no errors");
        // Less than the wall time where others have the core; other tests of the process count too.
        assert!(timing.cpu_seconds.is_none_or(|cpu| cpu > 1e-4));
        assert_eq!(timing.cpu_seconds.is_some(), cfg!(unix));
    }

    #[test]
    fn a_loss_that_is_nan_is_refused() {
        let refused = Timing::of(0, 1, || Ok(f64::NAN));
        assert!(refused.is_err());
    }
}
