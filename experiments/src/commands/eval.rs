//! `mr2 eval`: the class-wise report of a run's weights on any part of its data.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use mr2_data::Transform;
use mr2_train::{LoadedWeights, Predictions, RunDir, RunResult, RunState, Weights};
use serde::Serialize;

use super::{Output, Threads, audit, write_json};
use crate::assemble::{Data, data, data_root, evaluation_loader, model};
use crate::config::RunFile;
use crate::device::{Compute, DeviceArg};
use crate::report::files::FORMAT_VERSION;

/// Evaluate the weights of a run, class by class, as `mr2 audit` does for predictions.
///
/// Unless told otherwise, these are the weights that the run itself tested, on the test part. Images get
/// the run file's evaluation transforms. Nothing in the run folder changes, so a run may be training still.
#[derive(clap::Args)]
#[command(after_help = "\
--json prints an object:
  format_version, run, split, checkpoint (the file), step and epoch of its weights
  report         what `mr2 audit --json` prints of predictions, without its format_version

Example:
  mr2 eval runs/mr2-seed1 --split validation --out validation.csv
  mr2 eval runs/mr2-seed1 --set data.dataset=fashion-mnist-full   (the same classes, other images)")]
pub struct Args {
    /// A run folder of `mr2 train`.
    #[arg(value_name = "RUN_DIR")]
    run: PathBuf,
    /// The images to evaluate on.
    #[arg(long, value_enum, default_value_t = Part::Test)]
    split: Part,
    /// `last`, `best` (on validation) or a checkpoint file [default: what the run tested].
    #[arg(long, value_name = "WHICH")]
    checkpoint: Option<String>,
    /// Change a value of the run's [data]: --set data.dataset=NAME (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Write labels and predictions there, as .csv or (with logits) .safetensors.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    device: DeviceArg,
    /// Folder with the data sets' descriptors [default: datasets].
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
}

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
enum Part {
    Test,
    Validation,
    Train,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Evaluation<'a> {
    format_version: u32,
    run: &'a Path,
    split: Part,
    checkpoint: &'a Path,
    step: u64,
    epoch: u64,
    report: &'a audit::Measures,
}

/// Runs the command.
///
/// # Errors
/// When the run folder, its weights or the data can't be used; the message names the file.
pub fn run(args: &Args, output: &Output, out: &mut dyn Write) -> Result<()> {
    let file = run_file(args)?;
    let kind = args.out.as_deref().map(|path| kind_of(path, &args.run));
    let kind = kind.transpose()?;
    let data = data(&file.config, &data_root(args.data_root.as_deref()))?;
    args.threads.apply()?;
    let compute = args.device.open()?;
    let which = which(args, output)?;
    let (predictions, weights) = evaluate(args, &file, &data, &compute, &which)?;
    let LoadedWeights {
        path, step, epoch, ..
    } = &weights;
    if let Some((path, kind)) = args.out.as_deref().zip(kind) {
        write(&predictions, path, kind)?;
    }
    let part = format!("{:?}", args.split).to_lowercase();
    let source = format!("{}: {part} part, step {step}", args.run.display());
    let report = audit::report(&audit::from_run(&source, predictions)?)?;
    if output.json {
        let evaluation = Evaluation {
            format_version: FORMAT_VERSION,
            run: &args.run,
            split: args.split,
            checkpoint: path,
            step: *step,
            epoch: *epoch,
            report: &report.data,
        };
        return write_json(&evaluation, out);
    }
    let all_rows = "--out FILE, then `mr2 audit --predictions FILE --out DIR`, shows all of them";
    audit::print(&report, all_rows, out)?;
    writeln!(out, "\nWeights: {}", path.display())?;
    if let Some(path) = &args.out {
        writeln!(out, "Predictions: {}", path.display())?;
    }
    Ok(())
}

/// The run's configuration, with its data changed where the user says so.
fn run_file(args: &Args) -> Result<RunFile> {
    if let Some(other) = args.overrides.iter().find(|o| !o.starts_with("data.")) {
        bail!(
            "--set {other}: only data.* can be changed; the rest is what the run was trained with"
        );
    }
    let path = args.run.join("config.toml");
    if !path.is_file() {
        bail!(
            "{}: no run folder (it has no config.toml); name a folder made by `mr2 train`",
            args.run.display()
        );
    }
    RunFile::read(&path, &args.overrides)
}

/// The weights asked for, or else those that the run tested, or has so far.
fn which(args: &Args, output: &Output) -> Result<Weights> {
    Ok(match args.checkpoint.as_deref() {
        Some("last") => Weights::Last,
        Some("best") => Weights::Best,
        Some(file) => Weights::File(file.into()),
        None if RunDir::state_of(&args.run) == RunState::Finished => Weights::Tested,
        None => {
            if !output.quiet {
                writeln!(
                    std::io::stderr(),
                    "{}: the run isn't finished; taking its newest checkpoint",
                    args.run.display()
                )?;
            }
            Weights::Last
        }
    })
}

fn evaluate(
    args: &Args,
    file: &RunFile,
    data: &Data,
    compute: &Compute,
    which: &Weights,
) -> Result<(Predictions, LoadedWeights)> {
    let splits = &data.splits;
    let set = match args.split {
        Part::Test => &splits.test,
        Part::Train => &splits.train,
        Part::Validation => splits.validation.as_ref().with_context(|| {
            format!(
                "{}: data.validation is \"none\", so there is no validation part",
                args.run.join("config.toml").display()
            )
        })?,
    };
    let classes = set.classes();
    warn_of_other_classes(&args.run, classes)?;
    let model = model(
        &file.config,
        data.descriptor.channels,
        classes.len(),
        &compute.device,
    )?;
    let weights = mr2_train::load_weights(&args.run, which, &model.params)?;
    warn_of_other_preprocessing(&weights, &file.config.data.evaluation_transforms)?;
    let loader = evaluation_loader(&file.config, set)?;
    let predictions = mr2_train::evaluate(
        model.network.as_ref(),
        &loader,
        classes,
        compute.activations(),
    )?;
    Ok((predictions, weights))
}

/// Weights belong to what was done to the images they were trained for.
fn warn_of_other_preprocessing(weights: &LoadedWeights, here: &[Transform]) -> Result<()> {
    let (trained, here) = (&weights.about["preprocessing"], serde_json::to_value(here)?);
    if !trained.is_null() && *trained != here {
        tracing::warn!(
            "{}: the weights are for images after {trained}, and here images go through {here}",
            weights.path.display()
        );
    }
    Ok(())
}

/// Another data set may name its classes otherwise or order them otherwise; the weights can't tell.
fn warn_of_other_classes(run: &Path, classes: &[String]) -> Result<()> {
    if RunDir::state_of(run) != RunState::Finished {
        return Ok(());
    }
    let trained = RunResult::read(run)?.class_names;
    let differing = trained.iter().zip(classes).find(|(a, b)| a != b);
    if let Some((trained, given)) = differing {
        tracing::warn!(
            "the run was trained on other class names: `{trained}` is `{given}` here; labels are compared by index"
        );
    }
    Ok(())
}

/// A kind of predictions file.
#[derive(Clone, Copy)]
enum Kind {
    Safetensors,
    Csv,
}

fn kind_of(path: &Path, run: &Path) -> Result<Kind> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = folder.canonicalize().with_context(|| {
        format!(
            "--out {}: no such folder {}",
            path.display(),
            folder.display()
        )
    })?;
    if folder.starts_with(run.canonicalize()?) {
        bail!(
            "--out {}: nothing in a run folder is changed; name a file elsewhere",
            path.display()
        );
    }
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("safetensors") => Ok(Kind::Safetensors),
        Some("csv") => Ok(Kind::Csv),
        _ => bail!("--out {}: must end in .safetensors or .csv", path.display()),
    }
}

fn write(predictions: &Predictions, path: &Path, kind: Kind) -> Result<()> {
    let bytes = match kind {
        Kind::Safetensors => predictions.to_safetensors()?,
        Kind::Csv => predictions.to_csv().into_bytes(),
    };
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
