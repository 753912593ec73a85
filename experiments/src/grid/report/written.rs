//! Where a table's report goes, and what the terminal shows of it.

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use super::TableData;
use super::collected::Collected;
use crate::commands::Output;
use crate::grid::table_file::Scale;
use crate::report::document::Block;
use crate::report::files::Report;
use crate::report::terminal::{Style, render_claims, render_table};

/// The report's title: what isn't the paper's setting says so.
pub fn title(collected: &Collected<'_>) -> String {
    let title = &collected.table.title;
    let settings = || {
        let block = collected.blocks.first();
        block.map_or("", |block| block.setting.name.as_str())
    };
    match collected.scale {
        Scale::Smoke => format!("SMOKE ({}): {title}", settings()),
        Scale::Rehearsal => format!("REHEARSAL ({}): {title}", settings()),
        Scale::Full => title.clone(),
    }
}

/// Prints the tables and claims, then writes the report: what took hours isn't lost with a full disk.
///
/// # Errors
/// When it can't be printed or written.
pub fn print(
    report: &Report<TableData>,
    folder: &Path,
    stem: &str,
    output: &Output,
    out: &mut dyn Write,
) -> Result<()> {
    if output.json {
        out.write_all(&report.json()?)?;
        report.write_as(folder, stem)?;
        return Ok(());
    }
    let style = Style::of_stdout();
    writeln!(out, "{}\n", report.document.title)?;
    for section in &report.document.sections {
        writeln!(out, "{}", section.title)?;
        let tables = section.blocks.iter().filter_map(|block| match block {
            Block::Table(table) => Some(table),
            _ => None,
        });
        // Accuracies, published numbers where there are any, differences; the report has the rest.
        let most = if report.data.scale == Scale::Full {
            3
        } else {
            2
        };
        for table in tables.take(most) {
            writeln!(out, "{}", render_table(table, style))?;
        }
        for block in &section.blocks {
            if let Block::Claims { claims } = block {
                writeln!(out, "{}", render_claims(claims, style))?;
            }
        }
    }
    report.write_as(folder, stem)?;
    writeln!(
        out,
        "Report: {} (also .md, .tex, .json)",
        folder.join(format!("{stem}.html")).display()
    )?;
    Ok(())
}
