//! A report as data: what `report.json` holds and every renderer reads.

use serde::{Deserialize, Serialize};

use super::cell::Cell;

/// A report: a title, opening lines, and sections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Title.
    pub title: String,
    /// What was measured, on what, by which version: one paragraph each.
    pub summary: Vec<String>,
    /// The content.
    pub sections: Vec<Section>,
}

/// A part of the report under its own heading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// Heading.
    pub title: String,
    /// The content in order.
    pub blocks: Vec<Block>,
}

/// A piece of a section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Block {
    /// A paragraph.
    Text {
        /// Its words.
        text: String,
    },
    /// A table.
    Table(Table),
    /// A plot.
    Figure(Figure),
    /// What the numbers say about each claim.
    Claims {
        /// One after the other.
        claims: Vec<Claim>,
    },
}

/// A table with the notes that say how to read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Caption.
    pub title: String,
    /// Columns; each row has as many cells.
    pub columns: Vec<Column>,
    /// Rows.
    pub rows: Vec<Vec<Cell>>,
    /// Printed below: how groups were chosen, what the intervals are.
    pub notes: Vec<String>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Heading.
    pub title: String,
    /// Left for words, right for numbers.
    pub align: Align,
    /// Whether HTML shows a bar behind each share.
    pub bars: bool,
}

/// Alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A plot; its pictures are files beside the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// File name without folder and ending: `plots/NAME.svg`, `plots/NAME.png`.
    pub name: String,
    /// What it shows, also for those who can't see it.
    pub caption: String,
}

/// A statement, the numbers on it, and what they allow one to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The statement.
    pub claim: String,
    /// The published numbers on it, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paper: Option<String>,
    /// Our numbers.
    pub ours: String,
    /// In words: better, undecided at n = 3, …
    pub verdict: String,
    /// How it is coloured.
    pub tone: Tone,
}

/// The colour of a verdict, never its only sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// In favour of the claim.
    For,
    /// Against it.
    Against,
    /// Neither.
    Open,
}

impl Table {
    /// A table without rows.
    pub fn new(title: impl Into<String>, columns: Vec<Column>) -> Self {
        Self {
            title: title.into(),
            columns,
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }
}

impl Column {
    /// A column of words.
    pub fn words(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            align: Align::Left,
            bars: false,
        }
    }

    /// A column of numbers.
    pub fn numbers(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            align: Align::Right,
            bars: false,
        }
    }

    /// A column of shares with bars behind them.
    pub fn shares(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            align: Align::Right,
            bars: true,
        }
    }
}

impl Block {
    /// A paragraph.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }
}

impl Claim {
    /// Our numbers, after the published ones where there are any.
    pub fn numbers(&self) -> String {
        match &self.paper {
            Some(paper) => format!("paper: {paper}; here: {}", self.ours),
            None => self.ours.clone(),
        }
    }

    /// The claims as a table, for the formats that have no block of their own for them.
    pub fn table(claims: &[Self]) -> Table {
        let published = claims.iter().any(|claim| claim.paper.is_some());
        let mut columns = vec![Column::words("claim")];
        columns.extend(published.then(|| Column::words("paper")));
        columns.extend(["here", "verdict"].map(Column::words));
        let mut table = Table::new("What the numbers say", columns);
        for claim in claims {
            let mut cells = vec![Cell::text(&claim.claim)];
            let paper = claim.paper.as_deref().unwrap_or(super::cell::ABSENT);
            cells.extend(published.then(|| Cell::text(paper)));
            cells.extend([&claim.ours, &claim.verdict].map(Cell::text));
            table.rows.push(cells);
        }
        table
    }
}
