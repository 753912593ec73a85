//! A reader of Python pickles that can build numbers, strings, lists, dictionaries and arrays of
//! bytes or 64-bit integers, and nothing else. It runs no code: `GLOBAL` names are looked up in a list of five.
//!
//! Values live in an arena and refer to each other by number, so that a pickle can neither nest
//! deeper than our stack nor blow up by repeating itself; strings stay where they are in the input.

mod calls;
mod machine;

use super::npy::Integer;
use machine::Machine;
use std::ops::Range;

/// What is wrong with a pickle, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub offset: usize,
    pub reason: String,
}

/// Number of a value in the arena.
pub(crate) type Id = usize;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// Bytes of the input. Python 2 strings and Unicode are kept as they are written.
    Bytes(Range<usize>),
    /// Unicode that was encoded as Latin-1: how Python 3 writes bytes in protocol 2.
    Owned(Vec<u8>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// `numpy.dtype("u1")` or `("i8")`.
    Element(Integer),
    /// A NumPy array; empty until its state comes.
    Array(Option<Array>),
}

/// A NumPy array of bytes or 64-bit integers, little-endian.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    pub shape: Vec<usize>,
    pub element: Integer,
    pub data: Id,
    pub fortran: bool,
}

/// The names that a pickle may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Global {
    Reconstruct,
    NdArray,
    DType,
    Encode,
    Bytes,
}

impl Global {
    fn named(module: &[u8], name: &[u8]) -> Option<Self> {
        match (module, name) {
            (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") => {
                Some(Global::Reconstruct)
            }
            (b"numpy", b"ndarray") => Some(Global::NdArray),
            (b"numpy", b"dtype") => Some(Global::DType),
            (b"_codecs", b"encode") => Some(Global::Encode),
            (b"__builtin__" | b"builtins", b"bytes") => Some(Global::Bytes),
            _ => None,
        }
    }
}

/// A pickle that has been read.
pub(crate) struct Pickle<'a> {
    input: &'a [u8],
    values: Vec<Value>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads a whole pickle, which must end with the input.
    pub fn read(input: &'a [u8]) -> Result<Self, Fault> {
        let mut machine = Machine::new(input);
        match machine.run() {
            Ok(root) if machine.at == input.len() => Ok(Pickle {
                input,
                values: machine.values,
                root,
            }),
            Ok(_) => Err(Fault {
                offset: machine.at,
                reason: "bytes after the end".to_string(),
            }),
            Err(reason) => Err(Fault {
                offset: machine.at.min(input.len()),
                reason,
            }),
        }
    }

    /// A value.
    pub fn get(&self, id: Id) -> &Value {
        self.values.get(id).unwrap_or(&Value::None)
    }

    /// The bytes of a string.
    pub fn bytes(&self, id: Id) -> Option<&[u8]> {
        match self.get(id) {
            Value::Bytes(range) => self.input.get(range.clone()),
            Value::Owned(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The keys of the outermost dictionary that are text, in order.
    pub fn keys(&self) -> Vec<String> {
        let Value::Dict(items) = self.get(self.root) else {
            return Vec::new();
        };
        let text = |&(key, _): &(Id, Id)| String::from_utf8(self.bytes(key)?.to_vec()).ok();
        items.iter().filter_map(text).collect()
    }

    /// The value of a key of the outermost dictionary.
    pub fn key(&self, key: &str) -> Option<&Value> {
        let Value::Dict(items) = self.get(self.root) else {
            return None;
        };
        let found = items
            .iter()
            .rev()
            .find(|&&(k, _)| self.bytes(k) == Some(key.as_bytes()));
        found.map(|&(_, value)| self.get(value))
    }
}
