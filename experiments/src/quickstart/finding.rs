//! The quickstart's last line: what its runs decided, in words.

use mr2_metrics::{ClassReport, Metric, Premise, Verdict};

use crate::report::premise::Margins;

/// The measures that the line speaks of.
const METRICS: [Metric; 3] = [Metric::Overall, Metric::Hard, Metric::WorstClass];

/// The premise, the margins that are made of something else, and every difference to the report's
/// reference that is decided.
pub fn of(premise: Premise, margins: &[Margins], report: &ClassReport) -> String {
    let premise = match premise {
        Premise::Held => "the paper's premise holds here: harder classes have the larger m + v",
        Premise::Reversed => {
            "the paper's premise is reversed here: easier classes have the larger m + v"
        }
        Premise::Undecided { .. } => "whether the paper's premise holds here is undecided",
    };
    let decided = decided(report);
    let differences = match decided.is_empty() {
        true => format!(
            "no difference to {} in overall accuracy, hard third or worst class is decided",
            report.reference
        ),
        false => decided.join(", "),
    };
    let others = margins.iter().filter(|margins| !margins.of_the_paper());
    let others: String = others.map(|m| format!("; {}", of_margins(m))).collect();
    format!("In short: {premise}{others}; {differences}.")
}

/// Without it, the premise would read as the reason for what a method gains or loses.
fn of_margins(margins: &Margins) -> String {
    let Margins {
        method,
        source,
        test,
    } = margins;
    let which = match test.verdict {
        Premise::Held => "harder classes get the larger γ",
        Premise::Reversed => "easier classes get the larger γ",
        Premise::Undecided { .. } => "whether harder classes get the larger γ is undecided",
    };
    format!("{method} makes its margins of {source} instead, and {which}")
}

/// Such as "MR² is better than ERM in hard".
fn decided(report: &ClassReport) -> Vec<String> {
    let mut decided = Vec::new();
    for row in report.rows.iter().skip(1) {
        for metric in METRICS {
            let cell = row.cell(metric);
            let compared = cell.and_then(|cell| cell.against_reference.as_ref());
            if let Some(verdict @ (Verdict::Better | Verdict::Worse)) = compared.map(|c| c.verdict)
            {
                let (name, reference, metric) = (&row.name, &report.reference, metric.title());
                decided.push(format!("{name} is {verdict} than {reference} in {metric}"));
            }
        }
    }
    decided
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use mr2_metrics::{MethodRuns, PremiseTest, ReportConfig, SeedRun};

    /// Images of each of the three classes.
    const IMAGES: usize = 100;

    /// Images right of each class, for every seed.
    type Right = [[usize; 3]; 3];

    // Differences that are the same in every seed have no interval, so nothing decides them.
    const ERM: Right = [[90, 80, 50]; 3];
    const BETTER_IN_THE_HARD_CLASS: Right = [[90, 80, 60], [90, 80, 61], [90, 80, 60]];
    const WORSE_IN_AN_EASY_CLASS: Right = [[80, 80, 50], [81, 80, 50], [80, 80, 50]];
    const NOW_BETTER_NOW_WORSE: Right = [[90, 80, 60], [90, 80, 40], [90, 80, 50]];

    fn predictions(right: [usize; 3]) -> Vec<u32> {
        let of_class = |class: u32| {
            let right = right[class as usize];
            (0..IMAGES).map(move |image| {
                if image < right {
                    class
                } else {
                    (class + 1) % 3
                }
            })
        };
        (0..3).flat_map(of_class).collect()
    }

    fn report(others: &[(&str, Right)]) -> ClassReport {
        let labels = predictions([IMAGES; 3]);
        let all = [&[("ERM", ERM)], others].concat();
        let predicted: Vec<[Vec<u32>; 3]> = all.iter().map(|m| m.1.map(predictions)).collect();
        let methods: Vec<MethodRuns<'_>> = all
            .iter()
            .zip(&predicted)
            .map(|((name, _), predicted)| MethodRuns {
                name: name.to_string(),
                runs: (1..)
                    .zip(predicted)
                    .map(|(seed, predicted)| SeedRun::new(seed, &labels, predicted, 3).unwrap())
                    .collect(),
            })
            .collect();
        let config = ReportConfig {
            bootstrap: None,
            ..ReportConfig::standard()
        };
        ClassReport::new(&methods[0], &methods[1..], 3, &config).unwrap()
    }

    #[test]
    fn the_premise_is_said_to_be_held_reversed_or_undecided() {
        let report = report(&[]);
        for (premise, words) in [
            (Premise::Held, "the paper's premise holds here: harder"),
            (
                Premise::Reversed,
                "the paper's premise is reversed here: easier",
            ),
            (
                Premise::Undecided { classes: 3 },
                "whether the paper's premise holds here is undecided;",
            ),
        ] {
            let line = of(premise, &[], &report);
            assert!(line.starts_with(&format!("In short: {words}")), "{line}");
        }
    }

    #[test]
    fn margins_that_are_not_of_m_plus_v_are_told_apart_from_the_premise() {
        let margins = |source, verdict| Margins {
            method: "MR²".into(),
            source,
            test: PremiseTest {
                rho: None,
                p: None,
                classes: 3,
                verdict,
            },
        };
        let paper = margins("m + v", Premise::Held);
        let other = margins("v/m", Premise::Held);
        let line = of(Premise::Reversed, &[paper, other], &report(&[]));
        let said = "easier classes have the larger m + v; MR² makes its margins of v/m instead, and harder \
                    classes get the larger γ; no difference";
        assert!(line.contains(said), "{line}");
    }

    #[test]
    fn every_decided_difference_is_listed_with_its_direction_and_no_other() {
        let report = report(&[
            ("MR²", BETTER_IN_THE_HARD_CLASS),
            ("uniform", WORSE_IN_AN_EASY_CLASS),
            ("other", NOW_BETTER_NOW_WORSE),
        ]);
        let line = of(Premise::Held, &[], &report);
        let (_, differences) = line.split_once("m + v; ").unwrap();
        assert_eq!(
            differences,
            "MR² is better than ERM in overall, MR² is better than ERM in hard, \
             MR² is better than ERM in worst class, uniform is worse than ERM in overall."
        );
    }

    #[test]
    fn where_none_is_decided_the_line_says_so() {
        let nothing =
            "no difference to ERM in overall accuracy, hard third or worst class is decided.";
        for others in [&[][..], &[("MR²", NOW_BETTER_NOW_WORSE), ("same", ERM)]] {
            let line = of(Premise::Undecided { classes: 3 }, &[], &report(others));
            assert_eq!(line.split_once("undecided; ").unwrap().1, nothing);
        }
    }
}
