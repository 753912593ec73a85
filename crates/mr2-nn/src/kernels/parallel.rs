//! Fixed chunks: how work is cut, whatever the number of threads.

/// At most this many chunks; their partial sums are added in order.
const CHUNKS: usize = 16;

/// Elements of one task of an element-wise pass: long enough to be worth a task, short enough to
/// stay in the second-level cache.
pub(crate) const ELEMENTS: usize = 1 << 15;

/// A target that tasks share, each of which writes elements of its own.
#[derive(Clone, Copy)]
pub(crate) struct Shared(pub(crate) *mut f32);

// SAFETY: a pointer is no access; whoever writes through it vouches that no two tasks touch an element.
unsafe impl Send for Shared {}
// SAFETY: as for `Send`.
unsafe impl Sync for Shared {}

/// How many of `items` (images, rows) each chunk holds; the last may hold fewer.
pub(crate) fn per_chunk(items: usize) -> usize {
    items.div_ceil(CHUNKS).max(1)
}
