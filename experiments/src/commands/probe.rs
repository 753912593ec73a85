//! `mr2 probe`: linear probes of pretrained backbones on one's own images, class by class.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use mr2_data::ImageSet;

use super::features::ImagesArgs;
use super::{Output, Threads, audit, write_json};
use crate::device::DeviceArg;
use crate::pretrained::PretrainedArgs;
use crate::probing::features::{FeatureArgs, files};
use crate::probing::images::Images;
use crate::probing::measure::measure;
use crate::probing::protocol::{Protocol, names};
use crate::probing::report::{Probe, printed, report};
use crate::probing::run::{PartFeatures, run as fit};
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
classifiers (method, seed, chosen, margins), measures (by classifier), heads (every one that was tried).

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
    let protocol = Protocol::read(&args.protocol)?.with_methods(&args.method)?;
    if args.pretrained.names_weights() && args.backbone.len() > 1 {
        bail!("--weights are those of one backbone; name one with --backbone");
    }
    args.threads.apply()?;
    let all_images = args.images.open()?;
    let device = args.device.open()?;
    let stop = on_signals()?;
    let (mut probes, mut tests) = (Vec::new(), Vec::new());
    for name in &args.backbone {
        let pretrained = args.pretrained.open(name, &device, output.quiet)?;
        for images in &all_images {
            let part = |set| {
                files(
                    &args.features,
                    &pretrained,
                    set,
                    &device,
                    output.quiet,
                    &stop,
                )
            };
            let mut parts = Vec::new();
            for set in [&images.train, &images.validation, &images.test] {
                match part(set)? {
                    Some(found) => parts.push(found),
                    None => return Ok(STOPPED),
                }
            }
            let [train, validation, test] = &parts[..] else {
                bail!("three parts were asked for");
            };
            let features = PartFeatures {
                train: train.read(0)?,
                validation: validation.read(0)?,
                test: test.read(0)?,
            };
            let classes = images.classes.len();
            let (classifiers, heads) = fit(&protocol, &features, classes, &args.seed)
                .with_context(|| format!("{name} on {}", images.name))?;
            let predictions: Vec<_> = classifiers
                .iter()
                .map(|it| it.predictions.clone())
                .collect();
            let labels = features.test.labels;
            probes.push(Probe {
                backbone: pretrained.description.clone(),
                encoder_sha256: test.encoder().to_string(),
                width: test.feature_dim(),
                images: images.name.clone(),
                provenance: images.provenance.clone(),
                class_names: images.classes.clone(),
                measures: measure(&labels, &predictions, classes)?,
                labels,
                protocol: protocol.json()?,
                protocol_name: protocol.name().to_string(),
                classifiers,
                heads,
            });
            tests.push(images);
        }
    }
    let tests: Vec<&ImageSet> = tests
        .iter()
        .map(|images: &&Images| images.test.as_ref())
        .collect();
    let report = report(probes, &tests)?;
    if let Some(folder) = &args.out {
        report.write(folder)?;
    }
    if output.json {
        let found = serde_json::json!({ "format_version": FORMAT_VERSION, "probes": report.data });
        write_json(&found, out)?;
        return Ok(0);
    }
    print(&report, args, out)?;
    Ok(0)
}

fn print(report: &Report<Vec<Probe>>, args: &Args, out: &mut dyn Write) -> Result<()> {
    let style = terminal::Style::of_stdout();
    for line in &report.document.summary {
        writeln!(out, "{line}")?;
    }
    for table in printed(report) {
        let short = audit::shortened(table, "--out DIR writes all of them");
        write!(out, "\n{}", terminal::render_table(&short, style))?;
    }
    if let Some(folder) = &args.out {
        writeln!(
            out,
            "\nReport: {} (also .md, .tex, .json; plots in plots/)",
            folder.join("report.html").display()
        )?;
    }
    if args.method == ["erm"] && names().contains(&args.protocol.as_str()) {
        writeln!(
            out,
            "\nMR² beside it, and its control, on the same features: the same command with\n  --method erm --method uniform \
             --method mr2"
        )?;
    }
    Ok(())
}
