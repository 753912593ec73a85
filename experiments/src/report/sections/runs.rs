//! Where everything comes from, and what training warned of.

use mr2_metrics::{ClassReport, Metric};
use toml::Value;

use crate::report::document::{Block, Column, Section, Table};
use crate::report::run_folders::Found;
use crate::report::settings::Setting;
use crate::report::{Cell, Scale};

/// What the methods differ in, where everything comes from, and what training warned of.
pub fn runs(found: &Found, report: &ClassReport, settings: &[Setting]) -> Section {
    let columns = vec![
        Column::words("method"),
        Column::numbers("seed"),
        Column::numbers(Metric::Overall.title()),
        Column::numbers("minutes"),
        Column::words("folder"),
    ];
    let mut table = Table::new("Run folders", columns);
    let columns = vec![
        Column::words("method"),
        Column::numbers("seed"),
        Column::words("epochs"),
        Column::words("what was seen (last of them)"),
    ];
    let mut warnings = Table::new("Warnings during training", columns);
    for run in &found.runs {
        let result = &run.result;
        table.rows.push(vec![
            Cell::text(&run.method),
            Cell::Count { value: result.seed },
            Cell::estimate(result.test.overall, None, Scale::Percent),
            Cell::estimate(
                Some(result.timings.total_seconds / 60.0),
                None,
                Scale::Plain { decimals: 1 },
            ),
            Cell::text(run.folder.display().to_string()),
        ]);
        for warning in &result.warnings {
            warnings.rows.push(vec![
                Cell::text(&run.method),
                Cell::Count { value: result.seed },
                Cell::text(ranges(&warning.epochs)),
                Cell::text(&warning.message),
            ]);
        }
    }
    let mut blocks = Vec::new();
    if !settings.is_empty() {
        blocks.push(Block::Table(settings_table(report, settings)));
    }
    blocks.push(Block::Table(table));
    if !warnings.rows.is_empty() {
        blocks.push(Block::Table(warnings));
    }
    Section {
        title: "Runs".into(),
        blocks,
    }
}

fn settings_table(report: &ClassReport, settings: &[Setting]) -> Table {
    let mut columns = vec![Column::words("setting")];
    columns.extend(report.rows.iter().map(|row| Column::words(&row.name)));
    let mut table = Table::new("Settings that differ between the methods", columns);
    for setting in settings {
        let cell = |value: &Option<Value>| match value {
            None => Cell::Absent,
            Some(Value::String(text)) => Cell::text(text),
            Some(value) => Cell::text(value.to_string()),
        };
        let mut row = vec![Cell::text(&setting.key)];
        row.extend(setting.values.iter().map(cell));
        table.rows.push(row);
    }
    table
}

/// Ascending numbers with runs of neighbours joined: 1-3, 6.
fn ranges(numbers: &[u64]) -> String {
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for &number in numbers {
        match joined.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => joined.push((number, number)),
        }
    }
    let write = |&(first, last): &(u64, u64)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    joined.iter().map(write).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn neighbouring_epochs_are_joined() {
        assert_eq!(ranges(&[1, 2, 3, 6, 8, 9]), "1-3, 6, 8-9");
        assert_eq!(ranges(&[]), "");
    }
}
