//! What the representation loss costs over classes, batch, width and positives.

use std::collections::BTreeSet;

use mr2_loss::Positives;

use crate::grid::cost::Cost;
use crate::report::document::{Block, Column, Section, Table};
use crate::report::{Cell, Scale};

/// A row for each case.
pub fn section(costs: &[Cost]) -> Option<Section> {
    if costs.is_empty() {
        return None;
    }
    let columns = vec![
        Column::numbers("classes"),
        Column::numbers("batch"),
        Column::numbers("features"),
        Column::words("batches"),
        Column::words("positives"),
        Column::numbers("positives of a sample"),
        Column::numbers("samples with any, %"),
        Column::numbers("ms, median"),
        Column::numbers("least"),
        Column::numbers("most"),
        Column::numbers("peak MiB"),
    ];
    let mut table = Table::new("The representation loss, forward and backward", columns);
    for cost in costs {
        let case = &cost.case;
        let number = |value, decimals| Cell::estimate(Some(value), None, Scale::Plain { decimals });
        let batches = match case.images_per_class {
            None => "random".to_string(),
            Some(each) => format!("{each} of each class"),
        };
        let positives = match case.positives {
            Positives::All => "all".to_string(),
            Positives::AtMost(most) => format!("at most {most}"),
            Positives::Memory(capacity) => format!("all, and a memory of {capacity}"),
        };
        let peak = cost
            .peak_bytes
            .map(|bytes| bytes as f64 / f64::from(1 << 20));
        table.rows.push(vec![
            Cell::count(case.classes),
            Cell::count(case.images_per_batch),
            Cell::count(case.features),
            Cell::text(batches),
            Cell::text(positives),
            number(cost.positives, 2),
            Cell::estimate(Some(cost.with_positive), None, Scale::Percent),
            number(cost.milliseconds, 2),
            number(cost.range[0], 2),
            number(cost.range[1], 2),
            Cell::estimate(peak, None, Scale::Plain { decimals: 0 }),
        ]);
    }
    let machines: BTreeSet<String> = costs
        .iter()
        .map(|cost| {
            let known = ["cpu", "threads", "code"].iter();
            let of_cost = known.filter_map(|k| Some(format!("{k} {}", cost.versions.get(*k)?)));
            of_cost.collect::<Vec<_>>().join(", ")
        })
        .collect();
    table.notes.push(format!(
        "Random features, f32; 30 repetitions in a process of its own for each case, whose peak memory is shown. {}.",
        machines.into_iter().collect::<Vec<_>>().join("; ")
    ));
    Some(Section {
        title: "Cost".into(),
        blocks: vec![Block::Table(table)],
    })
}
