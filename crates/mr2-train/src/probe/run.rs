//! A whole probe: fit what is asked for, select on validation images, fit the choice again.

use mr2_nn::rows::Rows;

use super::arm::{Arm, arms, best, grid, lrs};
use super::config::{FitConfig, ProbeConfig};
use super::features::{Prepared, Training, Validation};
use super::fits::{Fits, Job};
use super::probed::{Outcome, Probed};
use crate::error::{Error, Result};

/// Fits the heads of a protocol, chooses one for each method and seed (logistic regression has no use for seeds, so there
/// the first stands for all) by its accuracy on validation images (of equals
/// the first that is listed, so the smallest value of a grid that ascends), and, where the protocol does, fits that
/// setting again to training and validation images together.
///
/// # Errors
/// A configuration that can't be meant; several settings without validation images to choose by; sets of different
/// width or classes; a method all of whose heads diverged, or whose chosen one does when it is fitted again.
pub fn probe(
    config: &ProbeConfig,
    training: &Training<'_>,
    validation: Option<&Validation<'_>>,
    seeds: &[u64],
) -> Result<Outcome> {
    config.check()?;
    check_sets(config, training, validation, seeds)?;
    let prepared = Prepared::of_training(training, config.normalise);
    let validation = validation.map(|set| Prepared::new(set, config.normalise));
    let rows = Rows::new();
    let mut arms = arms(config, seeds);
    let mut fits = Fits::new(config, &prepared, &rows);
    search(&mut arms, &mut fits, validation.as_ref())?;
    let refit = match (&validation, config.refit) {
        (Some(validation), true) => Some(prepared.followed_by(validation)),
        _ => None,
    };
    let heads = arms.iter().flat_map(Arm::results).collect();
    let mut chosen = Vec::new();
    for arms in arms.chunk_by(|a, b| a.method == b.method && a.seed == b.seed) {
        let (arm, place, fitted) = best(arms)?;
        let mut probed = Probed {
            head: arm.result(place),
            refit: None,
            normalise: config.normalise,
            weight: fitted.weight.clone(),
            bias: fitted.bias.clone(),
            margins: fits.margins.of(arm.margins)?,
        };
        if let Some(set) = &refit {
            fit_again(&mut probed, arm, arm.job(place), set, &rows)?;
        }
        chosen.push(probed);
    }
    Ok(Outcome { heads, chosen })
}

/// Fits what the searches ask for until they ask for no more.
fn search(
    arms: &mut [Arm<'_>],
    fits: &mut Fits<'_>,
    validation: Option<&Prepared<'_>>,
) -> Result<()> {
    loop {
        let wanted: Vec<(usize, usize)> = (arms.iter_mut().enumerate())
            .flat_map(|(arm, it)| it.search.next().into_iter().map(move |place| (arm, place)))
            .collect();
        if wanted.is_empty() {
            break;
        }
        let jobs = wanted.iter().map(|&(arm, place)| arms[arm].job(place));
        let jobs: Vec<Job<'_>> = jobs.collect();
        for ((arm, place), fitted) in wanted.into_iter().zip(fits.run(&jobs)?) {
            let accuracy = match validation {
                Some(set) if !fitted.diverged() => {
                    Some(set.accuracy(fits.rows, &fitted.weight, &fitted.bias)?)
                }
                _ => None,
            };
            arms[arm].search.record(place, accuracy);
            arms[arm].tried.push((place, fitted, accuracy));
        }
    }
    for arm in arms {
        arm.tried.sort_by_key(|(place, ..)| *place);
    }
    Ok(())
}

/// The chosen setting on training and validation images together.
fn fit_again(
    probed: &mut Probed,
    arm: &Arm<'_>,
    job: Job<'_>,
    set: &Prepared<'_>,
    rows: &Rows,
) -> Result<()> {
    let mut fits = Fits::new(arm.config, set, rows);
    probed.margins = fits.margins.of(arm.margins)?;
    for again in fits.run(&[job])? {
        if again.diverged() {
            return Err(Error::refused(format!(
                "probe: the chosen head of the method `{}` became NaN or infinite when it was fitted to training and \
                 validation images; lower the learning rates",
                probed.head.method
            )));
        }
        probed.refit = Some(again.end);
        (probed.weight, probed.bias) = (again.weight, again.bias);
    }
    Ok(())
}

/// [`probe()`] on each of several kinds of features of the same images (DINOv2 tries the last layer and the last four,
/// with and without the mean of the patches), and for each method and seed the kind whose chosen head is best on
/// validation images; of equals the first.
///
/// Returns the outcome of each kind, and the place of the best kind for each of their chosen heads.
///
/// # Errors
/// Those of [`probe()`]; no features at all.
pub fn probe_best_features(
    config: &ProbeConfig,
    kinds: &[(Training<'_>, Validation<'_>)],
    seeds: &[u64],
) -> Result<(Vec<Outcome>, Vec<usize>)> {
    let outcomes = (kinds.iter())
        .map(|(training, validation)| probe(config, training, Some(validation), seeds))
        .collect::<Result<Vec<_>>>()?;
    let Some(first) = outcomes.first() else {
        return Err(Error::refused("probe: no features to choose from"));
    };
    let best = (0..first.chosen.len()).map(|head| {
        let accuracy = |kind: usize| outcomes[kind].chosen[head].head.validation_accuracy;
        (1..outcomes.len()).fold(0, |best, kind| match accuracy(kind) > accuracy(best) {
            true => kind,
            false => best,
        })
    });
    let best = best.collect();
    Ok((outcomes, best))
}

fn check_sets(
    config: &ProbeConfig,
    training: &Training<'_>,
    validation: Option<&Validation<'_>>,
    seeds: &[u64],
) -> Result<()> {
    if training.has_views() && config.refit {
        return Err(Error::Config {
            key: "refit",
            reason: "must be false with views of the training images: a fit to training and validation images would \
                     see no crops"
                .to_string(),
        });
    }
    if training.has_views() && matches!(config.fit, FitConfig::Lbfgs { .. }) {
        return Err(Error::Config {
            key: "fit.kind",
            reason:
                "must be `steps` with views of the training images: L-BFGS sees every image once"
                    .to_string(),
        });
    }
    if seeds.is_empty() {
        return Err(Error::refused("probe: at least one seed is needed"));
    }
    match validation {
        Some(set) if set.width() != training.width() || set.classes() != training.classes() => {
            Err(Error::refused(format!(
                "probe: training images have {} features and {} classes, validation images {} and {}",
                training.width(),
                training.classes(),
                set.width(),
                set.classes()
            )))
        }
        Some(_) => Ok(()),
        None => {
            let (grid, lrs) = (grid(config).values().len(), lrs(config).len());
            let most = config
                .methods
                .iter()
                .map(|method| grid * lrs * method.margins.len());
            match most.max() {
                Some(settings) if settings > 1 => Err(Error::refused(format!(
                    "probe: choosing among {settings} settings needs validation images: give some, or one value for \
                     each of margins, learning rate, weight decay and C"
                ))),
                _ => Ok(()),
            }
        }
    }
}
