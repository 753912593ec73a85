//! Vectors of f32, one type for each instruction set, and the choice between them at run time.

/// A vector register of f32. All methods need the instruction set of the type; pointers may be unaligned.
pub(crate) trait Vector: Copy {
    /// Elements.
    const LANES: usize;
    /// Accumulators that leave registers for the operands.
    const ACCUMULATORS: usize;
    /// # Safety
    /// The instruction set of the type.
    unsafe fn zero() -> Self;
    /// # Safety
    /// The instruction set of the type; `LANES` elements at the pointer.
    unsafe fn load(from: *const f32) -> Self;
    /// # Safety
    /// As [`Vector::load`].
    unsafe fn store(self, to: *mut f32);
    /// The value at the pointer in every lane.
    ///
    /// # Safety
    /// The instruction set of the type; one element at the pointer.
    unsafe fn splat(from: *const f32) -> Self;
    /// `self + a * b`.
    ///
    /// # Safety
    /// The instruction set of the type.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// `self + other`.
    ///
    /// # Safety
    /// The instruction set of the type.
    unsafe fn add(self, other: Self) -> Self;
    /// `LANES` rows of `LANES` elements, `from_step` apart, to as many columns.
    ///
    /// # Safety
    /// The instruction set of the type; both blocks valid, and apart.
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
        for row in 0..Self::LANES {
            for col in 0..Self::LANES {
                // SAFETY: passed on to the caller.
                unsafe { *to.add(row * to_step + col) = *from.add(col * from_step + row) }
            }
        }
    }
}

/// Work that is written once for all instruction sets. Implementations mark `run` as
/// `#[inline(always)]`: only what is inlined is compiled for the instruction set.
pub(crate) trait Kernel {
    /// # Safety
    /// Needs the instruction set of `V`, and what the implementation asks for.
    unsafe fn run<V: Vector>(self);
}

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(crate) enum Isa {
    Avx512,
    Avx2,
    Portable,
}

impl Isa {
    /// The widest that this CPU has.
    pub(crate) fn best() -> Self {
        *Self::available().first().unwrap_or(&Self::Portable)
    }

    /// Those that this CPU has, the widest first.
    pub(crate) fn available() -> &'static [Self] {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = std::arch::is_x86_feature_detected!("avx2")
                && std::arch::is_x86_feature_detected!("fma");
            if avx2 && std::arch::is_x86_feature_detected!("avx512f") {
                return &[Self::Avx512, Self::Avx2, Self::Portable];
            }
            if avx2 {
                return &[Self::Avx2, Self::Portable];
            }
        }
        &[Self::Portable]
    }

    /// Elements of its vectors.
    pub(crate) fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => x86::Zmm::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::Ymm::LANES,
            _ => Lanes::LANES,
        }
    }

    /// Its [`Vector::ACCUMULATORS`].
    pub(crate) fn accumulators(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => x86::Zmm::ACCUMULATORS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::Ymm::ACCUMULATORS,
            _ => Lanes::ACCUMULATORS,
        }
    }

    /// Runs a kernel with this instruction set.
    ///
    /// # Safety
    /// The CPU has it, and what the kernel asks for holds.
    pub(crate) unsafe fn run(self, kernel: impl Kernel) {
        // SAFETY: passed on to the caller.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => x86::avx512(kernel),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => x86::avx2(kernel),
                _ => kernel.run::<Lanes>(),
            }
        }
    }
}

/// Hides where a value comes from: LLVM would otherwise replace the pointers by a start and many indices,
/// for which there are not enough registers.
#[inline(always)]
pub(crate) fn opaque<T>(value: &mut T) {
    // Miri knows no instructions.
    #[cfg(miri)]
    let _ = value;
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: the instruction sequence is empty; only pointers and sizes are given.
    unsafe {
        let bits = std::ptr::from_mut(value).cast::<usize>();
        let mut register = *bits;
        std::arch::asm!("/* {0} */", inout(reg) register, options(pure, nomem, nostack, preserves_flags));
        *bits = register;
    }
}

/// Any CPU: a loop that the compiler turns into the vectors it knows.
#[derive(Clone, Copy)]
pub(crate) struct Lanes([f32; 8]);

impl Vector for Lanes {
    const LANES: usize = 8;
    const ACCUMULATORS: usize = 8;
    #[inline(always)]
    // SAFETY: see `Vector`.
    unsafe fn zero() -> Self {
        Self([0.0; 8])
    }
    #[inline(always)]
    // SAFETY: see `Vector`.
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for 8 elements; an array of f32 has their alignment.
        unsafe { Self(*from.cast()) }
    }
    #[inline(always)]
    // SAFETY: see `Vector`.
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as in `load`.
        unsafe { *to.cast() = self.0 }
    }
    #[inline(always)]
    // SAFETY: see `Vector`.
    unsafe fn splat(from: *const f32) -> Self {
        // SAFETY: the caller vouches for the element.
        unsafe { Self([*from; 8]) }
    }
    #[inline(always)]
    // SAFETY: see `Vector`.
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|lane| {
            self.0[lane] + a.0[lane] * b.0[lane]
        }))
    }
    #[inline(always)]
    // SAFETY: see `Vector`.
    unsafe fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] + other.0[lane]))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Kernel, Vector};
    use std::arch::x86_64::*;

    /// # Safety
    /// As [`super::Isa::run`].
    #[target_feature(enable = "avx512f,avx2,fma")]
    pub(super) unsafe fn avx512(kernel: impl Kernel) {
        // SAFETY: this function has the instruction set, the caller vouches for the rest.
        unsafe { kernel.run::<Zmm>() }
    }

    /// # Safety
    /// As [`super::Isa::run`].
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2(kernel: impl Kernel) {
        // SAFETY: this function has the instruction set, the caller vouches for the rest.
        unsafe { kernel.run::<Ymm>() }
    }

    macro_rules! vector {
        ($name:ident, $register:ident, $lanes:literal, $accumulators:literal, $zero:ident, $load:ident, $store:ident, $splat:ident, $fma:ident, $add:ident $(, $transpose:path)?) => {
            #[derive(Clone, Copy)]
            pub(super) struct $name($register);

            impl Vector for $name {
                const LANES: usize = $lanes;
                const ACCUMULATORS: usize = $accumulators;
                #[inline(always)]
                // SAFETY: see `Vector`.
                unsafe fn zero() -> Self {
                    unsafe { Self($zero()) }
                }
                #[inline(always)]
                // SAFETY: see `Vector`.
                unsafe fn load(from: *const f32) -> Self {
                    unsafe { Self($load(from)) }
                }
                #[inline(always)]
                // SAFETY: see `Vector`.
                unsafe fn store(self, to: *mut f32) {
                    unsafe { $store(to, self.0) }
                }
                #[inline(always)]
                // SAFETY: see `Vector`.
                unsafe fn splat(from: *const f32) -> Self {
                    unsafe { Self($splat(*from)) }
                }
                #[inline(always)]
                // SAFETY: see `Vector`.
                unsafe fn add_product(self, a: Self, b: Self) -> Self {
                    unsafe { Self($fma(a.0, b.0, self.0)) }
                }
                #[inline(always)]
                // SAFETY: see `Vector`.
                unsafe fn add(self, other: Self) -> Self {
                    unsafe { Self($add(self.0, other.0)) }
                }
                $(
                    #[inline(always)]
                    // SAFETY: see `Vector`.
                    unsafe fn transpose(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
                        unsafe { $transpose(from, from_step, to, to_step) }
                    }
                )?
            }
        };
    }

    vector!(
        Zmm,
        __m512,
        16,
        24,
        _mm512_setzero_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_set1_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps,
        crate::kernels::transpose::of_16
    );
    vector!(
        Ymm,
        __m256,
        8,
        12,
        _mm256_setzero_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_set1_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps
    );
}
