//! `mr2 data check`: reads a data set as training would and says what was checked.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use mr2_data::{Checksum, DataSplits, Descriptor, Error, ImageSet, ReadFile, open};
use rayon::prelude::*;
use serde::Serialize;

use crate::assemble::{descriptor, not_opened};
use crate::commands::{Output, write_json};
use crate::report::document::{Column, Table};
use crate::report::{Cell, terminal};

/// Up to this many classes the terminal lists all of them.
const LISTED_CLASSES: usize = 100;
/// Digits of a checksum that the terminal shows.
const DIGITS: usize = 12;
/// Images that can't be used are listed up to this number, and counted.
const LISTED_IMAGES: usize = 20;

/// A data set that was read without an error.
#[derive(Serialize)]
struct Checked {
    name: String,
    folder: PathBuf,
    /// Number of images by part.
    images: BTreeMap<Part, usize>,
    classes: Vec<CheckedClass>,
    files: Vec<ReadFile>,
    /// Images that were decoded one by one; the others came whole with the files above.
    images_decoded: usize,
    /// Whether the training labels were compared with the order of the original release.
    label_order_checked: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    Train,
    Validation,
    Test,
}

#[derive(Serialize)]
struct CheckedClass {
    name: String,
    images: BTreeMap<Part, u64>,
}

/// Runs the command.
///
/// # Errors
/// When the data set is missing (the message says where it can be had), differs from its descriptor or
/// has images that can't be decoded; the message names the files.
pub fn run(name: &str, root: &Path, output: &Output, out: &mut dyn Write) -> Result<()> {
    let (descriptor, folder) = descriptor(name, root)?;
    let splits =
        open(&descriptor, &folder, None).map_err(|error| explained(error, &descriptor, &folder))?;
    let checked = checked(&descriptor, folder, splits)?;
    if output.json {
        return write_json(&checked, out);
    }
    print(&checked, &descriptor, out)
}

fn explained(error: Error, descriptor: &Descriptor, folder: &Path) -> anyhow::Error {
    match error {
        // Nothing was learnt about the data.
        Error::NotFound { .. } | Error::Io { .. } | Error::Descriptor { .. } => {
            not_opened(error, folder)
        }
        error => anyhow::Error::new(error).context(format!(
            "data set {} is not what its descriptor says (it can be had from {})",
            descriptor.name, descriptor.source
        )),
    }
}

fn checked(descriptor: &Descriptor, folder: PathBuf, splits: DataSplits) -> Result<Checked> {
    let mut parts: BTreeMap<Part, &ImageSet> =
        BTreeMap::from([(Part::Train, &*splits.train), (Part::Test, &*splits.test)]);
    if let Some(validation) = &splits.validation {
        parts.insert(Part::Validation, validation);
    }
    let images_decoded = decode_all(descriptor, parts.values())?;
    let counts: BTreeMap<Part, Vec<u64>> = parts
        .iter()
        .map(|(part, set)| (*part, set.counts().into_iter().map(|n| n as u64).collect()))
        .collect();
    let class = |(index, name): (usize, &String)| CheckedClass {
        name: name.clone(),
        images: counts.iter().map(|(part, n)| (*part, n[index])).collect(),
    };
    let classes = splits.train.classes().iter().enumerate();
    Ok(Checked {
        name: descriptor.name.clone(),
        images: parts.iter().map(|(part, set)| (*part, set.len())).collect(),
        classes: classes.map(class).collect(),
        files: splits.files,
        images_decoded,
        label_order_checked: descriptor.label_order_md5.is_some(),
        folder,
    })
}

/// Decodes the images that `open` has left to be decoded when they are used, and counts them.
fn decode_all<'a>(
    descriptor: &Descriptor,
    sets: impl Iterator<Item = &'a &'a ImageSet>,
) -> Result<usize> {
    let (mut images, mut problems) = (0, Vec::new());
    for set in sets.filter(|set| set.image_shape().is_none()) {
        images += set.len();
        let problem = |index| decode(set, index, descriptor.image_size()).err();
        problems.par_extend((0..set.len()).into_par_iter().filter_map(problem));
    }
    if problems.is_empty() {
        return Ok(images);
    }
    let mut list = String::new();
    for problem in problems.iter().take(LISTED_IMAGES) {
        list += &format!("\n  {problem}");
    }
    if let more @ 1.. = problems.len().saturating_sub(LISTED_IMAGES) {
        list += &format!("\n  and {more} more");
    }
    bail!(
        "data set {}: {} of {images} images can't be used:{list}",
        descriptor.name,
        problems.len()
    )
}

fn decode(set: &ImageSet, index: usize, size: Option<(usize, usize)>) -> mr2_data::Result<()> {
    let image = set.image(index)?;
    match size {
        Some((height, width)) if (image.height, image.width) != (height, width) => {
            Err(Error::ImageSize {
                path: set.image_name(index).into(),
                expected: format!("{height} x {width}"),
                found: format!("{} x {}", image.height, image.width),
            })
        }
        _ => Ok(()),
    }
}

fn print(checked: &Checked, descriptor: &Descriptor, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{}", descriptor.summary)?;
    writeln!(out, "Folder: {}\n", checked.folder.display())?;
    if checked.classes.len() <= LISTED_CLASSES {
        let style = terminal::Style::of_stdout();
        write!(out, "{}", terminal::render_table(&table(checked), style))?;
    } else {
        for (part, images) in &checked.images {
            let of_class = checked.classes.iter().filter_map(|c| c.images.get(part));
            let (least, most) = (of_class.clone().min(), of_class.max());
            writeln!(
                out,
                "{} {} images of {} classes, {} to {} a class (--json lists them)",
                images,
                part.name(),
                checked.classes.len(),
                least.unwrap_or(&0),
                most.unwrap_or(&0)
            )?;
        }
    }
    writeln!(out)?;
    for ReadFile { file, checksum } in &checked.files {
        let (kind, sum) = match checksum {
            Some(Checksum::Sha256(sum)) => ("SHA-256 matches", sum.as_str()),
            Some(Checksum::ContentSha256(sum)) => ("SHA-256 of the content matches", sum.as_str()),
            Some(Checksum::Md5(sum)) => ("MD5 matches", sum.as_str()),
            None => ("no checksum is known, not checked", ""),
        };
        let digits = sum
            .get(..DIGITS)
            .map_or(String::new(), |d| format!(" ({d}…)"));
        writeln!(out, "{file}: {kind}{digits}")?;
    }
    if checked.images_decoded > 0 {
        writeln!(
            out,
            "{} images: each can be decoded",
            checked.images_decoded
        )?;
    }
    if checked.label_order_checked {
        writeln!(out, "Training labels: in the order of the original release")?;
    }
    writeln!(out, "{}: whole", checked.name)?;
    Ok(())
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Train => "training",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

fn table(checked: &Checked) -> Table {
    let mut columns = vec![Column::words("class")];
    columns.extend(
        checked
            .images
            .keys()
            .map(|part| Column::numbers(part.name())),
    );
    let mut table = Table::new("Images", columns);
    for class in &checked.classes {
        let mut row = vec![Cell::text(&class.name)];
        row.extend(class.images.values().map(|&value| Cell::Count { value }));
        table.rows.push(row);
    }
    let mut all = vec![Cell::text("all")];
    all.extend(checked.images.values().map(|&images| Cell::count(images)));
    table.rows.push(all);
    table
}
