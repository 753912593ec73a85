//! `mr2 report`: tables and plots from run folders.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::report::comparison::compare;
use crate::report::document::Block;
use crate::report::{run_folders, tables, terminal};

/// Tables and plots from run folders, as Markdown, LaTeX, HTML and JSON.
///
/// Runs are grouped by the `name` in their run file (a seed at its end is not part of it) and
/// compared, seed by seed, with those of plain cross-entropy (ERM). Easy, medium and hard thirds,
/// worst class and worst decile are chosen for each seed on the other ERM seeds, so that no method
/// gains from the bad luck of the run that chose them.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Example: mr2 report runs/quickstart --out runs/quickstart/report\n\
                  Open report.html in a browser (one file, no scripts); report.tex has the tables for a paper; \
                  report.json has every number. Plots are in plots/ as SVG and PNG."
)]
pub struct Args {
    /// Run folders made by `mr2 train`, or folders that hold run folders.
    #[arg(required = true, value_name = "DIR")]
    runs: Vec<PathBuf>,
    /// Folder for the report; files of an earlier report there are replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Method to compare with and to choose the thirds on [default: the runs of plain cross-entropy].
    #[arg(long, value_name = "NAME")]
    reference: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When a run folder is missing, unfinished or invalid, when runs can't be compared, or when the
/// report can't be written; the message names the file.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let found = run_folders::find(&args.runs)?;
    for folder in &found.unfinished {
        tracing::warn!("{}: not finished, left out", folder.display());
    }
    let report = compare(&found, args.reference.as_deref())
        .context("these runs can't be put into one report")?;
    report.write(&args.out)?;
    let style = terminal::Style::of_stdout();
    let class_report = &report.data.class_report;
    writeln!(
        out,
        "{}",
        terminal::render_table(&tables::main_table(class_report), style)
    )?;
    if let Some(table) = tables::difference_table(class_report) {
        writeln!(out, "{}", terminal::render_table(&table, style))?;
    }
    for block in report
        .document
        .sections
        .iter()
        .flat_map(|section| &section.blocks)
    {
        if let Block::Claims { claims } = block {
            writeln!(out, "{}", terminal::render_claims(claims, style))?;
        }
    }
    let file = |name: &str| args.out.join(name).display().to_string();
    writeln!(
        out,
        "Report: {} (also .md, .tex, .json)",
        file("report.html")
    )?;
    writeln!(
        out,
        "Plots:  {} ({} as SVG and PNG)",
        file("plots"),
        report.plots.len()
    )?;
    Ok(())
}
