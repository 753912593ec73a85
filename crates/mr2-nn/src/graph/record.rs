//! Layer calls as nodes of Candle's graph.

use super::act::Act;
use super::context::Core;
use super::gradient::Gradient;
use super::slot::{Content, InHandle, Shape4, Slot};
use crate::kernels::pool::PoolBuf;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a layer call leaves behind for the backward pass.
pub(crate) trait Node<T: InHandle>: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// Given the gradient of the output `out`, adds to those of the inputs and parameters: once for each
    /// input.
    fn backward(&self, core: &Core, out: &Slot<T>, gradient: PoolBuf<T>) -> Result<()>;

    /// As `backward`, for nodes that don't need the elements of the gradient in a buffer of their own.
    fn backward_from(&self, core: &Core, out: &Slot<T>, gradient: Gradient<T>) -> Result<()> {
        self.backward(core, out, gradient.into_values(core))
    }
}

/// A node with its output, in the form that Candle calls.
struct Recorded<T: InHandle, N> {
    core: Arc<Core>,
    out: Arc<Slot<T>>,
    node: N,
}

impl Core {
    /// Whether the output of a layer call needs a gradient.
    pub(crate) fn tracks(&self, inputs: &[&Act], parameters: &[&Tensor]) -> bool {
        self.is_train()
            && (inputs.iter().any(|act| act.is_tracked())
                || parameters.iter().any(|parameter| parameter.is_variable()))
    }

    /// The activation of a layer call whose output is computed; `node` is made, and recorded with
    /// everything it holds, only if a gradient can be asked for.
    pub(crate) fn record<T: InHandle, N: Node<T>>(
        self: &Arc<Self>,
        shape: Shape4,
        content: impl Into<Content<T>>,
        inputs: &[&Act],
        parameters: &[&Tensor],
        node: impl FnOnce() -> N,
    ) -> Result<Act> {
        let tracked = self.tracks(inputs, parameters);
        let out = Slot::new(shape, content, tracked);
        let handle = T::handle(out.clone());
        let mut token = None;
        if tracked {
            for input in inputs {
                input.slot::<T>()?.consumers.fetch_add(1, Ordering::Relaxed);
            }
            let op = Recorded {
                core: self.clone(),
                out,
                node: node(),
            };
            let tokens: Vec<&Tensor> = inputs.iter().filter_map(|act| act.token.as_ref()).collect();
            token = Some(match tokens[..] {
                [] => self.anchor.apply_op1(op)?,
                [one] => one.apply_op1(op)?,
                [one, two] => one.apply_op2(two, op)?,
                _ => bail!("{}: more than two tracked activations", op.node.name()),
            });
        }
        Ok(Act {
            token,
            handle,
            core: self.clone(),
        })
    }
}

/// The storage of a token.
pub(super) fn token() -> (CpuStorage, Shape) {
    (CpuStorage::F32(vec![0.0]), Shape::from(1))
}

impl<T: InHandle, N: Node<T>> Recorded<T, N> {
    fn run(&self) -> Result<()> {
        let Some(gradient) = self.out.take_gradient(&self.core)? else {
            bail!(
                "{}: the gradient of the output is missing",
                self.node.name()
            );
        };
        self.node.backward_from(&self.core, &self.out, gradient)
    }
}

impl<T: InHandle, N: Node<T>> CustomOp1 for Recorded<T, N> {
    fn name(&self) -> &'static str {
        self.node.name()
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(token())
    }

    fn bwd(&self, input: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        self.run()?;
        // The anchor is a variable and needs no entry in the `GradStore`; any other input must get
        // one, for Candle panics without.
        Ok((!input.is_variable()).then(|| gradient.clone()))
    }
}

impl<T: InHandle, N: Node<T>> CustomOp2 for Recorded<T, N> {
    fn name(&self) -> &'static str {
        self.node.name()
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(token())
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.run()?;
        Ok((Some(gradient.clone()), Some(gradient.clone())))
    }
}
