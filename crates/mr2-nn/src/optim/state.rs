//! What all optimisers share: the list of parameters with their state, saved and loaded by name.
use std::collections::{HashMap, HashSet};

use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Tensor, Var, bail};

use super::ParamGroup;
use super::moment::{Moment, check_gradient};

/// A parameter, its group's settings and its state, which begins with its first gradient.
#[derive(Debug, Clone)]
pub(super) struct Slot<S> {
    pub(super) name: String,
    pub(super) parameter: Var,
    pub(super) lr_scale: f64,
    pub(super) weight_decay: f64,
    pub(super) state: Option<S>,
}

/// The parameters of all groups in order.
pub(super) fn slots<S>(groups: Vec<ParamGroup>) -> Result<Vec<Slot<S>>> {
    let mut slots = Vec::new();
    let mut names = HashSet::new();
    let mut ids = HashSet::new();
    for ParamGroup {
        params,
        lr_scale,
        weight_decay,
    } in groups
    {
        check_setting("lr_scale", lr_scale)?;
        check_setting("weight_decay", weight_decay)?;
        for (name, parameter) in params {
            if !matches!(parameter.dtype(), DType::F32 | DType::F64) {
                bail!(
                    "optimiser: {name:?} must be f32 or f64, got {:?}",
                    parameter.dtype()
                )
            }
            // Each alone would update a parameter twice or save two states under one name.
            if !ids.insert(parameter.as_tensor().id()) || !names.insert(name.clone()) {
                bail!("optimiser: parameter {name:?} appears twice in the groups")
            }
            slots.push(Slot {
                name,
                parameter,
                lr_scale,
                weight_decay,
                state: None,
            });
        }
    }
    if slots.is_empty() {
        bail!("optimiser: the groups hold no parameters")
    }
    Ok(slots)
}

pub(super) fn check_setting(name: &str, value: f64) -> Result<()> {
    if !value.is_finite() || value < 0.0 {
        bail!("optimiser: {name} must be finite and not negative, got {value}")
    }
    Ok(())
}

/// The gradient of every slot that has one, after all were found to fit.
pub(super) fn fitting_gradients<S>(
    slots: &[Slot<S>],
    gradients: &GradStore,
) -> Result<Vec<Option<Tensor>>> {
    let mut fitting = Vec::with_capacity(slots.len());
    for slot in slots {
        let gradient = gradients.get(slot.parameter.as_tensor());
        let checked =
            gradient.map(|gradient| check_gradient(&slot.name, &slot.parameter, gradient));
        fitting.push(checked.transpose()?);
    }
    if fitting.iter().all(Option::is_none) {
        bail!(
            "optimiser: none of the {} parameters has a gradient; was it computed by \
             Ctx::backward, and for this model?",
            slots.len()
        )
    }
    Ok(fitting)
}

/// A kind of state tensor: its prefix, and whether it has the parameter's shape and dtype or is
/// an i64 scalar.
pub(super) struct Kind {
    pub(super) prefix: &'static str,
    pub(super) scalar: bool,
}

impl Kind {
    pub(super) fn name(&self, parameter: &str) -> String {
        format!("{}.{parameter}", self.prefix)
    }
}

/// The state of an optimiser that keeps one moment of each parameter.
pub(super) fn velocities(slots: &[Slot<Moment>], kind: Kind) -> Result<Vec<(String, Tensor)>> {
    let mut tensors = Vec::new();
    for slot in slots {
        if let Some(velocity) = &slot.state {
            tensors.push((kind.name(&slot.name), velocity.to_tensor(&slot.parameter)?));
        }
    }
    Ok(tensors)
}

/// Puts back what [`velocities`] gave.
pub(super) fn load_velocities(
    slots: &mut [Slot<Moment>],
    kind: Kind,
    state: &HashMap<String, Tensor>,
) -> Result<()> {
    load_state(slots, &[kind], state, |tensors| {
        Moment::from_tensor(&tensors[0])
    })
}

/// Sets the state of every slot, made by `new` from its tensors in the order of `kinds`; nothing
/// is changed by a `state` that doesn't fit.
pub(super) fn load_state<S>(
    slots: &mut [Slot<S>],
    kinds: &[Kind],
    state: &HashMap<String, Tensor>,
    new: impl Fn(&[Tensor]) -> Result<S>,
) -> Result<()> {
    let found = read_state(slots, kinds, state)?;
    let mut states = Vec::with_capacity(slots.len());
    for (slot, tensors) in slots.iter().zip(found) {
        let device = slot.parameter.device();
        let state = tensors.map(|tensors| {
            let tensors = tensors.iter().map(|tensor| tensor.to_device(device));
            new(&tensors.collect::<Result<Vec<_>>>()?)
        });
        states.push(state.transpose()?);
    }
    for (slot, state) in slots.iter_mut().zip(states) {
        slot.state = state;
    }
    Ok(())
}

/// For each slot the tensors of its state in the order of `kinds`, or `None` if it has no state.
fn read_state<S>(
    slots: &[Slot<S>],
    kinds: &[Kind],
    state: &HashMap<String, Tensor>,
) -> Result<Vec<Option<Vec<Tensor>>>> {
    let mut problems = Vec::new();
    let mut expected = HashSet::new();
    let mut found = Vec::with_capacity(slots.len());
    for slot in slots {
        let mut tensors = Vec::new();
        for kind in kinds {
            let name = kind.name(&slot.name);
            if let Some(tensor) = state.get(&name) {
                problems.extend(mismatch(&name, tensor, kind, &slot.parameter));
                tensors.push(tensor.clone());
            }
            expected.insert(name);
        }
        if !tensors.is_empty() && tensors.len() < kinds.len() {
            let missing = kinds.iter().map(|kind| kind.name(&slot.name));
            let missing = missing.filter(|name| !state.contains_key(name));
            problems.extend(missing.map(|name| format!("missing: {name}")));
        }
        found.push((!tensors.is_empty()).then_some(tensors));
    }
    let mut unexpected: Vec<_> = state
        .keys()
        .filter(|name| !expected.contains(*name))
        .collect();
    unexpected.sort_unstable();
    problems.extend(
        unexpected
            .into_iter()
            .map(|name| format!("unexpected: {name}")),
    );
    if !problems.is_empty() {
        bail!(
            "the optimiser's state doesn't fit:\n  {}",
            problems.join("\n  ")
        )
    }
    Ok(found)
}

fn mismatch(name: &str, tensor: &Tensor, kind: &Kind, parameter: &Var) -> Option<String> {
    let (dims, dtype) = match kind.scalar {
        true => (&[][..], DType::I64),
        false => (parameter.dims(), parameter.dtype()),
    };
    let fits = tensor.dims() == dims && tensor.dtype() == dtype;
    let got = (tensor.dims(), tensor.dtype());
    (!fits).then(|| {
        format!(
            "wrong shape: {name} expected {dims:?} {dtype:?}, got {:?} {:?}",
            got.0, got.1
        )
    })
}
