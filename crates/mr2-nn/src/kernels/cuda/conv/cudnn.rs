//! Calls of cuDNN, through its graph interface: a call of the older functions costs the host five times as much. Each thread has
//! handles and plans of its own, for cuDNN's are for one thread at a time; they are never freed, and there are as many as a
//! thread has shapes.

mod descriptor;
mod engines;
mod graph;
mod plan;

use self::plan::Chosen;
use super::Pass;
use crate::kernels::conv::Geometry;
use crate::kernels::cuda::{address, device_of, empty};
use candle_core::cuda_backend::DeviceId;
use candle_core::cuda_backend::cudarc::cudnn::{CudnnError, result, sys};
use candle_core::cuda_backend::gemm_reduced_precision_f32;
use candle_core::{CudaDevice, DType, Error, Result, Tensor};
use std::cell::RefCell;
use std::collections::HashMap;

/// The most that engines ask of a tensor's place in memory, in bytes.
const ALIGNMENT: u64 = 16;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    device: DeviceId,
    geometry: Geometry,
    dtype: DType,
    exact: bool,
    /// 0 forward, 1 the images' gradient, 2 the weight's.
    pass: u8,
    /// Of all three tensors, in bytes.
    alignment: i64,
}

thread_local! {
    static HANDLES: RefCell<HashMap<DeviceId, sys::cudnnHandle_t>> = RefCell::default();
    static PLANS: RefCell<HashMap<Key, &'static Chosen>> = RefCell::default();
}

/// Where the tensors of a pass begin, or their gradients: images, weight, output.
#[derive(Clone, Copy)]
struct Pointers {
    images: u64,
    weight: u64,
    out: u64,
}

pub(super) fn run(geometry: &Geometry, pass: Pass<'_>) -> Result<Tensor> {
    let g = geometry;
    let (given, shape, number) = match pass {
        Pass::Forward { images, weight } => {
            let shape = (g.batch, g.out_height, g.out_width, g.out_channels);
            ([images, weight], shape, 0)
        }
        Pass::Images { gradient, weight } => {
            let shape = (g.batch, g.in_height, g.in_width, g.in_channels);
            ([weight, gradient], shape, 1)
        }
        Pass::Weight { images, gradient } => {
            let shape = (g.out_channels, g.kernel, g.kernel, g.in_channels / g.groups);
            ([images, gradient], shape, 2)
        }
    };
    let (device, dtype) = (device_of(given[0])?, given[0].dtype());
    let made = empty(&device, dtype, shape)?;
    let [first, second] = [address(given[0])?, address(given[1])?];
    let third = address(&made)?;
    let pointers = match pass {
        Pass::Forward { .. } => Pointers {
            images: first,
            weight: second,
            out: third,
        },
        Pass::Images { .. } => Pointers {
            images: third,
            weight: first,
            out: second,
        },
        Pass::Weight { .. } => Pointers {
            images: first,
            weight: third,
            out: second,
        },
    };
    let key = Key {
        device: device.id(),
        geometry: *g,
        dtype,
        exact: dtype == DType::F32 && !gemm_reduced_precision_f32(),
        pass: number,
        alignment: alignment(pointers),
    };
    let chosen = match PLANS.with_borrow(|plans| plans.get(&key).copied()) {
        Some(chosen) => chosen,
        None => {
            let chosen: &'static Chosen =
                Box::leak(Box::new(Chosen::new(&device, &key, pointers)?));
            PLANS.with_borrow_mut(|plans| plans.insert(key, chosen));
            chosen
        }
    };
    chosen.run(&device, pointers)?;
    Ok(made)
}

/// The largest power of two that divides all three, up to [`ALIGNMENT`].
fn alignment(p: Pointers) -> i64 {
    let bits = p.images | p.weight | p.out | ALIGNMENT;
    1 << bits.trailing_zeros()
}

fn named(error: CudnnError) -> Error {
    Error::Msg(format!("conv2d: cuDNN says {error:?}"))
}

fn handle_of(device: &CudaDevice) -> Result<sys::cudnnHandle_t> {
    if let Some(handle) = HANDLES.with_borrow(|handles| handles.get(&device.id()).copied()) {
        return Ok(handle);
    }
    let stream = device.cuda_stream();
    let bound = stream.context().bind_to_thread();
    bound.map_err(|error| Error::Msg(format!("conv2d: {error}")))?;
    let handle = result::create_handle().map_err(named)?;
    // SAFETY: the handle was just made, and the stream is alive; a handle is looked up by its device, whose number never comes again.
    unsafe { result::set_stream(handle, stream.cu_stream() as *mut _) }.map_err(named)?;
    HANDLES.with_borrow_mut(|handles| handles.insert(device.id(), handle));
    Ok(handle)
}
