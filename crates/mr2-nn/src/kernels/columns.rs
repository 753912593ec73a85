//! A matrix whose groups of columns are written by different tasks.

use std::marker::PhantomData;

/// Rows of groups of `group` adjacent elements.
pub(super) struct Columns<'a, T> {
    start: *mut T,
    rows: usize,
    row: usize,
    group: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: elements are reached through `Columns::row` only, whose callers keep to their own.
unsafe impl<T: Send> Sync for Columns<'_, T> {}

impl<'a, T> Columns<'a, T> {
    /// Rows of `row` elements, which `group` divides.
    pub(super) fn new(values: &'a mut [T], row: usize, group: usize) -> Self {
        assert!(
            row.is_multiple_of(group) && values.len().is_multiple_of(row),
            "a part of a row"
        );
        Self {
            start: values.as_mut_ptr(),
            rows: values.len() / row,
            row,
            group,
            borrowed: PhantomData,
        }
    }

    /// One group of one row.
    ///
    /// # Safety
    /// No other reference to this group of this row exists.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn row(&self, row: usize, group: usize) -> &mut [T] {
        assert!(
            row < self.rows && (group + 1) * self.group <= self.row,
            "beyond the matrix"
        );
        // SAFETY: inside the borrowed slice; the caller vouches for no second reference.
        unsafe {
            let start = self.start.add(row * self.row + group * self.group);
            std::slice::from_raw_parts_mut(start, self.group)
        }
    }
}
