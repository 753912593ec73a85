//! A protocol on the features of one backbone and one set of images.

use anyhow::{Context, Result, bail};
use mr2_train::features::Features;
use mr2_train::probe::{
    FitEnd, HeadResult, KnnConfig, Labelled, ProbeConfig, Test, Training, Validation, knn,
    probe_best_features,
};
use serde::Serialize;

use super::crops::CropFeatures;
use super::kinds::{Kind, KindOfViews};
use super::protocol::Protocol;

/// Features of training, validation and test images.
pub struct PartFeatures<'a> {
    /// What classifiers are fitted to.
    pub train: Features,
    /// What settings are chosen by.
    pub validation: Features,
    /// What is measured once.
    pub test: Features,
    /// Crops of the training images, where the protocol has them.
    pub crops: Option<CropFeatures<'a>>,
    /// Columns that are tried as features of their own.
    pub kinds: Vec<Kind>,
}

/// A chosen classifier, and what it says of the test images.
#[derive(Clone, Debug, Serialize)]
pub struct Classifier {
    /// The method, or how many neighbours vote.
    pub method: String,
    /// The seed of initialisation and batches; L-BFGS and votes use none.
    pub seed: u64,
    /// The setting that validation images chose, and its accuracy on them.
    pub chosen: Option<HeadResult>,
    /// How the fit to training and validation images ended, where there was one.
    pub refit: Option<FitEnd>,
    /// The kind of features that validation images chose, where the backbone gives several.
    pub features: Option<String>,
    /// In words, for the table.
    pub setting: String,
    /// γ of each class; empty for votes.
    pub margins: Vec<f64>,
    /// The class of each test image.
    #[serde(skip)]
    pub predictions: Vec<u32>,
    /// Logits of the test images, one after the other; `None` for votes.
    #[serde(skip)]
    pub logits: Option<Vec<f32>>,
}

/// A head that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// The kind of features, where there are several.
    pub features: Option<String>,
    /// What it was fitted with, and how good it is.
    #[serde(flatten)]
    pub head: HeadResult,
}

/// Fits and chooses on training and validation images, then predicts the test images, once.
///
/// Returns the chosen classifiers and every head that was tried.
///
/// # Errors
/// Those of the probe: features that aren't finite, a class without training images, a wrong configuration.
pub fn run(
    protocol: &Protocol,
    features: &PartFeatures<'_>,
    classes: usize,
    seeds: &[u64],
) -> Result<(Vec<Classifier>, Vec<Tried>)> {
    match protocol {
        Protocol::Neighbours(config) => {
            let training = &features.train;
            let training =
                Training::new(&training.values, training.dim, &training.labels, classes)?;
            let chooser = &features.validation;
            let chooser = Validation::new(&chooser.values, chooser.dim, &chooser.labels, classes)?;
            let test = &features.test;
            let test = Test::new(&test.values, test.dim, &test.labels, classes)?;
            let voted = vote(config, &training, &chooser, &test)?;
            Ok((vec![voted], Vec::new()))
        }
        Protocol::Linear(linear) => fit(&linear.probe, features, classes, seeds),
    }
}

/// Linear classifiers, each of the kind of features that validation images choose.
fn fit(
    config: &ProbeConfig,
    features: &PartFeatures<'_>,
    classes: usize,
    seeds: &[u64],
) -> Result<(Vec<Classifier>, Vec<Tried>)> {
    let PartFeatures {
        train,
        validation,
        test,
        crops,
        kinds,
    } = features;
    let columns: Vec<_> = (kinds.iter())
        .map(|kind| (kind.of(train), kind.of(validation)))
        .collect();
    let views: Vec<Option<KindOfViews<'_>>> = (kinds.iter())
        .map(|kind| {
            crops.as_ref().map(|views| KindOfViews {
                kind,
                views,
                width: train.dim,
            })
        })
        .collect();
    let mut parts = Vec::with_capacity(kinds.len());
    for ((kind, columns), views) in kinds.iter().zip(&columns).zip(&views) {
        let training = Training::new(&columns.0, kind.width(), &train.labels, classes)?;
        let chooser = Validation::new(&columns.1, kind.width(), &validation.labels, classes)?;
        let training = match views {
            Some(views) => training.with_views(views),
            None => training,
        };
        parts.push((training, chooser));
    }
    let (mut outcomes, best) = probe_best_features(config, &parts, seeds)?;
    let mut tried = Vec::new();
    for (kind, outcome) in kinds.iter().zip(&mut outcomes) {
        tried.extend(outcome.heads.drain(..).map(|head| Tried {
            features: kind.name.clone(),
            head,
        }));
    }
    let mut chosen = Vec::with_capacity(best.len());
    for (place, of) in best.into_iter().enumerate() {
        let (kind, probed) = (&kinds[of], &outcomes[of].chosen[place]);
        let columns = kind.of(test);
        let test = Test::new(&columns, kind.width(), &test.labels, classes)?;
        let mut setting = setting(&probed.head, probed.refit);
        if let Some(name) = &kind.name {
            setting = format!("{name}, {setting}");
        }
        chosen.push(Classifier {
            method: probed.head.method.clone(),
            seed: probed.head.seed,
            features: kind.name.clone(),
            setting,
            refit: probed.refit,
            margins: probed.margins.clone(),
            predictions: probed.predictions(test.features())?,
            logits: Some(probed.logits(test.features())?),
            chosen: Some(probed.head.clone()),
        });
    }
    Ok((chosen, tried))
}

/// The number of neighbours is chosen on validation images; of equals the smallest.
fn vote(
    config: &KnnConfig,
    training: &Training<'_>,
    validation: &Validation<'_>,
    test: &Test<'_>,
) -> Result<Classifier> {
    // Small sets have fewer images than the protocols' largest numbers.
    let mut config = config.clone();
    config.neighbours.retain(|&k| k <= training.labels().len());
    if config.neighbours.is_empty() {
        bail!(
            "{}: {} training images are fewer than its smallest number of neighbours: take another protocol",
            config.protocol,
            training.labels().len()
        );
    }
    let right = |found: &[u32], set: &Labelled<'_>| {
        found
            .iter()
            .zip(set.labels())
            .filter(|(a, b)| a == b)
            .count()
    };
    let on_validation = knn(&config, training, validation)?;
    let counts: Vec<usize> = on_validation
        .iter()
        .map(|found| right(found, validation))
        .collect();
    let best = counts.iter().max().context("no number of neighbours")?;
    let best = counts.iter().position(|count| count == best).unwrap_or(0);
    let neighbours = config.neighbours[best];
    config.neighbours = vec![neighbours];
    let predictions = knn(&config, training, test)?.swap_remove(0);
    Ok(Classifier {
        method: "vote".to_string(),
        seed: 0,
        chosen: None,
        refit: None,
        features: None,
        setting: format!("{neighbours} neighbours"),
        margins: Vec::new(),
        predictions,
        logits: None,
    })
}

/// What was chosen, in words.
fn setting(head: &HeadResult, refit: Option<FitEnd>) -> String {
    use mr2_train::probe::{MarginConfig, Setting};
    let margins = |margins: &MarginConfig| match margins {
        MarginConfig::Erm {} => String::new(),
        MarginConfig::Uniform { budget } => format!(", γ = {budget}"),
        MarginConfig::Mr2 { gamma, .. } => format!(", c̄ = {}", gamma.budget),
    };
    let end = match refit.unwrap_or(head.end) {
        FitEnd::NotConverged { .. } => ", not converged",
        _ => "",
    };
    match &head.setting {
        Setting::Lbfgs { margins: of, c } => format!("C = {c:.3e}{}{end}", margins(of)),
        Setting::Steps {
            margins: of,
            lr,
            weight_decay,
        } => format!("lr = {lr}, decay = {weight_decay:.3e}{}", margins(of)),
    }
}
