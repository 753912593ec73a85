//! Bytes of a file as tensors.

use std::borrow::Cow;

use candle_core::{DType, Device, Result, Tensor};

/// The type of an element as files have it, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    /// One that Candle has too.
    Same(DType),
    /// A byte that is 0 or 1; Candle's `u8`.
    Bool,
    /// Candle's `i64`.
    I8,
    /// Candle's `i64`.
    U16,
}

impl Element {
    /// Bytes of an element in the file.
    pub fn size(self) -> usize {
        match self {
            Element::Same(dtype) => dtype.size_in_bytes(),
            Element::Bool | Element::I8 => 1,
            Element::U16 => 2,
        }
    }

    /// A tensor of the elements that `bytes` holds, one after the other.
    ///
    /// # Shapes
    /// `shape` has as many elements as `bytes` has.
    pub fn tensor(self, bytes: &[u8], shape: &[usize]) -> Result<Tensor> {
        let cpu = &Device::Cpu;
        match self {
            Element::Same(dtype) => Tensor::from_raw_buffer(bytes, dtype, shape, cpu),
            Element::Bool => {
                let flags = bytes.iter().map(|&byte| u8::from(byte != 0));
                Tensor::from_vec(flags.collect(), shape, cpu)
            }
            Element::I8 => {
                let wide = bytes.iter().map(|&byte| i64::from(byte as i8));
                Tensor::from_vec(wide.collect(), shape, cpu)
            }
            Element::U16 => {
                let pairs = bytes.chunks_exact(2);
                let wide = pairs.map(|pair| i64::from(u16::from_le_bytes([pair[0], pair[1]])));
                Tensor::from_vec(wide.collect(), shape, cpu)
            }
        }
    }
}

/// Number of elements; `None` if it is over what a number can hold.
pub(super) fn count(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape
        .iter()
        .try_fold(1usize, |n, &side| n.checked_mul(side))
}

/// Where the elements of a tensor lie in its storage.
pub(super) struct Strided<'a> {
    /// The first, in elements.
    pub offset: usize,
    pub shape: &'a [usize],
    /// Steps between neighbours of each dimension, in elements.
    pub strides: &'a [usize],
}

impl Strided<'_> {
    /// Copies the elements of `size` bytes in order, or borrows them where they lie in order.
    /// `None` if one of them is outside of the storage.
    pub fn gather<'s>(&self, storage: &'s [u8], size: usize) -> Option<Cow<'s, [u8]>> {
        let elements = count(self.shape)?;
        if elements == 0 {
            return Some(Cow::Borrowed(&[]));
        }
        let reach = self.shape.iter().zip(self.strides);
        let last = reach
            .clone()
            .try_fold(self.offset, |at, (&side, &stride)| {
                at.checked_add((side - 1).checked_mul(stride)?)
            })?;
        if last >= storage.len() / size {
            return None;
        }
        let mut dense = 1;
        let in_order = reach.rev().all(|(&side, &stride)| {
            let fits = side == 1 || stride == dense;
            dense *= side;
            fits
        });
        if in_order {
            let start = self.offset * size;
            return storage
                .get(start..start + elements * size)
                .map(Cow::Borrowed);
        }
        Some(Cow::Owned(self.copy(storage, size, elements)))
    }

    /// Goes through all elements, the last dimension fastest.
    fn copy(&self, storage: &[u8], size: usize, elements: usize) -> Vec<u8> {
        let mut copied = Vec::with_capacity(elements * size);
        let mut index = vec![0; self.shape.len()];
        let mut at = self.offset;
        for _ in 0..elements {
            copied.extend_from_slice(&storage[at * size..(at + 1) * size]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                at += self.strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                at -= self.strides[axis] * self.shape[axis];
                index[axis] = 0;
            }
        }
        copied
    }
}
