//! The report of several methods: runs in, tables, verdicts and plots out.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use mr2_metrics::{ClassReport, MethodRuns, PremiseTest, ReportConfig, SeedRun};
use serde::Serialize;

use super::document::{Block, Document, Section, Table};
use super::files::Report;
use super::premise::{self, Margins};
use super::run_folders::{FinishedRun, Found};
use super::settings::{self, Setting};
use super::{sections, tables};

/// The numbers behind the report, for `report.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Names of the classes.
    pub class_names: Vec<String>,
    /// The class-wise table.
    pub class_report: ClassReport,
    /// Whether harder classes have the larger m + v in the reference runs.
    pub premise: PremiseTest,
    /// Which classes get the larger margin, for each method with a margin for each class.
    pub margins: Vec<Margins>,
    /// Where the methods' run files differ; values in the order of the table's rows.
    pub settings: Vec<Setting>,
    /// The runs that went in.
    pub runs: Vec<RunEntry>,
}

/// A run by its folder.
#[derive(Clone, Debug, Serialize)]
pub struct RunEntry {
    /// The folder.
    pub folder: String,
    /// Its method.
    pub method: String,
    /// Its seed.
    pub seed: u64,
    /// Seconds it took in all.
    pub total_seconds: f64,
    /// Versions it was trained with.
    pub versions: BTreeMap<String, String>,
}

/// The runs of one name.
pub(super) struct Method<'a> {
    pub(super) name: &'a str,
    pub(super) runs: Vec<&'a FinishedRun>,
}

/// Compares the methods found with `reference`, or with plain cross-entropy.
///
/// # Errors
/// No run, no such reference, or runs that can't stand in one table.
pub fn compare(found: &Found, reference: Option<&str>) -> Result<Report<Comparison>> {
    let methods = group(&found.runs, reference)?;
    let names = &methods[0].runs[0].result.class_names;
    let method_runs = methods
        .iter()
        .map(|method| runs_of(method, names.len()))
        .collect::<Result<Vec<_>>>()?;
    let (base, others) = method_runs.split_first().context("no method")?;
    let report = ClassReport::new(base, others, names.len(), &ReportConfig::standard())?;
    let premise = premise::of_reference(&report, &methods[0])?;
    let margins = premise::margins(&report, &methods)?;
    let run_files: Vec<_> = methods.iter().map(|m| &m.runs[0].settings).collect();
    let settings = settings::differing(&run_files);
    let mut plots = BTreeMap::new();
    let sections = vec![
        accuracy_section(&report, names),
        verdict_section(&report, &premise, &margins),
        sections::classes(&methods, &report, names, &mut plots),
        sections::mistakes(&methods, names, &mut plots)?,
        sections::training(&methods, names, &report, &mut plots),
        sections::runs(found, &report, &settings),
    ];
    let document = Document {
        title: format!(
            "Class-wise report: {}",
            methods[0].runs[0].setting("data.dataset")
        ),
        summary: summary(&methods, &report, &settings, found),
        sections: sections
            .into_iter()
            .filter(|s| !s.blocks.is_empty())
            .collect(),
    };
    let data = Comparison {
        class_names: names.clone(),
        class_report: report,
        premise,
        margins,
        settings,
        runs: found.runs.iter().map(entry).collect(),
    };
    Ok(Report {
        document,
        data,
        plots,
    })
}

/// The methods in the order found, the reference first.
fn group<'a>(runs: &'a [FinishedRun], reference: Option<&str>) -> Result<Vec<Method<'a>>> {
    let mut methods: Vec<Method<'a>> = Vec::new();
    for run in runs {
        match methods.iter_mut().find(|m| m.name == run.method) {
            Some(method) => method.runs.push(run),
            None => methods.push(Method {
                name: &run.method,
                runs: vec![run],
            }),
        }
    }
    let names = || {
        methods
            .iter()
            .map(|m| format!("`{}`", m.name))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let position = match reference {
        Some(name) => methods.iter().position(|m| m.name == name),
        None => methods
            .iter()
            .position(|m| m.runs.iter().all(|r| r.is_erm())),
    };
    let Some(position) = position else {
        match reference {
            _ if methods.is_empty() => bail!("no finished run in the folders given"),
            Some(name) => bail!("no run is named `{name}`; there are {}", names()),
            None => bail!(
                "none of the runs is plain cross-entropy (ERM), which the others are compared with; add its run \
                 folders, or choose the reference with --reference NAME; there are {}",
                names()
            ),
        }
    };
    let first = methods.remove(position);
    methods.insert(0, first);
    Ok(methods)
}

fn runs_of<'a>(method: &Method<'a>, classes: usize) -> Result<MethodRuns<'a>> {
    let run = |run: &&'a FinishedRun| {
        let (seed, images) = (run.result.seed, &run.predictions);
        let counted = SeedRun::new(seed, &images.labels, &images.predictions, classes);
        Ok(SeedRun {
            top5: run.result.test.top5,
            ece: Some(run.result.test.ece),
            ..counted.with_context(|| format!("{}, seed {seed}", method.name))?
        })
    };
    Ok(MethodRuns {
        name: method.name.to_string(),
        runs: method.runs.iter().map(run).collect::<Result<_>>()?,
    })
}

fn summary(
    methods: &[Method<'_>],
    report: &ClassReport,
    settings: &[Setting],
    found: &Found,
) -> Vec<String> {
    let images: u64 = report.class_counts.iter().sum();
    let backbones: std::collections::BTreeSet<String> = found
        .runs
        .iter()
        .map(|r| r.setting("model.backbone"))
        .collect();
    let list = |items: Vec<String>| items.join(", ");
    let described = methods.iter().map(|m| {
        let mut seeds: Vec<u64> = m.runs.iter().map(|r| r.result.seed).collect();
        seeds.sort_unstable();
        let label = if seeds.len() == 1 { "seed" } else { "seeds" };
        format!(
            "{} ({label} {})",
            m.name,
            list(seeds.iter().map(u64::to_string).collect())
        )
    });
    let mut lines = vec![
        format!(
            "{} classes, {images} test images; backbone {}.",
            report.classes,
            list(backbones.into_iter().collect())
        ),
        format!("Methods: {}.", list(described.collect())),
    ];
    lines.extend(settings::beside_the_objective(settings));
    let versions: std::collections::BTreeSet<String> = found
        .runs
        .iter()
        .map(|r| {
            list(
                r.result
                    .versions
                    .iter()
                    .map(|(k, v)| format!("{k} {v}"))
                    .collect(),
            )
        })
        .collect();
    match versions.len() {
        0 | 1 => lines.extend(versions.into_iter().map(|v| format!("Trained with {v}."))),
        _ => lines.push(format!(
            "The runs were trained by different versions: {}.",
            versions.into_iter().collect::<Vec<_>>().join("; ")
        )),
    }
    if !found.unfinished.is_empty() {
        let folders = found
            .unfinished
            .iter()
            .map(|p| p.display().to_string())
            .collect();
        lines.push(format!("Left out, not finished: {}.", list(folders)));
    }
    lines
}

fn accuracy_section(report: &ClassReport, names: &[String]) -> Section {
    let mut main = tables::main_table(report);
    main.notes.extend(tables::members(report, names));
    let mut blocks = vec![Block::Table(main)];
    blocks.extend(tables::difference_table(report).map(Block::Table));
    blocks.extend(corrected_table(report).map(Block::Table));
    blocks.push(Block::Table(tables::further_table(report)));
    blocks.extend(tables::image_table(report).map(Block::Table));
    Section {
        title: "Accuracy".into(),
        blocks,
    }
}

/// Differences with p corrected for the number of methods; one method leaves nothing to correct for.
fn corrected_table(report: &ClassReport) -> Option<Table> {
    let several = report.rows.len() > 2;
    several.then(|| tables::holm_table(report)).flatten()
}

fn verdict_section(report: &ClassReport, premise: &PremiseTest, margins: &[Margins]) -> Section {
    let mut claims = premise::claims(&report.reference, premise, margins);
    let corrected = match corrected_table(report).is_some() {
        true => "the intervals are not corrected for their number, the p printed beside them is",
        false => "the intervals are not corrected for their number",
    };
    claims.extend(super::claims::claims(report));
    Section {
        title: "What the numbers say".into(),
        blocks: vec![
            Block::Claims { claims },
            Block::text(format!(
                "ρ is Spearman's rank correlation over classes, p its two-sided permutation p; held or reversed means p ≤ {}. \
                 A method is better or worse where its interval over seeds excludes 0, and undecided where it has none; {corrected}.",
                mr2_metrics::PREMISE_LEVEL
            )),
        ],
    }
}

fn entry(run: &FinishedRun) -> RunEntry {
    RunEntry {
        folder: run.folder.display().to_string(),
        method: run.method.clone(),
        seed: run.result.seed,
        total_seconds: run.result.timings.total_seconds,
        versions: run.result.versions.clone(),
    }
}
