//! TensorBoard event files, read back as TensorBoard reads them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mr2_train::{Event, Start, StopFlag};

use crate::support::{STEPS, process};

/// What an event says.
#[derive(Debug, PartialEq)]
enum What {
    FileVersion(String),
    SessionStart,
    Scalars(BTreeMap<String, f32>),
}

/// CRC-32C by a table, masked as TFRecord masks it.
fn masked_crc(bytes: &[u8]) -> u32 {
    let entry = |byte: u32| {
        (0..8).fold(byte, |crc, _| match crc & 1 {
            1 => crc >> 1 ^ 0x82f6_3b78,
            _ => crc >> 1,
        })
    };
    let table: Vec<u32> = (0..256).map(entry).collect();
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        table[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ crc >> 8
    });
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The events of a file: each has a length, its checksum, that many bytes, and theirs.
fn records(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut found) = (bytes, Vec::new());
    while !rest.is_empty() {
        let (length, after) = rest.split_at(8);
        let (length_crc, after) = after.split_at(4);
        assert_eq!(length_crc, masked_crc(length).to_le_bytes());
        let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
        let (event, after) = after.split_at(length);
        let (event_crc, after) = after.split_at(4);
        assert_eq!(event_crc, masked_crc(event).to_le_bytes());
        found.push(event);
        rest = after;
    }
    found
}

/// A field of a protobuf message.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    unreachable!()
}

/// The fields of a message by their numbers.
fn fields(mut message: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let mut take = |n: usize| {
            let (taken, rest) = message.split_at(n);
            message = rest;
            taken
        };
        let value = match key & 7 {
            1 => Value::Fixed64(take(8).try_into().unwrap()),
            5 => Value::Fixed32(take(4).try_into().unwrap()),
            0 => Value::Varint(varint(&mut message)),
            2 => {
                let length = varint(&mut message) as usize;
                let (taken, rest) = message.split_at(length);
                message = rest;
                Value::Bytes(taken)
            }
            other => panic!("wire type {other}"),
        };
        found.push((key >> 3, value));
    }
    found
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// `Summary.Value { tag = 1, simple_value = 2 }`.
fn scalar(value: &[u8]) -> (String, f32) {
    match fields(value)[..] {
        [(1, Value::Bytes(tag)), (2, Value::Fixed32(number))] => {
            (text(tag), f32::from_le_bytes(number))
        }
        ref other => panic!("{other:?}"),
    }
}

/// `Event { wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7 }`.
fn event(bytes: &[u8]) -> (u64, What) {
    let fields = fields(bytes);
    let [(1, Value::Fixed64(time)), (2, Value::Varint(step)), what] = fields[..] else {
        panic!("{fields:?}");
    };
    let year_2020 = 1_577_836_800.0;
    assert!(f64::from_le_bytes(time) > year_2020);
    let what = match what {
        (3, Value::Bytes(version)) => What::FileVersion(text(version)),
        (7, Value::Bytes(log)) => {
            assert_eq!(log, [1 << 3, 1], "status START");
            What::SessionStart
        }
        (5, Value::Bytes(summary)) => {
            let values = self::fields(summary).into_iter().map(|field| match field {
                (1, Value::Bytes(value)) => scalar(value),
                other => panic!("{other:?}"),
            });
            What::Scalars(values.collect())
        }
        other => panic!("{other:?}"),
    };
    (step, what)
}

/// The events of every start, in the order of the files' names.
fn starts(run: &Path) -> Vec<Vec<(u64, What)>> {
    let entries = fs::read_dir(run.join("tb")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &_| {
        let bytes = fs::read(path).unwrap();
        records(&bytes).into_iter().map(event).collect()
    };
    paths.iter().map(read).collect()
}

#[test]
fn the_events_hold_the_numbers_of_the_metrics_under_their_tags_and_steps() {
    let folder = tempfile::tempdir().unwrap();
    process().run(folder.path(), Start::Fresh).unwrap();
    let [events] = &starts(folder.path())[..] else {
        panic!("one start");
    };
    assert_eq!(events[0], (0, What::FileVersion("brain.Event:2".into())));
    assert_eq!(events[1], (1, What::SessionStart));
    let metrics = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    let lines = metrics
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<serde_json::Value> = lines.collect();
    assert_eq!(events.len() - 2, lines.len());
    for (line, (step, what)) in lines.iter().zip(&events[2..]) {
        assert_eq!(line["step"], *step);
        let What::Scalars(scalars) = what else {
            panic!("{what:?}");
        };
        let same = |tag: &str, value: &serde_json::Value| {
            let expected = value.as_f64().map(|x| x as f32);
            assert_eq!(scalars.get(tag).copied(), expected, "{tag} at step {step}");
        };
        if line["kind"] == "step" {
            let tags = [
                "loss",
                "classification_loss",
                "representation_loss",
                "lr",
                "grad_norm",
            ];
            assert_eq!(scalars.len(), tags.len());
            for tag in tags {
                same(&format!("step/{tag}"), &line[tag]);
            }
            continue;
        }
        same("epoch/loss", &line["loss"]);
        same("epoch/share_with_positive", &line["share_with_positive"]);
        same("accuracy/train", &line["train_accuracy"]);
        same("accuracy/validation", &line["validation_accuracy"]);
        for quantity in [
            "m",
            "v",
            "second_moment",
            "relative_spread",
            "gamma",
            "head_norm",
        ] {
            same(&format!("rho/{quantity}"), &line["correlations"][quantity]);
        }
        same("class_v/upper, striped", &line["classes"]["v"][1]);
        same("class_gamma/lower, solid", &line["classes"]["gamma"][2]);
    }
}

#[test]
fn a_resumed_run_tells_tensorboard_to_drop_what_comes_after_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let stop = StopFlag::new();
    let asked = stop.clone();
    let mut observer = |event: &Event<'_>| {
        if matches!(event, Event::Step { record, .. } if record.step == 7) {
            asked.stop();
        }
    };
    process()
        .run_watched(folder.path(), Start::Fresh, &stop, &mut observer)
        .unwrap();
    process().run(folder.path(), Start::Resume).unwrap();
    let [first, second] = &starts(folder.path())[..] else {
        panic!("two starts");
    };
    assert_eq!(first.last().unwrap().0, 7);
    assert_eq!(second[1], (8, What::SessionStart));
    assert_eq!(second[2].0, 8);
    assert_eq!(second.last().unwrap().0, STEPS);
}
