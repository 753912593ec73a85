//! One layer between an activation that comes from nowhere and a gradient that is there already.

use crate::graph::{Act, Core, Ctx, Node, Shape4, Slot};
use crate::kernels::pool::{PoolBuf, lock};
use crate::rng;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::sync::{Arc, Mutex};

/// Standard normal numbers as an activation of a context in f32. A `tracked` one wants its gradient, which is then
/// dropped: a layer's backward computes it, and nobody copies it anywhere.
///
/// # Shapes
/// `dims`: batch, channels, height, width.
///
/// # Errors
/// An empty dimension, a context of another element type, or a tracked activation of an evaluation.
pub fn activation(cx: &Ctx, dims: [usize; 4], tracked: bool) -> Result<Act> {
    if tracked && !cx.is_train() {
        bail!("activation: only in training can a gradient be wanted");
    }
    let (shape, mut data) = buffer(cx, dims)?;
    let stream = rng::stream(0, "activation");
    let values = data.par_iter_mut().enumerate();
    values.for_each(|(index, value)| *value = rng::normal(stream, index as u64) as f32);
    let variable = match tracked {
        true => vec![cx.core.anchor.as_tensor()],
        false => Vec::new(),
    };
    cx.core.record(shape, data, &[], &variable, || Source)
}

fn buffer(cx: &Ctx, dims: [usize; 4]) -> Result<(Shape4, PoolBuf<f32>)> {
    let [batch, channels, height, width] = dims;
    if dims.contains(&0) || cx.dtype() != DType::F32 {
        bail!(
            "activation: expected four sizes above 0 and a context of f32, got {dims:?} and {:?}",
            cx.dtype()
        );
    }
    let shape = Shape4 {
        batch,
        channels,
        height,
        width,
    };
    Ok((shape, cx.core.pool.take(shape.elements())))
}

struct Source;

impl Node<f32> for Source {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn backward(&self, _: &Core, _: &Slot<f32>, _: PoolBuf<f32>) -> Result<()> {
        Ok(())
    }
}

/// The gradient of an activation, ready before the clock starts.
pub struct Upstream {
    cx: Ctx,
    gradient: PoolBuf<f32>,
}

impl Upstream {
    /// Ones.
    ///
    /// # Shapes
    /// `dims`: batch, channels, height, width of the activation that is to be differentiated.
    ///
    /// # Errors
    /// An empty dimension, or a context of another element type than f32.
    pub fn ones(cx: &Ctx, dims: [usize; 4]) -> Result<Self> {
        let (_, mut gradient) = buffer(cx, dims)?;
        gradient.fill(1.0);
        let cx = cx.clone();
        Ok(Self { cx, gradient })
    }

    /// Differentiates `y`: the backward of the layers between it and their inputs, and nothing else.
    ///
    /// # Errors
    /// An activation without variables, of another shape or of another context; those of the layers.
    pub fn backward(self, y: &Act) -> Result<()> {
        y.check_context(&self.cx)?;
        let Some(token) = &y.token else {
            bail!("backward: the activation depends on no variable");
        };
        let slot = y.slot::<f32>()?.clone();
        if slot.shape.elements() != self.gradient.len() {
            bail!("backward: the gradient has another shape than the activation");
        }
        let loss = token.apply_op1(Entry {
            core: self.cx.core.clone(),
            slot,
            gradient: Mutex::new(Some(self.gradient)),
        })?;
        self.cx.backward(&loss).map(drop)
    }
}

/// From the loss to the gradient of the last activation.
struct Entry {
    core: Arc<Core>,
    slot: Arc<Slot<f32>>,
    gradient: Mutex<Option<PoolBuf<f32>>>,
}

impl CustomOp1 for Entry {
    fn name(&self) -> &'static str {
        "upstream"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(1)))
    }

    fn bwd(&self, token: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        let Some(gradient) = lock(&self.gradient).take() else {
            bail!("upstream: one gradient is for one backward");
        };
        self.slot.give_gradient(&self.core, gradient)?;
        Ok(Some(token.zeros_like()?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::graph::Mode;
    use candle_core::Device;

    #[test]
    fn a_layer_is_differentiated_between_the_two() {
        let cx = Ctx::new(&Device::Cpu, DType::F32, Mode::Train).unwrap();
        let dims = [2, 3, 4, 4];
        let x = activation(&cx, dims, true).unwrap();
        for _ in 0..2 {
            let upstream = Upstream::ones(&cx, dims).unwrap();
            upstream.backward(&x.relu().unwrap()).unwrap();
        }
        let untracked = activation(&cx, dims, false).unwrap();
        let upstream = Upstream::ones(&cx, dims).unwrap();
        assert!(upstream.backward(&untracked.relu().unwrap()).is_err());
        let other = Upstream::ones(&cx, [1, 3, 4, 4]).unwrap();
        assert!(other.backward(&x).is_err());
    }
}
