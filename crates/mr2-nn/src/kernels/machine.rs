//! Loops that do nothing but multiply and add, or read, or copy: what this CPU can do at most.

use super::simd::vectorise;
use super::vector::{Isa, Kernel, Vector};
use std::hint::black_box;

/// Sums in flight: enough to hide the latency of a multiply-add on two units, few enough for the registers of AVX2.
const SUMS: usize = 12;

/// Floating-point operations of one turn of [`multiply_add`].
pub(crate) fn operations_per_turn() -> usize {
    2 * SUMS * Isa::best().lanes()
}

/// `turns` times a multiply-add on each of the sums, all in registers.
pub(crate) fn multiply_add(turns: usize) -> f32 {
    let mut total = 0.0;
    let kernel = MultiplyAdd {
        turns,
        factors: &black_box([0.5, 0.25]),
        total: &mut total,
    };
    // SAFETY: the CPU has the instruction set; the kernel asks for nothing else.
    unsafe { Isa::best().run(kernel) };
    total
}

struct MultiplyAdd<'a> {
    turns: usize,
    factors: &'a [f32; 2],
    total: &'a mut f32,
}

impl Kernel for MultiplyAdd<'_> {
    #[inline(always)]
    // SAFETY: see `Kernel`; nothing else is asked for.
    unsafe fn run<V: Vector>(self) {
        // SAFETY: the caller vouches for the instruction set, references for the elements that are read; the buffer
        // has as many elements as the widest vector.
        unsafe {
            let (a, b) = (V::splat(&self.factors[0]), V::splat(&self.factors[1]));
            let mut sums = [V::zero(); SUMS];
            for _ in 0..self.turns {
                for sum in &mut sums {
                    *sum = sum.add_product(a, b);
                }
            }
            let mut all = V::zero();
            for sum in sums {
                all = all.add(sum);
            }
            let mut lanes = [0.0; 16];
            all.store(lanes.as_mut_ptr());
            *self.total = lanes.iter().sum();
        }
    }
}

/// Reads all of `values`, in as many sums as keep the memory busy.
pub(crate) fn read(values: &[f32]) -> f32 {
    vectorise(
        #[inline(always)]
        || {
            let mut sums = [0.0f32; 64];
            for group in values.as_chunks::<64>().0 {
                for (sum, value) in sums.iter_mut().zip(group) {
                    *sum += value;
                }
            }
            sums.iter().sum()
        },
    )
}
