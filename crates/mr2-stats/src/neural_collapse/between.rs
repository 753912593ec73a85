//! The pseudo-inverse of the covariance of class means.
use candle_core::{Device, Result, Tensor};

/// What is left of a mean once the directions of the others are taken out of it, by the longest mean,
/// below which it is rounding: features in f32 have no more digits.
const NEGLIGIBLE: f64 = 1e-7;

/// `A` (rank, dim) with `‖A x‖² = xᵀ Σ_B† x / K` for the covariance `Σ_B` of `means` (K, dim), which
/// are centred; `None` if they are all 0, or too nearly dependent for their digits.
///
/// The means are `C Q` with orthonormal rows `Q`, so `Σ_B = Qᵀ (CᵀC) Q / K`, and with a Cholesky factor
/// `L` of `CᵀC`, `A` is `L⁻¹ Q`.
pub(super) fn whitening(means: &Tensor) -> Result<Option<Tensor>> {
    let directions = directions(means.to_vec2()?);
    if directions.is_empty() {
        return Ok(None);
    }
    let directions = Tensor::new(directions, &Device::Cpu)?;
    let coordinates = means.matmul(&directions.t()?)?;
    let gram = coordinates.t()?.matmul(&coordinates)?;
    let Some(factor) = cholesky(gram.to_vec2()?) else {
        return Ok(None);
    };
    let mut rows = directions.to_vec2::<f64>()?;
    for (i, shares) in factor.iter().enumerate() {
        let (solved, rest) = rows.split_at_mut(i);
        for (row, &share) in solved.iter().zip(shares) {
            subtract(&mut rest[0], share, row);
        }
        rest[0].iter_mut().for_each(|x| *x /= shares[i]);
    }
    Ok(Some(Tensor::new(rows, &Device::Cpu)?))
}

/// Orthonormal directions that span the rows: Gram and Schmidt's, always with the longest remainder.
fn directions(mut rows: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let mut found: Vec<Vec<f64>> = Vec::new();
    let norm = |row: &[f64]| dot(row, row).sqrt();
    let largest = rows.iter().map(|row| norm(row)).fold(0.0, f64::max);
    loop {
        let longest = rows
            .iter()
            .enumerate()
            .max_by(|(_, a), (_, b)| norm(a).total_cmp(&norm(b)));
        let Some((place, length)) = longest.map(|(place, row)| (place, norm(row))) else {
            return found;
        };
        if length <= NEGLIGIBLE * largest {
            return found;
        }
        let mut next = rows.swap_remove(place);
        // Once more, because what rounding left of the earlier ones has grown beside the remainder.
        for earlier in &found {
            let share = dot(earlier, &next);
            subtract(&mut next, share, earlier);
        }
        let length = norm(&next);
        next.iter_mut().for_each(|x| *x /= length);
        for row in &mut rows {
            let share = dot(&next, row);
            subtract(row, share, &next);
        }
        found.push(next);
    }
}

/// The lower factor of a positive definite matrix; `None` if it isn't one in f64.
fn cholesky(matrix: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    let mut factor: Vec<Vec<f64>> = Vec::with_capacity(matrix.len());
    for row in &matrix {
        let mut own = Vec::with_capacity(factor.len() + 1);
        for (j, other) in factor.iter().enumerate() {
            let rest = row[j] - dot(&own, &other[..j]);
            own.push(rest / other[j]);
        }
        let pivot = row[factor.len()] - dot(&own, &own);
        if pivot.is_nan() || pivot <= 0.0 {
            return None;
        }
        own.push(pivot.sqrt());
        factor.push(own);
    }
    Some(factor)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// `row -= share * other`
fn subtract(row: &mut [f64], share: f64, other: &[f64]) {
    row.iter_mut().zip(other).for_each(|(x, y)| *x -= share * y);
}
