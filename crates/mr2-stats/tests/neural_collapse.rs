//! The measures of neural collapse, against NumPy (`tests/reference/neural_collapse.py`) and where they
//! are known.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use mr2_stats::{Centre, NeuralCollapse, class_spread, neural_collapse};

const CPU: &Device = &Device::Cpu;

fn measures(of: &NeuralCollapse) -> [Option<f64>; 8] {
    [
        of.nc1,
        of.nc1_ratio,
        of.nc2_norms,
        of.nc2_angles,
        of.nc2_head_norms,
        of.nc2_head_angles,
        of.nc3,
        Some(of.nc4),
    ]
}

#[test]
fn every_measure_is_numpys_for_wide_narrow_dead_absent_and_far_features() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/neural_collapse.safetensors"
    );
    let fixture = candle_core::safetensors::load(path, CPU).unwrap();
    for name in ["wide", "narrow", "absent", "dead", "far", "slices"] {
        let of = |part: &str| &fixture[&format!("{name}.{part}")];
        let classes = |part: &str| of(part).to_vec1::<u32>().unwrap();
        let expected = of("measures").to_vec1::<f64>().unwrap();
        for dtype in [DType::F32, DType::F64] {
            let features = of("features").to_dtype(dtype).unwrap();
            let (labels, predictions) = (classes("labels"), classes("predictions"));
            let got = neural_collapse(&features, &labels, of("head"), &predictions).unwrap();
            for (measure, (got, expected)) in measures(&got).iter().zip(&expected).enumerate() {
                let got = got.unwrap();
                assert!(
                    (got - expected).abs() <= 1e-9 * expected,
                    "{name}, measure {measure}: {got}, not {expected}"
                );
            }
        }
    }
}

/// The simplex of `classes` vertices, as rows: the identity about its mean.
fn simplex(classes: usize) -> Vec<Vec<f64>> {
    let entry = |i, j| f64::from(u8::from(i == j)) - 1.0 / classes as f64;
    let row = |i| (0..classes).map(|j| entry(i, j)).collect();
    (0..classes).map(row).collect()
}

#[test]
fn features_on_a_simplex_with_its_dual_as_head_have_collapsed() {
    for classes in [2usize, 3, 10] {
        let vertices = Tensor::new(simplex(classes), CPU).unwrap();
        let labels: Vec<u32> = (0..4 * classes).map(|i| (i % classes) as u32).collect();
        let index = Tensor::new(labels.as_slice(), CPU).unwrap();
        let features = (vertices.index_select(&index, 0).unwrap() * 3.0).unwrap();
        let features = (features + 5.0).unwrap();
        let head = (&vertices * 0.2).unwrap();
        let collapse = neural_collapse(&features, &labels, &head, &labels).unwrap();
        for measure in measures(&collapse) {
            assert!(measure.unwrap().abs() < 1e-14, "{collapse:?}");
        }
    }
}

#[test]
fn each_measure_moves_with_what_it_is_of() {
    let labels = [0, 0, 1, 1, 2, 2];
    let vertices = simplex(3);
    let row = |class: usize, by: f64| vertices[class].iter().map(move |x| by * x);
    let rows = |of: &[(usize, f64)]| {
        let values: Vec<f64> = of.iter().flat_map(|&(class, by)| row(class, by)).collect();
        Tensor::from_vec(values, (of.len(), 3), CPU).unwrap()
    };
    let head = rows(&[(0, 1.0), (1, 1.0), (2, 1.0)]);
    let collapsed = [(0, 1.0), (0, 1.0), (1, 1.0), (1, 1.0), (2, 1.0), (2, 1.0)];
    // Spread along the means, whose lengths and angles stay: tr Σ_W is 0.04 tr Σ_B, and since both lie
    // in two directions, alike in each, tr(Σ_W Σ_B†) is 2 · 0.04.
    let spread = [(0, 0.8), (0, 1.2), (1, 0.8), (1, 1.2), (2, 0.8), (2, 1.2)];
    let of = |features: &Tensor, head: &Tensor, predictions: &[u32]| {
        neural_collapse(features, &labels, head, predictions).unwrap()
    };
    let wide = of(&rows(&spread), &head, &labels);
    assert!((wide.nc1_ratio.unwrap() - 0.04).abs() < 1e-12);
    assert!((wide.nc1.unwrap() - 0.08 / 3.0).abs() < 1e-12);
    assert!(wide.nc2_norms.unwrap() < 1e-12 && wide.nc3.unwrap() < 1e-12);
    let turned = of(
        &rows(&collapsed),
        &(&head * -1.0).unwrap(),
        &[0, 0, 1, 1, 0, 2],
    );
    assert!((turned.nc3.unwrap() - 2.0).abs() < 1e-12);
    assert!((turned.nc4 - 1.0 / 6.0).abs() < 1e-12);
    let longer = of(
        &rows(&collapsed),
        &rows(&[(0, 1.0), (1, 1.0), (2, 4.0)]),
        &labels,
    );
    assert!((longer.nc2_head_norms.unwrap() - 0.5f64.sqrt()).abs() < 1e-12);
    assert!(longer.nc2_head_angles.unwrap() < 1e-12);
}

#[test]
fn measures_that_are_not_defined_are_none() {
    let same = Tensor::ones((4, 2), DType::F32, CPU).unwrap();
    let head = Tensor::zeros((2, 2), DType::F32, CPU).unwrap();
    let collapse = neural_collapse(&same, &[0, 0, 1, 1], &head, &[0; 4]).unwrap();
    assert_eq!(measures(&collapse)[..7], [None; 7]);
    assert_eq!(collapse.nc4, 0.0, "of equally near means, the first");
}

#[test]
fn the_measures_survive_json() {
    let same = Tensor::ones((4, 2), DType::F32, CPU).unwrap();
    let head = Tensor::new(&[[1f32, 2.0], [0.5, -3.0]], CPU).unwrap();
    let collapse = neural_collapse(&same, &[0, 0, 1, 1], &head, &[0, 1, 1, 1]).unwrap();
    let text = serde_json::to_string(&collapse).unwrap();
    assert_eq!(
        serde_json::from_str::<NeuralCollapse>(&text).unwrap(),
        collapse
    );
}

#[test]
fn wrong_arguments_are_named() {
    let features = Tensor::ones((3, 2), DType::F32, CPU).unwrap();
    let head = Tensor::ones((4, 2), DType::F32, CPU).unwrap();
    let refused =
        |features: &Tensor, labels: &[u32], head: &Tensor, predictions: &[u32], expected| {
            let error = neural_collapse(features, labels, head, predictions).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        };
    let labels = [0, 1, 1];
    refused(
        &features,
        &labels,
        &head.t().unwrap(),
        &labels,
        "must be (classes, 2)",
    );
    refused(
        &features,
        &[0, 1],
        &head,
        &labels,
        "must be (2, dim >= 1), got (3, 2)",
    );
    refused(
        &features,
        &[0, 1, 4],
        &head,
        &labels,
        "label 4, expected below 4",
    );
    refused(
        &features,
        &labels,
        &head,
        &[0, 1],
        "one entry per sample, 3, got 2",
    );
    refused(
        &features,
        &labels,
        &head,
        &[0, 4, 1],
        "sample 1 has prediction 4, expected below 4",
    );
    refused(
        &features,
        &[2; 3],
        &head,
        &labels,
        "at least 2 classes, the samples have 1",
    );
    let nan = (&features * f64::NAN).unwrap();
    refused(&nan, &labels, &head, &labels, "features must be finite");
    let nan = (&head * f64::NAN).unwrap();
    refused(
        &features,
        &labels,
        &nan,
        &labels,
        "head_weight must be finite",
    );
}

#[test]
fn the_spread_of_images_is_that_of_their_pixels_in_a_row() {
    let values: Vec<f64> = (0..5 * 12).map(|i| f64::from(i).sin()).collect();
    let images = Tensor::from_vec(values, (5, 3, 2, 2), CPU).unwrap();
    let labels = [0, 0, 2, 2, 2];
    let rows = images.reshape((5, 12)).unwrap();
    for centre in Centre::ALL {
        let spread = class_spread(&images, &labels, 3, centre).unwrap();
        assert_eq!(spread, class_spread(&rows, &labels, 3, centre).unwrap());
        let half = (images.narrow(0, 0, 1).unwrap() - images.narrow(0, 1, 1).unwrap()).unwrap();
        let half = (half * 0.5).unwrap().sqr().unwrap().sum_all().unwrap();
        let expected = half.to_scalar::<f64>().unwrap();
        assert!((spread.spread[0].unwrap() - expected).abs() < 1e-12);
        assert_eq!((spread.spread[1], spread.relative_spread[1]), (None, None));
        let scaled = class_spread(&(&images * 3.0).unwrap(), &labels, 3, centre).unwrap();
        let (a, b) = (scaled.relative_spread[2], spread.relative_spread[2]);
        assert!((a.unwrap() - b.unwrap()).abs() < 1e-12);
    }
}
