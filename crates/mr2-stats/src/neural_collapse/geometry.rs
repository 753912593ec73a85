//! Lengths and angles of class means and head rows, (classes, dim) in f64.
use candle_core::{Result, Tensor};

use super::sum_of_squares;

/// The standard deviation of the rows' lengths by their mean; `None` if all are 0.
pub(super) fn norm_variation(rows: &Tensor) -> Result<Option<f64>> {
    let norms = norms(rows)?;
    let mean = norms.iter().sum::<f64>() / norms.len() as f64;
    let squares = norms.iter().map(|norm| (norm - mean).powi(2));
    let deviation = (squares.sum::<f64>() / norms.len() as f64).sqrt();
    Ok((mean > 0.0).then(|| deviation / mean))
}

/// The mean of `|cos + 1 / (rows − 1)|` over pairs of rows; `None` if one has length 0.
pub(super) fn angles(rows: &Tensor) -> Result<Option<f64>> {
    let norms = norms(rows)?;
    if norms.contains(&0.0) {
        return Ok(None);
    }
    let count = norms.len();
    let norms = Tensor::from_vec(norms, (count, 1), rows.device())?;
    let directions = rows.broadcast_div(&norms)?;
    let cosines = directions.matmul(&directions.t()?)?.to_vec2::<f64>()?;
    let simplex = -1.0 / (count as f64 - 1.0);
    let mut total = 0.0;
    for (i, row) in cosines.iter().enumerate() {
        let later = row[i + 1..].iter();
        total += later.map(|cosine| (cosine - simplex).abs()).sum::<f64>();
    }
    Ok(Some(total / (count * (count - 1) / 2) as f64))
}

/// `‖a / ‖a‖ − b / ‖b‖‖`; `None` if one is 0.
pub(super) fn self_duality(a: &Tensor, b: &Tensor) -> Result<Option<f64>> {
    let [a_norm, b_norm] = [sum_of_squares(a)?.sqrt(), sum_of_squares(b)?.sqrt()];
    if a_norm == 0.0 || b_norm == 0.0 {
        return Ok(None);
    }
    let difference = ((a * (1.0 / a_norm))? - (b * (1.0 / b_norm))?)?;
    Ok(Some(sum_of_squares(&difference)?.sqrt()))
}

fn norms(rows: &Tensor) -> Result<Vec<f64>> {
    rows.sqr()?.sum(1)?.sqrt()?.to_vec1()
}
