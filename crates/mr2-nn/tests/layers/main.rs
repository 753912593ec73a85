//! The layers and the graph that they record.
#![allow(clippy::unwrap_used)]

/// What f32 kernels do on the way, against f64.
mod fused;
/// What a graph must get right: branches, several forwards, dropped losses, two owners of a weight.
mod graph;
/// Messages of wrong shapes, types and uses.
mod messages;
/// Against PyTorch in float64 (`tests/reference/nn_layers.py`).
mod reference;
/// Running statistics, dropout, initial values, threads.
mod semantics;
/// Building inputs, running layers and comparing numbers.
mod support;
/// Layers of transformers (`tests/reference/nn_tokens.py`).
mod tokens;
