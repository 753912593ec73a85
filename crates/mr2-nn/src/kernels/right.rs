//! The right factor of small products inside of a task, in either element type.

use super::matmul::{self, Matrix};
use super::pool::Pool;
use super::product::{self, Initial, Panels};
use super::real::Real;
use super::vector::Isa;
use std::sync::Arc;

/// Whether a product is added to its target.
#[derive(Clone, Copy)]
pub(super) enum Add {
    Yes,
    No,
}

/// A right factor that several left ones are multiplied with.
pub(super) enum Right<'a, T> {
    Panels(Panels),
    Plain(Matrix<'a, T>),
}

impl<'a, T: Real> Right<'a, T> {
    pub(super) fn new(matrix: Matrix<'a, T>, pool: &Arc<Pool>) -> Self {
        match matrix.f32() {
            Some(matrix) => Self::Panels(Panels::new(Isa::best(), matrix, pool)),
            None => Self::Plain(matrix),
        }
    }

    /// `out = lhs * self`, or added to it, in rows without gaps.
    pub(super) fn multiply(&self, lhs: Matrix<'_, T>, out: &mut [T], add: Add, pool: &Arc<Pool>) {
        match self {
            Self::Panels(panels) => {
                // Panels are made of f32 only.
                let (Some(lhs), Some(out)) = (lhs.f32(), T::f32s_mut(out)) else {
                    return;
                };
                let target = product::Target {
                    data: out,
                    row_stride: panels.cols(),
                    initial: match add {
                        Add::Yes => Initial::Target,
                        Add::No => Initial::Zero,
                    },
                };
                product::multiply_here(lhs, panels, target, pool);
            }
            Self::Plain(matrix) => {
                let target = matmul::Target {
                    data: out,
                    row_stride: matrix.cols,
                    accumulate: matches!(add, Add::Yes),
                };
                matmul::multiply(target, lhs, *matrix);
            }
        }
    }
}
