//! Blocks of a matrix with rows and columns exchanged, in registers.

use std::arch::x86_64::*;

/// 16 rows of 16, `from_step` apart, to 16 columns.
///
/// # Safety
/// AVX-512F; both blocks valid.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
pub(super) unsafe fn of_16(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
    // SAFETY: passed on to the caller.
    unsafe {
        let mut rows = [_mm512_setzero_ps(); 16];
        for row in 0..16 {
            rows[row] = _mm512_loadu_ps(from.add(row * from_step));
        }
        // Within 128 bits: element c of four rows together in vector 4 g + c.
        let mut quads = rows;
        for g in 0..4 {
            let [a, b, c, d] = [
                rows[4 * g],
                rows[4 * g + 1],
                rows[4 * g + 2],
                rows[4 * g + 3],
            ];
            let low =
                [_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d)].map(|v| _mm512_castps_pd(v));
            let high =
                [_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d)].map(|v| _mm512_castps_pd(v));
            quads[4 * g] = _mm512_castpd_ps(_mm512_unpacklo_pd(low[0], low[1]));
            quads[4 * g + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low[0], low[1]));
            quads[4 * g + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high[0], high[1]));
            quads[4 * g + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high[0], high[1]));
        }
        // The 128-bit parts of four vectors exchanged.
        for c in 0..4 {
            let [a, b, e, d] = [quads[c], quads[4 + c], quads[8 + c], quads[12 + c]];
            let even = [
                _mm512_shuffle_f32x4::<0x88>(a, b),
                _mm512_shuffle_f32x4::<0x88>(e, d),
            ];
            let odd = [
                _mm512_shuffle_f32x4::<0xdd>(a, b),
                _mm512_shuffle_f32x4::<0xdd>(e, d),
            ];
            let outs = [
                _mm512_shuffle_f32x4::<0x88>(even[0], even[1]),
                _mm512_shuffle_f32x4::<0x88>(odd[0], odd[1]),
                _mm512_shuffle_f32x4::<0xdd>(even[0], even[1]),
                _mm512_shuffle_f32x4::<0xdd>(odd[0], odd[1]),
            ];
            for part in 0..4 {
                _mm512_storeu_ps(to.add((4 * part + c) * to_step), outs[part]);
            }
        }
    }
}
