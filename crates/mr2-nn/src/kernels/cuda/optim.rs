//! Updates of many parameters in a few launches, and the norm of many gradients, without waiting for the device.

use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, LaunchConfig, PushKernelArg};
use candle_core::{CudaDevice, DType, Result, Tensor, bail};

use super::{Arg, Grid, Module, address, empty, launch, module, pointer};

const MODULE: Module = module!("optim");

/// As in optim.cu: tensors of one launch, numbers that come with each, elements and threads of a block.
const TENSORS: usize = 64;
const NUMBERS: usize = 4;
const CHUNK: usize = 4096;
const THREADS: usize = 256;

/// A tensor of a launch: those that belong together, contiguous f32 of one size, and its numbers.
pub(crate) struct Entry<'a, const POINTERS: usize> {
    /// `None` is a null pointer.
    pub(crate) tensors: [Option<&'a Tensor>; POINTERS],
    pub(crate) numbers: [f32; NUMBERS],
}

/// What a kernel gets by value.
#[repr(C)]
#[derive(Clone, Copy)]
struct Table<const POINTERS: usize> {
    pointers: [[u64; TENSORS]; POINTERS],
    sizes: [i64; TENSORS],
    first_block: [i32; TENSORS],
    numbers: [[f32; NUMBERS]; TENSORS],
}

// SAFETY: plain numbers without padding (the 8-byte fields come first and TENSORS is even), laid out as the
// struct of the same name in optim.cu.
unsafe impl<const POINTERS: usize> DeviceRepr for Table<POINTERS> {}

/// The tables of a list of tensors, each with its tensors and blocks.
struct Launches<const POINTERS: usize>(Vec<(Table<POINTERS>, i32, u32)>);

impl<const POINTERS: usize> Launches<POINTERS> {
    fn new(entries: &[Entry<POINTERS>]) -> Result<Self> {
        let mut launches = Vec::with_capacity(entries.len().div_ceil(TENSORS));
        for part in entries.chunks(TENSORS) {
            let mut table = Table {
                pointers: [[0; TENSORS]; POINTERS],
                sizes: [0; TENSORS],
                first_block: [0; TENSORS],
                numbers: [[0.0; NUMBERS]; TENSORS],
            };
            let mut blocks = 0usize;
            for (place, entry) in part.iter().enumerate() {
                let mut size = 0;
                for (list, tensor) in entry.tensors.iter().enumerate() {
                    if let Some(tensor) = tensor {
                        table.pointers[list][place] = f32_address(tensor)?;
                        size = tensor.elem_count();
                    }
                }
                table.sizes[place] = size as i64;
                table.first_block[place] = blocks as i32;
                table.numbers[place] = entry.numbers;
                blocks += size.div_ceil(CHUNK);
            }
            if i32::try_from(blocks).is_err() {
                bail!("optimiser: {blocks} blocks are too many for a CUDA kernel")
            }
            launches.push((table, part.len() as i32, blocks as u32));
        }
        Ok(Self(launches))
    }

    /// Puts the kernel into the queue once for each table, with `rest` of the launch that begins at a block.
    fn run(
        &self,
        device: &CudaDevice,
        kernel: &str,
        rest: impl Fn(usize) -> Vec<Arg>,
    ) -> Result<()> {
        let function = device.get_or_load_custom_func(kernel, MODULE.name, MODULE.ptx)?;
        let mut first = 0;
        for (table, tensors, blocks) in &self.0 {
            let rest = rest(first);
            first += *blocks as usize;
            if *blocks == 0 {
                continue;
            }
            let mut builder = function.builder();
            builder.arg(table).arg(tensors);
            for arg in &rest {
                arg.add_to(&mut builder);
            }
            let config = LaunchConfig {
                grid_dim: (*blocks, 1, 1),
                block_dim: (THREADS as u32, 1, 1),
                shared_mem_bytes: 0,
            };
            // SAFETY: the functions below pass what the kernel's signature says; a table holds addresses of as
            // many elements as it says, and memory is freed in the order of the stream, after the kernel.
            if let Err(error) = unsafe { builder.launch(config) } {
                bail!("{kernel}: {error}");
            }
        }
        Ok(())
    }

    fn blocks(&self) -> usize {
        self.0.iter().map(|(_, _, blocks)| *blocks as usize).sum()
    }
}

fn f32_address(tensor: &Tensor) -> Result<u64> {
    match tensor.dtype() {
        DType::F32 => address(tensor),
        dtype => bail!("optimiser: no CUDA kernel for {}", dtype.as_str()),
    }
}

/// [`crate::optim::Sgd`]'s rule, in place. Of each parameter: itself, its gradient, its velocity with
/// momentum; learning rate and weight decay.
pub(crate) fn sgd(
    device: &CudaDevice,
    entries: &[Entry<3>],
    momentum: f64,
    nesterov: bool,
) -> Result<()> {
    Launches::new(entries)?.run(device, "optim_sgd_f32", |_| {
        vec![Arg::F32(momentum as f32), Arg::I32(i32::from(nesterov))]
    })
}

/// [`crate::optim::Lars`]'s rule, in place. Of each parameter: itself, its gradient, its velocity; learning rate, weight
/// decay, and 1 if its step is scaled by norms, or else 0.
pub(crate) fn lars(
    device: &CudaDevice,
    entries: &[Entry<3>],
    momentum: f64,
    trust: f64,
) -> Result<()> {
    let launches = Launches::new(entries)?;
    // Two sums of each block: of the squares of the parameter, and of its gradient with the decay.
    let partial = empty(device, DType::F64, (launches.blocks().max(1), 2))?;
    let start = address(&partial)?;
    let of_block = |first: usize| Arg::Pointer(start + (first * 2 * size_of::<f64>()) as u64);
    launches.run(device, "optim_lars_squares_f32", |first| {
        vec![of_block(first)]
    })?;
    launches.run(device, "optim_lars_f32", |first| {
        let numbers = [momentum, trust].map(|number| Arg::F32(number as f32));
        [&[of_block(first)], &numbers[..]].concat()
    })
}

/// [`crate::optim::AdamW`]'s rule, in place. Of each parameter: itself, its gradient, its mean and its mean of
/// squares; what is kept of it, the step size and the root of the second correction.
pub(crate) fn adamw(
    device: &CudaDevice,
    entries: &[Entry<4>],
    [beta1, beta2]: [f64; 2],
    eps: f64,
) -> Result<()> {
    let numbers = [1.0 - beta1, beta2, 1.0 - beta2, eps];
    Launches::new(entries)?.run(device, "optim_adamw_f32", |_| {
        numbers.map(|number| Arg::F32(number as f32)).to_vec()
    })
}

/// The norm of all gradients together, and the factor that takes it to `max_norm` at most, (2) in f64.
pub(crate) fn norm(
    device: &CudaDevice,
    gradients: &[Tensor],
    max_norm: Option<f64>,
    epsilon: f64,
) -> Result<Tensor> {
    let entries: Vec<_> = gradients
        .iter()
        .map(|gradient| Entry {
            tensors: [Some(gradient)],
            numbers: [0.0; NUMBERS],
        })
        .collect();
    let launches = Launches::new(&entries)?;
    let blocks = launches.blocks();
    let partial = empty(device, DType::F64, blocks.max(1))?;
    let start = address(&partial)?;
    launches.run(device, "optim_squares_f32", |first| {
        vec![Arg::Pointer(start + (first * size_of::<f64>()) as u64)]
    })?;
    let norm = empty(device, DType::F64, 2)?;
    let one_block = Grid {
        blocks: (1, 1),
        threads: (THREADS, 1),
    };
    let args = [
        pointer(&partial)?,
        Arg::I32(blocks as i32),
        Arg::F64(max_norm.unwrap_or(-1.0)),
        Arg::F64(epsilon),
        pointer(&norm)?,
    ];
    launch(device, MODULE, "optim_norm", one_block, &args)?;
    Ok(norm)
}

/// The gradients times the factor that [`norm`] gave.
pub(crate) fn scaled(
    device: &CudaDevice,
    gradients: &[Tensor],
    norm: &Tensor,
) -> Result<Vec<Tensor>> {
    let fresh = |gradient: &Tensor| empty(device, DType::F32, gradient.shape());
    let scaled: Vec<Tensor> = gradients.iter().map(fresh).collect::<Result<_>>()?;
    let pairs = gradients.iter().zip(&scaled);
    let entries: Vec<_> = pairs
        .map(|(gradient, scaled)| Entry {
            tensors: [Some(gradient), Some(scaled)],
            numbers: [0.0; NUMBERS],
        })
        .collect();
    let norm = pointer(norm)?;
    Launches::new(&entries)?.run(device, "optim_scale_f32", |_| vec![norm])?;
    Ok(scaled)
}
