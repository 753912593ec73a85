//! The most that the CPU and its memory give.

use crate::kernels::machine::{multiply_add, operations_per_turn, read};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Turns of the register loop between two looks at the clock: about a millisecond.
const TURNS: usize = 200_000;
/// The best of so many counts, since others may have the core meanwhile.
const TRIES: usize = 60;
/// Passes over memory, of which the best counts.
const PASSES: usize = 5;

/// Floating-point operations (a multiply-add is two) a second in f32 that all threads together reach in registers.
pub fn fma_peak() -> f64 {
    let rates = rayon::broadcast(|_| {
        best(TRIES, || {
            black_box(multiply_add(black_box(TURNS)));
        })
    });
    let operations = (TURNS * operations_per_turn()) as f64;
    rates.iter().map(|seconds| operations / seconds).sum()
}

/// Bytes a second that all threads together read from a buffer of `bytes`, which must be larger than the caches to mean
/// memory.
pub fn read_bandwidth(bytes: usize) -> f64 {
    let values = filled(bytes);
    let part = values.len().div_ceil(rayon::current_num_threads()).max(1);
    let seconds = best(PASSES, || {
        black_box(values.par_chunks(part).map(read).sum::<f32>());
    });
    (4 * values.len()) as f64 / seconds
}

/// Bytes a second, read and written together, that all threads together copy between two buffers of `bytes` each.
pub fn copy_bandwidth(bytes: usize) -> f64 {
    let (from, mut to) = (filled(bytes), filled(bytes));
    let part = from.len().div_ceil(rayon::current_num_threads()).max(1);
    let seconds = best(PASSES, || {
        let work = to.par_chunks_mut(part).zip(from.par_chunks(part));
        work.for_each(|(to, from)| to.copy_from_slice(from));
        black_box(&mut to);
    });
    (8 * from.len()) as f64 / seconds
}

/// Ones, so that every page is there.
fn filled(bytes: usize) -> Vec<f32> {
    vec![1.0; (bytes / 4).max(1)]
}

/// The shortest time of `tries`, in seconds.
fn best(tries: usize, mut work: impl FnMut()) -> f64 {
    let mut shortest = f64::INFINITY;
    for _ in 0..tries {
        let start = Instant::now();
        work();
        shortest = shortest.min(start.elapsed().as_secs_f64());
    }
    shortest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_finite_and_positive() {
        let small = 1 << 16;
        for figure in [fma_peak(), read_bandwidth(small), copy_bandwidth(small)] {
            assert!(figure.is_finite() && figure > 0.0, "{figure}");
        }
    }

    #[test]
    fn the_register_loop_adds_its_products() {
        let lanes = operations_per_turn() / 2;
        assert_eq!(multiply_add(8), 8.0 * 0.125 * lanes as f32);
        assert_eq!(read(&[1.0; 64 * 3]), 192.0);
    }
}
