//! A folder for each class, image files in it; classes in the sorted order of their names.

use super::Part;
use crate::error::{Error, Result};
use crate::image_set::{ImageSet, Split};
use crate::source::Source;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Names that are taken for images; what they hold is told from their content.
const EXTENSIONS: [&str; 10] = [
    "jpg", "jpeg", "png", "gif", "bmp", "webp", "tif", "tiff", "jpe", "jfif",
];

/// Reads a folder of class folders, as one set.
///
/// Subfolders of a class are searched too, through links as well; hidden files and files that are not
/// named like images are left out. Images come in torchvision's order, and are decoded when they are
/// used, by content, to `channels` channels.
///
/// # Errors
/// A folder that cannot be read, has no class folders, has a class folder without images, or leads to
/// the same folder twice.
pub fn read_image_folder(
    folder: &Path,
    name: &str,
    split: Split,
    channels: usize,
) -> Result<ImageSet> {
    let classes = class_names(folder)?;
    let part = read(folder, &classes, channels, Missing::Refused)?;
    ImageSet::new(name, split, classes, part.labels, part.source)
}

/// What becomes of a class that has no images in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Training: every class needs images.
    Refused,
    /// Evaluation: a class may be absent, and its accuracy is then unknown.
    Allowed,
}

/// The sorted names of the class folders in `folder`.
pub(crate) fn class_names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() {
            names.push(file_name(&path)?);
        }
    }
    if names.is_empty() {
        let reason = "has no folders. Expected one folder for each class, images in it";
        return Err(Error::folder(folder, reason));
    }
    Ok(names)
}

/// Reads the images of `classes` in `folder`, in the order of the classes.
pub(crate) fn read(
    folder: &Path,
    classes: &[String],
    channels: usize,
    missing: Missing,
) -> Result<Part> {
    if let Some(unknown) = class_names(folder)?
        .iter()
        .find(|name| !classes.contains(name))
    {
        let reason = format!(
            "folder {unknown:?} is not one of the {} classes of the training images. Remove it, \
             or give the classes in the descriptor",
            classes.len()
        );
        return Err(Error::folder(folder, reason));
    }
    let (mut paths, mut labels) = (Vec::new(), Vec::new());
    let mut seen = HashMap::new();
    for (label, class) in (0u32..).zip(classes) {
        let class_folder = folder.join(class);
        let before = paths.len();
        if class_folder.is_dir() {
            collect(&class_folder, &mut seen, &mut paths)?;
        }
        if paths.len() == before && missing == Missing::Refused {
            let reason = format!("has no images. Expected files named like {EXTENSIONS:?}");
            return Err(Error::folder(&class_folder, reason));
        }
        labels.resize(paths.len(), label);
    }
    if paths.is_empty() {
        return Err(Error::folder(
            folder,
            "has no images in any of its class folders",
        ));
    }
    Ok(Part {
        path: folder.to_path_buf(),
        labels,
        source: Source::Files { paths, channels },
    })
}

/// Appends the images of a class: those of its folder, then those of each subfolder.
fn collect(
    class_folder: &Path,
    seen: &mut HashMap<PathBuf, PathBuf>,
    paths: &mut Vec<PathBuf>,
) -> Result<()> {
    let mut found = Vec::new();
    let mut folders = vec![class_folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        check_new(&folder, seen)?;
        let mut images = Vec::new();
        for path in entries(&folder)? {
            if path.is_dir() {
                folders.push(path);
            } else if is_image_name(&path) {
                images.push(path);
            } else {
                tracing::warn!(file = %path.display(), "left out: not named like an image");
            }
        }
        found.push((folder, images));
    }
    // torchvision's order, by the whole name: `a-b` before `a/c`; paths compare part by part.
    found.sort_by(|(a, _), (b, _)| a.as_os_str().cmp(b.as_os_str()));
    paths.extend(found.into_iter().flat_map(|(_, images)| images));
    Ok(())
}

/// Links may lead back to where we come from, without end, or to another class.
fn check_new(folder: &Path, seen: &mut HashMap<PathBuf, PathBuf>) -> Result<()> {
    let real = fs::canonicalize(folder).map_err(|cause| Error::io(folder, cause))?;
    match seen.insert(real, folder.to_path_buf()) {
        Some(first) => {
            let reason = format!(
                "is the same folder as {}. Remove the link: its images would count twice",
                first.display()
            );
            Err(Error::folder(folder, reason))
        }
        None => Ok(()),
    }
}

/// True if image files lie in the folder itself.
pub(crate) fn holds_images(folder: &Path) -> Result<bool> {
    let entries = entries(folder)?;
    Ok(entries
        .iter()
        .any(|path| !path.is_dir() && is_image_name(path)))
}

fn is_image_name(path: &Path) -> bool {
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    EXTENSIONS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(extension))
}

/// What is in a folder, sorted by name, without hidden entries (`._x.jpg` is not an image).
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |cause| Error::io(folder, cause);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    let reason = "its name is not Unicode. Rename it: it is the name of a class";
    name.map(str::to_string)
        .ok_or_else(|| Error::folder(path, reason))
}
