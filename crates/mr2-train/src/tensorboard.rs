//! Scalars as TensorBoard event files.
//!
//! Written here, in some forty lines of format, because no crate fits: `tensorboard-rs` panics on
//! a background thread when the disk is full, and again in `Drop`, which aborts the process, and
//! it brings a protobuf with a published advisory; `tboard` and `tfrecord` run `protoc` when they
//! are built. A record is its length, the masked CRC-32C of the length, a protobuf `Event`, and
//! the masked CRC-32C of the event.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::run_folder::{FileSystem, SyncFile, append};

/// An event file; each start of a run has its own.
pub struct EventFile {
    file: Box<dyn SyncFile>,
    path: PathBuf,
}

impl EventFile {
    /// Starts a new file in `folder` for a run that continues after `step`.
    ///
    /// TensorBoard is told to drop what earlier files hold beyond that step.
    ///
    /// # Errors
    /// When the file can't be made or written.
    pub fn create(files: &dyn FileSystem, folder: &Path, step: u64) -> Result<Self> {
        let path = new_name(folder);
        let file = append(files, &path)?;
        let mut events = Self { file, path };
        events.write(&event(0, &bytes_field(3, b"brain.Event:2")))?;
        const SESSION_START: u64 = 1;
        let start = bytes_field(7, &varint_field(1, SESSION_START));
        events.write(&event(step + 1, &start))?;
        Ok(events)
    }

    /// Appends scalars of one step.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn scalars(&mut self, step: u64, values: &[(String, f64)]) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut entry = bytes_field(1, tag.as_bytes());
            entry.push((2 << 3) | WIRE_FIXED32);
            // TensorBoard's scalars are single precision.
            entry.extend((*value as f32).to_le_bytes());
            summary.extend(bytes_field(1, &entry));
        }
        self.write(&event(step, &bytes_field(5, &summary)))
    }

    /// Brings the events to the disk.
    ///
    /// # Errors
    /// When that fails.
    pub fn sync(&mut self) -> Result<()> {
        self.file
            .sync()
            .map_err(Error::io(&self.path, "sync the TensorBoard events"))
    }

    fn write(&mut self, event: &[u8]) -> Result<()> {
        self.file
            .write_all(&record(event))
            .map_err(Error::io(&self.path, "write a TensorBoard event"))
    }
}

/// A name that no file has: TensorBoard reads the files of a folder in the order of their names.
fn new_name(folder: &Path) -> PathBuf {
    let seconds = wall_time() as u64;
    let name = |n| folder.join(format!("events.out.tfevents.{seconds:010}.{n:04}.mr2"));
    let mut n = 0;
    while name(n).exists() {
        n += 1;
    }
    name(n)
}

fn wall_time() -> f64 {
    // A clock before 1970 only puts the points at 1970.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}

const WIRE_VARINT: u8 = 0;
const WIRE_FIXED64: u8 = 1;
const WIRE_BYTES: u8 = 2;
const WIRE_FIXED32: u8 = 5;

/// `Event { wall_time = 1, step = 2, what }`.
fn event(step: u64, what: &[u8]) -> Vec<u8> {
    let mut bytes = vec![(1 << 3) | WIRE_FIXED64];
    bytes.extend(wall_time().to_le_bytes());
    bytes.extend(varint_field(2, step));
    bytes.extend(what);
    bytes
}

fn varint_field(number: u8, value: u64) -> Vec<u8> {
    let mut bytes = vec![(number << 3) | WIRE_VARINT];
    bytes.extend(varint(value));
    bytes
}

fn bytes_field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![(number << 3) | WIRE_BYTES];
    bytes.extend(varint(content.len() as u64));
    bytes.extend(content);
    bytes
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn record(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    let mut bytes = length.to_vec();
    bytes.extend(masked_crc32c(&length).to_le_bytes());
    bytes.extend(event);
    bytes.extend(masked_crc32c(event).to_le_bytes());
    bytes
}

/// CRC-32C (Castagnoli), bit by bit: events are few and short. The mask is TFRecord's.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnoli_masked_as_tfrecord_does() {
        // RFC 3720, B.4: CRC-32C of "123456789" is 0xe3069283.
        let expected = 0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(masked_crc32c(b"123456789"), expected);
    }

    #[test]
    fn varints_are_protobufs() {
        assert_eq!(varint(1), [1]);
        assert_eq!(varint(300), [0xac, 0x02]);
    }
}
