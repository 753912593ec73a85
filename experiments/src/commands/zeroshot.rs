//! `mr2 zeroshot`: images classified by the names of their classes, class by class.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use mr2_data::Split;

use super::features::ImagesArgs;
use super::probe::{deliver, interruptible};
use super::{Output, Threads};
use crate::device::DeviceArg;
use crate::pretrained::PretrainedArgs;
use crate::probing::features::{Extractor, FeatureArgs};
use crate::probing::measure::measure;
use crate::probing::report::{Probe, report};
use crate::probing::zero_shot::{NAME, Texts, classify};
use crate::stop::{STOPPED, on_signals};

/// How well does CLIP know your classes by their names alone, and which does it fail?
///
/// Each class is described by texts, templates filled in with its name; an image is of the class whose texts are nearest
/// to it. Nothing is trained and nothing chosen: of the images, only the test part is looked at, the same as in
/// `mr2 probe`. Features of images are computed once and kept, and those of a probe are used.
#[derive(clap::Args)]
#[command(after_help = "\
--json prints an object as `mr2 probe` does; the protocol is zero_shot, with its templates and the classes' names.

Example:
  mr2 zeroshot --images photos --backbone clip-vit-b-16
  mr2 zeroshot --images photos --backbone clip-vit-b-16 --template 'a photo of a {}, a kind of tree.'
  mr2 zeroshot --images photos --backbone clip-vit-b-32 --weights clip-folder --class-names names.txt --out report")]
pub struct Args {
    /// A CLIP that `mr2 models --pretrained` lists.
    #[arg(long, value_name = "NAME")]
    backbone: String,
    #[command(flatten)]
    pretrained: PretrainedArgs,
    /// The folder of tokenizer.json, or hf:ORG/NAME [default: that of the weights].
    #[arg(long, value_name = "DIR|ID")]
    tokenizer: Option<String>,
    #[command(flatten)]
    images: ImagesArgs,
    /// What is said of an image, with {} for its class (repeatable) [default: seven of ours].
    #[arg(long, value_name = "TEXT")]
    template: Vec<String>,
    /// A file with a template on each line.
    #[arg(long, value_name = "FILE")]
    templates: Option<PathBuf>,
    /// A file with the name of a class on each line, in the order of the classes [default: the folders' names, with
    /// blanks for _].
    #[arg(long, value_name = "FILE")]
    class_names: Option<PathBuf>,
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
/// When the backbone isn't CLIP, or its weights, tokenizer, texts or images can't be used.
pub fn run(args: &Args, output: &Output, out: &mut dyn Write) -> Result<u8> {
    args.threads.apply()?;
    let all_images = args.images.open()?;
    let texts = all_images.iter().map(|images| {
        let (templates, names) = (args.templates.as_deref(), args.class_names.as_deref());
        Texts::new(&args.template, templates, &images.classes, names)
            .with_context(|| images.name.clone())
    });
    let texts = texts.collect::<Result<Vec<_>>>()?;
    let compute = args.device.open()?;
    let (pretrained, tower) = args.pretrained.open_with_text(
        &args.backbone,
        args.tokenizer.as_deref(),
        &compute.device,
        output.quiet,
    )?;
    let stop = on_signals()?;
    let extractor = Extractor {
        args: &args.features,
        pretrained: &pretrained,
        compute: &compute,
        quiet: output.quiet,
        stop: &stop,
    };
    let mut probes = Vec::new();
    for (images, texts) in all_images.iter().zip(&texts) {
        let Some(found) = extractor.files(images, Split::Test)? else {
            return Ok(STOPPED);
        };
        let test = found.read(0)?;
        let classified = interruptible(&stop, || classify(&tower, texts, &test, &compute.device));
        let classifier =
            classified.with_context(|| format!("{} on {}", args.backbone, images.name))?;
        probes.push(Probe {
            backbone: pretrained.description.clone(),
            encoder_sha256: found.encoder().to_string(),
            width: found.feature_dim(),
            images: images.name.clone(),
            provenance: images.provenance.clone(),
            class_names: images.classes.clone(),
            measures: measure(
                &test.labels,
                &[&classifier.predictions],
                images.classes.len(),
            )?,
            labels: test.labels,
            protocol: serde_json::json!({
                "protocol": NAME,
                "templates": texts.templates,
                "classes": texts.classes,
                "logit_factor": tower.network.logit_factor()?,
                "text_tower": tower.network.config(),
            }),
            protocol_name: NAME.to_string(),
            classifiers: vec![classifier],
            heads: Vec::new(),
        });
    }
    // Photographs are for the report on disk.
    let shown = all_images.iter().filter(|_| args.out.is_some());
    let tests: Vec<_> = shown.map(|images| images.test.as_ref()).collect();
    let title = "CLIP by the names of classes, class by class";
    let report = report(title, probes, &tests)?;
    deliver(&report, args.out.as_deref(), output, out)?;
    Ok(0)
}
