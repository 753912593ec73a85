//! Which of the measured algorithms runs.

use candle_core::{Result, bail};

/// One algorithm as it was measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured<A> {
    pub(super) algorithm: A,
    pub(super) ran: bool,
    pub(super) milliseconds: f32,
    /// Of workspace.
    pub(super) bytes: usize,
    /// Whether it gives the same bits every time.
    pub(super) deterministic: bool,
    /// Whether products are rounded to fewer digits than f32 has.
    pub(super) reduced: bool,
}

/// The fastest that ran and keeps f32's digits if `exact`; of those that give the same bits every time, if any does.
pub(super) fn choose<A: Copy>(
    what: &str,
    measured: &[Measured<A>],
    exact: bool,
) -> Result<Measured<A>> {
    let fastest = measured
        .iter()
        .filter(|one| one.ran && !(exact && one.reduced))
        .min_by(|a, b| {
            let by_time = a.milliseconds.total_cmp(&b.milliseconds);
            b.deterministic.cmp(&a.deterministic).then(by_time)
        });
    match fastest {
        Some(fastest) => Ok(*fastest),
        None => bail!("{what}: cuDNN has no algorithm for these sizes"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn measured(algorithm: u8, milliseconds: f32) -> Measured<u8> {
        Measured {
            algorithm,
            ran: true,
            milliseconds,
            bytes: 0,
            deterministic: true,
            reduced: false,
        }
    }

    #[test]
    fn the_fastest_that_may_run_is_chosen() {
        let all = [
            Measured {
                ran: false,
                ..measured(0, 0.1)
            },
            Measured {
                deterministic: false,
                ..measured(1, 0.2)
            },
            Measured {
                reduced: true,
                ..measured(2, 0.3)
            },
            measured(3, 0.5),
            measured(4, 0.4),
        ];
        assert_eq!(choose("conv2d", &all, true).unwrap().algorithm, 4);
        assert_eq!(choose("conv2d", &all, false).unwrap().algorithm, 2);
        assert_eq!(choose("conv2d", &all[..2], true).unwrap().algorithm, 1);
        let error = choose("conv2d", &all[..1], false).unwrap_err().to_string();
        assert!(error.contains("conv2d"), "{error}");
    }
}
