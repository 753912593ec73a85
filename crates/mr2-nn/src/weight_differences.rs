//! Where a set of named tensors differs from what a model holds.

use std::collections::HashMap;

use candle_core::{Tensor, Var};

/// What PyTorch keeps beside running statistics: it plays no part where batch norm has a momentum.
const PYTORCH_COUNT: &str = "num_batches_tracked";

/// One line for every tensor that is missing, unexpected or has the wrong shape.
pub(crate) fn differences(
    own: &[(String, Var)],
    given: &HashMap<String, Tensor>,
    may_miss: impl Fn(&str) -> bool,
) -> Vec<String> {
    let own_shapes: HashMap<&str, &[usize]> = own
        .iter()
        .map(|(name, var)| (name.as_str(), var.dims()))
        .collect();
    let mut unexpected: Vec<&str> = given
        .keys()
        .map(String::as_str)
        .filter(|name| !own_shapes.contains_key(name) && !name.ends_with(PYTORCH_COUNT))
        .collect();
    unexpected.sort_unstable();
    let missing: Vec<&str> = own
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|&name| !given.contains_key(name) && !may_miss(name))
        .collect();

    let mut lines = Vec::new();
    for name in &missing {
        let hint = nearest(name, &unexpected);
        lines.push(format!("missing: {name} {:?}{hint}", own_shapes[name]));
    }
    for name in &unexpected {
        let hint = nearest(name, &missing);
        lines.push(format!(
            "unexpected: {name} {:?}{hint}",
            given[*name].dims()
        ));
    }
    for (name, var) in own {
        if let Some(value) = given.get(name).filter(|value| value.dims() != var.dims()) {
            lines.push(format!(
                "wrong shape: {name} expected {:?}, got {:?}",
                var.dims(),
                value.dims()
            ));
        }
    }
    lines
}

/// A hint at the candidate most like `name`, if any is more alike than not.
fn nearest(name: &str, candidates: &[&str]) -> String {
    let scored = candidates
        .iter()
        .map(|other| (strsim::normalized_levenshtein(name, other), other));
    match scored.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, other)) if score > 0.5 => format!(" (nearest: {other})"),
        _ => String::new(),
    }
}
