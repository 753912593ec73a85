//! Which layout of a data set is on disk, and the reader of each.

use crate::descriptor::{Descriptor, Layout};
use crate::error::{Error, Result};
use crate::files::Files;
use crate::formats::image_folder::Missing;
use crate::formats::{Part, cifar_binary, cifar_pickle, hub_parquet, idx, image_folder};

/// What a layout holds.
pub(crate) struct Parts {
    pub classes: Vec<String>,
    pub train: Part,
    pub validation: Option<Part>,
    pub test: Part,
}

/// The first layout that is complete.
pub(crate) fn find<'a>(descriptor: &'a Descriptor, files: &Files) -> Result<&'a Layout> {
    let mut missing = Vec::new();
    for layout in &descriptor.layouts {
        match first_missing(layout, files) {
            None => return Ok(layout),
            Some(name) => missing.push(name),
        }
    }
    Err(Error::NotFound {
        name: descriptor.name.clone(),
        root: files.root.to_path_buf(),
        looked_for: missing.join(", "),
        source_url: descriptor.source.clone(),
    })
}

fn first_missing(layout: &Layout, files: &Files) -> Option<String> {
    let absent = |name: &&String| match layout {
        Layout::Idx { .. } => idx::present(files, name).is_none(),
        Layout::ImageFolder { .. } => !files.path(name).is_dir(),
        _ => !files.path(name).is_file(),
    };
    layout.entries().into_iter().find(absent).cloned()
}

/// Reads a layout.
pub(crate) fn read(descriptor: &Descriptor, layout: &Layout, files: &Files) -> Result<Parts> {
    let classes = descriptor.classes.len();
    // `validate` has seen to it that the layouts of fixed size have one.
    let size = descriptor.image_size().unwrap_or_default();
    let (train, test) = match layout {
        Layout::Idx {
            train_images,
            train_labels,
            test_images,
            test_labels,
        } => {
            let names = [train_images, train_labels, test_images, test_labels];
            read_idx(descriptor, files, names, size)?
        }
        Layout::CifarBinary {
            labels_per_record,
            train,
            test,
        } => {
            let read = |names| cifar_binary::read(files, names, *labels_per_record, size, classes);
            (read(train)?, read(test)?)
        }
        Layout::CifarPickle {
            archive,
            label_key,
            train,
            test,
        } => {
            let mut batches = cifar_pickle::open(files, archive.as_deref(), &[train, test])?;
            let mut read =
                |names| cifar_pickle::read(&mut batches, names, label_key, size, classes);
            (read(train)?, read(test)?)
        }
        Layout::HubParquet {
            image_column,
            label_column,
            train,
            test,
        } => {
            let columns = hub_columns(descriptor, image_column, label_column);
            let read = |names| hub_parquet::read(files, names, &columns);
            (read(train)?, read(test)?)
        }
        Layout::ImageFolder {
            train,
            validation,
            test,
        } => {
            return read_folders(descriptor, files, train, validation.as_deref(), test);
        }
    };
    let classes = descriptor.classes.clone();
    Ok(Parts {
        classes,
        train,
        validation: None,
        test,
    })
}

/// `names`: training images and labels, test images and labels.
fn read_idx(
    descriptor: &Descriptor,
    files: &Files,
    names: [&String; 4],
    size: (usize, usize),
) -> Result<(Part, Part)> {
    let classes = descriptor.classes.len();
    let read = |images, labels, count| {
        idx::read(
            files,
            images,
            labels,
            &idx::Expected {
                size,
                classes,
                count,
            },
        )
    };
    let train = read(names[0], names[1], descriptor.train_images)?;
    Ok((train, read(names[2], names[3], descriptor.test_images)?))
}

fn hub_columns<'a>(
    descriptor: &Descriptor,
    image: &'a str,
    label: &'a str,
) -> hub_parquet::Columns<'a> {
    let (channels, size) = (descriptor.channels, descriptor.image_size());
    let classes = descriptor.classes.len();
    hub_parquet::Columns {
        image,
        label,
        channels,
        size,
        classes,
    }
}

fn read_folders(
    descriptor: &Descriptor,
    files: &Files,
    train: &str,
    validation: Option<&str>,
    test: &str,
) -> Result<Parts> {
    let classes = match descriptor.classes.is_empty() {
        true => image_folder::class_names(&files.path(train))?,
        false => descriptor.classes.clone(),
    };
    let read = |folder: &str, missing| {
        image_folder::read(&files.path(folder), &classes, descriptor.channels, missing)
    };
    let train = read(train, Missing::Refused)?;
    let validation = validation
        .map(|folder| read(folder, Missing::Allowed))
        .transpose()?;
    let test = read(test, Missing::Allowed)?;
    Ok(Parts {
        classes,
        train,
        validation,
        test,
    })
}
