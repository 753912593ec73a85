//! Parquet files as the Hugging Face Hub keeps images in: a struct column {bytes, path} of encoded
//! images and an integer column of labels, found by name.

use super::parquet_pages::CheckedPages;
use super::{Part, class_labels};
use crate::decode;
use crate::error::{Error, Result};
use crate::files::{Files, MAX_BYTES};
use crate::source::Source;
use bytes::Bytes;
use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Rows read at a time; bounds what a hostile row count can make us reserve.
const ROWS_AT_A_TIME: usize = 1024;

/// The columns to read and what they should hold.
pub(crate) struct Columns<'a> {
    pub image: &'a str,
    pub label: &'a str,
    pub channels: usize,
    /// Fixed (height, width): images are then decoded at once, else when they are used.
    pub size: Option<(usize, usize)>,
    pub classes: usize,
}

/// Reads the rows of `names` in order.
pub(crate) fn read(files: &Files, names: &[String], columns: &Columns) -> Result<Part> {
    let (mut encoded, mut pixels, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    let mut kept = 0;
    for name in names {
        let path = files.path(name);
        let bytes = files.read(name)?;
        let (images, numbers) = read_file(&path, bytes, columns, &mut kept)?;
        labels.extend(class_labels(&path, &numbers, columns.classes)?);
        for (row, image) in images.into_iter().enumerate() {
            match columns.size {
                Some(size) => decode_one(&path, row, &image, size, columns, &mut pixels)?,
                None => encoded.push(image),
            }
        }
    }
    let path = names
        .first()
        .map(|name| files.path(name))
        .unwrap_or_default();
    let channels = columns.channels;
    let source = match columns.size {
        Some((height, width)) => Source::Memory {
            pixels,
            height,
            width,
            channels,
        },
        None => Source::Encoded {
            files: encoded,
            channels,
        },
    };
    Ok(Part {
        path,
        labels,
        source,
    })
}

fn decode_one(
    path: &Path,
    row: usize,
    encoded: &[u8],
    size: (usize, usize),
    columns: &Columns,
    pixels: &mut Vec<u8>,
) -> Result<()> {
    let path = path.join(format!("row {row}"));
    let image = decode::bytes(&path, encoded, columns.channels)?;
    if (image.height, image.width) != size {
        let expected = format!("{} x {}", size.0, size.1);
        let found = format!("{} x {}", image.height, image.width);
        return Err(Error::ImageSize {
            path,
            expected,
            found,
        });
    }
    pixels.extend_from_slice(&image.pixels);
    Ok(())
}

/// Encoded images, copied out of the pages that they came in, and labels.
type Rows = (Vec<Vec<u8>>, Vec<i64>);

/// The parquet crate is not written for hostile files and can panic on them; here that is an error.
fn read_file(path: &Path, bytes: Vec<u8>, columns: &Columns, kept: &mut u64) -> Result<Rows> {
    let read = AssertUnwindSafe(|| read_rows(path, bytes, columns, kept));
    catch_unwind(read).unwrap_or_else(|_| {
        Err(Error::parquet(
            path,
            "its structure is damaged: get it again",
        ))
    })
}

fn read_rows(path: &Path, bytes: Vec<u8>, columns: &Columns, kept: &mut u64) -> Result<Rows> {
    let damaged = |error: ParquetError| Error::parquet(path, format!("{error}: get it again"));
    let file = SerializedFileReader::new(Bytes::from(bytes)).map_err(damaged)?;
    let schema = file.metadata().file_metadata().schema_descr();
    let find = |name: &str, kinds: &[Type]| {
        let column = (0..schema.num_columns())
            .find(|&i| schema.column(i).path().string() == name)
            .filter(|&i| kinds.contains(&schema.column(i).physical_type()))
            .filter(|&i| schema.column(i).max_rep_level() == 0);
        column.ok_or_else(|| {
            let names: Vec<_> = schema
                .columns()
                .iter()
                .map(|column| column.path().string())
                .collect();
            let reason = format!(
                "expected a column {name:?} of type {kinds:?}, found {names:?}. Correct \
                 `image_column` and `label_column` in the descriptor"
            );
            Error::parquet(path, reason)
        })
    };
    let image = find(&format!("{}.bytes", columns.image), &[Type::BYTE_ARRAY])?;
    let label = find(columns.label, &[Type::INT64, Type::INT32])?;
    // A dictionary makes millions of rows of a few bytes, so each row is counted as it comes.
    let unpacked = columns.size.map_or(0, |(h, w)| h * w * columns.channels);
    let mut keep = |bytes: usize| {
        *kept = kept.saturating_add(bytes as u64);
        match *kept > MAX_BYTES {
            false => Ok(()),
            true => Err(Error::TooLarge {
                path: path.to_path_buf(),
                what: "what the images unpack to",
                bytes: *kept,
                limit: MAX_BYTES,
            }),
        }
    };
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for index in 0..file.num_row_groups() {
        let group = file.get_row_group(index).map_err(damaged)?;
        let take_image = |encoded: ByteArray| {
            keep(encoded.len().max(unpacked) + size_of::<Vec<u8>>())?;
            images.push(encoded.data().to_vec());
            Ok(())
        };
        read_images(path, &*group, image, take_image)?;
        let take_label = |number: i64| {
            keep(size_of::<i64>())?;
            labels.push(number);
            Ok(())
        };
        read_labels(path, &*group, label, take_label)?;
    }
    if images.len() != labels.len() {
        return Err(Error::Count {
            path: path.to_path_buf(),
            what: "labels",
            why: "one for each image",
            expected: images.len(),
            found: labels.len(),
        });
    }
    Ok((images, labels))
}

fn read_images(
    path: &Path,
    group: &dyn RowGroupReader,
    index: usize,
    take: impl FnMut(ByteArray) -> Result<()>,
) -> Result<()> {
    match column_reader(path, group, index)? {
        ColumnReader::ByteArrayColumnReader(reader) => column(path, reader, take),
        _ => Err(Error::parquet(path, "the image column changes its type")),
    }
}

fn read_labels(
    path: &Path,
    group: &dyn RowGroupReader,
    index: usize,
    mut take: impl FnMut(i64) -> Result<()>,
) -> Result<()> {
    match column_reader(path, group, index)? {
        ColumnReader::Int64ColumnReader(reader) => column(path, reader, take),
        ColumnReader::Int32ColumnReader(reader) => column(path, reader, |l| take(l.into())),
        _ => Err(Error::parquet(path, "the label column changes its type")),
    }
}

fn column_reader(path: &Path, group: &dyn RowGroupReader, index: usize) -> Result<ColumnReader> {
    let size = group.metadata().column(index).uncompressed_size();
    if u64::try_from(size).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(Error::TooLarge {
            path: path.to_path_buf(),
            what: "a column",
            bytes: size as u64,
            limit: MAX_BYTES,
        });
    }
    let pages = group
        .get_column_page_reader(index)
        .map_err(|error| Error::parquet(path, format!("{error}: get it again")))?;
    let description = group.metadata().schema_descr().column(index);
    Ok(get_column_reader(
        description,
        Box::new(CheckedPages(pages)),
    ))
}

/// Hands every value of a column to `take`; a missing value is an error.
fn column<T: DataType>(
    path: &Path,
    mut reader: ColumnReaderImpl<T>,
    mut take: impl FnMut(T::T) -> Result<()>,
) -> Result<()> {
    let mut row = 0;
    loop {
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        let (records, found, _) = reader
            .read_records(ROWS_AT_A_TIME, Some(&mut levels), None, &mut values)
            .map_err(|error| Error::parquet(path, format!("{error}: get it again")))?;
        if records == 0 {
            return Ok(());
        }
        if found != records {
            let rows = format!("rows {row} to {}", row + records - 1);
            return Err(Error::parquet(
                path,
                format!("a value is missing in {rows}"),
            ));
        }
        values.into_iter().try_for_each(&mut take)?;
        row += records;
    }
}
