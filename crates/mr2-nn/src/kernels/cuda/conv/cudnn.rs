//! Calls of cuDNN. Each thread has handles and descriptors of its own, for cuDNN's are for one thread at a time; they are
//! never freed, and there are as many as a thread has shapes.

mod describe;
mod execute;
mod find;

use self::describe::describe;
use self::execute::execute;
use self::find::find;
use super::Pass;
use super::choice::choose;
use crate::kernels::conv::Geometry;
use crate::kernels::cuda::{address, device_of, empty};
use candle_core::cuda_backend::DeviceId;
use candle_core::cuda_backend::cudarc::cudnn::{CudnnError, result, sys};
use candle_core::cuda_backend::gemm_reduced_precision_f32;
use candle_core::{CudaDevice, DType, Error, Result, Tensor};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;

/// Workspace that an algorithm may take.
const WORKSPACE: usize = 512 << 20;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    device: DeviceId,
    geometry: Geometry,
    dtype: DType,
    exact: bool,
    pass: u8,
}

/// What a pass needs beside its tensors.
#[derive(Clone, Copy)]
struct Plan {
    handle: sys::cudnnHandle_t,
    images: sys::cudnnTensorDescriptor_t,
    weight: sys::cudnnFilterDescriptor_t,
    out: sys::cudnnTensorDescriptor_t,
    conv: sys::cudnnConvolutionDescriptor_t,
    algorithm: Algorithm,
    workspace: usize,
}

#[derive(Clone, Copy)]
enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    Images(sys::cudnnConvolutionBwdDataAlgo_t),
    Weight(sys::cudnnConvolutionBwdFilterAlgo_t),
}

thread_local! {
    static HANDLES: RefCell<HashMap<DeviceId, sys::cudnnHandle_t>> = RefCell::default();
    static PLANS: RefCell<HashMap<Key, Plan>> = RefCell::default();
}

/// Pointers of a pass: the tensor that is read first, the second, and the one that is written.
#[derive(Clone, Copy)]
struct Pointers {
    first: *const c_void,
    second: *const c_void,
    out: *mut c_void,
}

pub(super) fn run(geometry: &Geometry, pass: Pass<'_>) -> Result<Tensor> {
    let g = geometry;
    let (first, second, shape, number) = match pass {
        Pass::Forward { images, weight } => {
            let shape = (g.batch, g.out_height, g.out_width, g.out_channels);
            (images, weight, shape, 0)
        }
        Pass::Images { gradient, weight } => {
            let shape = (g.batch, g.in_height, g.in_width, g.in_channels);
            (weight, gradient, shape, 1)
        }
        Pass::Weight { images, gradient } => {
            let shape = (g.out_channels, g.kernel, g.kernel, g.in_channels / g.groups);
            (images, gradient, shape, 2)
        }
    };
    let (device, dtype) = (device_of(first)?, first.dtype());
    let out = empty(&device, dtype, shape)?;
    let pointers = Pointers {
        first: address(first)? as *const c_void,
        second: address(second)? as *const c_void,
        out: address(&out)? as *mut c_void,
    };
    let key = Key {
        device: device.id(),
        geometry: *g,
        dtype,
        exact: dtype == DType::F32 && !gemm_reduced_precision_f32(),
        pass: number,
    };
    let plan = match PLANS.with_borrow(|plans| plans.get(&key).copied()) {
        Some(plan) => plan,
        None => {
            let plan = measure(&device, &key, pointers)?;
            PLANS.with_borrow_mut(|plans| plans.insert(key, plan));
            plan
        }
    };
    execute(&device, plan, pointers)?;
    Ok(out)
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

/// Descriptors, and the algorithm that was fastest on these very tensors.
fn measure(device: &CudaDevice, key: &Key, pointers: Pointers) -> Result<Plan> {
    let handle = handle_of(device)?;
    let (images, weight, out, conv) = describe(key).map_err(named)?;
    let first = match key.pass {
        0 => Algorithm::Forward(sys::cudnnConvolutionFwdAlgo_t::CUDNN_CONVOLUTION_FWD_ALGO_GEMM),
        1 => {
            Algorithm::Images(sys::cudnnConvolutionBwdDataAlgo_t::CUDNN_CONVOLUTION_BWD_DATA_ALGO_0)
        }
        _ => Algorithm::Weight(
            sys::cudnnConvolutionBwdFilterAlgo_t::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0,
        ),
    };
    let plan = Plan {
        handle,
        images,
        weight,
        out,
        conv,
        algorithm: first,
        workspace: WORKSPACE,
    };
    // SAFETY: nothing reads what the algorithms write there.
    let workspace = unsafe { device.alloc::<u8>(WORKSPACE) }?;
    let at = {
        use candle_core::cuda_backend::cudarc::driver::DevicePtr;
        workspace.device_ptr(workspace.stream()).0 as *mut c_void
    };
    // SAFETY: the pointers are those of living tensors of the described sizes, as `run` took them, and the workspace
    // is as large as is said.
    let measured = unsafe { find(&plan, pointers, at) }.map_err(named)?;
    let chosen = choose("conv2d", &measured, key.exact)?;
    let (algorithm, math) = chosen.algorithm;
    // SAFETY: the descriptor was made above.
    unsafe { result::set_convolution_math_type(conv, math) }.map_err(named)?;
    Ok(Plan {
        algorithm,
        workspace: chosen.bytes,
        ..plan
    })
}
