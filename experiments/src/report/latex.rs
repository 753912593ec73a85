//! A report as a LaTeX document whose tables can be copied into a paper.

use super::cell::Cell;
use super::document::{Align, Block, Claim, Document, Figure, Table};
use super::escape::latex as escape;

/// Tables longer than this break over pages.
const PAGE_ROWS: usize = 35;

const PREAMBLE: &str = "\
% Compiles with pdflatex; names in scripts other than Latin need xelatex or lualatex and a font.
\\documentclass{article}
\\usepackage[margin=2cm]{geometry}
\\usepackage[utf8]{inputenc}
\\usepackage[T1]{fontenc}
\\usepackage{amssymb,booktabs,graphicx,longtable}
";

/// The whole report; plots are included as `plots/NAME.png`.
pub fn render(document: &Document) -> String {
    let mut text = PREAMBLE.to_string();
    text.push_str(&format!(
        "\\title{{{}}}\n\\date{{}}\n",
        escape(&document.title)
    ));
    text.push_str("\\begin{document}\n\\maketitle\n");
    for paragraph in &document.summary {
        text.push_str(&format!("\n{}\n", escape(paragraph)));
    }
    for section in &document.sections {
        text.push_str(&format!("\n\\section{{{}}}\n", escape(&section.title)));
        for block in &section.blocks {
            text.push('\n');
            text.push_str(&match block {
                Block::Text { text } => format!("{}\n", escape(text)),
                Block::Table(table) => render_table(table),
                Block::Claims { claims } => render_claims(claims),
                Block::Figure(figure) => render_figure(figure),
            });
        }
    }
    text.push_str("\n\\end{document}\n");
    text
}

/// A table with its caption above and its notes below.
pub fn render_table(table: &Table) -> String {
    let columns: String = (0..table.columns.len()).map(|c| column(table, c)).collect();
    let head = line(table.columns.iter().map(|c| escape(&c.title)).collect());
    let body: String = table
        .rows
        .iter()
        .map(|row| line(row.iter().map(cell_text).collect()))
        .collect();
    let notes: String = table
        .notes
        .iter()
        .map(|n| format!("\\par\\footnotesize {}\n", escape(n)))
        .collect();
    let caption = escape(&table.title);
    if table.rows.len() > PAGE_ROWS {
        return format!(
            "{{\\small\n\\begin{{longtable}}{{{columns}}}\n\\caption{{{caption}}}\\\\\n\\toprule\n\
             {head}\\midrule\n\\endfirsthead\n\\toprule\n{head}\\midrule\n\\endhead\n\
             \\bottomrule\n\\endfoot\n{body}\\end{{longtable}}\n{notes}}}\n"
        );
    }
    format!(
        "\\begin{{table}}[htbp]\n\\centering\n\\caption{{{caption}}}\n{}\n\\toprule\n{head}\\midrule\n\
         {body}\\bottomrule\n\\end{{tabular}}{}\n{notes}\\end{{table}}\n",
        // Many columns of `85.3 ± 0.4 (3)` are wider than a page.
        if table.columns.len() > 5 {
            format!("\\resizebox{{\\linewidth}}{{!}}{{%\n\\begin{{tabular}}{{{columns}}}")
        } else {
            format!("\\begin{{tabular}}{{{columns}}}")
        },
        if table.columns.len() > 5 { "}" } else { "" },
    )
}

/// Words longer than this are broken into lines.
const LINE_CHARACTERS: usize = 50;

fn column(table: &Table, index: usize) -> &'static str {
    let long = |row: &Vec<Cell>| row[index].plain().chars().count() > LINE_CHARACTERS;
    match table.columns[index].align {
        Align::Right => "r",
        Align::Left if table.rows.iter().any(long) => "p{0.5\\linewidth}",
        Align::Left => "l",
    }
}

fn render_claims(claims: &[Claim]) -> String {
    let mut text = String::from("\\begin{itemize}\n");
    for claim in claims {
        text.push_str(&format!(
            "\\item {}: {}. \\textbf{{{}}}\n",
            escape(&claim.claim),
            escape(&claim.numbers()),
            escape(&claim.verdict)
        ));
    }
    text.push_str("\\end{itemize}\n");
    text
}

fn render_figure(figure: &Figure) -> String {
    format!(
        "\\begin{{figure}}[htbp]\n\\centering\n\\includegraphics[width=\\linewidth]{{plots/{}.png}}\n\
         \\caption{{{}}}\n\\end{{figure}}\n",
        figure.name,
        escape(&figure.caption)
    )
}

fn line(cells: Vec<String>) -> String {
    format!("{} \\\\\n", cells.join(" & "))
}

fn cell_text(cell: &Cell) -> String {
    let plain = cell.plain();
    if !cell.is_numeric() {
        return escape(&plain);
    }
    // Braces keep a cell that starts with [ from being read as the argument of \\.
    format!(
        "${{{}}}$",
        plain
            .replace('±', "\\pm")
            .replace(' ', "\\ ")
            .replace("\\ \\pm\\ ", " \\pm ")
    )
}
