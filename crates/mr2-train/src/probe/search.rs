//! Which values of a grid are tried next, given what the others reached on validation images.

use super::grid::Grid;

/// The search of one grid.
pub(super) struct Search {
    /// What each value reached; nothing where it wasn't tried, or where it failed.
    scores: Vec<Option<f64>>,
    tried: Vec<bool>,
    stage: Stage,
}

enum Stage {
    /// All values, at once.
    All,
    /// Every so many.
    Coarse(usize),
    /// Those so far from the best.
    Around(usize),
    Done,
}

impl Search {
    pub(super) fn new(grid: &Grid, values: usize) -> Self {
        Self {
            scores: vec![None; values],
            tried: vec![false; values],
            stage: match grid {
                Grid::Values { .. } => Stage::All,
                Grid::Peak { first_stride, .. } => Stage::Coarse(*first_stride),
            },
        }
    }

    /// The places of the values to try next; none at the end.
    pub(super) fn next(&mut self) -> Vec<usize> {
        let last = self.scores.len() - 1;
        loop {
            let (places, stage) = match self.stage {
                Stage::All => ((0..=last).collect(), Stage::Done),
                Stage::Coarse(stride) => {
                    let places = (0..=last).step_by(stride).collect();
                    (places, Stage::Around(stride / 2))
                }
                Stage::Around(0) | Stage::Done => return Vec::new(),
                Stage::Around(distance) => {
                    let best = self.best().unwrap_or(0);
                    let sides = vec![best.saturating_sub(distance), (best + distance).min(last)];
                    (sides, Stage::Around(distance / 2))
                }
            };
            self.stage = stage;
            let new: Vec<usize> = places
                .into_iter()
                .filter(|&place| !self.tried[place])
                .collect();
            new.iter().for_each(|&place| self.tried[place] = true);
            if !new.is_empty() {
                return new;
            }
        }
    }

    pub(super) fn record(&mut self, place: usize, score: Option<f64>) {
        self.scores[place] = score;
    }

    /// The best value so far; of equals the first.
    fn best(&self) -> Option<usize> {
        let tried = self.scores.iter().enumerate();
        let scores = tried.filter_map(|(place, score)| score.map(|score| (place, score)));
        scores
            .reduce(|best, next| if next.1 > best.1 { next } else { best })
            .map(|(place, _)| place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peak() -> Grid {
        Grid::Peak {
            lowest: 1e-6,
            highest: 1e6,
            points: 97,
            first_stride: 16,
        }
    }

    fn rounds(score: impl Fn(usize) -> Option<f64>) -> Vec<Vec<usize>> {
        let mut search = Search::new(&peak(), 97);
        let mut rounds = Vec::new();
        loop {
            let next = search.next();
            if next.is_empty() {
                return rounds;
            }
            for &place in &next {
                search.record(place, score(place));
            }
            rounds.push(next);
        }
    }

    #[test]
    fn seven_values_come_first_and_then_both_sides_of_the_best() {
        let values = peak().values();
        for (place, expected) in [(0, 1e-6), (16, 1e-4), (48, 1.0), (96, 1e6)] {
            assert!((values[place] / expected - 1.0).abs() < 1e-12);
        }
        let found = rounds(|place| Some(-(place as f64 - 43.0).abs()));
        assert_eq!(
            found,
            [
                vec![0, 16, 32, 48, 64, 80, 96],
                vec![40, 56],
                vec![36, 44],
                vec![42, 46],
                vec![41, 43]
            ]
        );
    }

    #[test]
    fn of_equals_the_smallest_is_the_best_and_failures_are_none() {
        let found = rounds(|_| Some(0.5));
        assert_eq!(found[1..], [vec![8], vec![4], vec![2], vec![1]]);
        let found = rounds(|place| (place >= 90).then_some(0.1));
        assert_eq!(found[1..], [vec![88], vec![92], vec![90, 94], vec![89, 91]]);
    }
}
