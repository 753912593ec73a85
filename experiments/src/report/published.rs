//! A number that others published, with where we have it from.

use serde::{Deserialize, Serialize};

use super::scale::Scale;

/// Where a published number was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// In the paper that reports it.
    Paper,
    /// In a text about the paper.
    Secondary,
}

/// What is known of a published number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "known", deny_unknown_fields)]
pub enum Published {
    /// The number: `71.8 (paper)`.
    Number {
        /// The number, on the cell's scale.
        value: f64,
        /// Where it was read.
        source: Source,
        /// How it is written.
        scale: Scale,
    },
    /// About the number, as read off a plot: `≈70.0 (secondary)`.
    Approximate {
        /// The number.
        value: f64,
        /// Where it was read.
        source: Source,
        /// How it is written.
        scale: Scale,
    },
    /// What is said instead of a number: `lower than ERM (secondary)`.
    Words {
        /// The words; escaped when rendered.
        text: String,
        /// Where they were read.
        source: Source,
    },
    /// Nothing: `unknown`.
    Unknown {},
}

impl Source {
    /// The word that marks the cell.
    fn mark(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Secondary => "secondary",
        }
    }
}

impl Published {
    /// The cell as plain text; words are not escaped yet. A number that isn't finite is unknown.
    pub fn plain(&self) -> String {
        match self {
            Self::Number {
                value,
                source,
                scale,
            } if value.is_finite() => {
                format!("{} ({})", scale.write(*value), source.mark())
            }
            Self::Approximate {
                value,
                source,
                scale,
            } if value.is_finite() => {
                format!("≈{} ({})", scale.write(*value), source.mark())
            }
            Self::Words { text, source } => format!("{text} ({})", source.mark()),
            Self::Number { .. } | Self::Approximate { .. } | Self::Unknown {} => "unknown".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::{Column, Table};
    use super::super::terminal::Style;
    use super::super::{Cell, html, latex, markdown, terminal};
    use super::*;

    fn number(value: f64, source: Source) -> Published {
        let scale = Scale::Percent;
        Published::Number {
            value,
            source,
            scale,
        }
    }

    fn words(text: &str) -> Published {
        let (text, source) = (text.into(), Source::Secondary);
        Published::Words { text, source }
    }

    fn table() -> Table {
        let columns = ["overall", "easy", "hard"].map(Column::numbers);
        let columns = [vec![Column::words("method")], columns.into()].concat();
        let mut table = Table::new("Published, in %", columns);
        let approximate = Published::Approximate {
            value: 0.7,
            source: Source::Secondary,
            scale: Scale::Percent,
        };
        let mut row = |name: &str, cells: [Published; 3]| {
            let cells = cells.map(|published| Cell::Published { published });
            table
                .rows
                .push([vec![Cell::text(name)], cells.into()].concat());
        };
        let paper = number(0.718, Source::Paper);
        let secondary = number(0.709, Source::Secondary);
        row("MR²", [paper, secondary, Published::Unknown {}]);
        row(
            "DRO",
            [approximate, words("lower than ERM"), words("a|b & <i>")],
        );
        table
    }

    #[test]
    fn a_terminal_table_of_published_numbers_is_as_written_here() {
        let plain = Style {
            colour: false,
            width: None,
        };
        assert_eq!(
            terminal::render_table(&table(), plain),
            "\
Published, in %
method            overall                        easy                   hard
────────────────────────────────────────────────────────────────────────────
MR²          71.8 (paper)            70.9 (secondary)                unknown
DRO     ≈70.0 (secondary)  lower than ERM (secondary)  a|b & <i> (secondary)
"
        );
    }

    #[test]
    fn markdown_of_published_numbers_is_as_written_here() {
        let text = markdown::render_table(&table());
        let rows: Vec<&str> = text.lines().skip(4).collect();
        assert_eq!(
            rows,
            [
                "| MR² | 71.8 (paper) | 70.9 (secondary) | unknown |",
                "| DRO | ≈70.0 (secondary) | lower than ERM (secondary) | a\\|b &amp; &lt;i&gt; (secondary) |",
            ]
        );
    }

    #[test]
    fn latex_of_published_numbers_is_as_written_here() {
        let text = latex::render_table(&table());
        for row in [
            "MR\\ensuremath{^2} & 71.8 (paper) & 70.9 (secondary) & unknown \\\\\n",
            "DRO & \\ensuremath{\\approx}70.0 (secondary) & lower than ERM (secondary) & \
             a\\textbar{}b \\& \\textless{}i\\textgreater{} (secondary) \\\\\n",
        ] {
            assert!(text.contains(row), "{text}");
        }
    }

    #[test]
    fn html_of_published_numbers_is_as_written_here() {
        let text = html::render_table(&table());
        for cell in [
            "<td class=\"right\">71.8 <small>(paper)</small></td>",
            "<td class=\"right\">70.9 <small>(secondary)</small></td>",
            "<td class=\"right\">≈70.0 <small>(secondary)</small></td>",
            "<td class=\"right\">lower than ERM <small>(secondary)</small></td>",
            "<td class=\"right\">a|b &amp; &lt;i&gt; <small>(secondary)</small></td>",
            "<td class=\"right\">unknown</td>",
        ] {
            assert!(text.contains(cell), "{cell} in {text}");
        }
    }

    #[test]
    fn published_numbers_are_read_back_from_json_and_a_nan_is_never_one() {
        let json = serde_json::to_string(&table()).expect("plain data");
        let read: Table = serde_json::from_str(&json).expect("plain data");
        assert_eq!(read, table());
        assert_eq!(number(f64::NAN, Source::Paper).plain(), "unknown");
        let unknown: Cell =
            serde_json::from_str(r#"{"kind": "published", "published": {"known": "unknown"}}"#)
                .expect("a cell");
        assert_eq!(unknown.plain(), "unknown");
    }
}
