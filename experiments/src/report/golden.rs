//! One small document in every format, compared with what a reader should see.

use std::collections::BTreeMap;

use mr2_metrics::{Interval, MeanSd};

use super::document::{Block, Claim, Column, Document, Figure, Section, Table, Tone};
use super::terminal::Style;
use super::{Cell, Scale, html, latex, markdown, terminal};

fn table() -> Table {
    let columns = vec![
        Column::words("method"),
        Column::shares("overall"),
        Column::numbers("hard"),
    ];
    let mut table = Table::new("Accuracy in %", columns);
    let difference = |identical| Cell::Difference {
        mean: 0.0046,
        interval: Some(Interval {
            low: -0.003,
            high: 0.0121,
        }),
        identical,
        n: 3,
        scale: Scale::Percent,
    };
    let mean = MeanSd {
        mean: 0.8534,
        sd: Some(0.0041),
        n: 3,
    };
    table.rows.push(vec![
        Cell::text("<script>&_%|"),
        Cell::measure(Some(mean), Scale::Percent),
        difference(false),
    ]);
    table
        .rows
        .push(vec![Cell::text("ERM"), Cell::Absent, difference(true)]);
    table.notes.push("Thirds: cross-fitted.".into());
    table
}

fn document() -> Document {
    let claim = Claim {
        claim: "MR² against ERM, hard".into(),
        paper: None,
        ours: "+0.5 [-0.3, +1.2]".into(),
        verdict: "undecided at n = 3".into(),
        tone: Tone::Open,
    };
    let figure = Figure {
        name: "accuracy".into(),
        caption: "Accuracy of \"a\" & b".into(),
    };
    Document {
        title: "Report & more".into(),
        summary: vec!["10 classes.".into()],
        sections: vec![Section {
            title: "Accuracy".into(),
            blocks: vec![
                Block::Table(table()),
                Block::Claims {
                    claims: vec![claim],
                },
                Block::Figure(figure),
            ],
        }],
    }
}

#[test]
fn markdown_is_as_written_here() {
    assert_eq!(
        markdown::render(&document()),
        "\
# Report &amp; more

10 classes.

## Accuracy

**Accuracy in %**

| method | overall | hard |
| :--- | ---: | ---: |
| &lt;script&gt;&amp;\\_%\\| | 85.3 ± 0.4 (3) | +0.5 [-0.3, +1.2] |
| ERM | – | identical |

Thirds: cross-fitted.

| claim | here | verdict |
| :--- | :--- | :--- |
| MR² against ERM, hard | +0.5 \\[-0.3, +1.2\\] | undecided at n = 3 |

![Accuracy of \"a\" &amp; b](plots/accuracy.svg)

Accuracy of \"a\" &amp; b
"
    );
}

#[test]
fn a_latex_table_is_as_written_here() {
    assert_eq!(
        latex::render_table(&table()),
        "\
\\begin{table}[htbp]
\\centering
\\caption{Accuracy in \\%}
\\begin{tabular}{lrr}
\\toprule
method & overall & hard \\\\
\\midrule
\\textless{}script\\textgreater{}\\&\\_\\%\\textbar{} & ${85.3 \\pm 0.4\\ (3)}$ & ${+0.5\\ [-0.3,\\ +1.2]}$ \\\\
ERM & -- & identical \\\\
\\bottomrule
\\end{tabular}
\\par\\footnotesize Thirds: cross-fitted.
\\end{table}
"
    );
}

#[test]
fn a_latex_document_opens_and_closes_what_it_uses() {
    let text = latex::render(&document());
    for environment in ["document", "table", "tabular", "itemize", "figure"] {
        let count = |command: &str| {
            text.matches(&format!("\\{command}{{{environment}}}"))
                .count()
        };
        assert_eq!(count("begin"), count("end"), "{environment}");
        assert!(count("begin") > 0, "{environment}");
    }
    assert!(text.contains("MR\\ensuremath{^2} against ERM"));
}

#[test]
fn a_html_table_is_as_written_here() {
    assert_eq!(
        html::render_table(&table()),
        "\
<figure>
<figcaption>Accuracy in %</figcaption>
<div class=\"scroll\">
<table>
<thead><tr><th scope=\"col\">method</th><th scope=\"col\" class=\"right\">overall</th>\
<th scope=\"col\" class=\"right\">hard</th></tr></thead>
<tbody>
<tr><th scope=\"row\" class=\"words\" title=\"&lt;script&gt;&amp;_%|\">&lt;script&gt;&amp;_%|</th>\
<td class=\"right bar\" style=\"--share:85.3%\">85.3 <small>± 0.4 (3)</small></td>\
<td class=\"right\">+0.5 <small>[-0.3, +1.2]</small></td></tr>
<tr><th scope=\"row\" class=\"words\" title=\"ERM\">ERM</th><td class=\"right\">–</td>\
<td class=\"right\">identical</td></tr>
</tbody>
</table>
</div>
<ul class=\"notes\">
<li>Thirds: cross-fitted.</li>
</ul>
</figure>
"
    );
}

#[test]
fn html_is_one_file_without_scripts_or_requests() {
    let plots = BTreeMap::from([(
        "accuracy".to_string(),
        "<svg width=\"1\"></svg>".to_string(),
    )]);
    let text = html::render(&document(), &plots);
    assert!(text.contains("<title>Report &amp; more</title>"));
    let named =
        "<svg role=\"img\" aria-label=\"Accuracy of &quot;a&quot; &amp; b\" width=\"1\"></svg>";
    assert!(text.contains(named));
    for request in ["<script", "<link", "src=", "@import", "url("] {
        assert!(!text.contains(request), "{request}");
    }
}

#[test]
fn a_terminal_table_is_aligned() {
    let plain = Style {
        colour: false,
        width: None,
    };
    assert_eq!(
        terminal::render_table(&table(), plain),
        "\
Accuracy in %
method               overall               hard
───────────────────────────────────────────────
<script>&_%|  85.3 ± 0.4 (3)  +0.5 [-0.3, +1.2]
ERM                        –          identical
Thirds: cross-fitted.
"
    );
}

#[test]
fn a_note_that_several_tables_share_is_printed_once_below_them() {
    let plain = Style {
        colour: false,
        width: None,
    };
    let mut second = table();
    second.title = "Differences".into();
    second.notes.insert(0, "Mean over seeds.".into());
    let text = terminal::render_tables(&[table(), second], plain);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(text.matches("Thirds: cross-fitted.").count(), 1);
    assert_eq!(
        lines[lines.len() - 3..],
        ["", "Thirds: cross-fitted.", "Mean over seeds."]
    );
    assert!(text.contains("identical\n\nDifferences\nmethod"), "{text}");
}

#[test]
fn a_narrow_terminal_gets_blocks_that_repeat_the_first_column() {
    let narrow = Style {
        colour: false,
        width: Some(40),
    };
    let text = terminal::render_table(&table(), narrow);
    assert!(
        text.lines().all(|line| line.chars().count() <= 40),
        "{text}"
    );
    assert_eq!(text.matches("<script>&_%|").count(), 2);
}

#[test]
fn colours_are_only_used_where_allowed() {
    let claims = match &document().sections[0].blocks[1] {
        Block::Claims { claims } => claims.clone(),
        other => panic!("{other:?}"),
    };
    let paint = |colour| {
        terminal::render_claims(
            &claims,
            Style {
                colour,
                width: None,
            },
        )
    };
    assert!(paint(true).contains("\u{1b}[33mundecided"));
    assert!(!paint(false).contains('\u{1b}'));
}

#[test]
fn a_document_is_read_back_from_json_as_it_was_written() {
    let json = serde_json::to_string(&document()).expect("plain data");
    assert_eq!(
        serde_json::from_str::<Document>(&json).expect("plain data"),
        document()
    );
}
