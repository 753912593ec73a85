//! `mr2 probe`: linear probes of pretrained backbones on one's own images, class by class.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use mr2_backbones::pretrained::find;
use mr2_data::{ImageSet, Split};
use mr2_train::StopFlag;
use mr2_train::features::{Features, encoder_hash};

use super::features::ImagesArgs;
use super::{Output, Threads, audit, write_json};
use crate::device::DeviceArg;
use crate::pretrained::PretrainedArgs;
use crate::probing::crops::{CropFeatures, Seen};
use crate::probing::features::{Extractor, FeatureArgs};
use crate::probing::images::Images;
use crate::probing::kinds::kinds;
use crate::probing::measure::{Measured, measure};
use crate::probing::protocol::Protocol;
use crate::probing::report::{Probe, printed, report};
use crate::probing::run::{Classifier, PartFeatures, run as fit};
use crate::report::files::{FORMAT_VERSION, Report};
use crate::report::terminal;
use crate::stop::{STOPPED, on_signals};

/// How well do frozen pretrained features tell your classes apart, and which classes do they fail?
///
/// Takes a plain folder of class folders: 70 % of each class are for training, 10 % for validation and 20 % for the
/// test, by the SHA-256 of their content, so that copies stay together; train/, val/ and test/ folders are used where
/// they are there. Features are computed once and kept. Settings are chosen on validation images; test images are
/// looked at once, at the end. Thirds and worst classes are chosen on one half of the test images and measured on the
/// other.
#[derive(clap::Args)]
#[command(after_help = "\
Protocols are files under experiments/runs/probes; one of your own is named by its path. The default is CLIP's: logistic
regression by L-BFGS, C swept on validation images, then fitted again to training and validation images.

--json prints an object: format_version, probes: a list with backbone, encoder_sha256, images, provenance, protocol,
classifiers (method, seed, features, chosen, margins), measures (by classifier), heads (every one that was tried).

Example:
  mr2 probe --images photos --backbone clip-vit-b-16 --out probe
  mr2 probe --images photos --backbone clip-vit-b-16 --method erm --method uniform --method mr2
  mr2 probe --images photos --backbone clip-vit-b-16 --backbone dinov2-vit-b-14 --backbone resnet50
  mr2 probe --images photos --backbone efficientnet-lite0 --weights efficientnet-lite0-57934424.pth")]
pub struct Args {
    /// A pretrained backbone that `mr2 models --pretrained` lists (repeatable: one table).
    #[arg(long, value_name = "NAME", required = true)]
    backbone: Vec<String>,
    #[command(flatten)]
    pretrained: PretrainedArgs,
    #[command(flatten)]
    images: ImagesArgs,
    /// How classifiers are fitted: a name or a file.
    #[arg(long, value_name = "NAME|FILE", default_value = "clip")]
    protocol: String,
    /// erm, uniform (one margin for all classes, the control) or mr2 (repeatable; the first is what others are compared
    /// with).
    #[arg(long, value_name = "METHOD", default_value = "erm")]
    method: Vec<String>,
    /// Seed of initialisation and batches, for the protocols that have them (repeatable).
    #[arg(long, value_name = "N", default_value = "0")]
    seed: Vec<u64>,
    /// Crops of each training image that heads see in turn, for the protocols that draw crops; 0: none, the images as
    /// they are tested [default: a new one at every shuffle, as the protocol's authors do].
    #[arg(long, value_name = "N")]
    views: Option<u32>,
    /// Keep no features on disk: compute them again in every run, and those of crops at every shuffle of every seed.
    #[arg(long)]
    on_the_fly: bool,
    /// Write the whole report there: report.html, .md, .tex, .json and plots.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    features: FeatureArgs,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    device: DeviceArg,
}

/// Runs the command; the number is the exit status.
///
/// # Errors
/// When a backbone, its weights, the images or the protocol can't be used.
pub fn run(args: &Args, output: &Output, out: &mut dyn Write) -> Result<u8> {
    let protocol = Protocol::read(&args.protocol)?;
    let offers_margins = protocol.offers("uniform") && protocol.offers("mr2");
    let protocol = protocol.with_methods(&args.method)?;
    if args.pretrained.names_weights() && args.backbone.len() > 1 {
        bail!("--weights are those of one backbone; name one with --backbone");
    }
    for name in &args.backbone {
        find(name).map_err(|reason| anyhow!(reason))?;
    }
    args.threads.apply()?;
    let all_images = args.images.open()?;
    let compute = args.device.open()?;
    let stop = on_signals()?;
    let (mut probes, mut tests) = (Vec::new(), Vec::new());
    for name in &args.backbone {
        let how = match protocol.takes_last_blocks() {
            true => args.pretrained.with_last_blocks(name),
            false => args.pretrained.clone(),
        };
        let pretrained = how.open(name, &compute.device, output.quiet)?;
        let extractor = Extractor {
            args: &args.features,
            pretrained: &pretrained,
            compute: &compute,
            quiet: output.quiet,
            stop: &stop,
        };
        let encoder_sha256 = encoder_hash(&pretrained.params)?;
        for images in &all_images {
            let seen = Seen::new(&protocol, args.views, images.train.len())?;
            let Some(features) = features(&extractor, images, &seen, args.on_the_fly)? else {
                return Ok(STOPPED);
            };
            let classes = images.classes.len();
            let fitted = interruptible(&stop, || fit(&protocol, &features, classes, &args.seed));
            let (classifiers, heads) =
                fitted.with_context(|| format!("{name} on {}", images.name))?;
            let (labels, width) = (features.test.labels, features.test.dim);
            probes.push(Probe {
                backbone: pretrained.description.clone(),
                encoder_sha256: encoder_sha256.clone(),
                width,
                images: images.name.clone(),
                provenance: images.provenance.clone(),
                class_names: images.classes.clone(),
                measures: measures(&classifiers, &labels, classes)?,
                labels,
                protocol: seen.json(&protocol)?,
                protocol_name: seen.name(&protocol),
                classifiers,
                heads,
            });
            tests.push(images.test.as_ref());
        }
    }
    // Photographs are for the report on disk.
    let tests: &[&ImageSet] = if args.out.is_some() { &tests } else { &[] };
    let report = report(
        "Probes of pretrained features, class by class",
        probes,
        tests,
    )?;
    deliver(&report, args.out.as_deref(), output, out)?;
    if !output.json && args.method == ["erm"] && offers_margins {
        writeln!(
            out,
            "\nMR² beside it, and its control, on the same features:\n  {} --method erm --method uniform --method mr2",
            this_command()
        )?;
    }
    Ok(0)
}

/// The features of all parts, and of crops; nothing where a stop was asked for.
fn features<'a>(
    extractor: &Extractor<'a>,
    images: &Images,
    seen: &Seen<'_>,
    on_the_fly: bool,
) -> Result<Option<PartFeatures<'a>>> {
    let part = |split: Split| -> Result<Option<Features>> {
        if on_the_fly {
            return extractor.compute_part(images, split);
        }
        let files = extractor.files(images, split)?;
        Ok(files.map(|files| files.read(0)).transpose()?)
    };
    let Some(train) = part(Split::Train)? else {
        return Ok(None);
    };
    let Some(validation) = part(Split::Validation)? else {
        return Ok(None);
    };
    let Some(test) = part(Split::Test)? else {
        return Ok(None);
    };
    let crops = match seen {
        Seen::Tested { .. } => None,
        Seen::Crops { crops, views, .. } if on_the_fly => Some(CropFeatures::Computed {
            extractor: *extractor,
            loader: extractor.loader(images, Split::Train, Some(crops))?,
            views: *views,
        }),
        Seen::Crops { crops, views, .. } => match extractor.crop_files(images, crops, *views)? {
            Some(files) => Some(CropFeatures::Kept(files)),
            None => return Ok(None),
        },
    };
    let architecture = &extractor.pretrained.description.architecture;
    Ok(Some(PartFeatures {
        kinds: kinds(architecture, train.dim),
        train,
        validation,
        test,
        crops,
    }))
}

/// Measures, each seed's classifiers beside the first method's of the same seed.
fn measures(
    classifiers: &[Classifier],
    labels: &[u32],
    classes: usize,
) -> Result<Vec<Vec<Measured>>> {
    let mut rows = vec![Vec::new(); classifiers.len()];
    for first in 0..classifiers.len() {
        if !rows[first].is_empty() {
            continue;
        }
        let seed = classifiers[first].seed;
        let of_seed: Vec<usize> = (0..classifiers.len())
            .filter(|&at| classifiers[at].seed == seed)
            .collect();
        let predictions: Vec<&[u32]> = of_seed
            .iter()
            .map(|&at| &classifiers[at].predictions[..])
            .collect();
        for (at, measured) in of_seed
            .into_iter()
            .zip(measure(labels, &predictions, classes)?)
        {
            rows[at] = measured;
        }
    }
    Ok(rows)
}

/// Does the work, and ends the process where a stop is asked for on the way: nothing is written while heads are fitted.
pub fn interruptible<T>(stop: &StopFlag, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if stop.is_set() {
                    std::process::exit(STOPPED.into());
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

/// What the user wrote, without a choice of methods.
fn this_command() -> String {
    let mut words = Vec::new();
    let mut given = std::env::args().skip(1);
    while let Some(word) = given.next() {
        if word == "--method" {
            given.next();
        } else if !word.starts_with("--method=") {
            let plain = word
                .chars()
                .all(|c| c.is_alphanumeric() || "-_./:=@,+".contains(c));
            words.push(if plain { word } else { format!("'{word}'") });
        }
    }
    format!("mr2 {}", words.join(" "))
}

/// Writes the report into the folder, if there is one, and prints it.
///
/// # Errors
/// When it can't be written.
pub fn deliver(
    report: &Report<Vec<Probe>>,
    folder: Option<&Path>,
    output: &Output,
    out: &mut dyn Write,
) -> Result<()> {
    if let Some(folder) = folder {
        report.write(folder)?;
    }
    if output.json {
        let found = serde_json::json!({ "format_version": FORMAT_VERSION, "probes": report.data });
        return write_json(&found, out);
    }
    let style = terminal::Style::of_stdout();
    for line in &report.document.summary {
        writeln!(out, "{line}")?;
    }
    for table in printed(report) {
        let short = audit::shortened(table, "--out DIR writes all of them");
        write!(out, "\n{}", terminal::render_table(&short, style))?;
    }
    if let Some(folder) = folder {
        writeln!(
            out,
            "\nReport: {} (also .md, .tex, .json; plots in plots/)",
            folder.join("report.html").display()
        )?;
    }
    Ok(())
}
