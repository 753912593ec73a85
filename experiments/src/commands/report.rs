//! `mr2 report`: tables and plots from run folders.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::Output;
use crate::report::comparison::compare;
use crate::report::document::Block;
use crate::report::{run_folders, settings, tables, terminal};

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
                  report.json has every number, and --json prints it. Plots are in plots/ as SVG and PNG."
)]
pub struct Args {
    /// Run folders made by `mr2 train`, or folders that hold run folders.
    #[arg(required = true, value_name = "DIR")]
    runs: Vec<PathBuf>,
    /// Folder for the report [default: print the tables only]. An earlier report there is replaced;
    /// other files stay.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Method to compare with and to choose the thirds on [default: the runs of plain cross-entropy].
    #[arg(long, value_name = "NAME")]
    reference: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// When a run folder is missing, unfinished or invalid, when runs can't be compared, or when the
/// report can't be written; the message names the file.
pub fn run(args: &Args, output: &Output, out: &mut dyn Write) -> Result<()> {
    let found = run_folders::find(&args.runs)?;
    for folder in &found.unfinished {
        tracing::warn!("{}: not finished, left out", folder.display());
    }
    let report = compare(&found, args.reference.as_deref())
        .context("these runs can't be put into one report")?;
    if let Some(folder) = &args.out {
        report.write(folder)?;
    }
    if output.json {
        out.write_all(&report.json()?)?;
        return Ok(());
    }
    let style = terminal::Style::of_stdout();
    let headline = tables::headline(&report.data.class_report);
    writeln!(out, "{}", terminal::render_tables(&headline, style))?;
    for block in report
        .document
        .sections
        .iter()
        .flat_map(|section| &section.blocks)
    {
        if let Block::Claims { claims } = block {
            write!(out, "{}", terminal::render_claims(claims, style))?;
        }
    }
    if let Some(warning) = settings::beside_the_objective(&report.data.settings) {
        writeln!(out, "{warning}")?;
    }
    if let Some(folder) = &args.out {
        writeln!(
            out,
            "\nReport: {} (also .md, .tex, .json)\nPlots:  {} ({} as SVG and PNG)",
            folder.join("report.html").display(),
            folder.join("plots").display(),
            report.plots.len()
        )?;
    }
    Ok(())
}
