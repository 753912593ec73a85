//! One hash of a network's state: equal before and after means frozen.

use candle_core::DType;
use mr2_nn::params::ParamStore;
use sha2::{Digest, Sha256};

use crate::checkpoint::hex;
use crate::error::Result;

/// SHA-256, in hexadecimal, over every parameter and buffer in order: name, type, shape and values.
///
/// # Errors
/// Values that can't be read from their device.
pub fn encoder_hash(params: &ParamStore) -> Result<String> {
    let mut hash = Sha256::new();
    for (name, tensor) in params.tensors() {
        hash.update(format!(
            "\n{name} {:?} {:?}\n",
            tensor.dtype(),
            tensor.dims()
        ));
        let flat = tensor.flatten_all()?;
        // Every narrower type converts to f32 without loss, so that different values stay different.
        match tensor.dtype() {
            DType::F64 => update(&mut hash, &flat.to_vec1::<f64>()?, f64::to_le_bytes),
            _ => update(
                &mut hash,
                &flat.to_dtype(DType::F32)?.to_vec1::<f32>()?,
                f32::to_le_bytes,
            ),
        }
    }
    Ok(hex(&hash.finalize()))
}

fn update<T: Copy, const N: usize>(hash: &mut Sha256, values: &[T], bytes: fn(T) -> [u8; N]) {
    const VALUES: usize = 4096;
    let mut buffer = Vec::with_capacity(VALUES * N);
    for values in values.chunks(VALUES) {
        buffer.clear();
        buffer.extend(values.iter().flat_map(|&value| bytes(value)));
        hash.update(&buffer);
    }
}
