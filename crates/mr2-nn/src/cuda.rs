//! CUDA devices: opening one, and how exact its products of f32 are.

use candle_core::cuda_backend::cudarc::driver::CudaContext;
use candle_core::{CudaDevice, Device, Error, Result, bail};

/// The device with the number `ordinal`, with a stream of its own and memory that is kept for the next step.
///
/// All work of the device goes to that one stream; its tensors carry no events, so they must not be used on another
/// stream without synchronising both.
///
/// # Errors
/// No driver or no such device; the message says what to look at.
pub fn open(ordinal: usize) -> Result<Device> {
    let count = match CudaContext::device_count() {
        Ok(count) => count.max(0) as usize,
        Err(error) => bail!("no CUDA device: the driver says {error}; see nvidia-smi"),
    };
    if ordinal >= count {
        bail!(
            "CUDA device {ordinal}: this machine has {count} (they count from 0; see nvidia-smi)"
        );
    }
    let device = CudaDevice::new_with_stream(ordinal)?;
    crate::kernels::cuda::prepare(&device)?;
    Ok(Device::Cuda(device))
}

/// The number of CUDA devices; 0 without a driver.
pub fn count() -> usize {
    CudaContext::device_count().map_or(0, |count| count.max(0) as usize)
}

/// The name that the driver gives a device, such as "NVIDIA H100 80GB HBM3".
///
/// # Errors
/// A device that isn't CUDA's, or a driver that doesn't say.
pub fn name(device: &Device) -> Result<String> {
    let name = cuda_device(device)?.cuda_stream().context().name();
    name.map_err(|error| Error::Msg(format!("the device's name: {error}")))
}

/// Whether products of f32 may round their factors to TF32's 10 bits of fraction, as PyTorch's
/// `torch.backends.cuda.matmul.allow_tf32` and `torch.backends.cudnn.allow_tf32` say; off at first. It is Candle's own
/// setting of the whole program, which convolutions follow too.
pub fn set_tf32(allowed: bool) {
    candle_core::cuda_backend::set_gemm_reduced_precision_f32(allowed);
}

/// Bytes of a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What this process holds for its tensors, in use or kept for the next step.
    pub held: u64,
    /// The most that tensors and workspaces have taken at one time.
    pub most: u64,
}

/// The memory of `device` that this process's tensors take.
///
/// # Errors
/// A device that isn't CUDA's, or has no memory pools.
pub fn memory(device: &Device) -> Result<Memory> {
    let [held, most] = crate::kernels::cuda::pool_sizes(cuda_device(device)?)?;
    Ok(Memory { held, most })
}

fn cuda_device(device: &Device) -> Result<&CudaDevice> {
    match device {
        Device::Cuda(device) => Ok(device),
        other => bail!("expected a CUDA device, got {other:?}"),
    }
}
