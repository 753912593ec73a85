//! Spearman's rank correlation and its permutation p.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, check_finite, check_length};

/// Up to this many pairs all orders are enumerated (10! = 3.6 million, some 0.02 s).
pub const EXACT_PERMUTATION_PAIRS: usize = 10;

/// Spearman's ρ, ties sharing their mean rank; `None` for fewer than two pairs or if either
/// side is constant.
///
/// ```
/// let rho = mr2_metrics::spearman(&[1.0, 2.0, 2.0, 4.0], &[9.0, 7.0, 5.0, 1.0])?;
/// assert!((rho.expect("neither is constant") + 0.9486832980505138).abs() < 1e-12);
/// # Ok::<(), mr2_metrics::Error>(())
/// ```
///
/// # Errors
/// Lengths that differ, or a NaN or infinite number.
pub fn spearman(x: &[f64], y: &[f64]) -> Result<Option<f64>, Error> {
    let Some((x, y)) = rank_deviations(x, y)? else {
        return Ok(None);
    };
    let square = |ranks: &[i64]| ranks.iter().map(|&r| r as f64 * r as f64).sum::<f64>();
    Ok(Some(
        inner(&x, &y) as f64 / (square(&x) * square(&y)).sqrt(),
    ))
}

/// Two-sided permutation p of Spearman's ρ: the share of orders of `y` with |ρ| at least the
/// observed one. Exact up to [`EXACT_PERMUTATION_PAIRS`] pairs; beyond, from `permutations`
/// seeded random orders, the observed one counted among them, so that p is never 0. `None`
/// where [`spearman`] is.
///
/// # Errors
/// Lengths that differ, a NaN or infinite number, or no permutation.
pub fn spearman_permutation_p(
    x: &[f64],
    y: &[f64],
    permutations: usize,
    seed: u64,
) -> Result<Option<f64>, Error> {
    if permutations == 0 {
        return Err(Error::Setting {
            name: "permutations",
            value: 0.0,
            expected: "at least 1",
        });
    }
    let Some((x, mut y)) = rank_deviations(x, y)? else {
        return Ok(None);
    };
    let observed = inner(&x, &y).abs();
    if x.len() <= EXACT_PERMUTATION_PAIRS {
        return Ok(Some(exact_p(&x, &mut y, observed)));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut extreme = 1usize;
    for _ in 0..permutations {
        for last in (1..y.len()).rev() {
            y.swap(last, rng.random_range(0..=last));
        }
        extreme += usize::from(inner(&x, &y).abs() >= observed);
    }
    Ok(Some(extreme as f64 / (permutations + 1) as f64))
}

/// Heap's algorithm: each order differs from the one before by one swap, which changes the
/// inner product by one term. Integers make "at least the observed one" exact.
fn exact_p(x: &[i64], y: &mut [i64], observed: i128) -> f64 {
    let mut product = inner(x, y);
    let (mut orders, mut extreme) = (1u64, 1u64);
    let mut counters = vec![0usize; y.len()];
    let mut position = 1;
    while position < y.len() {
        if counters[position] < position {
            let other = if position % 2 == 0 {
                0
            } else {
                counters[position]
            };
            let change = (x[position] - x[other]) * (y[other] - y[position]);
            product += i128::from(change);
            y.swap(position, other);
            orders += 1;
            extreme += u64::from(product.abs() >= observed);
            counters[position] += 1;
            position = 1;
        } else {
            counters[position] = 0;
            position += 1;
        }
    }
    extreme as f64 / orders as f64
}

/// The rank deviations of x and of y.
type RankPair = (Vec<i64>, Vec<i64>);

/// Deviations of the ranks from their mean, doubled so that mid-ranks are whole numbers;
/// `None` if ρ is undefined.
fn rank_deviations(x: &[f64], y: &[f64]) -> Result<Option<RankPair>, Error> {
    check_length("y", x.len(), y.len())?;
    check_finite("x", x.iter().copied())?;
    check_finite("y", y.iter().copied())?;
    let (x, y) = (doubled_deviations(x), doubled_deviations(y));
    let varies = |ranks: &[i64]| ranks.iter().any(|&rank| rank != 0);
    Ok((varies(&x) && varies(&y)).then_some((x, y)))
}

fn doubled_deviations(values: &[f64]) -> Vec<i64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut deviations = vec![0; values.len()];
    let mut start = 0;
    while start < order.len() {
        // `==` and not the sort's order, which tells −0 from 0.
        let tie = order[start..]
            .iter()
            .take_while(|&&i| values[i] == values[order[start]]);
        let end = start + tie.count();
        // Ranks start + 1 ..= end; twice their mean, less twice the mean of all, (n + 1) / 2.
        let deviation = (start + 1 + end) as i64 - (values.len() + 1) as i64;
        order[start..end]
            .iter()
            .for_each(|&i| deviations[i] = deviation);
        start = end;
    }
    deviations
}

fn inner(x: &[i64], y: &[i64]) -> i128 {
    x.iter().zip(y).map(|(&x, &y)| i128::from(x * y)).sum()
}
