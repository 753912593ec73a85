//! One operation to be run on both sides.

use anyhow::{Context, Result};
use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use candle_nn::VarBuilder;
use mr2_nn::graph::{Act, Ctx, Mode};
use mr2_nn::params::ParamStore;

use super::side::Side;

/// Results by their names; gradients' names begin with [`GRADIENT`].
pub(super) type Parts = Vec<(String, Tensor)>;

pub(super) const GRADIENT: &str = "gradient of ";

/// What a case computes with, which decides its precisions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Uses {
    /// Layers on activations.
    Layers,
    /// Operations on ordinary tensors.
    Tensors,
}

/// Runs an operation on one side.
type Run = Box<dyn Fn(&Side) -> Result<Parts>>;

/// An operation with everything that it is given.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) uses: Uses,
    /// Whether a rectifier or a maximum follows a rounded product. Then a share p of the signs differs, where values are
    /// near 0, and gradients by √p.
    pub(super) kinked: bool,
    /// Whether roundings grow so much on their way that signs flip in f32 too.
    pub(super) sensitive: bool,
    /// How many roundings follow each other, as a factor on the tolerance.
    pub(super) depth: f64,
    pub(super) run: Run,
}

impl Case {
    /// A case on ordinary tensors.
    pub(super) fn tensors(
        name: impl Into<String>,
        run: impl Fn(&Side) -> Result<Parts> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            uses: Uses::Tensors,
            kinked: false,
            sensitive: false,
            depth: 1.0,
            run: Box::new(run),
        }
    }

    /// A case of a layer: `build` makes it, `forward` gives a tensor from the activations of `inputs`; with
    /// [`Mode::Train`] all gradients and the buffers are compared too.
    pub(super) fn layer<L: 'static, const N: usize>(
        name: impl Into<String>,
        mode: Mode,
        inputs: [&'static [usize]; N],
        build: impl Fn(VarBuilder<'static>) -> candle_core::Result<L> + 'static,
        forward: impl Fn(&L, &Ctx, &[Act]) -> candle_core::Result<Tensor> + 'static,
    ) -> Self {
        let run = move |side: &Side| {
            let store = side.store();
            let layer = build(store.var_builder())?;
            side.perturb(&store)?;
            let context = side.context(mode)?;
            let names = ["x", "skip", "third"];
            let named = names.iter().zip(inputs);
            let inputs: Vec<(String, Var)> = named
                .map(|(name, shape)| Ok((name.to_string(), side.variable(name, shape)?)))
                .collect::<Result<_>>()?;
            let entered: Vec<Act> = inputs
                .iter()
                .map(|(_, var)| side.enter(&context, var))
                .collect::<Result<_>>()?;
            let output = side.wide(&forward(&layer, &context, &entered)?)?;
            finish(side, &context, output, inputs, &store)
        };
        Self {
            uses: Uses::Layers,
            ..Self::tensors(name, run)
        }
    }

    /// The same, with a rectifier behind a rounded product.
    pub(super) fn kinked(mut self) -> Self {
        self.kinked = true;
        self
    }

    /// The same, where roundings grow so much that signs of rectifiers flip in f32 too.
    pub(super) fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// The same, of so many roundings in a row.
    pub(super) fn deep(mut self, depth: f64) -> Self {
        self.depth = depth;
        self
    }
}

/// The output, and in training the gradients of a random linear function of it, then the buffers.
fn finish(
    side: &Side,
    context: &Ctx,
    output: Tensor,
    inputs: Vec<(String, Var)>,
    store: &ParamStore,
) -> Result<Parts> {
    let mut parts = vec![("output".to_string(), output.detach())];
    if context.is_train() {
        let gradients = context.backward(&side.weighted_sum(&output)?)?;
        let mut variables = inputs;
        variables.extend(store.parameters());
        parts.extend(gradients_of(&gradients, &variables)?);
        parts.extend(detached(store.buffers()));
    }
    Ok(parts)
}

/// The gradients of named variables.
///
/// # Errors
/// A variable without one.
pub(super) fn gradients_of(gradients: &GradStore, variables: &[(String, Var)]) -> Result<Parts> {
    let one = |(name, var): &(String, Var)| {
        let gradient = gradients
            .get(var.as_tensor())
            .with_context(|| format!("{name} has no gradient"))?;
        Ok((format!("{GRADIENT}{name}"), gradient.clone()))
    };
    variables.iter().map(one).collect()
}

/// A loss, and the gradients of a random linear function of its values.
pub(super) fn differentiated(
    side: &Side,
    losses: &Tensor,
    variables: &[(String, Var)],
) -> Result<Parts> {
    let gradients = side.weighted_sum(losses)?.backward()?;
    let mut parts = vec![("loss".to_string(), losses.detach())];
    parts.extend(gradients_of(&gradients, variables)?);
    Ok(parts)
}

/// The present values of variables.
pub(super) fn detached(variables: Vec<(String, Var)>) -> Parts {
    let value = |(name, var): (String, Var)| (name, var.as_tensor().detach());
    variables.into_iter().map(value).collect()
}
