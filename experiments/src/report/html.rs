//! A report as one HTML file: style and plots inside, no scripts, light and dark, for any width.

use std::collections::BTreeMap;

use super::cell::Cell;
use super::document::{Align, Block, Claim, Column, Document, Figure, Table, Tone};
use super::escape::html as escape;

/// Tables longer than this are folded.
const OPEN_ROWS: usize = 30;

const STYLE: &str = include_str!("../../assets/report.css");

/// The whole report; `plots` holds the SVG of each figure by its name.
pub fn render(document: &Document, plots: &BTreeMap<String, String>) -> String {
    let title = escape(&document.title);
    // The policy forbids scripts and every request, whatever a name might contain.
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <div class=\"summary\">\n"
    );
    for paragraph in &document.summary {
        text.push_str(&format!("<p>{}</p>\n", escape(paragraph)));
    }
    text.push_str("</div>\n<nav>\n");
    for (number, section) in document.sections.iter().enumerate() {
        text.push_str(&format!(
            "<a href=\"#s{number}\">{}</a>\n",
            escape(&section.title)
        ));
    }
    text.push_str("</nav>\n");
    for (number, section) in document.sections.iter().enumerate() {
        text.push_str(&format!(
            "<h2 id=\"s{number}\">{}</h2>\n",
            escape(&section.title)
        ));
        for block in &section.blocks {
            text.push_str(&match block {
                Block::Text { text } => format!("<p>{}</p>\n", escape(text)),
                Block::Table(table) => render_table(table),
                Block::Claims { claims } => render_claims(claims),
                Block::Figure(figure) => render_figure(figure, plots),
            });
        }
    }
    text.push_str("</body>\n</html>\n");
    text
}

/// A table with its notes, folded if it is long.
pub fn render_table(table: &Table) -> String {
    let caption = escape(&table.title);
    let folded = table.rows.len() > OPEN_ROWS;
    let mut text = String::from("<figure>\n");
    if folded {
        let rows = table.rows.len();
        text.push_str(&format!(
            "<details>\n<summary>{caption} ({rows} rows)</summary>\n"
        ));
    } else {
        // Outside of what scrolls, so that it stays whole on a narrow screen.
        text.push_str(&format!("<figcaption>{caption}</figcaption>\n"));
    }
    text.push_str("<div class=\"scroll\">\n<table>\n");
    text.push_str("<thead><tr>");
    for column in &table.columns {
        let class = if column.align == Align::Right {
            " class=\"right\""
        } else {
            ""
        };
        text.push_str(&format!(
            "<th scope=\"col\"{class}>{}</th>",
            escape(&column.title)
        ));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        text.push_str("<tr>");
        for (index, (cell, column)) in row.iter().zip(&table.columns).enumerate() {
            text.push_str(&render_cell(cell, column, index == 0));
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</tbody>\n</table>\n</div>\n");
    if folded {
        text.push_str("</details>\n");
    }
    if !table.notes.is_empty() {
        text.push_str("<ul class=\"notes\">\n");
        for note in &table.notes {
            text.push_str(&format!("<li>{}</li>\n", escape(note)));
        }
        text.push_str("</ul>\n");
    }
    text.push_str("</figure>\n");
    text
}

fn render_cell(cell: &Cell, column: &Column, names_row: bool) -> String {
    if names_row {
        let plain = cell.plain();
        let (full, class) = (escape(&plain), alignment(column));
        // A long name is cut by the style; the whole of it shows on hovering.
        return format!("<th scope=\"row\"{class} title=\"{full}\">{full}</th>");
    }
    // The main number in full size, what qualifies it (±, n, interval, source) smaller.
    let content = match cell.parts() {
        (main, Some(rest)) => format!("{} <small>{}</small>", escape(&main), escape(&rest)),
        (main, None) => escape(&main),
    };
    match cell.share().filter(|_| column.bars) {
        Some(share) => format!(
            "<td class=\"right bar\" style=\"--share:{:.1}%\">{content}</td>",
            share * 100.0
        ),
        None => format!("<td{}>{content}</td>", alignment(column)),
    }
}

fn alignment(column: &Column) -> &'static str {
    match column.align {
        Align::Right => " class=\"right\"",
        Align::Left => " class=\"words\"",
    }
}

fn render_claims(claims: &[Claim]) -> String {
    let mut text = String::from("<ul class=\"claims\">\n");
    for claim in claims {
        let tone = match claim.tone {
            Tone::For => "for",
            Tone::Against => "against",
            Tone::Open => "open",
        };
        text.push_str(&format!(
            "<li class=\"{tone}\"><strong>{}</strong>{}: {}.</li>\n",
            escape(&claim.verdict),
            escape(&claim.claim),
            escape(&claim.numbers()),
        ));
    }
    text.push_str("</ul>\n");
    text
}

fn render_figure(figure: &Figure, plots: &BTreeMap<String, String>) -> String {
    let caption = escape(&figure.caption);
    let Some(svg) = plots.get(&figure.name) else {
        return format!("<p>{caption} (the plot is missing)</p>\n");
    };
    // Read aloud by its caption instead of letter by letter.
    let svg = svg.replacen(
        "<svg ",
        &format!("<svg role=\"img\" aria-label=\"{caption}\" "),
        1,
    );
    format!(
        "<figure class=\"plot\">\n<div class=\"scroll\">\n{svg}</div>\n<figcaption>{caption}</figcaption>\n</figure>\n"
    )
}
