//! NumPy's array files (numpy.lib.format): a header that is a Python dictionary of three known
//! keys, then the elements. Arrays of integers in C order are read; objects are not, for they are
//! pickles.

use crate::error::{Error, Result};
use std::path::Path;

const MAGIC: &[u8] = b"\x93NUMPY";

/// The largest header; NumPy's own has 128 bytes.
const MAX_HEADER: usize = 10_000;

/// An integer type, by size and sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Integer {
    bytes: usize,
    signed: bool,
}

impl Integer {
    /// One unsigned byte.
    pub const U8: Integer = Integer {
        bytes: 1,
        signed: false,
    };
    /// Eight signed bytes.
    pub const I64: Integer = Integer {
        bytes: 8,
        signed: true,
    };

    /// NumPy's code, little-endian: `|u1`, `<i8`, ...
    fn parse(code: &str) -> Option<Self> {
        let (order, code) = code.split_at_checked(1)?;
        let (sign, size) = code.split_at_checked(1)?;
        let bytes = size
            .parse()
            .ok()
            .filter(|size| [1, 2, 4, 8].contains(size))?;
        let signed = match sign {
            "i" => true,
            "u" => false,
            _ => return None,
        };
        let little = order == "<" || (bytes == 1 && order == "|");
        little.then_some(Integer { bytes, signed })
    }

    /// Little-endian numbers; `None` for a number that does not fit, or left-over bytes.
    pub fn numbers(self, bytes: &[u8]) -> Option<Vec<i64>> {
        let number = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            let shift = 64 - 8 * self.bytes as u32;
            match self.signed {
                true => Some((i64::from_le_bytes(word) << shift) >> shift),
                false => i64::try_from(u64::from_le_bytes(word)).ok(),
            }
        };
        let chunks = bytes.chunks_exact(self.bytes);
        match chunks.remainder() {
            [] => chunks.map(number).collect(),
            _ => None,
        }
    }
}

/// An array: shape and elements.
#[derive(Debug)]
pub(crate) struct Npy<'a> {
    pub integer: Integer,
    pub shape: Vec<usize>,
    /// As many bytes as shape and type ask for.
    pub data: &'a [u8],
}

/// Whether a file begins as NumPy's do.
pub(crate) fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Parses a whole file.
pub(crate) fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Npy<'a>> {
    let (header, data) = split_header(bytes).map_err(|reason| Error::npy(path, reason))?;
    let text = std::str::from_utf8(header).unwrap_or_default();
    let (integer, shape) = read_header(text).map_err(|reason| {
        let shown: String = text.chars().take(120).collect();
        Error::npy(path, format!("{reason}; its header is {:?}", shown.trim()))
    })?;
    let size = shape
        .iter()
        .try_fold(integer.bytes, |size, &side| size.checked_mul(side));
    match size {
        Some(size) if size == data.len() => Ok(Npy {
            integer,
            shape,
            data,
        }),
        _ => {
            let reason = format!(
                "its shape {shape:?} does not fit the {} bytes after the header",
                data.len()
            );
            Err(Error::npy(path, reason))
        }
    }
}

fn split_header(bytes: &[u8]) -> std::result::Result<(&[u8], &[u8]), String> {
    let rest = bytes.strip_prefix(MAGIC).ok_or("it is no NumPy array")?;
    let (len, rest) = match rest {
        [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return Err("its version is not 1, 2 or 3, or it ends too early".to_string()),
    };
    if len > MAX_HEADER {
        return Err(format!("its header has {len} bytes, over {MAX_HEADER}"));
    }
    rest.split_at_checked(len)
        .ok_or_else(|| "it ends in its header".to_string())
}

/// The value of a key: `'descr': '<i8'`, `'shape': (3, 4)`.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let quoted = format!("'{key}':");
    Some(header.split_once(&quoted)?.1.trim_start())
}

fn read_header(header: &str) -> std::result::Result<(Integer, Vec<usize>), String> {
    let quoted = value(header, "descr").and_then(|text| text.strip_prefix('\''));
    let code = quoted.and_then(|text| text.split('\'').next());
    let integer = code
        .and_then(Integer::parse)
        .ok_or("expected little-endian integers (objects are pickles and are not read)")?;
    if !value(header, "fortran_order").is_some_and(|text| text.starts_with("False")) {
        return Err("expected C order ('fortran_order': False)".to_string());
    }
    let inside = value(header, "shape").and_then(|text| text.strip_prefix('('));
    let sizes = inside.and_then(|text| text.split_once(')'));
    let (sizes, _) = sizes.ok_or("it has no shape")?;
    let parts = sizes
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let shape = parts
        .map(|part| part.parse().map_err(|_| format!("its shape has {part:?}")))
        .collect::<std::result::Result<_, _>>()?;
    Ok((integer, shape))
}
