//! Products against f64, on every instruction set that this CPU has.

use super::*;
use crate::kernels::vector::Isa;

/// (rows, columns, depth): every size of tile, partial panels, several blocks of the depth.
const SIZES: [[usize; 3]; 12] = [
    [1, 1, 1],
    [1, 33, 5],
    [2, 31, 3],
    [3, 64, 17],
    [5, 7, 160],
    [11, 32, 4],
    [12, 48, 9],
    [13, 100, 31],
    [23, 16, 770],
    [47, 65, 40],
    [261, 35, 20],
    [9, 3, 1700],
];

/// Those that Miri, which takes a thousand times as long, gets through.
fn sizes() -> impl Iterator<Item = [usize; 3]> {
    let most = if cfg!(miri) { 4_000 } else { usize::MAX };
    SIZES
        .into_iter()
        .filter(move |size| size.iter().product::<usize>() <= most)
}

fn values(count: usize, seed: usize) -> Vec<f32> {
    let value = |i: usize| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0;
    (0..count).map(value).collect()
}

/// A matrix of values, with rows or columns adjacent.
fn matrix(data: &[f32], rows: usize, cols: usize, transposed: bool) -> Matrix<'_, f32> {
    match transposed {
        true => Matrix::rows(data, cols, rows, rows).transposed(),
        false => Matrix::rows(data, rows, cols, cols),
    }
}

fn element(matrix: &Matrix<'_, f32>, row: usize, col: usize) -> f64 {
    f64::from(matrix.data[row * matrix.row_stride + col * matrix.col_stride])
}

/// `lhs * rhs + initial`, and the largest sum of magnitudes, by which errors are measured.
fn expected(lhs: Matrix<'_, f32>, rhs: Matrix<'_, f32>, initial: &[f32]) -> (Vec<f64>, f64) {
    let mut largest = 0f64;
    let mut out = Vec::new();
    for row in 0..lhs.rows {
        for col in 0..rhs.cols {
            let start = f64::from(initial[row * rhs.cols + col]);
            let (mut sum, mut magnitude) = (start, start.abs());
            for k in 0..lhs.cols {
                let product = element(&lhs, row, k) * element(&rhs, k, col);
                sum += product;
                magnitude += product.abs();
            }
            largest = largest.max(magnitude);
            out.push(sum);
        }
    }
    (out, largest)
}

/// Within the rounding of sums of [`DEPTH`] products, one after the other.
fn check(what: &str, found: &[f32], expected: &[f64], scale: f64) {
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(
            error <= 2e-6 * scale,
            "{what} [{i}]: {found} instead of {expected}"
        );
    }
}

#[test]
fn products_are_right_on_every_instruction_set() {
    let pool = Arc::new(Pool::default());
    for &isa in Isa::available() {
        for [rows, cols, depth] in sizes() {
            let (a, b) = (values(rows * depth, 1), values(depth * cols, 2));
            let (own, other) = (values(rows * cols, 3), values(rows * cols, 4));
            for (left, right) in [(false, false), (false, true), (true, false), (true, true)] {
                let lhs = matrix(&a, rows, depth, left);
                let rhs = matrix(&b, depth, cols, right);
                let panels = Panels::new(isa, rhs, &pool);
                let zeros = vec![0f32; rows * cols];
                let cases = [
                    (Initial::Zero, &zeros),
                    (Initial::Target, &own),
                    (Initial::Other(&other), &other),
                ];
                for (initial, start) in cases {
                    let what = format!("{isa:?} {rows} x {cols} x {depth} {left} {right}");
                    let (expected, scale) = expected(lhs, rhs, start);
                    let mut out = own.clone();
                    let target = Target {
                        data: &mut out,
                        row_stride: cols,
                        initial,
                    };
                    multiply(lhs, &panels, target, Epilogue::default(), &pool);
                    check(&what, &out, &expected, scale);
                    let mut here = own.clone();
                    let target = Target {
                        data: &mut here,
                        row_stride: cols,
                        initial,
                    };
                    multiply_here(lhs, &panels, target, &pool);
                    assert_eq!(here, out, "{what}");
                    if matches!(initial, Initial::Zero) {
                        assert_eq!(product(lhs, &panels, &pool), out, "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_transposed_panels_are_those_of_the_transposed_matrix() {
    let pool = Arc::new(Pool::default());
    for &isa in Isa::available() {
        for [cols, _, depth] in sizes() {
            let data = values(depth * cols, 5);
            let rhs = matrix(&data, depth, cols, true);
            let turned = Panels::new(isa, rhs, &pool).transposed(&pool);
            let direct = Panels::new(isa, rhs.transposed(), &pool);
            for panel in 0..depth.div_ceil(direct.width()) {
                assert_eq!(
                    turned.panel(panel),
                    direct.panel(panel),
                    "{isa:?} {depth} {cols}"
                );
            }
        }
    }
}

#[test]
fn the_epilogue_follows_the_product() {
    let pool = Arc::new(Pool::default());
    let [rows, cols, depth] = [29, 45, if cfg!(miri) { 3 } else { 1700 }];
    let (a, b, bias) = (
        values(rows * depth, 1),
        values(depth * cols, 2),
        values(cols, 3),
    );
    let (lhs, rhs) = (
        matrix(&a, rows, depth, false),
        matrix(&b, depth, cols, true),
    );
    for &isa in Isa::available() {
        let panels = Panels::new(isa, rhs, &pool);
        let run = |activation, keep: bool| {
            let (mut out, mut activated) = (vec![0f32; rows * cols], vec![0f32; rows * cols]);
            let epilogue = Epilogue {
                bias: Some(&bias),
                activation,
                activated: keep.then_some(&mut activated[..]),
            };
            let target = Target {
                data: &mut out,
                row_stride: cols,
                initial: Initial::Zero,
            };
            multiply(lhs, &panels, target, epilogue, &pool);
            (out, activated)
        };
        let start: Vec<f32> = (0..rows * cols).map(|i| bias[i % cols]).collect();
        let (expected, scale) = expected(lhs, rhs, &start);
        let (plain, _) = run(None, false);
        check("bias", &plain, &expected, scale);
        let mut gelu = vec![0f32; rows * cols];
        Activation::Gelu.forward(&plain, &mut gelu);
        assert_eq!(run(Some(Activation::Gelu), false).0, gelu);
        assert_eq!(run(Some(Activation::Gelu), true), (plain, gelu));
    }
}

#[test]
fn products_have_the_same_bits_on_any_number_of_threads() {
    let run = |threads: usize| {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap_or_else(|error| panic!("{error}"));
        threads.install(|| {
            let pool = Arc::new(Pool::default());
            let mut all = Vec::new();
            for [rows, cols, depth] in sizes() {
                let (a, b) = (values(rows * depth, 1), values(depth * cols, 2));
                let panels = Panels::new(Isa::best(), matrix(&b, depth, cols, true), &pool);
                let mut out = vec![0f32; rows * cols];
                let target = Target {
                    data: &mut out,
                    row_stride: cols,
                    initial: Initial::Zero,
                };
                let lhs = matrix(&a, rows, depth, true);
                multiply(lhs, &panels, target, Epilogue::default(), &pool);
                all.push(out);
            }
            all
        })
    };
    let one = run(1);
    assert!(run(2) == one && run(3) == one);
}
