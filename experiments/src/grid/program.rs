//! What every table's program does: plan, tune, train, report.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{CommandFactory, FromArgMatches};

use super::args::{Args, Shard};
use super::cost;
use super::estimate::estimate;
use super::execute::{Ended, Failure, Grid};
use super::plan::{Plan, PlannedRun, Row};
use super::report::{self, Collected, CollectedBlock};
use super::store::Store;
use super::table_file::{Scale, TableFile};
use super::tuning;
use super::view::View;
use crate::commands::{init_logging, is_closed_pipe, write_json};
use crate::device::Compute;
use crate::run::with_job;
use crate::stop::{STOPPED, on_signals};

/// Exit status of a grid with failed runs; its table is written all the same.
const FAILED: u8 = 3;

/// The `main` of the table `name`, whose file has this text.
pub fn main(name: &'static str, text: &str) -> ExitCode {
    crate::allocator::keep_freed_memory();
    let stdout = std::io::stdout();
    match start(name, text, &mut stdout.lock()) {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(name: &'static str, text: &str, out: &mut dyn Write) -> Result<u8> {
    let table = TableFile::parse(text, &format!("experiments/tables/{name}.toml"))?;
    let about = format!("{} ({})", table.title, table.reproduces);
    let command = Args::command().name(name).about(about);
    let args = Args::from_arg_matches(&command.get_matches())?;
    if let Some(case) = &args.cost_case {
        let case = serde_json::from_str(case).context("--cost-case")?;
        write_json(&cost::measure(&case)?, out)?;
        return Ok(0);
    }
    run(name, &table, &args, out)
}

fn run(name: &str, table: &TableFile, args: &Args, out: &mut dyn Write) -> Result<u8> {
    init_logging(&args.output);
    let stop = on_signals()?;
    let committed = committed(args);
    let store = Store::new(&args.runs, committed.as_deref());
    let grid = Grid::new(args, &store, &stop);
    let plan = Plan::new(table, args, &|run| grid.is_balanced(run))?;
    check(&plan, &grid)?;
    if args.dry_run {
        return dry_run(&plan, &store, &grid, args, out);
    }
    let mut failures = Vec::new();
    for phase in [Phase::Tuning, Phase::Table] {
        let runs = phase.runs(&plan, &store, args.shard)?;
        let todo = grid.share(&runs);
        if todo.is_empty() {
            continue;
        }
        let title = format!("{name} {}{}", args.scale.name(), phase.suffix());
        let view = View::new(&title, &todo, grid.jobs(), args.output.quiet);
        match grid.train(todo, &view)? {
            Ended::Done(failed) => failures.extend(failed),
            Ended::Stopped => {
                view.note("stopped and saved; the same command continues");
                return Ok(STOPPED);
            }
        }
    }
    finish(name, table, &plan, &store, failures, args, out)
}

/// Settings are chosen before any test result is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Tuning,
    Table,
}

impl Phase {
    fn suffix(self) -> &'static str {
        match self {
            Self::Tuning => ", choosing settings",
            Self::Table => "",
        }
    }

    /// The runs of the phase, all arms of a seed before the next seed.
    fn runs(self, plan: &Plan<'_>, store: &Store, shard: Option<Shard>) -> Result<Vec<PlannedRun>> {
        let mut runs = Vec::new();
        for (setting, block) in plan.blocks() {
            if self == Self::Tuning {
                runs.extend(tuning::runs(setting, block)?);
                continue;
            }
            let tuned = tuning::choose(setting, block, store)?;
            for arm in block.arms.iter().filter(|arm| arm.row == Row::Trained) {
                let chosen = tuned.get(&arm.arm.name);
                // Other machines have the rest of its tuning runs: what would be chosen now may not be the choice.
                if shard.is_some() && chosen.is_some_and(|tuned| tuned.missing > 0) {
                    continue;
                }
                if let Some(settings) = chosen.map_or(Some(&[][..]), |tuned| tuned.settings()) {
                    for &seed in &block.seeds {
                        runs.push(arm.run(seed, settings)?);
                    }
                }
            }
        }
        runs.sort_by_key(|run| run.seed);
        Ok(runs)
    }
}

/// Looks for what is wrong in any arm before the first one trains for hours.
fn check(plan: &Plan<'_>, grid: &Grid<'_>) -> Result<()> {
    for (_, block) in plan.blocks() {
        for arm in block.arms.iter().filter(|arm| arm.row == Row::Trained) {
            // Seeds differ in nothing that can be wrong.
            let run = arm.run(block.seeds[0], &[])?;
            let place = || format!("{}: arm `{}`", block.block.name, arm.arm.name);
            let data = grid.data(&run).with_context(place)?;
            // On the CPU: a finished table needs no GPU, whatever trained it.
            let checked = with_job(&run.file, &data, &Compute::CPU, |job| Ok(job.check()?));
            checked.with_context(place)?;
        }
    }
    Ok(())
}

fn dry_run(
    plan: &Plan<'_>,
    store: &Store,
    grid: &Grid<'_>,
    args: &Args,
    out: &mut dyn Write,
) -> Result<u8> {
    let mut runs = Phase::Tuning.runs(plan, store, args.shard)?;
    // What tuning will choose isn't known: as if it were what the arm is written with.
    for (setting, block) in plan.blocks() {
        let tuned = tuning::choose(setting, block, store)?;
        for arm in block.arms.iter().filter(|arm| arm.row == Row::Trained) {
            let chosen = tuned.get(&arm.arm.name).and_then(|t| t.settings());
            for &seed in &block.seeds {
                runs.push(arm.run(seed, chosen.unwrap_or(&[]))?);
            }
        }
    }
    let todo = grid.share(&runs);
    let estimate = estimate(&todo, grid)?;
    match args.output.json {
        true => write_json(&estimate, out)?,
        false => estimate.print(out)?,
    }
    Ok(0)
}

/// The committed results: those named, or this checkout's where it has any.
fn committed(args: &Args) -> Option<PathBuf> {
    let given = args.results.clone();
    let ours = Path::new("experiments/results/rehearsal");
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join(ours);
    given.or_else(|| {
        [ours.to_path_buf(), checkout]
            .into_iter()
            .find(|p| p.is_dir())
    })
}

fn finish(
    name: &str,
    table: &TableFile,
    plan: &Plan<'_>,
    store: &Store,
    failures: Vec<Failure>,
    args: &Args,
    out: &mut dyn Write,
) -> Result<u8> {
    let mut blocks = Vec::new();
    for (setting, block) in plan.blocks() {
        blocks.push(CollectedBlock::read(setting, block, store)?);
    }
    if blocks.iter().all(CollectedBlock::is_empty) {
        bail!(
            "no run of this table is finished{}",
            match failures.first() {
                Some(first) => format!("; the first failed with: {}", first.error),
                None => "; other machines have the runs of its arms".into(),
            }
        );
    }
    let cases = table.costs.as_deref().unwrap_or_default();
    let cases = match args.scale {
        Scale::Smoke => &cases[..cases.len().min(1)],
        Scale::Rehearsal | Scale::Full => cases,
    };
    let collected = Collected {
        table,
        scale: args.scale,
        blocks,
        costs: cost::costs(cases, store)?,
        failures,
    };
    let report = report::report(&collected)?;
    if let Some(folder) = &args.collect {
        for run in Phase::Tuning.runs(plan, store, None)? {
            store.collect(&run.key, folder)?;
        }
        for key in collected.keys()? {
            store.collect(&key, folder)?;
        }
    }
    let default = PathBuf::from("reports").join(format!("{name}-{}", args.scale.name()));
    let folder = args.out.clone().unwrap_or(default);
    let stem = match args.scale {
        Scale::Full => name.to_string(),
        scale => format!("{name}-{}", scale.name().to_uppercase()),
    };
    report::print(&report, &folder, &stem, &args.output, out)?;
    Ok(match collected.failures.is_empty() {
        true => 0,
        false => FAILED,
    })
}
