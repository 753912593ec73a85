//! The columns of a CSV file of predictions, by its header.

use anyhow::{Context, Result, bail};

use super::class_names::check_distinct;

/// What the header says.
pub enum Layout {
    /// A column of predicted classes.
    Prediction { label: usize, prediction: usize },
    /// A column of scores for each class.
    Scores { label: usize, scores: Vec<usize> },
    /// `predictions.csv` of `mr2 train`: indices with their names beside them.
    Own {
        label: usize,
        prediction: usize,
        label_name: usize,
        prediction_name: usize,
    },
}

/// What the columns mean.
pub fn layout(header: &[String]) -> Result<Layout> {
    const FORMS: &str =
        "write `label,prediction[,id]`, or `label,<one score column per class>[,id]`";
    let find = |name: &str| header.iter().position(|h| h == name);
    if let [only] = header {
        bail!("there is one column (`{only}`); {FORMS}, separated by commas (.csv) or tabs (.tsv)");
    }
    if let Some(empty) = header.iter().position(|h| h.is_empty()) {
        bail!("column {} has no name; {FORMS}", empty + 1);
    }
    check_distinct(header).context("two columns share a name")?;
    let Some(label) = find("label") else {
        bail!(
            "there is no column `label` (columns: {}); {FORMS}",
            header.join(", ")
        );
    };
    if let (Some(prediction), Some(label_name), Some(prediction_name)) = (
        find("prediction"),
        find("label_name"),
        find("prediction_name"),
    ) {
        return Ok(Layout::Own {
            label,
            prediction,
            label_name,
            prediction_name,
        });
    }
    let others: Vec<usize> = (0..header.len())
        .filter(|&i| i != label && header[i] != "id")
        .collect();
    match (find("prediction"), others.as_slice()) {
        (Some(prediction), [_]) => Ok(Layout::Prediction { label, prediction }),
        (Some(_), _) => {
            let unknown: Vec<&str> = others
                .iter()
                .map(|&i| header[i].as_str())
                .filter(|&h| h != "prediction")
                .collect();
            bail!(
                "beside `label`, `prediction` and `id` there is {}; {FORMS}",
                unknown.join(", ")
            )
        }
        (None, [] | [_]) => {
            bail!("there is neither a column `prediction` nor two score columns; {FORMS}")
        }
        (None, scores) => Ok(Layout::Scores {
            label,
            scores: scores.to_vec(),
        }),
    }
}
