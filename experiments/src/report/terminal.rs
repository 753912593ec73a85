//! A table for a terminal: aligned columns, split into blocks where the window is narrow.

use std::io::IsTerminal;

use unicode_width::UnicodeWidthStr;

use super::document::{Align, Claim, Table, Tone};
use super::escape::terminal as escape;

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether colours may be used; the caller honours NO_COLOR.
    pub colour: bool,
    /// Columns of the window; `None` for a file or a pipe, where lines are never broken.
    pub width: Option<usize>,
}

const GAP: &str = "  ";

/// The table with its caption above and its notes below.
pub fn render_table(table: &Table, style: Style) -> String {
    render_tables(std::slice::from_ref(table), style)
}

/// Tables with the notes of all of them below the last, each note once.
pub fn render_tables(tables: &[Table], style: Style) -> String {
    let bodies: Vec<String> = tables.iter().map(|table| body(table, style)).collect();
    let mut text = bodies.join("\n");
    let mut notes: Vec<&String> = Vec::new();
    for note in tables.iter().flat_map(|table| &table.notes) {
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    if tables.len() > 1 && !notes.is_empty() {
        text.push('\n');
    }
    for note in notes {
        for line in wrap(&escape(note), style.width) {
            text.push_str(&style.dim(&line));
            text.push('\n');
        }
    }
    text
}

/// Caption, heads and rows.
fn body(table: &Table, style: Style) -> String {
    let cells: Vec<Vec<String>> = table
        .rows
        .iter()
        .map(|row| row.iter().map(|cell| escape(&cell.plain())).collect())
        .collect();
    let heads: Vec<String> = table.columns.iter().map(|c| escape(&c.title)).collect();
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| {
            let body = cells.iter().map(|row| row[column].width());
            body.chain([heads[column].width()]).max().unwrap_or(0)
        })
        .collect();
    let mut text = style.strong(&escape(&table.title));
    text.push('\n');
    for block in blocks(&widths, style.width) {
        let line = |row: &[String]| {
            let padded: Vec<String> = block
                .iter()
                .map(|&c| pad(&row[c], widths[c], table.columns[c].align))
                .collect();
            padded.join(GAP).trim_end().to_string()
        };
        let rule: usize = block.iter().map(|&c| widths[c] + GAP.len()).sum::<usize>() - GAP.len();
        text.push_str(&format!(
            "{}\n{}\n",
            style.strong(&line(&heads)),
            style.dim(&"─".repeat(rule))
        ));
        for row in &cells {
            text.push_str(&line(row));
            text.push('\n');
        }
    }
    text
}

/// One line for each claim.
pub fn render_claims(claims: &[Claim], style: Style) -> String {
    let mut text = String::new();
    for claim in claims {
        let colour = match claim.tone {
            Tone::For => "32",
            Tone::Against => "31",
            Tone::Open => "33",
        };
        let verdict = style.paint(colour, &escape(&claim.verdict));
        text.push_str(&format!(
            "{}: {} → {verdict}\n",
            escape(&claim.claim),
            escape(&claim.numbers())
        ));
    }
    text
}

impl Style {
    /// What standard output can show: its width, and colours unless NO_COLOR forbids them.
    pub fn of_stdout() -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let size = terminal_size::terminal_size().filter(|_| is_terminal);
        Self {
            colour: crate::commands::colours(is_terminal),
            width: size.map(|(width, _)| usize::from(width.0)),
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_string()
        }
    }

    fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }
}

/// Columns of each block; the first column names the row and stands in every block.
fn blocks(widths: &[usize], limit: Option<usize>) -> Vec<Vec<usize>> {
    let limit = limit.unwrap_or(usize::MAX);
    let first = widths.first().copied().unwrap_or(0);
    let mut blocks = vec![vec![0]];
    let mut used = first;
    for (column, width) in widths.iter().enumerate().skip(1) {
        let fits = used.saturating_add(GAP.len() + width) <= limit;
        if let Some(block) = blocks.last_mut().filter(|block| fits || block.len() == 1) {
            block.push(column);
            used += GAP.len() + width;
        } else {
            blocks.push(vec![0, column]);
            used = first + GAP.len() + width;
        }
    }
    blocks
}

fn pad(text: &str, width: usize, align: Align) -> String {
    let space = " ".repeat(width.saturating_sub(text.width()));
    match align {
        Align::Left => format!("{text}{space}"),
        Align::Right => format!("{space}{text}"),
    }
}

fn wrap(text: &str, limit: Option<usize>) -> Vec<String> {
    let limit = limit.unwrap_or(100);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.width() + 1 + word.width() <= limit => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}
