//! `mr2 data check`: reads a data set as training would and says what was checked.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use mr2_data::{Checksum, DataSplits, Descriptor, Error, ImageSet, Layout, open};
use serde::Serialize;

use crate::assemble::descriptor;
use crate::commands::{Output, write_json};
use crate::report::document::{Column, Table};
use crate::report::{Cell, terminal};

/// Up to this many classes the terminal lists all of them.
const LISTED_CLASSES: usize = 100;
/// Digits of a checksum that the terminal shows.
const DIGITS: usize = 12;

/// A data set that was read without an error.
#[derive(Serialize)]
struct Checked {
    name: String,
    folder: PathBuf,
    /// Number of images by part.
    images: BTreeMap<Part, usize>,
    classes: Vec<CheckedClass>,
    files: Vec<CheckedFile>,
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

#[derive(Serialize)]
struct CheckedFile {
    file: String,
    /// The descriptor's checksum, which the file has; `None` where the descriptor lists none.
    checksum: Option<Checksum>,
}

/// Runs the command.
///
/// # Errors
/// When the data set is missing or differs from its descriptor; the message names the file and says
/// where the data set can be had.
pub fn run(name: &str, root: &Path, output: &Output, out: &mut dyn Write) -> Result<()> {
    let (descriptor, folder) = descriptor(name, root)?;
    let (splits, layout) =
        read(&descriptor, &folder).map_err(|error| explained(error, &descriptor, &folder))?;
    let checked = checked(&descriptor, folder, &splits, layout);
    if output.json {
        return write_json(&checked, out);
    }
    print(&checked, &descriptor, out)
}

/// Reads the data set, and says which of its layouts was found.
fn read<'a>(
    descriptor: &'a Descriptor,
    folder: &Path,
) -> mr2_data::Result<(DataSplits, &'a Layout)> {
    for layout in &descriptor.layouts {
        let alone = Descriptor {
            layouts: vec![layout.clone()],
            ..descriptor.clone()
        };
        match open(&alone, folder, None) {
            Err(Error::NotFound { .. }) => {}
            found => return found.map(|splits| (splits, layout)),
        }
    }
    // All of them are missing; this error names what was looked for in each.
    open(descriptor, folder, None).map(|splits| (splits, &descriptor.layouts[0]))
}

fn explained(error: Error, descriptor: &Descriptor, folder: &Path) -> anyhow::Error {
    match error {
        Error::NotFound { .. } => anyhow!(
            "{error}. Here that folder is {0}; a link will do: ln -s /where/it/is {0}",
            folder.display()
        ),
        error => anyhow::Error::new(error).context(format!(
            "data set {} is damaged (it can be had from {})",
            descriptor.name, descriptor.source
        )),
    }
}

fn checked(
    descriptor: &Descriptor,
    folder: PathBuf,
    splits: &DataSplits,
    layout: &Layout,
) -> Checked {
    let mut parts: BTreeMap<Part, &ImageSet> =
        BTreeMap::from([(Part::Train, &*splits.train), (Part::Test, &*splits.test)]);
    if let Some(validation) = &splits.validation {
        parts.insert(Part::Validation, validation);
    }
    let counts: BTreeMap<Part, Vec<u64>> = parts
        .iter()
        .map(|(part, set)| (*part, set.counts().into_iter().map(|n| n as u64).collect()))
        .collect();
    let class = |(index, name): (usize, &String)| CheckedClass {
        name: name.clone(),
        images: counts.iter().map(|(part, n)| (*part, n[index])).collect(),
    };
    Checked {
        name: descriptor.name.clone(),
        images: parts.iter().map(|(part, set)| (*part, set.len())).collect(),
        classes: splits
            .train
            .classes()
            .iter()
            .enumerate()
            .map(class)
            .collect(),
        files: files(descriptor, &folder, layout),
        label_order_checked: descriptor.label_order_md5.is_some(),
        folder,
    }
}

/// The files that were read, each with the checksum that it was compared with on reading.
fn files(descriptor: &Descriptor, folder: &Path, layout: &Layout) -> Vec<CheckedFile> {
    let names: Vec<&String> = match layout {
        Layout::Idx {
            train_images,
            train_labels,
            test_images,
            test_labels,
        } => vec![train_images, train_labels, test_images, test_labels],
        Layout::CifarPickle {
            archive: Some(archive),
            ..
        } => vec![archive],
        Layout::CifarBinary { train, test, .. }
        | Layout::CifarPickle { train, test, .. }
        | Layout::HubParquet { train, test, .. } => train.iter().chain(test).collect(),
        // Its images are in as many files; there are no checksums for them.
        Layout::ImageFolder { .. } => Vec::new(),
    };
    let gzipped = matches!(layout, Layout::Idx { .. });
    let file = |name: &String| {
        let found = match gzipped && !folder.join(name).is_file() {
            true => format!("{name}.gz"),
            false => name.clone(),
        };
        let content = descriptor.checksums.get(name.trim_end_matches(".gz"));
        let content = content.filter(|sum| gzipped && matches!(sum, Checksum::ContentSha256(_)));
        CheckedFile {
            checksum: descriptor.checksums.get(&found).or(content).cloned(),
            file: found,
        }
    };
    names.into_iter().map(file).collect()
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
    for CheckedFile { file, checksum } in &checked.files {
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
