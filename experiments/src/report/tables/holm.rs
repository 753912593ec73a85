//! What a table of many methods needs beside the differences: p corrected for their number.

use mr2_metrics::{ClassReport, Metric};

use super::super::cell::Cell;
use super::super::document::{Column, Table};
use super::super::scale::Scale;
use super::chosen_on;

/// The metrics that p is printed for; `report.json` has it for all.
const METRICS: [Metric; 5] = [
    Metric::Overall,
    Metric::Easy,
    Metric::Medium,
    Metric::Hard,
    Metric::WorstClass,
];

/// Difference of each method to the reference with its interval over seeds, and p adjusted by
/// Holm for the number of methods; `None` where no method has a p.
pub fn holm_table(report: &ClassReport) -> Option<Table> {
    let others = || {
        let rows = report.rows.iter();
        rows.filter(|row| row.name != report.reference)
    };
    let compared = |metric: Metric| {
        others().filter_map(move |row| row.cell(metric)?.against_reference.as_ref())
    };
    let metrics: Vec<Metric> = METRICS
        .into_iter()
        .filter(|&metric| compared(metric).any(|one| one.holm_p.is_some()))
        .collect();
    let tests = |metric: &Metric| compared(*metric).filter(|one| one.holm_p.is_some()).count();
    let (fewest, most) = (
        metrics.iter().map(tests).min()?,
        metrics.iter().map(tests).max()?,
    );
    let title = format!(
        "Difference to {} in percentage points, p corrected for the number of methods",
        report.reference
    );
    let mut table = differences_with_p(title, report, &metrics);
    let level = report.config.level;
    let tests = match fewest == most {
        true => most.to_string(),
        false => format!("{fewest} to {most}"),
    };
    table.notes.push(format!(
        "p: two-sided paired t-test over seeds, adjusted by Holm, metric by metric, for the {tests} methods that \
         have one. If differences with a p of at most {} are called real, the probability that any of a column's is \
         not is at most {:.0} %. The intervals [at {:.0} %] are each for one method alone.",
        Scale::Plain { decimals: 2 }.write(1.0 - level),
        (1.0 - level) * 100.0,
        level * 100.0
    ));
    table.notes.push(chosen_on(report));
    Some(table)
}

/// Difference of each method to the reference with its interval over seeds, and Holm's p beside each.
pub fn differences_with_p(title: String, report: &ClassReport, metrics: &[Metric]) -> Table {
    let mut columns = vec![Column::words("method")];
    for metric in metrics {
        columns.push(Column::numbers(metric.title()));
        columns.push(Column::numbers(format!("p, {metric}")));
    }
    let mut table = Table::new(title, columns);
    let others = report.rows.iter();
    for row in others.filter(|row| row.name != report.reference) {
        let mut cells = vec![Cell::text(&row.name)];
        for &metric in metrics {
            let one = row
                .cell(metric)
                .and_then(|cell| cell.against_reference.as_ref());
            let p = one.and_then(|one| one.holm_p);
            cells.push(Cell::difference(one.map(|one| &one.paired), Scale::Percent));
            cells.push(Cell::estimate(p, None, Scale::Probability {}));
        }
        table.rows.push(cells);
    }
    table
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::super::terminal::Style;
    use super::super::super::{html, latex, markdown, terminal};
    use super::*;
    use mr2_metrics::{MethodRuns, PerClass, ReportConfig, SeedRun};

    fn report(others: &[(&str, &[[u64; 3]])]) -> ClassReport {
        let method = |name: &str, runs: &[[u64; 3]]| MethodRuns {
            name: name.into(),
            runs: (1..)
                .zip(runs)
                .map(|(seed, correct)| {
                    let (correct, count) = (correct.to_vec(), vec![1000; 3]);
                    SeedRun::from_counts(seed, PerClass { correct, count })
                })
                .collect(),
        };
        let erm = method("ERM", &[[900, 800, 500], [905, 790, 510], [895, 805, 505]]);
        let others: Vec<_> = others
            .iter()
            .map(|(name, runs)| method(name, runs))
            .collect();
        ClassReport::new(&erm, &others, 3, &ReportConfig::standard()).unwrap()
    }

    #[test]
    fn p_stands_beside_each_difference_and_is_corrected_for_the_methods_that_have_one() {
        let far = [[905, 805, 700], [909, 796, 711], [900, 812, 704]];
        let near = [[903, 801, 508], [904, 793, 524], [899, 806, 509]];
        let table = holm_table(&report(&[("a", &far), ("b", &near), ("c", &far[..1])])).unwrap();
        let plain = Style {
            colour: false,
            width: None,
        };
        let text = terminal::render_table(&table, plain);
        let lines: Vec<&str> = text.lines().collect();

        let left = lines[1..6]
            .iter()
            .map(|line| line.chars().take(65).collect());
        let left: Vec<String> = left.collect();
        assert_eq!(
            left,
            [
                "method            overall  p, overall               easy  p, easy",
                "─────────────────────────────────────────────────────────────────",
                "a       +7.0 [+7.0, +7.1]      <0.001  +0.5 [+0.3, +0.6]    0.010",
                "b       +0.4 [+0.1, +0.7]       0.026  +0.2 [-0.5, +0.9]    0.321",
                "c                    +7.0           –               +0.5        –",
            ]
        );
        assert!(text.contains("for the 2 methods that\nhave one"), "{text}");
        assert!(latex::render_table(&table).contains("& ${<0.001}$ &"));
        assert!(markdown::render_table(&table).contains("| &lt;0.001 |"));
        assert!(html::render_table(&table).contains("<td class=\"right\">&lt;0.001</td>"));
    }

    #[test]
    fn without_a_p_there_is_no_table() {
        assert_eq!(holm_table(&report(&[])), None);
        assert_eq!(holm_table(&report(&[("a", &[[901, 801, 501]])])), None);
    }
}
