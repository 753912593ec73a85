//! A report as GitHub's Markdown.

use super::document::{Align, Block, Claim, Document, Figure, Table};
use super::escape::markdown as escape;

/// Rows that a table shows; the rest is in `report.json` and `report.html`.
pub const MOST_ROWS: usize = 100;

/// The whole report; plots are linked as `plots/NAME.svg`.
pub fn render(document: &Document) -> String {
    let mut text = format!("# {}\n", escape(&document.title));
    for paragraph in &document.summary {
        text.push_str(&format!("\n{}\n", escape(paragraph)));
    }
    for section in &document.sections {
        text.push_str(&format!("\n## {}\n", escape(&section.title)));
        for block in &section.blocks {
            text.push('\n');
            text.push_str(&match block {
                Block::Text { text } => format!("{}\n", escape(text)),
                Block::Table(table) => render_table(table),
                Block::Claims { claims } => rows(&Claim::table(claims)),
                Block::Figure(Figure { name, caption }) => {
                    let caption = escape(caption);
                    format!("![{caption}](plots/{name}.svg)\n\n{caption}\n")
                }
            });
        }
    }
    text
}

/// A table with its caption above and its notes below.
pub fn render_table(table: &Table) -> String {
    let mut text = format!("**{}**\n\n", escape(&table.title));
    text.push_str(&rows(table));
    if table.rows.len() > MOST_ROWS {
        let more = table.rows.len() - MOST_ROWS;
        text.push_str(&format!(
            "\n{more} more rows are in report.html and report.json.\n"
        ));
    }
    for note in &table.notes {
        text.push_str(&format!("\n{}\n", escape(note)));
    }
    text
}

fn rows(table: &Table) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(table.columns.iter().map(|c| escape(&c.title)).collect());
    let rule = |align| match align {
        Align::Left => ":---".to_string(),
        Align::Right => "---:".to_string(),
    };
    text.push_str(&line(table.columns.iter().map(|c| rule(c.align)).collect()));
    for row in table.rows.iter().take(MOST_ROWS) {
        text.push_str(&line(
            row.iter()
                .map(|cell| cell_text(&cell.plain(), cell.is_numeric()))
                .collect(),
        ));
    }
    text
}

/// Brackets of an interval need no escape, since no parenthesis follows them.
fn cell_text(plain: &str, numeric: bool) -> String {
    if numeric {
        plain.replace('<', "&lt;")
    } else {
        escape(plain)
    }
}
