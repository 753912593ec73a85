//! What a table's numbers come from: settings, versions, missing and failed runs. No times: the same runs give the same
//! report to the byte.

use std::collections::{BTreeMap, BTreeSet};

use super::collected::Collected;
use crate::grid::plan::Row;
use crate::grid::table_file::Scale;
use crate::report::cell::Cell;
use crate::report::document::{Block, Column, Section, Table};

/// The opening lines.
pub fn summary(collected: &Collected<'_>) -> Vec<String> {
    let mut lines = vec![format!("Reproduces: {}.", collected.table.reproduces)];
    let settings: Vec<&str> = collected
        .blocks
        .iter()
        .map(|block| block.setting.name.as_str())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let settings = settings.join("; ");
    lines.push(match collected.scale {
        Scale::Smoke => format!(
            "SMOKE ({settings}): shows that the program works; its numbers mean nothing."
        ),
        Scale::Rehearsal => format!(
            "REHEARSAL ({settings}): other data and a smaller network than the paper's, so the paper's numbers don't stand beside these; \
             the question is whether the sign of each claim holds."
        ),
        Scale::Full => format!("Full scale: {settings}."),
    });
    let arms = collected.blocks.iter().flat_map(|block| &block.arms);
    let trained = arms.filter(|arm| arm.row == Row::Trained);
    let (done, missing) = trained.fold((0, 0), |(done, missing), arm| {
        (done + arm.runs.len(), missing + arm.missing.len())
    });
    if missing > 0 {
        let have = if missing == 1 { "has" } else { "have" };
        let of = format!("{missing} of {} runs {have} no result", done + missing);
        lines.push(match collected.failures.len() {
            0 => format!("{of} yet."),
            failed => format!("{of}; {failed} failed, see Runs."),
        });
    }
    lines
}

/// Versions and failures.
pub fn section(collected: &Collected<'_>) -> Section {
    let mut blocks = vec![Block::Table(versions(collected))];
    if !collected.failures.is_empty() {
        let columns = ["run", "folder", "error"].map(Column::words);
        let mut table = Table::new("Failed runs", columns.into());
        for failure in &collected.failures {
            let cells = [&failure.label, &failure.key, &failure.error].map(Cell::text);
            table.rows.push(cells.into());
        }
        table.notes.push("Each was tried twice.".into());
        blocks.push(Block::Table(table));
    }
    Section {
        title: "Runs".into(),
        blocks,
    }
}

/// The versions that trained the runs.
fn versions(collected: &Collected<'_>) -> Table {
    let mut by_version: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for arm in collected.blocks.iter().flat_map(|block| &block.arms) {
        if arm.row != Row::Trained {
            continue;
        }
        for run in &arm.runs {
            let versions = run.result.versions.iter();
            let named: Vec<String> = versions.map(|(k, v)| format!("{k} {v}")).collect();
            let keys = by_version.entry(named.join(", ")).or_default();
            keys.insert(&run.key);
        }
    }
    let columns = vec![Column::words("trained with"), Column::numbers("runs")];
    let mut table = Table::new("Code versions and machines", columns);
    for (version, keys) in by_version {
        table
            .rows
            .push(vec![Cell::text(version), Cell::count(keys.len())]);
    }
    if table.rows.len() > 1 {
        table
            .notes
            .push("The runs of this table were not all trained by the same version.".into());
    }
    table
}
