//! `mr2 tune`: hyperparameters chosen on validation images, stage by stage, with the budget in the file.

mod choice;
mod plan;
mod results;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use mr2_metrics::PerClass;
use mr2_train::{Outcome, RunResult, StopFlag};

use super::{Output, set_threads, write_json};
use crate::assemble::{data, data_root};
use crate::config::{RunFile, Validation};
use crate::progress::Progress;
use crate::run::{start_for, train_into};
use crate::stop::{STOPPED, on_signals};
use choice::{hard_classes, judge, winner};
use plan::{Arm, Plan, Score, Stage};
use results::{Tuned, TunedStage};

/// Choose hyperparameters on validation images, stage by stage.
///
/// Each stage trains its arms over all seeds; the arm with the highest mean score wins, and its settings
/// stay in force in later stages. Test results are never read. Finished runs are reused.
#[derive(clap::Args)]
#[command(
    after_help = "Example: mr2 tune experiments/tune/quickstart.toml --out runs/tune --results tune.json"
)]
pub struct Args {
    /// The tuning file; experiments/tune/ has one.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Folder for the run folders.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// File for every arm's settings and scores (JSON).
    #[arg(long, value_name = "FILE")]
    results: PathBuf,
    /// Threads for the kernels; 0 for one per core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Folder with the data sets' descriptors [default: datasets].
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
}

/// Runs the command; the number is the exit status.
///
/// # Errors
/// When the file can't be used or a run fails.
pub fn run(args: &Args, output: &Output, out: &mut dyn Write) -> Result<u8> {
    let plan = Plan::read(&args.file)?;
    set_threads(args.threads)?;
    let mut runner = Runner {
        args,
        plan: &plan,
        stop: on_signals()?,
        progress: Progress::new(output.quiet, plan.runs() as u64),
        remaining: plan.runs() as u64,
    };
    let tuned = tune(&plan, &mut runner)?;
    runner.progress.finish();
    let Some(tuned) = tuned else {
        let note = "stopped and saved; the same command continues";
        runner.progress.note(note);
        return Ok(STOPPED);
    };
    tuned.save(&args.results)?;
    match output.json {
        true => write_json(&tuned, out)?,
        false => tuned.print(out)?,
    }
    Ok(0)
}

/// Stage by stage, each with the settings that those before have chosen; `None` when a signal stopped it.
fn tune(plan: &Plan, runner: &mut Runner<'_>) -> Result<Option<Tuned>> {
    let mut tuned = Tuned {
        seeds: plan.seeds.clone(),
        runs: plan.runs(),
        set: plan.set.clone(),
        stages: Vec::new(),
        chosen: Vec::new(),
    };
    let mut hard: Option<Vec<usize>> = None;
    for stage in &plan.stages {
        let mut arms = Vec::new();
        let mut class_names = Vec::new();
        for arm in &stage.arms {
            let Some(measured) = runner.train_arm(stage, arm, &tuned.chosen)? else {
                return Ok(None);
            };
            let per_seed = &measured.per_seed;
            arms.push(judge(arm, stage.score, per_seed, hard.as_deref())?);
            class_names = measured.class_names;
        }
        let best = winner(&arms).with_context(|| format!("stage `{}`: no arms", stage.name))?;
        let names = |hard: &Vec<usize>| hard.iter().map(|&k| class_names[k].clone()).collect();
        let hard_names = match stage.score {
            Score::Overall => {
                hard = Some(hard_classes(best)?);
                None
            }
            Score::OverallAndHard => hard.as_ref().map(names),
        };
        tuned.chosen.extend(best.set.clone());
        let winner = best.name.clone();
        tuned.stages.push(TunedStage {
            name: stage.name.clone(),
            score: stage.score,
            hard_classes: hard_names,
            arms,
            winner,
        });
    }
    Ok(Some(tuned))
}

/// Trains the arms, and counts what is left.
struct Runner<'a> {
    args: &'a Args,
    plan: &'a Plan,
    stop: StopFlag,
    progress: Progress,
    remaining: u64,
}

/// An arm's runs on validation images.
struct Measured {
    class_names: Vec<String>,
    per_seed: Vec<PerClass>,
}

impl Runner<'_> {
    /// Trains the arm with every seed; `None` when a signal stopped it.
    fn train_arm(
        &mut self,
        stage: &Stage,
        arm: &Arm,
        chosen: &[String],
    ) -> Result<Option<Measured>> {
        let mut class_names = Vec::new();
        let mut per_seed = Vec::new();
        for seed in &self.plan.seeds {
            let label = format!("{}: {} seed {seed}", stage.name, arm.name);
            let file = self.run_file(stage, arm, chosen, *seed)?;
            let Some(result) = self.train_one(&label, &file)? else {
                return Ok(None);
            };
            class_names = result.class_names;
            let validation = result.validation;
            per_seed.push(validation.with_context(|| format!("{label}: no validation result"))?);
        }
        Ok(Some(Measured {
            class_names,
            per_seed,
        }))
    }

    fn run_file(&self, stage: &Stage, arm: &Arm, chosen: &[String], seed: u64) -> Result<RunFile> {
        let mut overrides = [&self.plan.set[..], &stage.set, chosen, &arm.set].concat();
        overrides.push(format!("training.seed={seed}"));
        let base = self.args.file.with_file_name("").join(&stage.base);
        let file = RunFile::read(&base, &overrides).with_context(|| {
            let name = self.args.file.display();
            format!("{name}: stage `{}`, arm `{}`", stage.name, arm.name)
        })?;
        if file.config.data.validation == Validation::None {
            bail!(
                "{}: stage `{}`: data.validation is none, so there is nothing to choose by; hold images out, with \
                 'data.validation={{ kind = \"carved\", per_class = 200, seed = 0 }}' in `set`",
                self.args.file.display(),
                stage.name
            );
        }
        Ok(file)
    }

    /// Trains a run, or finds it done: the same settings in two stages are one run folder.
    fn train_one(&mut self, label: &str, file: &RunFile) -> Result<Option<RunResult>> {
        let data = data(&file.config, &data_root(self.args.data_root.as_deref()))?;
        let settings = mr2_nn::rng::stream(0, &file.to_toml()?);
        let folder = self.args.out.join(format!("{settings:016x}"));
        let (progress, remaining) = (&mut self.progress, self.remaining);
        progress.begin(label, remaining);
        let start = start_for(&folder);
        let outcome = train_into(file, &data, &folder, start, &self.stop, &mut |event| {
            progress.show(event, remaining);
        })?;
        self.remaining -= 1;
        Ok(match outcome {
            Outcome::Finished(result) => Some(*result),
            Outcome::AlreadyFinished(result) => {
                progress.note(&format!("{label}: reused {}", folder.display()));
                Some(*result)
            }
            Outcome::Stopped { .. } => None,
        })
    }
}
