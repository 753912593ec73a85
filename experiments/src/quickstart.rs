//! What `cargo run --release` does: three methods, three seeds, one table.

mod finding;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use mr2_train::{Outcome, RunDir, RunState, StopFlag};

use crate::assemble::{Data, data, data_root};
use crate::commands::{Output, Threads, init_logging};
use crate::config::RunFile;
use crate::device::{Compute, DeviceArg};
use crate::progress::Progress;
use crate::report::Block;
use crate::report::comparison::{Comparison, compare};
use crate::report::files::Report;
use crate::report::run_folders;
use crate::report::tables::headline;
use crate::report::terminal::{Style, render_claims, render_tables};
use crate::run::{start_for, train_into, with_job};
use crate::stop::{STOPPED, on_signals};

/// The arms, ERM first: it chooses the thirds and is what the others are compared with.
const ARMS: [Arm; 3] = [
    Arm {
        key: "erm",
        text: include_str!("../runs/quickstart-erm.toml"),
    },
    Arm {
        key: "uniform",
        text: include_str!("../runs/quickstart-uniform.toml"),
    },
    Arm {
        key: "mr2",
        text: include_str!("../runs/quickstart-mr2.toml"),
    },
];

struct Arm {
    key: &'static str,
    text: &'static str,
}

/// Train a small ResNet with plain cross-entropy (ERM), with a uniform margin (the control) and with
/// MR², on a class-balanced subset of Fashion-MNIST, and compare them class by class.
#[derive(clap::Parser, Debug)]
#[command(
    name = "quickstart",
    version,
    after_help = "Finished runs are reused and interrupted ones resumed: run it again after Ctrl-C, or with more --seeds. \
                  Each arm is a file in experiments/runs/; `mr2 train --config FILE` trains one alone."
)]
pub struct Args {
    /// Folder for the run folders and the report.
    #[arg(long, default_value = "runs/quickstart")]
    out: PathBuf,
    /// Seeds of each method: 1, 2, …
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Delete the run folders of the quickstart in --out and begin anew.
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    device: DeviceArg,
    /// Folder with the data sets' descriptors [default: datasets].
    #[arg(long)]
    data_root: Option<PathBuf>,
    /// Change a value of every arm, as in `mr2 train`: --set training.epochs=1.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    #[command(flatten)]
    output: Output,
}

/// One run of one arm.
struct Planned {
    seed: u64,
    file: RunFile,
    folder: PathBuf,
}

/// Runs the quickstart; the number is the exit status.
///
/// # Errors
/// When a run can't be trained or read.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<u8> {
    init_logging(&args.output);
    args.threads.apply()?;
    let stop = on_signals()?;
    let planned = plan(args)?;
    let first = planned.first().context("no arms")?;
    let data = data(&first.file.config, &data_root(args.data_root.as_deref()))?;
    if let Some(other) = planned
        .iter()
        .find(|run| !run.file.config.data.same_images(&first.file.config.data))
    {
        bail!(
            "{}: the arms must have the same images and labels",
            other.file.config.name
        );
    }
    // Seeds differ in nothing that can be wrong. Nothing is deleted or trained before all arms are right.
    for run in planned.iter().take(ARMS.len()) {
        with_job(&run.file, &data, &Compute::CPU, |job| Ok(job.check()?))?;
    }
    let compute = args.device.open()?;
    if args.restart {
        remove(&planned)?;
    }
    let mut progress = Progress::new(args.output.quiet, planned.len() as u64);
    let mut folders = Vec::new();
    for (index, run) in planned.iter().enumerate() {
        let remaining = (planned.len() - index) as u64;
        if !train_one(run, &data, &compute, &stop, &mut progress, remaining)? {
            progress.finish();
            progress.note("stopped and saved; the same command continues");
            return Ok(STOPPED);
        }
        folders.push(run.folder.clone());
        if index + 1 == ARMS.len() && planned.len() > ARMS.len() {
            let table = tables(
                &report(&folders)?,
                Style {
                    colour: false,
                    width: None,
                },
            );
            progress.note(&format!("\nAfter seed 1 (more seeds follow):\n{table}"));
        }
    }
    progress.finish();
    finish(args, &report(&folders)?, out)
}

/// The runs in order: all arms of a seed before the next seed.
fn plan(args: &Args) -> Result<Vec<Planned>> {
    let mut planned = Vec::new();
    for seed in 1..=args.seeds {
        for arm in &ARMS {
            let mut overrides = args.overrides.clone();
            overrides.push(format!("training.seed={seed}"));
            let origin = format!("experiments/runs/quickstart-{}.toml", arm.key);
            let file = RunFile::parse(arm.text, &origin, &overrides)?;
            let folder = args.out.join(format!("{}-seed{seed}", arm.key));
            planned.push(Planned { seed, file, folder });
        }
    }
    Ok(planned)
}

/// Deletes the planned run folders: all of them, or none where one isn't a run folder or is in use.
fn remove(planned: &[Planned]) -> Result<()> {
    let folders = planned.iter().map(|run| &run.folder);
    let there: Vec<_> = folders.filter(|folder| folder.exists()).collect();
    for folder in &there {
        // A run that was killed at its start has only its lock.
        let locked = folder.join("lock").is_file();
        if !locked && RunDir::state_of(folder) == RunState::Empty {
            bail!(
                "{} is no run folder, so nothing is deleted: move it away, or choose another --out",
                folder.display()
            );
        }
    }
    let locks: Vec<RunDir> = there
        .iter()
        .map(|folder| RunDir::open(folder))
        .collect::<Result<_, _>>()
        .context("nothing is deleted")?;
    for dir in &locks {
        let folder = dir.path();
        std::fs::remove_dir_all(folder)
            .with_context(|| format!("cannot delete {}", folder.display()))?;
    }
    Ok(())
}

/// Trains a run, or finds it done; `false` when a signal stopped it.
fn train_one(
    run: &Planned,
    data: &Data,
    compute: &Compute,
    stop: &StopFlag,
    progress: &mut Progress,
    remaining: u64,
) -> Result<bool> {
    let label = format!("{} seed {}", run.file.config.name, run.seed);
    progress.begin(&label, remaining);
    let start = start_for(&run.folder);
    let outcome = train_into(
        &run.file,
        data,
        compute,
        &run.folder,
        start,
        stop,
        &mut |event| progress.show(event, remaining),
    )
    .with_context(|| format!("{label} (--restart begins anew)"))?;
    Ok(match outcome {
        Outcome::Finished(_) => true,
        Outcome::AlreadyFinished(_) => {
            progress.note(&format!("{label}: reused {}", run.folder.display()));
            true
        }
        Outcome::Stopped { .. } => false,
    })
}

/// The report of the runs so far.
fn report(folders: &[PathBuf]) -> Result<Report<Comparison>> {
    compare(&run_folders::find(folders)?, None)
}

/// The table, and the differences to ERM where there is more than one method.
fn tables(report: &Report<Comparison>, style: Style) -> String {
    render_tables(&headline(&report.data.class_report), style)
}

/// Prints the result before it writes the report: what took minutes isn't lost with a full disk.
fn finish(args: &Args, report: &Report<Comparison>, out: &mut dyn Write) -> Result<u8> {
    let folder = args.out.join("report");
    if args.output.json {
        out.write_all(&report.json()?)?;
        report.write(&folder)?;
        return Ok(0);
    }
    let style = Style::of_stdout();
    writeln!(out, "{}", tables(report, style))?;
    for block in report
        .document
        .sections
        .iter()
        .flat_map(|section| &section.blocks)
    {
        if let Block::Claims { claims } = block {
            write!(out, "{}", render_claims(claims, style))?;
        }
    }
    let written = report.write(&folder);
    write!(out, "\nRun folders: {}", args.out.display())?;
    if written.is_ok() {
        let page = folder.join("report.html");
        write!(out, "   Report with plots: {}", page.display())?;
    }
    let data = &report.data;
    let finding = finding::of(data.premise.verdict, &data.margins, &data.class_report);
    writeln!(out, "\n\n{finding}")?;
    written.map(|_| 0)
}
