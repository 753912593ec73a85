//! `mr2 tune`: hyperparameters chosen on validation images, stage by stage, with the budget in the file.

mod choice;
mod plan;
mod results;

use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use mr2_metrics::PerClass;
use mr2_train::{Outcome, StopFlag};

use super::{Output, Threads, write_json};
use crate::assemble::{Data, data, data_root};
use crate::config::{DataConfig, RunFile, Validation};
use crate::device::{Compute, DeviceArg};
use crate::progress::Progress;
use crate::run::{start_for, train_into, with_job};
use crate::stop::{STOPPED, on_signals};
use choice::{compare, hard_classes, judge, winner};
use plan::{Arm, Plan, Score, Stage};
use results::{Tuned, TunedStage};

/// Choose hyperparameters on validation images, stage by stage.
///
/// Each stage trains its arms over all seeds and chooses one by its mean score: the highest, or the first unless
/// another's gain is decided, as the file says. The winner's settings stay in force in later stages. Test
/// results are never read. Finished runs are reused.
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
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    device: DeviceArg,
    /// Check everything, print the arms and the number of runs, and train nothing.
    #[arg(long)]
    dry_run: bool,
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
    args.threads.apply()?;
    let mut runner = Runner {
        args,
        plan: &plan,
        compute: match args.dry_run {
            true => Compute::CPU, // Nothing is trained.
            false => args.device.open()?,
        },
        data: None,
        stop: on_signals()?,
        progress: Progress::new(output.quiet, plan.runs() as u64),
        remaining: plan.runs() as u64,
    };
    runner.check()?;
    if args.dry_run {
        runner.progress.finish();
        dry_run(&plan, output, out)?;
        return Ok(0);
    }
    results::check_writable(&args.results)?;
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

fn dry_run(plan: &Plan, output: &Output, out: &mut dyn Write) -> Result<()> {
    if output.json {
        let Plan { seeds, set, stages } = plan;
        let runs = plan.runs();
        let plan =
            serde_json::json!({ "seeds": seeds, "runs": runs, "set": set, "stages": stages });
        return write_json(&plan, out);
    }
    for stage in &plan.stages {
        let names: Vec<&str> = stage.arms.iter().map(|arm| arm.name.as_str()).collect();
        writeln!(out, "{}: {}", stage.name, names.join(", "))?;
    }
    writeln!(out, "{} runs", plan.runs())?;
    Ok(())
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
        let files = runner.arm_files(stage, &tuned.chosen)?;
        for (arm, files) in stage.arms.iter().zip(files) {
            let mut per_seed = Vec::new();
            for (seed, file) in plan.seeds.iter().zip(files) {
                let label = format!("{}: {} seed {seed}", stage.name, arm.name);
                let Some(validated) = runner.train_one(&label, &file)? else {
                    return Ok(None);
                };
                class_names = validated.class_names;
                per_seed.push(validated.per_class);
            }
            arms.push(judge(arm, stage.score, &per_seed, hard.as_deref())?);
        }
        compare(&mut arms)?;
        let best = winner(&arms, stage.choose)
            .with_context(|| format!("stage `{}`: no arms", stage.name))?;
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
            choose: stage.choose,
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
    compute: Compute,
    /// The data opened last, and what was asked for.
    data: Option<(DataConfig, Rc<Data>)>,
    stop: StopFlag,
    progress: Progress,
    remaining: u64,
}

/// All that a choice may see of a run.
struct Validated {
    class_names: Vec<String>,
    per_class: PerClass,
}

impl Runner<'_> {
    /// Looks for what is wrong in any stage before the first one trains for hours. Which arms win isn't
    /// known yet: as if it were the first of each stage.
    fn check(&mut self) -> Result<()> {
        let mut chosen = Vec::new();
        for stage in &self.plan.stages {
            let files = self.arm_files(stage, &chosen)?;
            for (arm, files) in stage.arms.iter().zip(files) {
                // Seeds differ in nothing that can be wrong.
                let first = files.first().context("no seeds")?;
                let checked = self
                    .data(first)
                    .and_then(|data| with_job(first, &data, &Compute::CPU, |job| Ok(job.check()?)));
                checked.with_context(|| self.place(stage, arm))?;
            }
            chosen.extend(stage.arms.first().map_or(Vec::new(), |arm| arm.set.clone()));
        }
        Ok(())
    }

    /// The runs of each arm, one for each seed; no two arms have the same.
    fn arm_files(&self, stage: &Stage, chosen: &[String]) -> Result<Vec<Vec<RunFile>>> {
        let mut found: Vec<Vec<RunFile>> = Vec::new();
        for arm in &stage.arms {
            let seeds = self.plan.seeds.iter();
            let files: Vec<RunFile> = seeds
                .map(|seed| self.run_file(stage, arm, chosen, *seed))
                .collect::<Result<_>>()?;
            let same = |other: &Vec<RunFile>| {
                let mut seeds = other.iter().zip(&files);
                seeds.all(|(a, b)| a.config == b.config)
            };
            if let Some(other) = found.iter().position(same) {
                bail!(
                    "{}: the same run as arm `{}`; each arm must differ from the others",
                    self.place(stage, arm),
                    stage.arms[other].name
                );
            }
            found.push(files);
        }
        Ok(found)
    }

    fn run_file(&self, stage: &Stage, arm: &Arm, chosen: &[String], seed: u64) -> Result<RunFile> {
        let mut overrides = [&self.plan.set[..], chosen, &arm.set].concat();
        overrides.push(format!("training.seed={seed}"));
        let base = self.args.file.with_file_name("").join(&stage.base);
        let file = RunFile::read(&base, &overrides).with_context(|| self.place(stage, arm))?;
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

    /// What an error's message begins with.
    fn place(&self, stage: &Stage, arm: &Arm) -> String {
        let file = self.args.file.display();
        format!("{file}: stage `{}`, arm `{}`", stage.name, arm.name)
    }

    /// The data of a run; opened anew only where another is asked for.
    fn data(&mut self, file: &RunFile) -> Result<Rc<Data>> {
        let asked = &file.config.data;
        if let Some((config, there)) = &self.data
            && config.same_images(asked)
        {
            return Ok(there.clone());
        }
        let root = data_root(self.args.data_root.as_deref());
        let opened = Rc::new(data(&file.config, &root)?);
        self.data = Some((asked.clone(), opened.clone()));
        Ok(opened)
    }

    /// Trains a run, or finds it done: the same settings in two stages are one run folder. `None` when a
    /// signal stopped it.
    fn train_one(&mut self, label: &str, file: &RunFile) -> Result<Option<Validated>> {
        let settings = mr2_nn::rng::stream(0, &file.to_toml()?);
        let folder = self.args.out.join(format!("{settings:016x}"));
        let data = self.data(file)?;
        let (progress, remaining) = (&mut self.progress, self.remaining);
        progress.begin(label, remaining);
        let start = start_for(&folder);
        let outcome = train_into(
            file,
            &data,
            &self.compute,
            &folder,
            start,
            &self.stop,
            &mut |event| progress.show(event, remaining),
        )?;
        self.remaining -= 1;
        let result = match outcome {
            Outcome::Finished(result) => result,
            Outcome::AlreadyFinished(result) => {
                progress.note(&format!("{label}: reused {}", folder.display()));
                result
            }
            Outcome::Stopped { .. } => return Ok(None),
        };
        let per_class = result.validation;
        Ok(Some(Validated {
            class_names: result.class_names,
            per_class: per_class.with_context(|| format!("{label}: no validation result"))?,
        }))
    }
}
