//! Our numbers beside the published ones.

use mr2_metrics::{ClassReport, Metric};

use super::accuracy::summary;
use super::collected::CollectedBlock;
use crate::grid::plan::Row;
use crate::grid::table_file::PublishedCell;
use crate::report::document::{Column, Table};
use crate::report::published::Published;
use crate::report::{Cell, Scale};

const PUBLISHED: [Metric; 4] = [Metric::Overall, Metric::Easy, Metric::Medium, Metric::Hard];

/// Ours beside the published cells; only at full scale and in the paper's setting.
pub fn published_table(block: &CollectedBlock<'_>, report: &ClassReport) -> Option<Table> {
    let setting = block.setting.published.as_ref()?;
    let mut columns = vec![Column::words("method")];
    for metric in PUBLISHED {
        columns.push(Column::numbers(metric.title()));
        columns.push(Column::words("published"));
    }
    let mut table = Table::new(
        format!("Beside the published numbers: {setting}, in %"),
        columns,
    );
    for arm in &block.arms {
        let row = report.row(&arm.arm.name);
        let mut cells = vec![Cell::text(&arm.arm.name)];
        for metric in PUBLISHED {
            let ours = row.and_then(|row| summary(row, metric));
            cells.push(match arm.row {
                Row::Unknown => Cell::text("unknown"),
                Row::SameAsReference => Cell::text(format!("= {}", report.reference)),
                Row::Trained => Cell::measure(ours, Scale::Percent),
            });
            let published = arm.arm.published.iter().flatten();
            let cell = published
                .into_iter()
                .find(|cell| cell.setting == *setting && cell.metric == metric);
            cells.push(published_cell(cell));
        }
        table.rows.push(cells);
    }
    table.notes.push(
        "Published: from the paper, or secondary where it was read in a text about the paper. The paper's thirds are those of \
         one ERM run; ours are cross-fitted."
            .into(),
    );
    Some(table)
}

/// The cell that a table's file gives, or "unknown".
fn published_cell(cell: Option<&PublishedCell>) -> Cell {
    let published = match cell {
        None => Published::Unknown {},
        Some(cell) => {
            let source = cell.source;
            let scale = Scale::Percent;
            match (cell.percent, &cell.words) {
                (Some(percent), None) => Published::Number {
                    value: percent / 100.0,
                    source,
                    scale,
                },
                (Some(percent), Some(_)) => Published::Approximate {
                    value: percent / 100.0,
                    source,
                    scale,
                },
                (None, words) => Published::Words {
                    text: words.clone().unwrap_or_default(),
                    source,
                },
            }
        }
    };
    Cell::Published { published }
}
