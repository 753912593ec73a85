//! A protocol on the features of one backbone and one set of images.

use anyhow::{Context, Result, bail};
use mr2_train::features::Features;
use mr2_train::probe::{
    FitEnd, HeadResult, KnnConfig, Labelled, Test, Training, Validation, knn, probe,
};
use serde::Serialize;

use super::protocol::Protocol;

/// Features of training, validation and test images.
#[derive(Clone, Debug)]
pub struct PartFeatures {
    /// What classifiers are fitted to.
    pub train: Features,
    /// What settings are chosen by.
    pub validation: Features,
    /// What is measured once.
    pub test: Features,
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

/// Fits and chooses on training and validation images, then predicts the test images, once.
///
/// Returns the chosen classifiers and every head that was tried.
///
/// # Errors
/// Those of the probe: features that aren't finite, a class without training images, a wrong configuration.
pub fn run(
    protocol: &Protocol,
    features: &PartFeatures,
    classes: usize,
    seeds: &[u64],
) -> Result<(Vec<Classifier>, Vec<HeadResult>)> {
    let PartFeatures {
        train,
        validation,
        test,
    } = features;
    let training = Training::new(&train.values, train.dim, &train.labels, classes)?;
    let chooser = Validation::new(
        &validation.values,
        validation.dim,
        &validation.labels,
        classes,
    )?;
    let test = Test::new(&test.values, test.dim, &test.labels, classes)?;
    match protocol {
        Protocol::Neighbours(config) => {
            let voted = vote(config, &training, &chooser, &test)?;
            Ok((vec![voted], Vec::new()))
        }
        Protocol::Linear(config) => {
            let outcome = probe(config, &training, Some(&chooser), seeds)?;
            let chosen = outcome.chosen.into_iter().map(|probed| {
                let logits = probed.logits(test.features())?;
                Ok(Classifier {
                    method: probed.head.method.clone(),
                    seed: probed.head.seed,
                    setting: setting(&probed.head, probed.refit),
                    refit: probed.refit,
                    margins: probed.margins.clone(),
                    predictions: probed.predictions(test.features())?,
                    logits: Some(logits),
                    chosen: Some(probed.head),
                })
            });
            Ok((chosen.collect::<Result<_>>()?, outcome.heads))
        }
    }
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
