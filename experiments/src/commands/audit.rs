//! `mr2 audit`: the class-wise report of anyone's predictions.

mod class_names;
mod class_rows;
mod csv_file;
mod csv_header;
mod measures;
mod npz_file;
mod predictions;
mod sections;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

pub use class_rows::{ClassRow, TakenFor};
pub use measures::{Measure, Measures, Mistake};
pub use predictions::{Audited, ScoreKind, Scores, from_run};
pub use sections::{report, shortened};

use super::{Output, write_json};
use crate::report::document::Block;
use crate::report::files::{FORMAT_VERSION, Report};
use crate::report::terminal;

/// A file to try the command with.
const EXAMPLE: &str = "\
label,prediction,id
cat,cat,img_001
cat,dog,img_002
cat,cat,img_003
cat,dog,img_004
dog,dog,img_005
dog,dog,img_006
dog,cat,img_007
dog,dog,img_008
horse,horse,img_009
horse,horse,img_010
horse,horse,img_011
horse,horse,img_012
";

/// The class-wise report of predictions from any program: which classes does it fail on?
///
/// Prints overall accuracy, mean per-class recall, easy/medium/hard thirds, the worst class by name,
/// the worst tenth, calibration and top-5 where scores are given, and the most frequent mistakes, with
/// intervals from a seeded bootstrap over images. Nothing is trained and no image is read.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
FILE is one of
  .csv or .tsv  a header, then a line per image: `label,prediction[,id]`,
                or `label,<one score column per class>[,id]` with the classes as column names.
                Labels and predictions are class names or indices from 0.
  .npz          NumPy arrays `labels` and `predictions`, one class index per image,
                or `labels` and `logits`, one row per image and one column per class
                (both predictions and logits only where they agree)
  a run folder of `mr2 train`, or its predictions.safetensors or predictions.csv

Scores, called logits in an .npz, may be logits or probabilities. Where all lie in [0, 1] and those of each
image sum to 1 within 2 %, they are taken as probabilities and divided by their sum; where any lies outside,
as logits. Otherwise say what they are with --scores.

--json prints an object. Accuracies and shares are fractions of 1, classes are indices into class_names,
intervals are {low, high} at 95 %, and what isn't known, such as the accuracy of a class without images, is null:
  format_version, source, images, class_names
  measures       by name (overall, mean_recall, easy, medium, hard, gap, worst_class, worst_decile, cvar,
                 macro_f1, and with scores top5, ece): name in words, value, interval
  thirds         easy, medium, hard: the classes of each
  worst_class, worst_decile, chosen_on
                 chosen_on is same_run_optimistic: thirds and worst classes are chosen on these predictions
  classes        worst first: class, name, images, correct, accuracy, interval, wrongly_predicted,
                 most_taken_for (class, name, images)
  mistakes       most frequent first: label, label_name, prediction, prediction_name, images, share, interval
  scores         what they were taken as: logits or probabilities
  calibration    with scores: ece, bins (count, confidence, accuracy)
  bootstrap      resamples, level, seed of the intervals of measures

Example:
  mr2 audit --example > predictions.csv
  mr2 audit --predictions predictions.csv --out audit")]
pub struct Args {
    /// The predictions.
    #[arg(long, value_name = "FILE", required_unless_present = "example")]
    predictions: Option<PathBuf>,
    /// Write the whole report there: report.html, .md, .tex, .json and plots.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print a small CSV file to try the command with.
    #[arg(long)]
    example: bool,
    /// Names of the classes in the order of their indices, or @FILE with one name a line.
    #[arg(long, num_args = 1.., value_name = "NAME")]
    classes: Vec<String>,
    /// What the scores of the file are.
    #[arg(long, value_enum, default_value_t = ScoreKind::Auto)]
    scores: ScoreKind,
}

/// Runs the command.
///
/// # Errors
/// When the predictions can't be read or the report can't be written; the message names file, line
/// and column.
pub fn run(args: &Args, output: &Output, out: &mut dyn Write) -> Result<()> {
    if args.example {
        write!(out, "{EXAMPLE}")?;
        return Ok(());
    }
    let path = args
        .predictions
        .as_deref()
        .context("name a file with --predictions FILE")?;
    let classes = class_names::given(&args.classes)?;
    let audited = predictions::read(path, classes.as_deref(), args.scores)?;
    let report = sections::report(&audited)?;
    if let Some(folder) = &args.out {
        report.write(folder)?;
    }
    if output.json {
        return print_json(&report.data, out);
    }
    print(&report, "--out DIR writes all of them", out)?;
    if let Some(folder) = &args.out {
        writeln!(
            out,
            "\nReport: {} (also .md, .tex, .json; plots in plots/)",
            folder.join("report.html").display()
        )?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Versioned<'a> {
    format_version: u32,
    #[serde(flatten)]
    measures: &'a Measures,
}

/// Prints the numbers as JSON, with the version of their format.
///
/// # Errors
/// When it can't be written.
pub fn print_json(measures: &Measures, out: &mut dyn Write) -> Result<()> {
    let versioned = Versioned {
        format_version: FORMAT_VERSION,
        measures,
    };
    write_json(&versioned, out)
}

/// Prints the report's tables; a note in those that are shortened says what shows all rows.
///
/// # Errors
/// When it can't be written.
pub fn print(report: &Report<Measures>, all_rows: &str, out: &mut dyn Write) -> Result<()> {
    let style = terminal::Style::of_stdout();
    writeln!(out, "{}", report.document.title)?;
    for line in &report.document.summary {
        writeln!(out, "{line}")?;
    }
    for block in report
        .document
        .sections
        .iter()
        .flat_map(|section| &section.blocks)
    {
        if let Block::Table(table) = block {
            write!(
                out,
                "\n{}",
                terminal::render_table(&sections::shortened(table, all_rows), style)
            )?;
        }
    }
    Ok(())
}
