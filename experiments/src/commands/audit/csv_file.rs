//! Predictions from a CSV file with a header.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use csv::StringRecord;

use super::class_names::Naming;
use super::csv_header::{Layout, layout};
use super::predictions::{Columns, Predicted};

/// Reads the file.
///
/// # Errors
/// Names the file, line and column, and the fix.
pub fn read(path: &Path, delimiter: u8, classes: Option<&[String]>) -> Result<Columns> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .from_path(path)
        .with_context(|| format!("{}: cannot read it", path.display()))?;
    let header = reader.headers().map_err(|e| refused(path, &e))?.clone();
    let header: Vec<String> = header
        .iter()
        .map(|h| h.trim_start_matches('\u{feff}').trim().to_string())
        .collect();
    if header.iter().all(|h| h.is_empty()) {
        bail!(
            "{}: the file is empty; `mr2 audit --example` prints one",
            path.display()
        );
    }
    let layout =
        layout(&header).with_context(|| format!("{}, line 1 (the header)", path.display()))?;
    let mut table = Body::new(path, &header, layout, classes)?;
    let mut record = StringRecord::new();
    while reader
        .read_record(&mut record)
        .map_err(|e| refused(path, &e))?
    {
        table.add(&record)?;
    }
    table.finish()
}

fn refused(path: &Path, error: &csv::Error) -> anyhow::Error {
    let line = error
        .position()
        .map_or(String::new(), |p| format!(", line {}", line_of(path, p)));
    anyhow!(
        "{}{line}: not readable as CSV in UTF-8: {error}",
        path.display()
    )
}

/// The line on which a record begins, counted in the file: the reader's own count is one short
/// after a carriage return, and stands at the first of the blank lines before a record.
fn line_of(path: &Path, position: &csv::Position) -> u64 {
    let Ok(mut bytes) = std::fs::read(path) else {
        return position.line();
    };
    let mut start = (position.byte() as usize).min(bytes.len());
    while bytes.get(start).is_some_and(|b| matches!(b, b'\r' | b'\n')) {
        start += 1;
    }
    bytes.truncate(start);
    1 + bytes.iter().filter(|&&b| b == b'\n').count() as u64
}

/// The lines below the header.
struct Body<'a> {
    path: &'a Path,
    header: &'a [String],
    layout: Layout,
    naming: Option<Naming>,
    labels: Vec<u32>,
    predictions: Vec<u32>,
    scores: Vec<f64>,
    /// Names beside the indices of our own file.
    names: Vec<Option<String>>,
}

impl<'a> Body<'a> {
    fn new(
        path: &'a Path,
        header: &'a [String],
        layout: Layout,
        classes: Option<&[String]>,
    ) -> Result<Self> {
        let naming = match (&layout, classes) {
            (Layout::Scores { scores, .. }, given) => {
                let columns: Vec<String> = scores.iter().map(|&i| header[i].clone()).collect();
                Some(Naming::listed(&score_classes(path, columns, given)?))
            }
            (_, Some(names)) => Some(Naming::listed(names)),
            (Layout::Own { .. }, None) => Some(Naming::Indices { classes: 0 }),
            (Layout::Prediction { .. }, None) => None,
        };
        Ok(Self {
            path,
            header,
            layout,
            naming,
            labels: Vec::new(),
            predictions: Vec::new(),
            scores: Vec::new(),
            names: Vec::new(),
        })
    }

    fn add(&mut self, record: &StringRecord) -> Result<()> {
        let (path, header) = (self.path, self.header);
        // Only asked for when something is wrong.
        let line = || {
            record
                .position()
                .map_or(0, |position| line_of(path, position))
        };
        if record.len() != header.len() {
            bail!(
                "{}, line {}: it has {} fields, the header has {}; write one value for each column \
                 (a name with a comma needs quotes)",
                path.display(),
                line(),
                record.len(),
                header.len()
            );
        }
        let place = |column: usize| {
            format!(
                "{}, line {}, column `{}`",
                path.display(),
                line(),
                header[column]
            )
        };
        let (label, prediction) = match &self.layout {
            Layout::Prediction { label, prediction }
            | Layout::Own {
                label, prediction, ..
            } => (*label, Some(*prediction)),
            Layout::Scores { label, .. } => (*label, None),
        };
        let naming = self
            .naming
            .get_or_insert_with(|| Naming::after(&record[label]));
        self.labels
            .push(naming.class(&record[label]).with_context(|| place(label))?);
        if let Some(prediction) = prediction {
            let class = naming
                .class(&record[prediction])
                .with_context(|| place(prediction))?;
            self.predictions.push(class);
        }
        match &self.layout {
            Layout::Scores { scores, .. } => {
                for &column in scores {
                    self.scores
                        .push(score(&record[column]).with_context(|| place(column))?);
                }
            }
            Layout::Own {
                label_name,
                prediction_name,
                ..
            } => {
                let last = (self.labels.len() - 1, self.predictions.len() - 1);
                let named = [
                    (self.labels[last.0], *label_name),
                    (self.predictions[last.1], *prediction_name),
                ];
                for (class, column) in named {
                    remember(&mut self.names, class, &record[column])
                        .with_context(|| place(column))?;
                }
            }
            Layout::Prediction { .. } => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Columns> {
        let Some(naming) = self.naming.filter(|_| !self.labels.is_empty()) else {
            bail!(
                "{}: there is a header and no line below it; write one line for each image",
                self.path.display()
            );
        };
        refuse_indices_for_names(&naming, &self.labels, &self.predictions)
            .with_context(|| self.path.display().to_string())?;
        let given = matches!(naming, Naming::Listed { .. });
        let (mut class_names, place) = naming.finish();
        for (class, name) in self.names.into_iter().enumerate().filter(|_| !given) {
            if let (Some(slot), Some(name)) = (class_names.get_mut(class), name) {
                *slot = name;
            }
        }
        let sorted = |classes: Vec<u32>| match &place {
            Some(place) => classes.into_iter().map(|k| place[k as usize]).collect(),
            None => classes,
        };
        let predicted = match self.layout {
            Layout::Scores { .. } => Predicted::Scores(self.scores),
            _ => Predicted::Classes(sorted(self.predictions)),
        };
        Ok(Columns {
            class_names,
            labels: sorted(self.labels),
            predicted,
        })
    }
}

/// No index equals a name, so every image would count as wrong.
fn refuse_indices_for_names(naming: &Naming, labels: &[u32], predictions: &[u32]) -> Result<()> {
    let Naming::Collected { names, .. } = naming else {
        return Ok(());
    };
    let name = |class: u32| names[class as usize].as_str();
    let is_number = |&class: &u32| name(class).parse::<f64>().is_ok();
    match (labels.first(), predictions.first()) {
        (Some(&label), Some(&prediction))
            if predictions.iter().all(is_number) && !labels.iter().any(is_number) =>
        {
            bail!(
                "the labels are names, such as `{}`, and the predictions numbers, such as `{}`; \
                 name the classes in the order of their numbers with --classes",
                name(label),
                name(prediction)
            )
        }
        _ => Ok(()),
    }
}

/// Score columns named 0, 1, … in order may be given names; others name the classes themselves.
fn score_classes(
    path: &Path,
    columns: Vec<String>,
    given: Option<&[String]>,
) -> Result<Vec<String>> {
    let Some(given) = given else {
        return Ok(columns);
    };
    let numbered = columns
        .iter()
        .enumerate()
        .all(|(i, name)| *name == i.to_string());
    if given.len() != columns.len() || !(numbered || given == columns) {
        bail!(
            "{}, line 1 (the header): --classes names {} classes, the {} score columns are named otherwise; \
             leave --classes out",
            path.display(),
            given.len(),
            columns.len()
        );
    }
    Ok(given.to_vec())
}

fn score(text: &str) -> Result<f64> {
    match text.trim().parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(value) => bail!(
            "the score is {value}; give the image a finite score for every class, or leave it out"
        ),
        Err(_) => bail!("`{text}` is not a number; write scores as numbers with a point"),
    }
}

fn remember(names: &mut Vec<Option<String>>, class: u32, name: &str) -> Result<()> {
    let class = class as usize;
    if names.len() <= class {
        names.resize(class + 1, None);
    }
    match &names[class] {
        None => names[class] = Some(name.to_string()),
        Some(known) if known != name => {
            bail!("class {class} is named `{name}` here and `{known}` above")
        }
        Some(_) => {}
    }
    Ok(())
}
