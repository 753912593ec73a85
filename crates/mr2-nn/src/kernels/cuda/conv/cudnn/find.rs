//! The algorithms of a pass, each run and timed.

use super::super::choice::Measured;
use super::{Algorithm, Plan, Pointers};
use candle_core::cuda_backend::cudarc::cudnn::{CudnnError, sys};
use std::ffi::{c_int, c_void};

/// Algorithms that cuDNN may report; it has fewer.
const ALGORITHMS: usize = 16;

pub(super) type Found = Vec<Measured<(Algorithm, sys::cudnnMathType_t)>>;

/// What cuDNN reports of the algorithms of one pass.
macro_rules! measured {
    ($results:expr, $count:expr, $kind:path) => {
        $results[..$count as usize]
            .iter()
            .map(|one| Measured {
                algorithm: ($kind(one.algo), one.mathType),
                ran: one.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS,
                milliseconds: one.time,
                bytes: one.memory,
                deterministic: one.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC,
                reduced: one.mathType != sys::cudnnMathType_t::CUDNN_FMA_MATH,
            })
            .collect()
    };
}

/// Runs and times all algorithms of the pass.
///
/// # Safety
/// The plan's descriptors are alive and describe what the pointers point to; `at` points to the plan's workspace.
pub(super) unsafe fn find(
    plan: &Plan,
    p: Pointers,
    at: *mut c_void,
) -> std::result::Result<Found, CudnnError> {
    let mut count: c_int = 0;
    let most = ALGORITHMS as c_int;
    // SAFETY: the results are numbers and enums of which 0 is a variant, and cuDNN fills them in; the rest as the caller says.
    unsafe {
        match plan.algorithm {
            Algorithm::Forward(_) => {
                let mut results: [sys::cudnnConvolutionFwdAlgoPerf_t; ALGORITHMS] =
                    [std::mem::zeroed(); ALGORITHMS];
                sys::cudnnFindConvolutionForwardAlgorithmEx(
                    plan.handle,
                    plan.images,
                    p.first,
                    plan.weight,
                    p.second,
                    plan.conv,
                    plan.out,
                    p.out,
                    most,
                    &mut count,
                    results.as_mut_ptr(),
                    at,
                    plan.workspace,
                )
                .result()?;
                Ok(measured!(results, count, Algorithm::Forward))
            }
            Algorithm::Images(_) => {
                let mut results: [sys::cudnnConvolutionBwdDataAlgoPerf_t; ALGORITHMS] =
                    [std::mem::zeroed(); ALGORITHMS];
                sys::cudnnFindConvolutionBackwardDataAlgorithmEx(
                    plan.handle,
                    plan.weight,
                    p.first,
                    plan.out,
                    p.second,
                    plan.conv,
                    plan.images,
                    p.out,
                    most,
                    &mut count,
                    results.as_mut_ptr(),
                    at,
                    plan.workspace,
                )
                .result()?;
                Ok(measured!(results, count, Algorithm::Images))
            }
            Algorithm::Weight(_) => {
                let mut results: [sys::cudnnConvolutionBwdFilterAlgoPerf_t; ALGORITHMS] =
                    [std::mem::zeroed(); ALGORITHMS];
                sys::cudnnFindConvolutionBackwardFilterAlgorithmEx(
                    plan.handle,
                    plan.images,
                    p.first,
                    plan.out,
                    p.second,
                    plan.conv,
                    plan.weight,
                    p.out,
                    most,
                    &mut count,
                    results.as_mut_ptr(),
                    at,
                    plan.workspace,
                )
                .result()?;
                Ok(measured!(results, count, Algorithm::Weight))
            }
        }
    }
}
