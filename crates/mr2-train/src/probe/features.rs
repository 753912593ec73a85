//! Features with labels, checked once; one type for each part of the data, so that what selects can't read test images.

use std::borrow::Cow;
use std::ops::Deref;

use mr2_nn::rows::Rows;

use super::config::Normalise;
use crate::error::{Error, Result};

/// Norms below this count as this, as in PyTorch's `normalize`.
const SMALLEST_NORM: f64 = 1e-12;

/// Images as features, with their classes.
#[derive(Debug, Clone, Copy)]
pub struct Labelled<'a> {
    features: &'a [f32],
    width: usize,
    labels: &'a [u32],
    classes: usize,
}

/// What heads are fitted to; every class has an image.
#[derive(Debug, Clone, Copy)]
pub struct Training<'a> {
    images: Labelled<'a>,
    views: Option<&'a dyn Views>,
}

/// Features of the same training images, new ones whenever the images are shuffled: those of random crops.
pub trait Views {
    /// Row-major (images, width), in the order of the training images, for a shuffle, counted from 0. Asked for in
    /// ascending order, once for each seed.
    ///
    /// # Errors
    /// What keeps them from being read or computed.
    fn features(&self, shuffle: u64) -> Result<Vec<f32>>;
}

/// What settings are selected by.
#[derive(Debug, Clone, Copy)]
pub struct Validation<'a>(Labelled<'a>);

/// What the chosen head is measured by.
#[derive(Debug, Clone, Copy)]
pub struct Test<'a>(Labelled<'a>);

impl std::fmt::Debug for dyn Views + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Views")
    }
}

impl<'a> Labelled<'a> {
    fn new(
        part: &str,
        features: &'a [f32],
        width: usize,
        labels: &'a [u32],
        classes: usize,
    ) -> Result<Self> {
        let rows = labels.len();
        if rows == 0 || width == 0 || features.len() != rows * width {
            return Err(Error::refused(format!(
                "{part} features: {} numbers are not {rows} images of {width} features each; both must be at least 1",
                features.len()
            )));
        }
        if classes < 2 {
            return Err(Error::refused(format!(
                "{part} features: a classifier needs at least 2 classes, got {classes}"
            )));
        }
        if let Some(row) = labels.iter().position(|&label| label as usize >= classes) {
            return Err(Error::refused(format!(
                "{part} features: label {} of row {row} is none of the {classes} classes 0 to {}",
                labels[row],
                classes - 1
            )));
        }
        refuse_non_finite(part, features, width)?;
        Ok(Self {
            features,
            width,
            labels,
            classes,
        })
    }

    /// Row-major (images, width).
    pub fn features(&self) -> &'a [f32] {
        self.features
    }

    /// Features of an image.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The class of each image.
    pub fn labels(&self) -> &'a [u32] {
        self.labels
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }
}

impl<'a> Training<'a> {
    /// Images to fit to.
    ///
    /// # Shapes
    /// `features` (images, width), row-major; `labels` (images), below `classes`.
    ///
    /// # Errors
    /// Another shape, fewer than 2 classes, a label that is no class, a feature that is not finite (row and column are
    /// named), or classes without images (named by their numbers).
    pub fn new(
        features: &'a [f32],
        width: usize,
        labels: &'a [u32],
        classes: usize,
    ) -> Result<Self> {
        let set = Labelled::new("training", features, width, labels, classes)?;
        let mut has = vec![false; classes];
        labels.iter().for_each(|&label| has[label as usize] = true);
        let absent: Vec<String> = (0..classes)
            .filter(|&class| !has[class])
            .map(|class| class.to_string())
            .collect();
        if !absent.is_empty() {
            return Err(Error::refused(format!(
                "training features: no images of class {}; a head can't learn what it never sees: add images, or leave \
                 these classes out",
                absent.join(", ")
            )));
        }
        Ok(Self {
            images: set,
            views: None,
        })
    }

    /// Heads that are trained by steps see `views`; statistics of classes, L-BFGS and neighbours see the features that
    /// these images have.
    pub fn with_views(self, views: &'a dyn Views) -> Self {
        Self {
            views: Some(views),
            ..self
        }
    }

    pub(super) fn has_views(&self) -> bool {
        self.views.is_some()
    }
}

impl<'a> Deref for Training<'a> {
    type Target = Labelled<'a>;

    fn deref(&self) -> &Labelled<'a> {
        &self.images
    }
}

impl<'a> Validation<'a> {
    /// Images to select by.
    ///
    /// # Shapes and errors
    /// As [`Training::new`], but a class may have none.
    pub fn new(
        features: &'a [f32],
        width: usize,
        labels: &'a [u32],
        classes: usize,
    ) -> Result<Self> {
        Labelled::new("validation", features, width, labels, classes).map(Self)
    }
}

impl<'a> Test<'a> {
    /// Images to measure by.
    ///
    /// # Shapes and errors
    /// As [`Training::new`], but a class may have none.
    pub fn new(
        features: &'a [f32],
        width: usize,
        labels: &'a [u32],
        classes: usize,
    ) -> Result<Self> {
        Labelled::new("test", features, width, labels, classes).map(Self)
    }
}

macro_rules! is_labelled {
    ($($part:ident),*) => {$(
        impl<'a> Deref for $part<'a> {
            type Target = Labelled<'a>;

            fn deref(&self) -> &Labelled<'a> {
                &self.0
            }
        }
    )*};
}
is_labelled!(Validation, Test);

/// Features as heads see them.
pub(super) struct Prepared<'a> {
    pub(super) features: Cow<'a, [f32]>,
    pub(super) width: usize,
    pub(super) labels: Cow<'a, [u32]>,
    pub(super) classes: usize,
    normalise: Normalise,
    views: Option<&'a dyn Views>,
}

impl<'a> Prepared<'a> {
    pub(super) fn of_training(set: &Training<'a>, normalise: Normalise) -> Self {
        Self {
            views: set.views,
            ..Self::new(set, normalise)
        }
    }

    pub(super) fn new(set: &Labelled<'a>, normalise: Normalise) -> Self {
        Self {
            features: normalised(set.features, set.width, normalise),
            width: set.width,
            labels: Cow::Borrowed(set.labels),
            classes: set.classes,
            normalise,
            views: None,
        }
    }

    /// What heads see of the images at a shuffle; nothing where that is always [`Prepared::features`].
    pub(super) fn view(&self, shuffle: u64) -> Result<Option<Vec<f32>>> {
        let Some(views) = self.views else {
            return Ok(None);
        };
        let features = views.features(shuffle)?;
        let part = format!("training (view {shuffle})");
        if features.len() != self.features.len() {
            return Err(Error::refused(format!(
                "{part} features: {} numbers, not {} images of {} features each",
                features.len(),
                self.len(),
                self.width
            )));
        }
        refuse_non_finite(&part, &features, self.width)?;
        Ok(Some(match self.normalise {
            Normalise::Off => features,
            Normalise::L2 => normalised(&features, self.width, self.normalise).into_owned(),
        }))
    }

    /// These images, then those.
    pub(super) fn followed_by(&self, other: &Prepared<'_>) -> Prepared<'static> {
        Prepared {
            features: [&*self.features, &*other.features].concat().into(),
            width: self.width,
            labels: [&*self.labels, &*other.labels].concat().into(),
            classes: self.classes,
            normalise: self.normalise,
            views: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// The share of images whose largest logit is that of their class; the first of equal ones counts.
    pub(super) fn accuracy(&self, rows: &Rows, weight: &[f32], bias: &[f32]) -> Result<f64> {
        let mut right = 0usize;
        const ROWS: usize = 4096;
        let mut logits = vec![0f32; ROWS.min(self.len()) * bias.len()];
        for (features, labels) in self
            .features
            .chunks(ROWS * self.width)
            .zip(self.labels.chunks(ROWS))
        {
            let logits = &mut logits[..labels.len() * bias.len()];
            rows.linear(features, weight, Some(bias), self.width, logits)?;
            let found = logits.chunks_exact(bias.len()).map(largest);
            right += found.zip(labels).filter(|(a, b)| a == *b).count();
        }
        Ok(right as f64 / self.len() as f64)
    }
}

/// The place of the largest number, the first of equal ones.
pub(super) fn largest<T: PartialOrd>(values: &[T]) -> u32 {
    let mut best = 0;
    for (place, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = place;
        }
    }
    best as u32
}

/// Rows of unit length where that is asked for.
pub(super) fn normalised(features: &[f32], width: usize, normalise: Normalise) -> Cow<'_, [f32]> {
    if normalise == Normalise::Off {
        return Cow::Borrowed(features);
    }
    let mut unit = features.to_vec();
    for row in unit.chunks_exact_mut(width) {
        let square: f64 = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let factor = 1.0 / square.sqrt().max(SMALLEST_NORM);
        row.iter_mut()
            .for_each(|x| *x = (f64::from(*x) * factor) as f32);
    }
    Cow::Owned(unit)
}

pub(super) fn refuse_non_finite(part: &str, features: &[f32], width: usize) -> Result<()> {
    match features.iter().position(|x| !x.is_finite()) {
        Some(at) => Err(Error::refused(format!(
            "{part} features: row {}, column {} is {}; every feature must be finite",
            at / width,
            at % width,
            features[at]
        ))),
        None => Ok(()),
    }
}
