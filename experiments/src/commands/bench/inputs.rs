//! Random inputs that depend on their name alone; tests/reference/hash_rng.py makes the same in Python.

use anyhow::Result;
use candle_core::{Device, Tensor};
use mr2_nn::rng;
use rayon::prelude::*;

const SEED: u64 = 0;

/// Standard normal numbers in f32.
pub(crate) fn normals(name: &str, shape: &[usize]) -> Result<Tensor> {
    let stream = rng::stream(SEED, name);
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count as u64)
        .into_par_iter()
        .map(|index| rng::normal(stream, index) as f32)
        .collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// One class of `classes` per sample.
pub(crate) fn labels(batch: usize, classes: usize) -> Vec<u32> {
    let stream = rng::stream(SEED, "labels");
    (0..batch as u64)
        .map(|index| (rng::hash(stream, index) % classes as u64) as u32)
        .collect()
}
