//! `mr2 tune`: hyperparameters chosen on validation images, stage by stage, with the budget in the file.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use mr2_metrics::{PerClass, Thirds, mean_sd, thirds};
use mr2_train::Outcome;
use serde::{Deserialize, Serialize};

use super::{Output, set_threads};
use crate::assemble::{data, data_root};
use crate::config::{RunFile, typed};
use crate::progress::Progress;
use crate::run::{start_for, train_into};
use crate::stop::{STOPPED, on_signals};

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    seeds: Vec<u64>,
    set: Vec<String>,
    stages: Vec<Stage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stage {
    name: String,
    base: PathBuf,
    score: Score,
    #[serde(default)]
    set: Vec<String>,
    arms: Vec<Arm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arm {
    name: String,
    set: Vec<String>,
}

/// What an arm is judged by, on validation images.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Score {
    /// Overall accuracy.
    Overall,
    /// Mean of overall accuracy and that of the hard third, chosen by the mean class accuracies of
    /// the winner of the last stage that was judged by overall accuracy.
    OverallAndHard,
}

/// What the results file holds.
#[derive(Serialize)]
struct Tuned {
    seeds: Vec<u64>,
    runs: usize,
    set: Vec<String>,
    stages: Vec<TunedStage>,
    chosen: Vec<String>,
}

#[derive(Serialize)]
struct TunedStage {
    name: String,
    score: Score,
    hard_classes: Option<Vec<String>>,
    arms: Vec<TunedArm>,
    winner: String,
}

#[derive(Serialize)]
struct TunedArm {
    name: String,
    set: Vec<String>,
    score: f64,
    overall: Vec<f64>,
    hard: Option<Vec<f64>>,
    class_accuracy: Vec<Vec<Option<f64>>>,
}

/// Runs the command; the number is the exit status.
///
/// # Errors
/// When the file can't be used or a run fails.
pub fn run(args: &Args, output: &Output, out: &mut dyn Write) -> Result<u8> {
    let plan = read(&args.file)?;
    set_threads(args.threads)?;
    let stop = on_signals()?;
    let runs = plan.seeds.len() * plan.stages.iter().map(|s| s.arms.len()).sum::<usize>();
    let mut progress = Progress::new(output.quiet, runs as u64);
    let mut done = 0;
    let mut reference: Option<(Thirds, Vec<String>)> = None;
    let mut tuned = Tuned {
        seeds: plan.seeds.clone(),
        runs,
        set: plan.set.clone(),
        stages: Vec::new(),
        chosen: Vec::new(),
    };
    for stage in &plan.stages {
        let base = args.file.with_file_name("").join(&stage.base);
        let mut arms = Vec::new();
        let mut classes = Vec::new();
        for arm in &stage.arms {
            let mut results = Vec::new();
            for seed in &plan.seeds {
                let mut overrides = [&plan.set[..], &stage.set, &tuned.chosen, &arm.set].concat();
                overrides.push(format!("training.seed={seed}"));
                let file = RunFile::read(&base, &overrides)?;
                let data = data(&file.config, &data_root(args.data_root.as_deref()))?;
                // The same settings in two stages are one run.
                let settings = mr2_nn::rng::stream(0, &file.to_toml()?);
                let folder = args.out.join(format!("{settings:016x}"));
                let remaining = (runs - done) as u64;
                progress.begin(
                    &format!("{}: {} seed {seed}", stage.name, arm.name),
                    remaining,
                );
                let start = start_for(&folder);
                let outcome = train_into(&file, &data, &folder, start, &stop, &mut |event| {
                    progress.show(event, remaining);
                })?;
                let (Outcome::Finished(result) | Outcome::AlreadyFinished(result)) = outcome else {
                    progress.finish();
                    return Ok(STOPPED);
                };
                done += 1;
                classes = result.class_names;
                results.push(result.validation.with_context(|| {
                    format!(
                        "{}: data.validation is none: there is nothing to choose by",
                        args.file.display()
                    )
                })?);
            }
            arms.push(judge(
                stage,
                arm,
                &results,
                reference.as_ref().map(|r| &r.0),
            )?);
        }
        let best = arms
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.score.total_cmp(&b.1.score).then(b.0.cmp(&a.0)))
            .map(|(index, _)| index)
            .with_context(|| format!("stage `{}` has no arms", stage.name))?;
        let hard_classes = match stage.score {
            Score::Overall => {
                let hard = mean_thirds(&arms[best])?;
                let names = hard.hard.iter().map(|&k| classes[k].clone()).collect();
                reference = Some((hard, names));
                None
            }
            Score::OverallAndHard => reference.as_ref().map(|r| r.1.clone()),
        };
        tuned.chosen.extend(arms[best].set.clone());
        let winner = arms[best].name.clone();
        tuned.stages.push(TunedStage {
            name: stage.name.clone(),
            score: stage.score,
            hard_classes,
            arms,
            winner,
        });
    }
    progress.finish();
    save(&tuned, &args.results)?;
    if output.json {
        serde_json::to_writer_pretty(&mut *out, &tuned)?;
        writeln!(out)?;
        return Ok(0);
    }
    print(&tuned, out)?;
    Ok(0)
}

fn read(path: &Path) -> Result<Plan> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the tuning file {name}"))?;
    let value: toml::Value =
        toml::from_str(&text).map_err(|e| anyhow!("{name}: not valid TOML: {e}"))?;
    let plan: Plan = typed(value).with_context(|| name.to_string())?;
    ensure!(!plan.seeds.is_empty(), "{name}: `seeds` is empty");
    if plan
        .stages
        .first()
        .is_none_or(|s| s.score != Score::Overall)
    {
        bail!("{name}: the first stage must be judged by `overall`; it chooses the hard classes");
    }
    Ok(plan)
}

fn judge(
    stage: &Stage,
    arm: &Arm,
    results: &[PerClass],
    split: Option<&Thirds>,
) -> Result<TunedArm> {
    let overall: Vec<f64> = results.iter().filter_map(PerClass::overall).collect();
    let hard: Option<Vec<f64>> = split.map(|split| {
        let hard = results
            .iter()
            .filter_map(|r| mr2_metrics::group_accuracy(&r.accuracies(), &split.hard));
        hard.collect()
    });
    let mean = |values: &[f64]| {
        mean_sd(values)
            .map(|m| m.mean)
            .with_context(|| format!("arm `{}`: accuracies", arm.name))
    };
    let score = match (stage.score, &hard) {
        (Score::OverallAndHard, Some(hard)) => (mean(&overall)? + mean(hard)?) / 2.0,
        _ => mean(&overall)?,
    };
    Ok(TunedArm {
        name: arm.name.clone(),
        set: arm.set.clone(),
        score,
        overall,
        hard,
        class_accuracy: results.iter().map(PerClass::accuracies).collect(),
    })
}

/// Thirds by the arm's class accuracies, averaged over its seeds.
fn mean_thirds(arm: &TunedArm) -> Result<Thirds> {
    let classes = arm.class_accuracy[0].len();
    let mean: Vec<Option<f64>> = (0..classes)
        .map(|k| {
            let of_seeds: Vec<f64> = arm.class_accuracy.iter().filter_map(|a| a[k]).collect();
            mean_sd(&of_seeds).ok().map(|m| m.mean)
        })
        .collect();
    thirds(&mean)?.context("thirds need at least 3 classes")
}

fn save(tuned: &Tuned, path: &Path) -> Result<()> {
    let mut text = serde_json::to_string_pretty(tuned)?;
    text.push('\n');
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn print(tuned: &Tuned, out: &mut dyn Write) -> Result<()> {
    let percent = |value: f64| format!("{:.2}", value * 100.0);
    let mean = |values: &[f64]| mean_sd(values).map_or("–".into(), |m| percent(m.mean));
    for stage in &tuned.stages {
        writeln!(out, "{}", stage.name)?;
        for arm in &stage.arms {
            let hard = arm
                .hard
                .as_deref()
                .map_or(String::new(), |h| format!("  hard {}", mean(h)));
            let mark = if arm.name == stage.winner {
                "  ← chosen"
            } else {
                ""
            };
            writeln!(
                out,
                "  {:40} score {}  overall {}{hard}{mark}",
                arm.name,
                percent(arm.score),
                mean(&arm.overall)
            )?;
        }
    }
    writeln!(out, "\nsettings chosen, on validation images only:")?;
    for item in &tuned.chosen {
        writeln!(out, "  {item}")?;
    }
    Ok(())
}
