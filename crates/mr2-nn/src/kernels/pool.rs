//! Buffers that are used again: from the second step of training on, no activation is allocated.

use super::real::Real;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Locks a mutex whose data stays valid when a thread panics while holding it.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Free buffers by length.
#[derive(Default)]
pub(crate) struct Shelf<T>(Mutex<BTreeMap<usize, Vec<Vec<T>>>>);

/// The free buffers of one context.
#[derive(Default)]
pub(crate) struct Pool {
    pub(crate) f32: Shelf<f32>,
    pub(crate) f64: Shelf<f64>,
}

/// `len` elements of a pooled buffer; it goes back to the pool when dropped.
pub(crate) struct PoolBuf<T: Real> {
    buffer: Vec<T>,
    len: usize,
    pool: Arc<Pool>,
}

impl Pool {
    /// A buffer with unspecified contents: the caller overwrites every element.
    ///
    /// In builds with debug assertions it is filled with NaN, so that a forgotten element shows.
    pub(crate) fn take<T: Real>(self: &Arc<Self>, len: usize) -> PoolBuf<T> {
        let buffer = T::shelf(self)
            .take(len)
            .unwrap_or_else(|| vec![T::zero(); len]);
        let mut taken = PoolBuf {
            buffer,
            len,
            pool: self.clone(),
        };
        if cfg!(debug_assertions) {
            taken.fill(T::from_f64(f64::NAN));
        }
        taken
    }

    /// A buffer of zeros.
    pub(crate) fn zeros<T: Real>(self: &Arc<Self>, len: usize) -> PoolBuf<T> {
        let mut taken = self.take(len);
        taken.fill(T::zero());
        taken
    }
}

impl<T> Shelf<T> {
    /// The smallest free buffer of at least `len` elements that wastes at most half of itself.
    fn take(&self, len: usize) -> Option<Vec<T>> {
        let mut free = lock(&self.0);
        let (&size, buffers) = free.range_mut(len..=len.saturating_mul(2)).next()?;
        let buffer = buffers.pop();
        if buffers.is_empty() {
            free.remove(&size);
        }
        buffer
    }

    fn put(&self, buffer: Vec<T>) {
        lock(&self.0).entry(buffer.len()).or_default().push(buffer);
    }

    /// How many buffers lie on the shelf.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        lock(&self.0).values().map(Vec::len).sum()
    }
}

impl<T: Real> PoolBuf<T> {
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

impl<T: Real> Deref for PoolBuf<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.buffer[..self.len]
    }
}

impl<T: Real> DerefMut for PoolBuf<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.buffer[..self.len]
    }
}

impl<T: Real> Drop for PoolBuf<T> {
    fn drop(&mut self) {
        T::shelf(&self.pool).put(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again() {
        let pool = Arc::new(Pool::default());
        let first = pool.take::<f32>(100);
        let address = first.as_ptr();
        drop(first);
        let second = pool.take::<f32>(80);
        assert_eq!(second.as_ptr(), address);
        assert_eq!(second.len(), 80);
        assert_eq!(pool.f32.count(), 0);
        drop(second);
        assert_eq!(pool.f32.count(), 1);
    }

    #[test]
    fn a_small_request_leaves_a_large_buffer_alone() {
        let pool = Arc::new(Pool::default());
        drop(pool.zeros::<f64>(100));
        let small = pool.zeros::<f64>(10);
        assert_eq!(small.len(), 10);
        assert_eq!(pool.f64.count(), 1);
    }
}
