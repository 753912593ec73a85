//! Which of cuDNN's engines are measured, and which of those runs.

/// What cuDNN notes of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traits {
    /// Whether it gives the same bits every time.
    pub(super) deterministic: bool,
    /// Whether it works on tensor cores, which round factors in f32 to TF32's digits.
    pub(super) tensor_cores: bool,
    /// Whether it sums in less than f32.
    pub(super) narrow_sums: bool,
    /// Whether cuDNN compiles it when it is first used, which takes a second or so.
    pub(super) compiled: bool,
}

/// Engines that are timed for one pass of one shape.
const TIMED: usize = 8;

impl Traits {
    /// Whether a pass may use it; `exact` keeps all digits of f32.
    fn may_run(self, exact: bool) -> bool {
        !(self.narrow_sums || exact && self.tensor_cores)
    }
}

/// Of engines in cuDNN's order, the places of those to try, best first: those that give the same bits every time before the
/// others, those that are there before those that would be compiled.
pub(super) fn to_try(engines: &[Traits], exact: bool) -> Vec<usize> {
    let mut places: Vec<usize> = (0..engines.len())
        .filter(|&place| engines[place].may_run(exact))
        .collect();
    places.sort_by_key(|&place| (!engines[place].deterministic, engines[place].compiled));
    places
}

/// Whether the next of [`to_try`] is worth its time, after those that `ran`.
pub(super) fn goes_on(ran: &[Traits], next: Traits) -> bool {
    let better =
        |one: &Traits| (one.deterministic, !one.compiled) > (next.deterministic, !next.compiled);
    ran.len() < TIMED && !ran.iter().any(better)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Traits = Traits {
        deterministic: true,
        tensor_cores: false,
        narrow_sums: false,
        compiled: false,
    };
    const ANY_ORDER: Traits = Traits {
        deterministic: false,
        ..PLAIN
    };
    const TENSOR_CORES: Traits = Traits {
        tensor_cores: true,
        ..PLAIN
    };
    const COMPILED: Traits = Traits {
        compiled: true,
        ..PLAIN
    };
    const NARROW: Traits = Traits {
        narrow_sums: true,
        ..PLAIN
    };

    #[test]
    fn the_same_bits_come_first_and_f32_keeps_its_digits() {
        let all = [ANY_ORDER, NARROW, COMPILED, TENSOR_CORES, PLAIN];
        assert_eq!(to_try(&all, false), [3, 4, 2, 0]);
        assert_eq!(to_try(&all, true), [4, 2, 0]);
        assert!(to_try(&[NARROW], false).is_empty());
    }

    #[test]
    fn worse_engines_are_tried_only_where_no_better_one_runs() {
        assert!(goes_on(&[], ANY_ORDER) && goes_on(&[PLAIN], TENSOR_CORES));
        assert!(!goes_on(&[PLAIN], COMPILED) && !goes_on(&[COMPILED], ANY_ORDER));
        assert!(goes_on(&[ANY_ORDER], ANY_ORDER));
        assert!(!goes_on(&[PLAIN; TIMED], PLAIN));
    }
}
