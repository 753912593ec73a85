//! One pass by the algorithm that was chosen.

use super::{Algorithm, Plan, Pointers, named};
use candle_core::cuda_backend::cudarc::cudnn::result;
use candle_core::cuda_backend::cudarc::driver::DevicePtr;
use candle_core::{CudaDevice, Result};
use std::ffi::c_void;

pub(super) fn execute(device: &CudaDevice, plan: Plan, p: Pointers) -> Result<()> {
    let workspace = match plan.workspace {
        0 => None,
        // SAFETY: nothing reads what the algorithm writes there.
        bytes => Some(unsafe { device.alloc::<u8>(bytes) }?),
    };
    let at = workspace.as_ref().map_or(std::ptr::null_mut(), |memory| {
        memory.device_ptr(memory.stream()).0 as *mut c_void
    });
    let (alpha, beta) = (1f32, 0f32);
    let (alpha, beta) = (
        (&raw const alpha).cast::<c_void>(),
        (&raw const beta).cast::<c_void>(),
    );
    // SAFETY: the pointers are those of living tensors of the described sizes, as `run` took them; memory is freed in
    // the order of the stream that the handle launches on.
    let done = unsafe {
        match plan.algorithm {
            Algorithm::Forward(algorithm) => result::convolution_forward(
                plan.handle,
                alpha,
                plan.images,
                p.first,
                plan.weight,
                p.second,
                plan.conv,
                algorithm,
                at,
                plan.workspace,
                beta,
                plan.out,
                p.out,
            ),
            Algorithm::Images(algorithm) => result::convolution_backward_data(
                plan.handle,
                alpha,
                plan.weight,
                p.first,
                plan.out,
                p.second,
                plan.conv,
                algorithm,
                at,
                plan.workspace,
                beta,
                plan.images,
                p.out,
            ),
            Algorithm::Weight(algorithm) => result::convolution_backward_filter(
                plan.handle,
                alpha,
                plan.images,
                p.first,
                plan.out,
                p.second,
                plan.conv,
                algorithm,
                at,
                plan.workspace,
                beta,
                plan.weight,
                p.out,
            ),
        }
    };
    done.map_err(named)
}
