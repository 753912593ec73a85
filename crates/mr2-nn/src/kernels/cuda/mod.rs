//! Launching the CUDA kernels: memory on the device, pointers of tensors, calls.
//!
//! All work of a device goes to the one stream of its `CudaDevice` (`Ctx::new` refuses devices that have a stream for
//! each thread), memory is taken and given back in the order of that stream, and the kernels get plain pointers: a
//! tensor has to live until its kernel has been launched, not until it has run.

pub(crate) mod attention;
pub(crate) mod batch_norm;
pub(crate) mod cast;
pub(crate) mod columns;
pub(crate) mod conv;
pub(crate) mod dropout;
pub(crate) mod elementwise;
pub(crate) mod flash;
pub(crate) mod gelu;
pub(crate) mod layer_norm;
pub(crate) mod layer_scale;
pub(crate) mod linear;
pub(crate) mod loss;
pub(crate) mod optim;
pub(crate) mod pooling;
pub(crate) mod product;
pub(crate) mod rearrange;
pub(crate) mod rows;
pub(crate) mod softmax;
pub(crate) mod tokens;
pub(crate) mod upload;
pub(crate) mod windows;

use candle_core::cuda_backend::CudaStorage;
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, DevicePtr, DeviceRepr, LaunchArgs, LaunchConfig, PushKernelArg, sys,
};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, DType, Device, Error, Result, Shape, Storage, Tensor, bail};
use half::{bf16, f16};

/// The kernels of one `.cu` file.
#[derive(Clone, Copy)]
pub(crate) struct Module {
    pub(crate) name: &'static str,
    pub(crate) ptx: &'static str,
}

/// The kernels that the build script has compiled from `$name.cu`.
macro_rules! module {
    ($name:literal) => {
        $crate::kernels::cuda::Module {
            name: concat!("mr2-nn/", $name),
            ptx: include_str!(concat!(env!("OUT_DIR"), "/", $name, ".ptx")),
        }
    };
}
pub(crate) use module;

/// An argument of a kernel.
#[derive(Clone, Copy)]
pub(crate) enum Arg {
    Pointer(u64),
    I32(i32),
    I64(i64),
    F32(f32),
    F64(f64),
}

impl Arg {
    fn add_to<'a>(&'a self, call: &mut LaunchArgs<'a>) {
        match self {
            Self::Pointer(value) => call.arg(value),
            Self::I32(value) => call.arg(value),
            Self::I64(value) => call.arg(value),
            Self::F32(value) => call.arg(value),
            Self::F64(value) => call.arg(value),
        };
    }
}

/// How many blocks of how many threads; shared memory is declared in the kernels.
#[derive(Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) blocks: (usize, usize),
    pub(crate) threads: (usize, usize),
}

/// Blocks of a grid in its second direction.
const MOST_BLOCKS_DOWN: usize = 65_535;

/// Threads in a block of a kernel that goes over elements.
const THREADS: usize = 256;

impl Grid {
    /// A thread for each of `elements`.
    pub(crate) fn over(elements: usize) -> Self {
        Self {
            blocks: (elements.div_ceil(THREADS).max(1), 1),
            threads: (THREADS, 1),
        }
    }
}

/// Puts a kernel into the device's queue. `Pointer`s must be those of living memory as large as the kernel
/// expects, and the other arguments of the kernel's types: that is what each caller in this folder vouches for.
pub(crate) fn launch(
    device: &CudaDevice,
    module: Module,
    kernel: &str,
    grid: Grid,
    args: &[Arg],
) -> Result<()> {
    let function = device.get_or_load_custom_func(kernel, module.name, module.ptx)?;
    let mut builder = function.builder();
    for arg in args {
        arg.add_to(&mut builder);
    }
    if grid.blocks.1 > MOST_BLOCKS_DOWN {
        bail!(
            "{kernel}: too large for a CUDA kernel, {} blocks in the second direction",
            grid.blocks.1
        );
    }
    let size = |n: usize| match u32::try_from(n) {
        Ok(n) => Ok(n),
        Err(_) => bail!("{kernel}: too large for a CUDA kernel, {n} blocks or threads"),
    };
    let config = LaunchConfig {
        grid_dim: (size(grid.blocks.0)?, size(grid.blocks.1)?, 1),
        block_dim: (size(grid.threads.0)?, size(grid.threads.1)?, 1),
        shared_mem_bytes: 0,
    };
    // SAFETY: the callers of `launch` pass what the kernel's signature says (see above); memory is freed in the
    // order of the stream, after the kernel.
    if let Err(error) = unsafe { builder.launch(config) } {
        bail!("{kernel}: {error}");
    }
    Ok(())
}

/// A kernel's name for elements of `dtype`.
pub(crate) fn kernel_for(base: &str, dtype: DType) -> Result<String> {
    let suffix = match dtype {
        DType::F32 => "f32",
        DType::BF16 => "bf16",
        DType::F16 => "f16",
        other => bail!("{base}: no CUDA kernel for {}", other.as_str()),
    };
    Ok(format!("{base}_{suffix}"))
}

/// The CUDA device of a tensor.
pub(crate) fn device_of(tensor: &Tensor) -> Result<CudaDevice> {
    match tensor.device() {
        Device::Cuda(device) => Ok(device.clone()),
        other => bail!("expected a tensor on a CUDA device, got one on {other:?}"),
    }
}

/// Where the elements of a contiguous tensor begin on its device, as an argument.
pub(crate) fn pointer(tensor: &Tensor) -> Result<Arg> {
    Ok(Arg::Pointer(address(tensor)?))
}

/// Where the elements of a contiguous tensor begin on its device.
pub(crate) fn address(tensor: &Tensor) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        bail!(
            "expected a tensor on a CUDA device, got one on {:?}",
            tensor.device()
        );
    };
    let Some((start, _)) = layout.contiguous_offsets() else {
        bail!(
            "expected a contiguous tensor, got strides {:?}",
            layout.stride()
        );
    };
    let base = match tensor.dtype() {
        DType::F32 => start_of(storage.as_cuda_slice::<f32>()?),
        DType::F64 => start_of(storage.as_cuda_slice::<f64>()?),
        DType::BF16 => start_of(storage.as_cuda_slice::<bf16>()?),
        DType::F16 => start_of(storage.as_cuda_slice::<f16>()?),
        DType::U32 => start_of(storage.as_cuda_slice::<u32>()?),
        DType::U8 => start_of(storage.as_cuda_slice::<u8>()?),
        other => bail!("no CUDA kernel takes elements of {}", other.as_str()),
    };
    let offset = (start * tensor.dtype().size_in_bytes()) as u64;
    Ok(base + offset)
}

/// As [`pointer`]; none where there is no tensor.
pub(crate) fn optional(tensor: Option<&Tensor>) -> Result<Arg> {
    tensor.map_or(Ok(Arg::Pointer(0)), pointer)
}

/// As [`pointer`], of a parameter or buffer, which is in f32 whatever the activations are, and on their device: another
/// handle of one GPU has another stream, which nothing waits for.
pub(crate) fn parameter(tensor: &Tensor, device: &CudaDevice) -> Result<Arg> {
    let Device::Cuda(own) = tensor.device() else {
        bail!(
            "a parameter is on {:?}, the activations on {device:?}",
            tensor.device()
        );
    };
    if own.id() != device.id() {
        bail!("a parameter is on {own:?}, the activations on {device:?}: open the GPU once");
    }
    if tensor.dtype() != DType::F32 {
        bail!(
            "on CUDA parameters must be f32, got {}: they stay f32 when activations are bf16 or f16",
            tensor.dtype().as_str()
        );
    }
    pointer(tensor)
}

/// As [`parameter`]; none where there is no tensor.
pub(crate) fn optional_parameter(tensor: Option<&Tensor>, device: &CudaDevice) -> Result<Arg> {
    tensor.map_or(Ok(Arg::Pointer(0)), |tensor| parameter(tensor, device))
}

/// Where memory begins.
fn start_of<T>(slice: &CudaSlice<T>) -> u64 {
    slice.device_ptr(slice.stream()).0
}

/// A tensor whose elements a kernel is about to write.
pub(crate) fn empty(device: &CudaDevice, dtype: DType, shape: impl Into<Shape>) -> Result<Tensor> {
    let shape = shape.into();
    let elements = shape.elem_count();
    let storage = match dtype {
        DType::F32 => unread::<f32>(device, elements)?,
        DType::BF16 => unread::<bf16>(device, elements)?,
        DType::F16 => unread::<f16>(device, elements)?,
        DType::F64 => unread::<f64>(device, elements)?,
        DType::U32 => unread::<u32>(device, elements)?,
        DType::U8 => unread::<u8>(device, elements)?,
        other => bail!("no CUDA kernel gives elements of {}", other.as_str()),
    };
    let none = BackpropOp::none();
    Ok(Tensor::from_storage(
        Storage::Cuda(storage),
        shape,
        none,
        false,
    ))
}

/// Memory that holds anything at first.
pub(crate) fn unread<T>(device: &CudaDevice, elements: usize) -> Result<CudaStorage>
where
    T: DeviceRepr + candle_core::cuda_backend::CudaDType,
{
    // SAFETY: the callers write all elements before anything reads them, or nothing ever does.
    let slice = unsafe { device.alloc::<T>(elements) }?;
    Ok(CudaStorage::wrap_cuda_slice(slice, device.clone()))
}

/// Sets a fresh device up for one stream and for steps that take the same memory again and again.
pub(crate) fn prepare(device: &CudaDevice) -> Result<()> {
    // SAFETY: `cuda::open` says that tensors of the device stay on its one stream.
    unsafe { device.disable_event_tracking() };
    match device.cuda_stream().context().has_async_alloc() {
        true => keep_memory(device),
        false => Ok(()),
    }
}

/// Whether the device was opened by `Device::new_cuda`: its stream is then whichever the calling thread has.
pub(crate) fn has_a_stream_for_each_thread(device: &CudaDevice) -> bool {
    // CU_STREAM_PER_THREAD of cuda.h.
    device.cuda_stream().cu_stream() as usize == 2
}

/// Without this, memory goes back to the driver at every synchronisation.
fn keep_memory(device: &CudaDevice) -> Result<()> {
    let pool = pool_of(device)?;
    let mut keep = u64::MAX;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the value is of the attribute's type.
    let done = unsafe { sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut keep).cast()) };
    checked(done)
}

/// Bytes that the device's pool holds, and the most that were in use at one time.
pub(crate) fn pool_sizes(device: &CudaDevice) -> Result<[u64; 2]> {
    use sys::CUmemPool_attribute::{
        CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, CU_MEMPOOL_ATTR_USED_MEM_HIGH,
    };
    let pool = pool_of(device)?;
    let size = |attribute| -> Result<u64> {
        let mut bytes = 0u64;
        // SAFETY: the value is of the attribute's type.
        checked(unsafe { sys::cuMemPoolGetAttribute(pool, attribute, (&raw mut bytes).cast()) })?;
        Ok(bytes)
    };
    Ok([
        size(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?,
        size(CU_MEMPOOL_ATTR_USED_MEM_HIGH)?,
    ])
}

/// The pool that tensors are taken from; the driver's, as old as the device.
fn pool_of(device: &CudaDevice) -> Result<sys::CUmemoryPool> {
    let stream = device.cuda_stream();
    if !stream.context().has_async_alloc() {
        bail!(
            "this GPU's driver has no memory pools, so that every tensor costs a synchronisation"
        );
    }
    let mut pool = std::ptr::null_mut();
    // SAFETY: the driver writes a handle there.
    checked(unsafe { sys::cuDeviceGetDefaultMemPool(&mut pool, stream.context().cu_device()) })?;
    Ok(pool)
}

fn checked(status: sys::CUresult) -> Result<()> {
    status
        .result()
        .map_err(|error| Error::Msg(format!("the device's memory pool: {error}")))
}
