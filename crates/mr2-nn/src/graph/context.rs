//! The context of training or evaluation: mode, buffers, dropout stream, and the one backward.

use super::act::Act;
#[cfg(feature = "cuda")]
use super::device::Waiting;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::upload::Uploads;
use crate::kernels::pool::{Pool, lock};
use crate::rng;
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Result, Tensor, TensorId, Var, bail};
#[cfg(feature = "cuda")]
use std::collections::BinaryHeap;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

/// What batch norm and dropout do, and whether gradients can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics, running statistics updated, dropout active, a graph is recorded.
    Train,
    /// Running statistics, no dropout, no graph: activations are freed as soon as they are dropped.
    Eval,
}

/// The context of layer calls; a trainer has one, an evaluator another. Clones are the same context.
///
/// ```
/// use mr2_nn::candle_core::{DType, Device, Tensor, Var};
/// use mr2_nn::graph::{Ctx, Mode};
/// # fn main() -> mr2_nn::candle_core::Result<()> {
/// let cx = Ctx::new(&Device::Cpu, DType::F32, Mode::Train)?;
/// let images = Var::from_tensor(&Tensor::ones((2, 3, 4, 4), DType::F32, &Device::Cpu)?)?;
/// let features = cx.enter(&images)?.relu()?.mean_hw()?; // an ordinary tensor, (2, 3)
/// let gradients = cx.backward(&features.sum_all()?)?;
/// assert_eq!(gradients.get(&images).expect("tracked").dims(), [2, 3, 4, 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Ctx {
    pub(crate) core: Arc<Core>,
}

/// What activations and recorded operations share with their context.
pub(crate) struct Core {
    pub(crate) mode: Mode,
    pub(crate) dtype: DType,
    pub(crate) device: Device,
    pub(crate) pool: Arc<Pool>,
    /// An ancestor of every token: Candle leaves out a node without a variable among its
    /// ancestors.
    pub(crate) anchor: Var,
    /// Counts backwards; the gradients of one are told from those of others by it.
    turns: AtomicU64,
    running: Mutex<Vec<Running>>,
    /// Counts activations on the device.
    #[cfg(feature = "cuda")]
    numbers: AtomicU64,
    /// The way of images to the device.
    #[cfg(feature = "cuda")]
    pub(super) uploads: Mutex<Uploads>,
    dropout: Mutex<Option<DropoutStream>>,
    /// Whether a training pass leaves running statistics as they are.
    statistics_kept: AtomicBool,
}

/// A backward that is under way. Candle calls its operations on the thread that began it, so a
/// thread's operations belong to its latest: while one waits for its parallel loops, rayon may run
/// another to its end on the same thread. Hence too that no lock may be held during such a loop.
pub(super) struct Running {
    thread: ThreadId,
    turn: u64,
    gradients: HashMap<TensorId, Tensor>,
    /// Calls on the device that have a gradient to carry on.
    #[cfg(feature = "cuda")]
    pub(super) waiting: BinaryHeap<Waiting>,
}

/// Takes a backward off the list, also when it panics.
struct EndOfTurn<'a> {
    core: &'a Core,
    turn: u64,
}

impl EndOfTurn<'_> {
    fn take(&self) -> Option<Running> {
        let mut running = lock(&self.core.running);
        let at = running.iter().position(|one| one.turn == self.turn)?;
        Some(running.remove(at))
    }
}

impl Drop for EndOfTurn<'_> {
    fn drop(&mut self) {
        self.take();
    }
}

/// Puts a flag back, also after a panic.
struct PutBack<'a> {
    flag: &'a AtomicBool,
    to: bool,
}

impl Drop for PutBack<'_> {
    fn drop(&mut self) {
        self.flag.store(self.to, Ordering::Relaxed);
    }
}

struct DropoutStream {
    key: u64,
    calls: u64,
}

impl Ctx {
    /// A context for activations of `dtype` on `device`: f32 or f64 on the CPU; f32, bf16 or f16 on a CUDA device,
    /// where parameters are f32 whatever `dtype` is, and features leave as f32.
    ///
    /// # Errors
    /// Another element type, or a device for which the layers have no kernels.
    pub fn new(device: &Device, dtype: DType, mode: Mode) -> Result<Self> {
        check(device, dtype)?;
        let core = Core {
            mode,
            dtype,
            device: device.clone(),
            pool: Arc::default(),
            anchor: Var::zeros(1, DType::F32, device)?,
            turns: AtomicU64::new(0),
            running: Mutex::default(),
            #[cfg(feature = "cuda")]
            numbers: AtomicU64::new(0),
            #[cfg(feature = "cuda")]
            uploads: Mutex::default(),
            dropout: Mutex::new(None),
            statistics_kept: AtomicBool::new(false),
        };
        Ok(Self {
            core: Arc::new(core),
        })
    }

    /// The mode given at construction.
    pub fn mode(&self) -> Mode {
        self.core.mode
    }

    /// Whether the mode is [`Mode::Train`].
    pub fn is_train(&self) -> bool {
        self.core.mode == Mode::Train
    }

    /// The device given at construction.
    pub fn device(&self) -> &Device {
        &self.core.device
    }

    /// The element type given at construction.
    pub fn dtype(&self) -> DType {
        self.core.dtype
    }

    /// Positions the dropout stream: masks are a function of the seed, the step, the number of the
    /// dropout call within the step, and the element's index.
    pub fn begin_step(&self, seed: u64, step: u64) {
        let key = rng::hash(rng::stream(seed, "dropout"), step);
        *lock(&self.core.dropout) = Some(DropoutStream { key, calls: 0 });
    }

    /// Calls `pass`, during which batch norm leaves its running statistics as they are: a training pass
    /// in every other way, with batch statistics, dropout and a graph. For a second pass over a batch
    /// that was counted already, as sharpness-aware minimisation needs it. Clones of the context are
    /// the same context in this too.
    ///
    /// ```
    /// use mr2_nn::candle_core::{DType, Device, Result, Tensor};
    /// use mr2_nn::graph::{Ctx, Mode};
    /// use mr2_nn::layers::{BatchNorm2d, BatchNormConfig};
    /// use mr2_nn::params::ParamStore;
    /// # fn main() -> Result<()> {
    /// let (cx, store) = (
    ///     Ctx::new(&Device::Cpu, DType::F32, Mode::Train)?,
    ///     ParamStore::new(1, DType::F32, &Device::Cpu),
    /// );
    /// let config = BatchNormConfig { eps: 1e-5, momentum: 0.1 };
    /// let norm = BatchNorm2d::new(2, config, store.var_builder())?;
    /// let images = cx.enter(&Tensor::ones((3, 2, 4, 4), DType::F32, &Device::Cpu)?)?;
    /// let mean = || -> Result<f32> { store.buffers()[0].1.as_tensor().get(0)?.to_scalar() };
    /// cx.keeping_running_statistics(|| norm.forward(&cx, &images))?;
    /// assert_eq!(mean()?, 0.0);
    /// norm.forward(&cx, &images)?;
    /// assert_eq!(mean()?, 0.1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn keeping_running_statistics<T>(&self, pass: impl FnOnce() -> T) -> T {
        let kept = &self.core.statistics_kept;
        let _back = PutBack {
            flag: kept,
            to: kept.swap(true, Ordering::Relaxed),
        };
        pass()
    }

    /// Takes images into the graph. If they are tracked, their gradient flows back to them.
    ///
    /// To a CUDA device images in f32 may come from the CPU: through page-locked memory, with no wait for the work that the
    /// device has in its queue.
    ///
    /// # Shapes
    /// `images`: (batch, channels, height, width), of the context's element type; on CUDA f32 will do.
    ///
    /// # Errors
    /// Another rank, an empty dimension, another element type or device; tracked images that come from the CPU.
    pub fn enter(&self, images: &Tensor) -> Result<Act> {
        super::edges::enter(&self.core, images)
    }

    /// Takes sequences into the graph, as [`Ctx::enter`] takes images: the layers of a transformer work on
    /// activations of one row of pixels, its tokens.
    ///
    /// # Shapes
    /// `tokens`: (batch, tokens, features); the activation is (batch, features, 1, tokens).
    ///
    /// # Errors
    /// As [`Ctx::enter`].
    pub fn enter_tokens(&self, tokens: &Tensor) -> Result<Act> {
        super::edges::enter_tokens(&self.core, tokens)
    }

    /// Candle's backward, with the gradients of the layers' parameters added to its result.
    ///
    /// The only backward to call on a loss that was computed through layers; `loss.backward()` is
    /// an error there. Any number of threads may run one at a time each.
    ///
    /// # Shapes
    /// `loss`: usually a scalar; of a larger tensor the sum is differentiated, as in Candle.
    ///
    /// # Errors
    /// Those of any operation in the graph; activations of another context in it.
    pub fn backward(&self, loss: &Tensor) -> Result<GradStore> {
        let end = self.core.begin_turn();
        let mut store = loss.backward()?;
        #[cfg(feature = "cuda")]
        self.core.run_calls_back(&mut store)?;
        let parameters = end.take().map(|running| running.gradients);
        for (id, gradient) in parameters.into_iter().flatten() {
            add_to(&mut store, id, gradient)?;
        }
        Ok(store)
    }
}

/// Adds to the gradient of a tensor.
pub(super) fn add_to(store: &mut GradStore, id: TensorId, part: Tensor) -> Result<()> {
    let sum = match store.get_id(id) {
        Some(present) => (present + &part)?,
        None => part,
    };
    store.insert_id(id, sum);
    Ok(())
}

/// Whether the layers have kernels for it.
fn check(device: &Device, dtype: DType) -> Result<()> {
    let (known, expected) = match device {
        Device::Cpu => (matches!(dtype, DType::F32 | DType::F64), "f32 or f64"),
        #[cfg(feature = "cuda")]
        Device::Cuda(device) if crate::kernels::cuda::has_a_stream_for_each_thread(device) => {
            bail!(
                "the device has a stream for each thread, on which the layers' work isn't ordered: open \
                 it with mr2_nn::cuda::open"
            )
        }
        Device::Cuda(_) => (
            matches!(dtype, DType::F32 | DType::BF16 | DType::F16),
            "f32, bf16 or f16 on CUDA",
        ),
        Device::Metal(_) => {
            bail!(
                "the layers of mr2-nn run on the CPU and on CUDA; device {device:?} has no kernels"
            )
        }
    };
    if !known {
        bail!("dtype: expected {expected}, got {}", dtype.as_str());
    }
    Ok(())
}

impl std::fmt::Debug for Ctx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ctx")
            .field("mode", &self.core.mode)
            .field("dtype", &self.core.dtype)
            .finish_non_exhaustive()
    }
}

impl Core {
    pub(crate) fn is_train(&self) -> bool {
        self.mode == Mode::Train
    }

    /// Whether a training pass moves running statistics.
    pub(crate) fn moves_statistics(&self) -> bool {
        !self.statistics_kept.load(Ordering::Relaxed)
    }

    fn begin_turn(&self) -> EndOfTurn<'_> {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        lock(&self.running).push(Running {
            thread: thread::current().id(),
            turn,
            gradients: HashMap::new(),
            #[cfg(feature = "cuda")]
            waiting: BinaryHeap::new(),
        });
        EndOfTurn { core: self, turn }
    }

    /// Calls `with` with this thread's backward; fails outside of [`Ctx::backward`].
    pub(super) fn in_turn<R>(&self, with: impl FnOnce(&mut Running) -> R) -> Result<R> {
        let thread = thread::current().id();
        let mut running = lock(&self.running);
        let Some(running) = running.iter_mut().rfind(|one| one.thread == thread) else {
            bail!(
                "a loss through layers needs Ctx::backward(&loss), on the context that made its \
                 activations, instead of loss.backward(): the context collects the gradients of \
                 the layers' parameters (one loss cannot join activations of two contexts)"
            );
        };
        Ok(with(running))
    }

    /// The number of this thread's backward.
    pub(crate) fn turn(&self) -> Result<u64> {
        self.in_turn(|running| running.turn)
    }

    /// Adds to the gradient of a parameter.
    pub(crate) fn add_parameter_gradient(&self, parameter: &Tensor, part: Tensor) -> Result<()> {
        let id = parameter.id();
        let sum = match self.in_turn(|running| running.gradients.remove(&id))? {
            Some(present) => (present + part)?,
            None => part,
        };
        self.in_turn(|running| running.gradients.insert(id, sum))?;
        Ok(())
    }

    /// The number of the next activation on the device.
    #[cfg(feature = "cuda")]
    pub(super) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The key of the next dropout mask of this step.
    pub(crate) fn next_dropout_key(&self) -> Result<u64> {
        let mut stream = lock(&self.dropout);
        let Some(stream) = stream.as_mut() else {
            bail!("dropout in training needs Ctx::begin_step(seed, step) before the forward pass");
        };
        let key = rng::hash(stream.key, stream.calls);
        stream.calls += 1;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::layers::{BatchNormConfig, ConvBn};
    use crate::params::ParamStore;

    #[test]
    fn no_buffer_is_allocated_after_the_first_step_and_none_is_lost() {
        let (cx, store) = (
            Ctx::new(&Device::Cpu, DType::F32, Mode::Train).unwrap(),
            ParamStore::new(1, DType::F32, &Device::Cpu),
        );
        let (vb, norm) = (
            store.var_builder(),
            BatchNormConfig {
                eps: 1e-5,
                momentum: 0.1,
            },
        );
        let unit = ConvBn::new(4, 4, 3, 1, 1, norm, vb.pp("conv"), vb.pp("bn")).unwrap();
        let images = Tensor::ones((20, 4, 6, 6), DType::F32, &Device::Cpu).unwrap();
        let step = |differentiate: bool| {
            let x = cx.enter(&images).unwrap();
            let y = unit.forward_relu(&cx, &x).unwrap();
            let y = unit.forward_add_relu(&cx, &y, &x).unwrap();
            let loss = y.mean_hw().unwrap().sum_all().unwrap();
            if differentiate {
                cx.backward(&loss).unwrap();
            }
        };
        // With one thread the number of scratch buffers is always the same.
        let one = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        one.install(|| {
            step(true);
            let buffers = cx.core.pool.f32.count();
            assert!(buffers > 0);
            for differentiate in [true, false, true] {
                step(differentiate);
                assert_eq!(cx.core.pool.f32.count(), buffers);
            }
        });
    }
}
