//! A folder of class folders as training, validation and test images: the parts that are there, and for the
//! rest a division by content, which is the same on every machine and keeps copies together.

use crate::decode;
use crate::division::{Division, Share, divide};
use crate::error::{Error, Result};
use crate::files::read_file;
use crate::formats::Part;
use crate::formats::image_folder::{self, Missing};
use crate::image_set::{ImageSet, Split};
use crate::open::DataSplits;
use crate::parallel::in_parallel;
use crate::source::Source;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names of the folder of validation images.
const VALIDATION: [&str; 3] = ["val", "validation", "valid"];

/// What becomes of files that can't be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadImages {
    /// The error that names the file comes when the image is used.
    Refused,
    /// Every file is decoded once at the start, and those that can't be are left out of every part.
    Skipped,
}

/// Where a part comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A folder of its own.
    Provided,
    /// The training images, by the hash of their content.
    Made,
}

/// A file that was left out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SkippedImage {
    /// The file.
    pub path: PathBuf,
    /// Why it can't be used; names the file.
    pub reason: String,
}

/// The parts of a folder, and what was decided on the way.
#[derive(Debug, Clone)]
pub struct ClassFolders {
    /// The parts; the validation part is always there.
    pub splits: DataSplits,
    /// Where the validation part comes from.
    pub validation: Origin,
    /// Where the test part comes from.
    pub test: Origin,
    /// Files that were left out, in the order of their folders; none unless [`BadImages::Skipped`].
    pub skipped: Vec<SkippedImage>,
}

/// Opens a folder of class folders, or of `train`, `val` (or `validation`, `valid`) and `test` folders of
/// class folders.
///
/// Parts that are not there are made of the training images: of the distinct contents of each class, in
/// the order of their SHA-256, the first 20 % (rounded, at least one) are for the test, the next 10 % for
/// validation, the rest for training. Where only one part is missing, the shares keep their proportion to
/// the training images: 1 / 8 for validation, 2 / 9 for the test. Copies of an image are in one part,
/// across classes too; a content under two labels is logged with both files. A folder `train` that holds image
/// files is a class of that name. Work is shared by `threads` threads, which change nothing.
///
/// # Errors
/// A folder without class folders, or with others beside `train`; a class with too few distinct images for
/// the parts (3 where both are made); a file that can't be read.
pub fn open_class_folders(
    root: &Path,
    name: &str,
    channels: usize,
    bad: BadImages,
    threads: usize,
) -> Result<ClassFolders> {
    let layout = Layout::of(root)?;
    let classes = image_folder::class_names(&layout.train)?;
    let mut skipped = Vec::new();
    let mut read = |folder: &Path, missing| -> Result<Part> {
        let part = image_folder::read(folder, &classes, channels, missing)?;
        match bad {
            BadImages::Refused => Ok(part),
            BadImages::Skipped => without_bad(part, channels, threads, &mut skipped),
        }
    };
    let train = read(&layout.train, Missing::Refused)?;
    let mut provided = |folder: &Option<PathBuf>, split| -> Result<Option<ImageSet>> {
        let Some(folder) = folder else {
            return Ok(None);
        };
        let part = read(folder, Missing::Allowed)?;
        let set = ImageSet::new(name, split, classes.clone(), part.labels, part.source)?;
        Ok(Some(set))
    };
    let validation = provided(&layout.validation, Split::Validation)?;
    let test = provided(&layout.test, Split::Test)?;
    let origin = |part: &Option<ImageSet>| match part {
        Some(_) => Origin::Provided,
        None => Origin::Made,
    };
    let (validation_origin, test_origin) = (origin(&validation), origin(&test));
    let hashes = match (validation_origin, test_origin) {
        (Origin::Provided, Origin::Provided) => Vec::new(),
        _ => contents(&train, threads)?,
    };
    let train = ImageSet::new(name, Split::Train, classes, train.labels, train.source)?;
    let made = made(&train, &hashes, validation_origin, test_origin)?;
    let splits = DataSplits {
        train: Arc::new(train.subset(Split::Train, &made.train)?),
        validation: Some(Arc::new(match validation {
            Some(set) => set,
            None => train.subset(Split::Validation, &made.validation)?,
        })),
        test: Arc::new(match test {
            Some(set) => set,
            None => train.subset(Split::Test, &made.test)?,
        }),
        files: Vec::new(),
    };
    Ok(ClassFolders {
        splits,
        validation: validation_origin,
        test: test_origin,
        skipped,
    })
}

/// The folders of the parts.
struct Layout {
    train: PathBuf,
    validation: Option<PathBuf>,
    test: Option<PathBuf>,
}

impl Layout {
    fn of(root: &Path) -> Result<Self> {
        let names = image_folder::class_names(root)?;
        let train = root.join("train");
        if !train.is_dir() || image_folder::holds_images(&train)? {
            return Ok(Layout {
                train: root.to_path_buf(),
                validation: None,
                test: None,
            });
        }
        let known = |name: &&String| {
            ["train", "test"].contains(&name.as_str()) || VALIDATION.contains(&name.as_str())
        };
        if let Some(other) = names.iter().find(|name| !known(name)) {
            let reason = format!(
                "holds the folder {other:?} beside `train`. Expected class folders only, or only \
                 `train`, `val` and `test` with class folders in each"
            );
            return Err(Error::folder(root, reason));
        }
        let folders = VALIDATION.iter().map(|name| root.join(name));
        let mut folders = folders.filter(|path| path.is_dir());
        let (first, second) = (folders.next(), folders.next());
        if let (Some(first), Some(second)) = (&first, &second) {
            let reason = format!(
                "is a validation part beside {}. Keep one of them",
                first.display()
            );
            return Err(Error::folder(second, reason));
        }
        let test = Some(root.join("test")).filter(|path| path.is_dir());
        Ok(Layout {
            train,
            validation: first,
            test,
        })
    }
}

/// The part without the files that can't be decoded.
fn without_bad(
    part: Part,
    channels: usize,
    threads: usize,
    skipped: &mut Vec<SkippedImage>,
) -> Result<Part> {
    let paths = files_of(&part).to_vec();
    let failures = in_parallel(&paths, threads, |path| {
        decode::file(path, channels).err().map(|e| e.to_string())
    });
    let (mut kept, mut labels) = (Vec::new(), Vec::new());
    for ((path, failure), label) in paths.into_iter().zip(failures).zip(part.labels) {
        match failure {
            Some(reason) => skipped.push(SkippedImage { path, reason }),
            None => {
                kept.push(path);
                labels.push(label);
            }
        }
    }
    if kept.is_empty() {
        let reason = "has no image that can be decoded";
        return Err(Error::folder(&part.path, reason));
    }
    Ok(Part {
        path: part.path,
        labels,
        source: Source::Files {
            paths: kept,
            channels,
        },
    })
}

fn files_of(part: &Part) -> &[PathBuf] {
    match &part.source {
        Source::Files { paths, .. } => paths,
        Source::Memory { .. } | Source::Encoded { .. } => &[],
    }
}

/// The SHA-256 of every file.
fn contents(part: &Part, threads: usize) -> Result<Vec<[u8; 32]>> {
    let hash = |path: &PathBuf| -> Result<[u8; 32]> {
        Ok(Sha256::digest(read_file(path, decode::MAX_FILE_BYTES)?).into())
    };
    in_parallel(files_of(part), threads, hash)
        .into_iter()
        .collect()
}

/// Divides the training images into those that stay and the parts that are made.
fn made(
    train: &ImageSet,
    hashes: &[[u8; 32]],
    validation: Origin,
    test: Origin,
) -> Result<Division> {
    if hashes.is_empty() {
        if let Some(class) = train.counts().iter().position(|&images| images == 0) {
            return Err(Error::FewDistinctImages {
                set: train.name().to_string(),
                class: train.classes()[class].clone(),
                found: 0,
                needed: 1,
            });
        }
        let train = (0..train.len() as u32).collect();
        return Ok(Division {
            train,
            ..Division::default()
        });
    }
    report_conflicts(train, hashes);
    let share = |origin, parts| match origin {
        Origin::Made => Share(parts),
        Origin::Provided => Share(0),
    };
    divide(train, hashes, share(validation, 1), share(test, 2))
}

/// One content under two labels: at least one of the two is wrong.
fn report_conflicts(set: &ImageSet, hashes: &[[u8; 32]]) {
    let mut first: HashMap<[u8; 32], usize> = HashMap::new();
    for (index, hash) in hashes.iter().enumerate() {
        let earlier = *first.entry(*hash).or_insert(index);
        if set.labels()[earlier] != set.labels()[index] {
            let (a, b) = (set.image_name(earlier), set.image_name(index));
            tracing::warn!("{a} and {b} are the same image in two classes: one label is wrong");
        }
    }
}
