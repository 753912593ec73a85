//! The gradient of an activation on its way through one backward.

use super::context::Core;
use super::slot::Slot;
use crate::kernels::batch_norm_gradient::{GradientSums, InputGradient};
use crate::kernels::pool::PoolBuf;
use crate::kernels::real::Real;
use crate::kernels::source::Source;
use std::sync::Arc;

/// What has been contributed so far, and how often.
pub(super) struct Collected<T: Real> {
    pub(super) gradient: Gradient<T>,
    pub(super) parts: usize,
}

/// The elements of a gradient, or what they follow from. Buffers may be shared: who changes one that is
/// copies it.
pub(crate) enum Gradient<T: Real> {
    Values {
        values: Arc<PoolBuf<T>>,
        /// If the batch norm that made the activation has its sums already: then the gradient is complete,
        /// and cleared where the rectifier let nothing through.
        sums: Option<GradientSums>,
    },
    /// What a batch norm hands to its input, computed by whoever reads it.
    Normalised {
        gradient: Arc<PoolBuf<T>>,
        terms: InputGradient<T>,
        x: Arc<Slot<T>>,
    },
}

impl<T: Real> From<PoolBuf<T>> for Gradient<T> {
    fn from(values: PoolBuf<T>) -> Self {
        Self::from(Arc::new(values))
    }
}

impl<T: Real> From<Arc<PoolBuf<T>>> for Gradient<T> {
    fn from(values: Arc<PoolBuf<T>>) -> Self {
        Self::Values { values, sums: None }
    }
}

impl<T: Real> Gradient<T> {
    /// The elements, for kernels that compute them where they are not stored.
    pub(crate) fn source(&self) -> Source<'_, T> {
        match self {
            Self::Values { values, .. } => Source::Values(values),
            Self::Normalised { gradient, terms, x } => Source::InputGradient {
                terms,
                x: x.data(),
                gradient,
            },
        }
    }

    /// The elements in a buffer that nobody else has.
    pub(crate) fn into_values(self, core: &Core) -> PoolBuf<T> {
        let shared = match self {
            Self::Values { values, .. } => match Arc::try_unwrap(values) {
                Ok(values) => return values,
                Err(values) => Self::from(values),
            },
            computed => computed,
        };
        let source = shared.source();
        let mut values = core.pool.take(source.len());
        source.write_parallel(shared.channels(), &mut values);
        values
    }

    /// A unit of the elements that a source can be cut at.
    fn channels(&self) -> usize {
        match self {
            Self::Values { .. } => 1,
            Self::Normalised { x, .. } => x.shape.channels,
        }
    }
}
