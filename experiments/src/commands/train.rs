//! `mr2 train`: one run from its file into its folder.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use mr2_train::{Outcome, RunDir, RunResult, RunState, Start};

use super::{Output, Threads, write_json};
use crate::assemble::{Data, data, data_root};
use crate::config::RunFile;
use crate::device::{Compute, DeviceArg};
use crate::progress::Progress;
use crate::run::{train_into, with_job};
use crate::stop::{STOPPED, on_signals};

/// Train the run that a TOML file describes.
///
/// The run folder then holds config.toml, metrics.jsonl, result.json, predictions (safetensors and
/// CSV), checkpoint/ and tb/ (TensorBoard). Ctrl-C saves and stops; --resume continues to the same bits.
#[derive(clap::Args)]
#[command(
    after_help = "--json prints what result.json holds; with --dry-run, the configuration and the run's size.\n\n\
                  Example: mr2 train --config experiments/runs/quickstart-mr2.toml --set training.seed=2 --out runs/mr2-seed2"
)]
pub struct Args {
    /// The run file; experiments/runs/ has some, and every key must be there.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Change a value of the file: --set training.seed=2 (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// The run folder.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Continue the run in the folder; a finished one is reported and left as it is.
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    device: DeviceArg,
    /// Check everything, print the resolved run and its size, and train nothing.
    #[arg(long)]
    dry_run: bool,
    /// Folder with the data sets' descriptors [default: datasets].
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
}

/// Runs the command; the number is the exit status.
///
/// # Errors
/// When the configuration, the data or the folder can't be used, or training fails.
pub fn run(args: &Args, output: &Output, out: &mut dyn Write) -> Result<u8> {
    let file = RunFile::read(&args.config, &args.overrides)?;
    let data = data(&file.config, &data_root(args.data_root.as_deref()))?;
    if args.dry_run {
        dry_run(&file, &data, output, out)?;
        return Ok(0);
    }
    if !args.resume && RunDir::state_of(&args.out) != RunState::Empty {
        bail!(
            "{} holds a run: add --resume to continue it, or name another folder",
            args.out.display()
        );
    }
    args.threads.apply()?;
    let compute = args.device.open()?;
    let start = match RunDir::state_of(&args.out) {
        RunState::Empty if args.resume => {
            bail!(
                "{} holds no run to resume: leave --resume out to begin one",
                args.out.display()
            )
        }
        RunState::Empty => Start::Fresh,
        _ => Start::Resume,
    };
    let stop = on_signals()?;
    let mut progress = Progress::new(output.quiet, 1);
    progress.begin(&file.config.name, 1);
    let outcome = train_into(
        &file,
        &data,
        &compute,
        &args.out,
        start,
        &stop,
        &mut |event| progress.show(event, 1),
    )?;
    progress.finish();
    match outcome {
        Outcome::Finished(result) => print(&result, output, args, out)?,
        Outcome::AlreadyFinished(result) => {
            progress.note(&format!("{} was finished before", args.out.display()));
            print(&result, output, args, out)?;
        }
        Outcome::Stopped { step } => {
            progress.note(&format!(
                "stopped and saved at step {step}; --resume continues"
            ));
            return Ok(STOPPED);
        }
    }
    Ok(0)
}

/// A run's size.
#[derive(serde::Serialize)]
struct DryRun<'a> {
    config: &'a toml::Table,
    training_images: usize,
    validation_images: usize,
    test_images: usize,
    classes: usize,
    parameters: usize,
    steps: u64,
}

fn dry_run(file: &RunFile, data: &Data, output: &Output, out: &mut dyn Write) -> Result<()> {
    let run = with_job(file, data, &Compute::CPU, |job| {
        job.check()?;
        let parameters = job.params.parameters();
        Ok(DryRun {
            config: &file.table,
            training_images: job.train.set().len(),
            validation_images: job.validation.map_or(0, |part| part.set().len()),
            test_images: job.test.set().len(),
            classes: job.class_names.len(),
            parameters: parameters.iter().map(|(_, var)| var.elem_count()).sum(),
            steps: job.config.epochs * job.train.batches_per_epoch() as u64,
        })
    })?;
    if output.json {
        return write_json(&run, out);
    }
    write!(out, "{}", file.to_toml()?)?;
    writeln!(
        out,
        "\n# {} training, {} validation and {} test images, {} classes; {} parameters; {} steps",
        run.training_images,
        run.validation_images,
        run.test_images,
        run.classes,
        run.parameters,
        run.steps
    )?;
    Ok(())
}

fn print(result: &RunResult, output: &Output, args: &Args, out: &mut dyn Write) -> Result<()> {
    if output.json {
        return write_json(result, out);
    }
    let percent =
        |share: Option<f64>| share.map_or("–".into(), |s| format!("{:.1} %", s * 100.0));
    writeln!(out, "overall {}", percent(result.test.overall))?;
    if let Some(thirds) = &result.thirds {
        writeln!(
            out,
            "easy {}   medium {}   hard {}   ({})",
            percent(thirds.easy),
            percent(thirds.medium),
            percent(thirds.hard),
            thirds.chosen_on
        )?;
    }
    let worst = result
        .class_names
        .iter()
        .zip(&result.test.class_accuracy)
        .filter_map(|(name, accuracy)| accuracy.map(|a| (name, a)))
        .min_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((name, accuracy)) = worst {
        writeln!(out, "lowest class: {name} {:.1} %", accuracy * 100.0)?;
    }
    writeln!(
        out,
        "premise (harder classes have the larger m + v): {}",
        result.premise.verdict
    )?;
    for warning in &result.warnings {
        writeln!(out, "warning: {}", warning.message)?;
    }
    writeln!(out, "{}", args.out.join("result.json").display())?;
    Ok(())
}
