//! Whole reports of made-up results, compared with what a reader should see.
//!
//! The expected texts lie in `golden/`. Their numbers were computed from the counts below by
//! `tests/reference/golden_tables.py`, which shares no code with this crate (scipy's t distribution).

mod rehearsal;
mod runs;
mod small;

use super::super::plan::Row;
use super::super::table_file::{Scale, TableFile};
use super::super::tuning::{Candidate, TunedArm, TunedArms};
use super::*;
use runs::Runs;

/// A name that every format has to escape.
const NAME: &str = r"<b>&_%|$\`";

/// What is done with an arm: its row, its finished runs as seed and correct images of each class.
type Made<'a> = (&'a str, Row, &'a [(u64, Runs)]);

/// Every block of every setting of the scale, with these arms; seeds without a run are missing.
fn collected<'a>(
    table: &'a TableFile,
    scale: Scale,
    arms: &[Made<'_>],
    failures: Vec<Failure>,
) -> Collected<'a> {
    let mut blocks = Vec::new();
    for setting in table.settings.iter().filter(|s| s.scale == scale) {
        for block in &table.blocks {
            let arms = block.arms.iter().map(|arm| {
                let (_, row, done) = arms
                    .iter()
                    .find(|(name, ..)| *name == arm.name)
                    .unwrap_or_else(|| panic!("no runs of {}", arm.name));
                let missing = setting.seeds.iter().copied();
                let trained = *row == Row::Trained;
                CollectedArm {
                    arm,
                    row: *row,
                    runs: done.iter().map(|(seed, run)| run.of_seed(*seed)).collect(),
                    missing: missing
                        .filter(|seed| trained && !done.iter().any(|(s, _)| s == seed))
                        .collect(),
                }
            });
            blocks.push(CollectedBlock {
                setting,
                block,
                arms: arms.collect(),
                tuned: TunedArms::new(),
            });
        }
    }
    Collected {
        table,
        scale,
        blocks,
        costs: Vec::new(),
        failures,
    }
}

/// The table of the section, by the beginning of its title.
fn table<'d>(document: &'d Document, title: &str) -> &'d crate::report::Table {
    let blocks = document.sections.iter().flat_map(|s| &s.blocks);
    let mut tables = blocks.filter_map(|block| match block {
        Block::Table(table) => Some(table),
        _ => None,
    });
    tables
        .find(|table| table.title.starts_with(title))
        .unwrap_or_else(|| panic!("no table `{title}`"))
}

/// The rows of a table as plain text.
fn plain(table: &crate::report::Table) -> Vec<Vec<String>> {
    let rows = table.rows.iter();
    rows.map(|row| row.iter().map(crate::report::Cell::plain).collect())
        .collect()
}

/// All claims: what was found, and the verdict.
fn claims_of(document: &Document) -> Vec<(&str, &str, &str)> {
    let blocks = document.sections.iter().flat_map(|s| &s.blocks);
    let claims = blocks.filter_map(|block| match block {
        Block::Claims { claims } => Some(claims),
        _ => None,
    });
    claims
        .flatten()
        .map(|c| (c.claim.as_str(), c.ours.as_str(), c.verdict.as_str()))
        .collect()
}
