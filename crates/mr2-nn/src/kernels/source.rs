//! Elements that a kernel reads: there already, or computed from others while they are loaded.

use super::batch_norm::{self, Affine};
use super::batch_norm_gradient::{self, InputGradient};
use super::parallel::ELEMENTS;
use super::pool::{Pool, PoolBuf};
use super::real::Real;
use rayon::prelude::*;
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

/// The elements of an activation or of its gradient, NHWC.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a, T> {
    /// As they are.
    Values(&'a [T]),
    /// The output of a batch normalisation that was never stored.
    Normalised {
        affine: &'a Affine<T>,
        x: &'a [T],
        skip: Option<&'a [T]>,
    },
    /// The gradient that a batch normalisation hands to its input.
    InputGradient {
        terms: &'a InputGradient<T>,
        x: &'a [T],
        gradient: &'a [T],
    },
}

impl<'a, T: Real> Source<'a, T> {
    /// Some of the elements: whole pixels.
    pub(crate) fn part(self, range: Range<usize>) -> Self {
        match self {
            Self::Values(values) => Self::Values(&values[range]),
            Self::Normalised { affine, x, skip } => Self::Normalised {
                affine,
                x: &x[range.clone()],
                skip: skip.map(|skip| &skip[range]),
            },
            Self::InputGradient { terms, x, gradient } => Self::InputGradient {
                terms,
                x: &x[range.clone()],
                gradient: &gradient[range],
            },
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Values(values) => values.len(),
            Self::Normalised { x, .. } | Self::InputGradient { x, .. } => x.len(),
        }
    }

    /// Writes all elements to `out`, on the calling thread.
    pub(crate) fn write(self, out: &mut [T]) {
        match self {
            Self::Values(values) => out.copy_from_slice(values),
            Self::Normalised { affine, x, skip } => batch_norm::apply(affine, x, skip, out),
            Self::InputGradient { terms, x, gradient } => {
                batch_norm_gradient::input_gradient(terms, x, gradient, out);
            }
        }
    }

    /// The elements as a slice: written to a pooled `buffer` if they are not there already.
    pub(crate) fn in_memory<'b>(
        self,
        channels: usize,
        buffer: &'b mut Option<PoolBuf<T>>,
        pool: &Arc<Pool>,
    ) -> &'b [T]
    where
        'a: 'b,
    {
        match self {
            Self::Values(values) => values,
            _ => {
                let values = &mut buffer.insert(pool.take(self.len()))[..];
                self.write_parallel(channels, values);
                values
            }
        }
    }

    /// The same elements, written to `stored` first if there is such.
    pub(crate) fn kept_in(self, channels: usize, stored: Option<&'a mut [T]>) -> Self {
        match stored {
            None => self,
            Some(stored) => {
                self.write_parallel(channels, stored);
                Self::Values(stored)
            }
        }
    }

    /// As [`Source::write`], on all threads. `channels` are those of a pixel.
    pub(crate) fn write_parallel(self, channels: usize, out: &mut [T]) {
        let chunk = (ELEMENTS / channels).max(1) * channels;
        out.par_chunks_mut(chunk)
            .enumerate()
            .for_each(|(index, out)| {
                let start = index * chunk;
                self.part(start..start + out.len()).write(out);
            });
    }
}

impl<'a> Source<'a, f32> {
    /// The source, if its elements are f32, for kernels that only those have.
    pub(crate) fn of<T: Real>(source: Source<'a, T>) -> Option<Self> {
        Some(match source {
            Source::Values(values) => Self::Values(T::f32s(values)?),
            Source::Normalised { affine, x, skip } => Self::Normalised {
                affine: same_type(affine)?,
                x: T::f32s(x)?,
                skip: match skip {
                    Some(skip) => Some(T::f32s(skip)?),
                    None => None,
                },
            },
            Source::InputGradient { terms, x, gradient } => Self::InputGradient {
                terms: same_type(terms)?,
                x: T::f32s(x)?,
                gradient: T::f32s(gradient)?,
            },
        })
    }
}

/// `value`, if its type is `B`: what is generic over the element type meets what is not.
pub(crate) fn same_type<A: Any, B: Any>(value: &A) -> Option<&B> {
    (value as &dyn Any).downcast_ref()
}
