//! Values from the CPU to the device, without a wait for what the device has in its queue: a copy from ordinary memory would
//! wait. They go through page-locked buffers, of which there are two, so that one is filled while the other is read.

use super::{address, empty};
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, DriverError, PinnedHostSlice, result};
use candle_core::{CpuStorage, CudaDevice, DType, Error, Result, Storage, Tensor, bail};
use rayon::prelude::*;

/// Elements copied by one task.
const CHUNK: usize = 1 << 18;

/// The buffers of a context.
#[derive(Default)]
pub(crate) struct Uploads {
    buffers: [Option<Buffer>; 2],
    next: usize,
}

struct Buffer {
    memory: PinnedHostSlice<f32>,
    /// When the device has read it.
    read: CudaEvent,
}

impl Uploads {
    /// A copy on the device of a tensor in f32 on the CPU; its elements have left the tensor when this returns.
    pub(crate) fn upload(&mut self, device: &CudaDevice, values: &Tensor) -> Result<Tensor> {
        let values = values.contiguous()?;
        let (storage, layout) = values.storage_and_layout();
        let (Storage::Cpu(CpuStorage::F32(all)), Some((from, to))) =
            (&*storage, layout.contiguous_offsets())
        else {
            bail!("upload: expected f32 on the CPU, got {:?}", values.dtype());
        };
        let from = &all[from..to];
        let place = self.next;
        self.next = (place + 1) % self.buffers.len();
        let slot = &mut self.buffers[place];
        if slot.as_ref().is_none_or(|b| b.memory.len() < from.len()) {
            *slot = None; // frees the old one first
        }
        let buffer = match slot {
            Some(buffer) => buffer,
            None => slot.insert(Buffer::new(device, from.len()).map_err(named)?),
        };
        let host = buffer.fill(from).map_err(named)?;
        let out = empty(device, DType::F32, values.shape())?;
        let stream = device.cuda_stream();
        // SAFETY: the tensor was just made with as many elements; the buffer lives, and isn't written again, until the event
        // that follows has happened.
        unsafe { result::memcpy_htod_async(address(&out)?, host, stream.cu_stream()) }
            .map_err(named)?;
        buffer.read.record(&stream).map_err(named)?;
        Ok(out)
    }
}

impl Buffer {
    fn new(device: &CudaDevice, len: usize) -> std::result::Result<Self, DriverError> {
        let stream = device.cuda_stream();
        let context = stream.context();
        Ok(Self {
            // SAFETY: `fill` writes what is read.
            memory: unsafe { context.alloc_pinned(len) }?,
            read: context.new_event(None)?,
        })
    }

    /// The values in the buffer, once the device has read those before.
    fn fill(&mut self, from: &[f32]) -> std::result::Result<&[f32], DriverError> {
        self.read.synchronize()?;
        let to = &mut self.memory.as_mut_slice()?[..from.len()];
        let parts = to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK));
        parts.for_each(|(to, from)| to.copy_from_slice(from));
        Ok(to)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // The device may be reading; an error means that it reads no more.
        let _ = self.read.synchronize();
    }
}

fn named(error: DriverError) -> Error {
    Error::Msg(format!("upload: {error}"))
}
