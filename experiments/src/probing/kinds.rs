//! Several kinds of features from one pass: DINOv2's linear evaluation tries the class token of the last block and those
//! of the last four, with and without the mean of the patches.

use std::borrow::Cow;
use std::ops::Range;

use mr2_backbones::pretrained::Architecture;
use mr2_backbones::vit::Pooling;
use mr2_train::Result;
use mr2_train::features::Features;
use mr2_train::probe::Views;

/// Columns of a backbone's features that heads see as features of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    /// What result rows call it; nothing for all columns of a backbone that has one kind.
    pub name: Option<String>,
    columns: Range<usize>,
}

/// The kinds that a backbone's features hold.
pub fn kinds(architecture: &Architecture, width: usize) -> Vec<Kind> {
    if let Architecture::Vit(net) = architecture
        && let Pooling::LastBlocks { count, mean: true } = net.pooling
        && net.projection.is_none()
    {
        let tokens = |from: usize, to: usize| from * net.dim..to * net.dim;
        let kind = |name: String, columns| Kind {
            name: Some(name),
            columns,
        };
        let last = "last block".to_string();
        let all = format!("last {count} blocks");
        return vec![
            kind(last.clone(), tokens(count - 1, count)),
            kind(format!("{last} and mean"), tokens(count - 1, count + 1)),
            kind(all.clone(), tokens(0, count)),
            kind(format!("{all} and mean"), tokens(0, count + 1)),
        ];
    }
    vec![Kind {
        name: None,
        columns: 0..width,
    }]
}

impl Kind {
    /// Features of an image.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Its columns of features.
    pub fn of<'a>(&self, features: &'a Features) -> Cow<'a, [f32]> {
        self.columns_of(&features.values, features.dim)
    }

    fn columns_of<'a>(&self, values: &'a [f32], width: usize) -> Cow<'a, [f32]> {
        if self.columns == (0..width) {
            return Cow::Borrowed(values);
        }
        let rows = values.chunks_exact(width);
        Cow::Owned(
            rows.flat_map(|row| &row[self.columns.clone()])
                .copied()
                .collect(),
        )
    }
}

/// A kind of features of crops.
pub struct KindOfViews<'a> {
    /// The kind.
    pub kind: &'a Kind,
    /// All columns.
    pub views: &'a dyn Views,
    /// How many there are.
    pub width: usize,
}

impl Views for KindOfViews<'_> {
    fn features(&self, shuffle: u64) -> Result<Vec<f32>> {
        let all = self.views.features(shuffle)?;
        Ok(match self.kind.columns_of(&all, self.width) {
            Cow::Borrowed(_) => all,
            Cow::Owned(columns) => columns,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use mr2_backbones::pretrained::find;

    #[test]
    fn a_transformers_last_blocks_are_four_kinds_of_features_and_others_are_one() {
        let entry = find("dinov2-vit-s-14").unwrap();
        let Architecture::Vit(net) = &entry.architecture else {
            panic!()
        };
        let mut net = net.clone();
        net.dim = 1;
        assert_eq!(kinds(&Architecture::Vit(net.clone()), 1).len(), 1);
        net.pooling = Pooling::LastBlocks {
            count: 4,
            mean: true,
        };
        let features = Features {
            values: vec![1., 2., 3., 4., 9., 10., 20., 30., 40., 90.],
            dim: 5,
            labels: vec![0, 1],
            indices: vec![0, 1],
        };
        let found: Vec<(String, Vec<f32>)> = kinds(&Architecture::Vit(net), 5)
            .iter()
            .map(|kind| (kind.name.clone().unwrap(), kind.of(&features).to_vec()))
            .collect();
        let expected = [
            ("last block", vec![4., 40.]),
            ("last block and mean", vec![4., 9., 40., 90.]),
            ("last 4 blocks", vec![1., 2., 3., 4., 10., 20., 30., 40.]),
            ("last 4 blocks and mean", features.values.clone()),
        ];
        assert_eq!(
            found,
            expected.map(|(name, values)| (name.to_string(), values))
        );
    }
}
