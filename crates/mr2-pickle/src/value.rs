//! What a pickle is read into.

use std::fmt;
use std::ops::Range;

/// What is wrong with a pickle, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Byte of the input at which reading stopped.
    pub offset: usize,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} (at byte {})", self.reason, self.offset)
    }
}

impl std::error::Error for Fault {}

/// Number of a value in a pickle's arena.
pub type Id = usize;

/// A Python class or function, by module and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// The module: `collections`.
    pub module: &'static str,
    /// The name in it: `OrderedDict`.
    pub name: &'static str,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An integer that does not fit: the bytes of the input that hold it, in two's complement, the lowest first.
    BigInt(Range<usize>),
    /// A floating-point number.
    Float(f64),
    /// A string: bytes of the input. Python 2 strings and Unicode are kept as they are written.
    Bytes(Range<usize>),
    /// A list.
    List(Vec<Id>),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A set or a frozen set, in the order in which it was written.
    Set(Vec<Id>),
    /// A dictionary, in the order in which it was written; of equal keys Python keeps the last.
    Dict(Vec<(Id, Id)>),
    /// A name of the caller's list.
    Name(Name),
    /// An object that Python would make by a call.
    Call(Box<Call>),
    /// Something that is kept outside of the pickle, by what identifies it.
    Persistent(Id),
}

/// An object that Python would make by calling a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// What is called: always a [`Value::Name`].
    pub callee: Id,
    /// The arguments: always a [`Value::Tuple`].
    pub arguments: Id,
    /// What the object is given afterwards as its state (`__setstate__`, or its attributes).
    pub state: Option<Id>,
    /// What is put into the object afterwards as into a dictionary.
    pub items: Vec<(Id, Id)>,
    /// Where the pickle makes the call, for messages.
    pub offset: usize,
}
