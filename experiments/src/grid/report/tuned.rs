//! What tuning chose among, and what it chose.

use super::collected::CollectedBlock;
use crate::report::document::{Column, Table};
use crate::report::{Cell, Scale};

/// What tuning chose among, and what it chose.
pub fn tuning_table(block: &CollectedBlock<'_>) -> Option<Table> {
    if block.tuned.is_empty() {
        return None;
    }
    let columns = vec![
        Column::words("method"),
        Column::words("settings"),
        Column::numbers("overall"),
        Column::numbers("hard"),
        Column::numbers("score"),
        Column::words("chosen"),
    ];
    let mut table = Table::new("Tuning on held-out training images, in %", columns);
    for arm in &block.arms {
        let Some(tuned) = block.tuned.get(&arm.arm.name) else {
            continue;
        };
        for (place, candidate) in tuned.candidates.iter().enumerate() {
            let set: Vec<&str> = candidate.set.iter().map(|one| short(one)).collect();
            let share = |value| Cell::estimate(value, None, Scale::Percent);
            let chosen = tuned.chosen == Some(place);
            table.rows.push(vec![
                Cell::text(&tuned.arm),
                Cell::text(set.join(", ")),
                share(candidate.overall),
                share(candidate.hard),
                share(candidate.score),
                Cell::text(if chosen { "yes" } else { "" }),
            ]);
        }
    }
    table.notes.push(
        "One seed each, none of the table's. Score: the mean of overall accuracy and that of the hard third, which the reference's \
         run on the same held-out images chooses. No test result was read before."
            .into(),
    );
    Some(table)
}

/// A change without the place that all of them share.
fn short(set: &str) -> &str {
    let prefixes = [
        "training.objective.",
        "training.optimizer.",
        "training.",
        "model.",
        "data.",
    ];
    let found = prefixes.iter().find_map(|prefix| set.strip_prefix(prefix));
    found.unwrap_or(set)
}
