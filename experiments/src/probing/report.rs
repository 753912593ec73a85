//! What probes found: one table over backbones, images and methods, then the classes of each first method.

use std::collections::BTreeMap;

use anyhow::Result;
use image::RgbImage;
use mr2_backbones::pretrained::{Architecture, Description, Preprocessing, Resize};
use mr2_data::ImageSet;
use mr2_metrics::softmax;
use serde::Serialize;

use super::images::Provenance;
use super::measure::{MEASURES, Measured};
use super::run::{Classifier, Tried};
use super::seeds;
use crate::commands::audit::{self, Audited, ClassRow, Scores};
use crate::report::document::{Block, Column, Document, Figure, Section, Table};
use crate::report::files::{Report, slug};
use crate::report::plots::mistake_gallery::PHOTOS;
use crate::report::plots::{MistakeRow, mistake_gallery};
use crate::report::{Cell, Scale};

/// Rows of the gallery.
const WORST: usize = 5;

/// A backbone on a set of images.
#[derive(Clone, Debug, Serialize)]
pub struct Probe {
    /// The backbone and everything that decides its features.
    pub backbone: Description,
    /// SHA-256 over its parameters, the same before and after.
    pub encoder_sha256: String,
    /// Features of an image.
    pub width: usize,
    /// Name of the images in tables.
    pub images: String,
    /// Where they come from.
    pub provenance: Provenance,
    /// Names of the classes.
    pub class_names: Vec<String>,
    /// The class of each test image.
    #[serde(skip)]
    pub labels: Vec<u32>,
    /// The protocol, every number of it.
    pub protocol: serde_json::Value,
    /// What result rows call it.
    pub protocol_name: String,
    /// The chosen classifiers.
    pub classifiers: Vec<Classifier>,
    /// Their measures, in the same order.
    pub measures: Vec<Vec<Measured>>,
    /// Every head that was tried.
    pub heads: Vec<Tried>,
}

/// The report of that title; `tests` has each probe's test images, for photographs of the mistakes, or none of them.
///
/// # Errors
/// When a metric refuses the predictions, or a test image can't be read.
pub fn report(title: &str, probes: Vec<Probe>, tests: &[&ImageSet]) -> Result<Report<Vec<Probe>>> {
    let [means, of_seeds] = seeds::tables(&probes)?;
    let mut sections = vec![Section {
        title: "Methods".into(),
        blocks: vec![
            Block::Table(table(&probes)),
            Block::Table(differences(&probes)),
            Block::Table(means),
            Block::Table(of_seeds),
        ]
        .into_iter()
        .filter(|block| !matches!(block, Block::Table(table) if table.rows.is_empty()))
        .collect(),
    }];
    let mut plots = BTreeMap::new();
    for (number, probe) in probes.iter().enumerate() {
        let Some(first) = probe.classifiers.first() else {
            continue;
        };
        let name = format!("{} on {}", probe.backbone.name, probe.images);
        let audit = audit::report(&audited(probe, first)?)?;
        let own = |plot: &str| format!("{plot}-{}-{}", number + 1, slug(&name));
        let mut blocks = Vec::new();
        for block in audit
            .document
            .sections
            .into_iter()
            .flat_map(|section| section.blocks)
        {
            blocks.push(match block {
                Block::Figure(Figure { name, caption }) => Block::Figure(Figure {
                    name: own(&name),
                    caption,
                }),
                block => block,
            });
        }
        plots.extend(
            audit
                .plots
                .into_iter()
                .map(|(plot, scene)| (own(&plot), scene)),
        );
        let rows = match tests.get(number) {
            Some(test) => gallery(first, &audit.data.classes, probe, test)?,
            None => Vec::new(),
        };
        if !rows.is_empty() {
            plots.insert(own("gallery"), mistake_gallery(&rows));
            blocks.push(Block::Figure(Figure {
                name: own("gallery"),
                caption: "Test images of the worst classes that are taken for another one.".into(),
            }));
        }
        sections.push(Section {
            title: format!("{name}: {}", first.method),
            blocks,
        });
    }
    let document = Document {
        title: title.into(),
        summary: probes.iter().map(summary).collect(),
        sections,
    };
    Ok(Report {
        document,
        data: probes,
        plots,
    })
}

fn summary(probe: &Probe) -> String {
    let Provenance {
        source,
        images: [train, validation, test],
        division,
        skipped,
    } = &probe.provenance;
    let skipped = match skipped.len() {
        0 => String::new(),
        1 => "; 1 file couldn't be decoded and was left out".to_string(),
        n => format!("; {n} files couldn't be decoded and were left out"),
    };
    let Preprocessing {
        resize,
        interpolation,
        crop,
        ..
    } = &probe.backbone.preprocessing;
    let filter = format!("{interpolation:?}").to_lowercase();
    let images_as = match resize {
        Resize::ShortSide(side) => {
            format!("short side to {side}, the middle {crop} x {crop}, {filter}")
        }
        Resize::Square => format!("{crop} x {crop} whatever their shape, {filter}"),
    };
    let net = match &probe.backbone.architecture {
        Architecture::Vit(net) => format!(
            ", {:?} with ε {:e}, {:?} pooled{}",
            net.activation,
            net.eps,
            net.pooling,
            match net.projection {
                Some(_) => " and projected",
                None => "",
            }
        ),
        Architecture::ClipResnet(net) => format!(", {:?}", net.feature),
        Architecture::Resnet(_) | Architecture::EfficientnetLite(_) => String::new(),
    };
    let net = net.to_lowercase();
    let missing = match probe.backbone.not_in_file.len() {
        0 => String::new(),
        n => format!(", {n} PARAMETERS NOT IN THE FILE (--allow-missing)"),
    };
    format!(
        "{} ({}, SHA-256 {}…{net}{missing}), images {images_as}; {} features; {source}: {train} training, {validation} validation and {test} test images of \
         {} classes, {division}{skipped}; protocol {}.",
        probe.backbone.name,
        probe.backbone.origin,
        &probe.backbone.sha256[..12.min(probe.backbone.sha256.len())],
        probe.width,
        probe.class_names.len(),
        probe.protocol_name,
    )
}

fn table(probes: &[Probe]) -> Table {
    let mut columns = lead_columns();
    columns.extend([Column::words("chosen"), Column::shares("validation")]);
    columns.extend(MEASURES.map(|metric| Column::shares(metric.title())));
    let mut table = Table::new("Accuracy on test images, %", columns);
    for (probe, classifier, measures) in rows(probes) {
        let validation = classifier
            .chosen
            .as_ref()
            .and_then(|head| head.validation_accuracy);
        let mut row = lead(probe, classifier);
        row.push(Cell::text(&classifier.setting));
        row.push(Cell::estimate(validation, None, Scale::Percent));
        row.extend(
            measures
                .iter()
                .map(|m| Cell::estimate(m.value, None, Scale::Percent)),
        );
        table.rows.push(row);
    }
    table.notes.push(NOTE.into());
    table
}

const NOTE: &str = "Easy, medium and hard thirds and the worst class are the first method's, chosen on one half of the \
     test images and measured on the other, both ways; the table of classes below chooses and measures on the same \
     images, which makes its worst classes look worse than they are.";

/// Differences to the first method of the same backbone and images.
fn differences(probes: &[Probe]) -> Table {
    let mut columns = lead_columns();
    columns.extend(MEASURES.map(|metric| Column::numbers(metric.title())));
    let mut table = Table::new("Differences to the first method, points", columns);
    for (probe, classifier, measures) in rows(probes) {
        if measures
            .iter()
            .all(|measured| measured.difference.is_none())
        {
            continue;
        }
        let mut row = lead(probe, classifier);
        row.extend(measures.iter().map(|measured| match &measured.difference {
            Some(difference) => Cell::Difference {
                mean: difference.value,
                interval: Some(difference.interval),
                identical: false,
                n: 1,
                scale: Scale::Percent,
            },
            None => Cell::Absent,
        }));
        table.rows.push(row);
    }
    table.notes.push(
        "95 % intervals: bootstrap over test images within classes, for one fit; they don't know how another draw of \
         training images would come out."
            .into(),
    );
    table
}

fn rows(probes: &[Probe]) -> impl Iterator<Item = (&Probe, &Classifier, &Vec<Measured>)> {
    probes.iter().flat_map(|probe| {
        let of = probe.classifiers.iter().zip(&probe.measures);
        of.map(move |(classifier, measures)| (probe, classifier, measures))
    })
}

fn lead(probe: &Probe, classifier: &Classifier) -> Vec<Cell> {
    let alone = probe
        .classifiers
        .iter()
        .filter(|other| other.method == classifier.method);
    let method = match alone.count() {
        1 => classifier.method.clone(),
        _ => format!("{}, seed {}", classifier.method, classifier.seed),
    };
    lead_cells(probe, &method)
}

/// What a row is of.
pub(super) fn lead_columns() -> Vec<Column> {
    ["backbone", "images", "protocol", "method"]
        .map(Column::words)
        .to_vec()
}

/// The cells of [`lead_columns`].
pub(super) fn lead_cells(probe: &Probe, method: &str) -> Vec<Cell> {
    [
        &probe.backbone.name,
        &probe.images,
        &probe.protocol_name,
        method,
    ]
    .map(Cell::text)
    .to_vec()
}

fn audited(probe: &Probe, classifier: &Classifier) -> Result<Audited> {
    let classes = probe.class_names.len();
    let scores = match &classifier.logits {
        Some(logits) => {
            let logits: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
            Some(Scores {
                probabilities: softmax(&logits, classes)?,
                sums: None,
            })
        }
        None => None,
    };
    Ok(Audited {
        source: format!("{} on {}", probe.backbone.name, probe.images),
        class_names: probe.class_names.clone(),
        labels: probe.labels.clone(),
        predictions: classifier.predictions.clone(),
        scores,
    })
}

/// The worst classes that have mistakes, and the first photographs of these.
fn gallery(
    classifier: &Classifier,
    worst_first: &[ClassRow],
    probe: &Probe,
    test: &ImageSet,
) -> Result<Vec<MistakeRow>> {
    let mut rows = Vec::new();
    for class in worst_first
        .iter()
        .filter(|row| row.correct < row.images)
        .take(WORST)
    {
        let mistakes = (0..probe.labels.len()).filter(|&image| {
            probe.labels[image] as usize == class.class
                && classifier.predictions[image] != probe.labels[image]
        });
        let mut taken_for = Vec::new();
        for image in mistakes.take(PHOTOS) {
            let name = &probe.class_names[classifier.predictions[image] as usize];
            taken_for.push((name.clone(), photo(test, image)?));
        }
        let accuracy = class.accuracy.unwrap_or_default();
        rows.push(MistakeRow {
            class: class.name.clone(),
            note: format!("{:.1} % of {} images", 100.0 * accuracy, class.images),
            taken_for,
        });
    }
    Ok(rows)
}

/// A small copy of a test image.
fn photo(test: &ImageSet, index: usize) -> Result<RgbImage> {
    /// Longest side of the copy: twice that of the page.
    const SIDE: u32 = 224;
    let found = test.image(index)?;
    let (width, height) = (found.width as u32, found.height as u32);
    let image = RgbImage::from_raw(width, height, found.pixels.into_owned());
    let image = image.ok_or_else(|| anyhow::anyhow!("test image {index} isn't in colour"))?;
    let longest = width.max(height);
    if longest <= SIDE {
        return Ok(image);
    }
    let scaled = |side: u32| (side * SIDE / longest).max(1);
    Ok(image::imageops::thumbnail(
        &image,
        scaled(width),
        scaled(height),
    ))
}

/// What the terminal shows: the methods' tables, and each probe's classes.
pub fn printed(report: &Report<Vec<Probe>>) -> Vec<&Table> {
    let tables = report
        .document
        .sections
        .iter()
        .flat_map(|section| &section.blocks);
    let tables = tables.filter_map(|block| match block {
        Block::Table(table) => Some(table),
        _ => None,
    });
    let wanted =
        |table: &&Table| table.title != "All images" && table.title != "Most frequent mistakes";
    tables.filter(wanted).collect()
}
