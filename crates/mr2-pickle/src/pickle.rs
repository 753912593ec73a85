//! A pickle that has been read.

use crate::machine::Machine;
use crate::value::{Fault, Id, Name, Value};

/// A pickle that has been read.
#[derive(Debug)]
pub struct Pickle<'a> {
    input: &'a [u8],
    values: Vec<Value>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads a whole pickle, which must end with the input and may use `names` and no others.
    ///
    /// # Errors
    /// What is damaged, of another protocol, too large or not on the list.
    pub fn read(input: &'a [u8], names: &'static [Name]) -> Result<Self, Fault> {
        let (pickle, len) = Self::read_prefix(input, names)?;
        match len == input.len() {
            true => Ok(pickle),
            false => Err(Fault {
                offset: len,
                reason: "bytes after the end".to_string(),
            }),
        }
    }

    /// Reads the pickle that the input begins with, and says how long it is.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_prefix(input: &'a [u8], names: &'static [Name]) -> Result<(Self, usize), Fault> {
        let mut machine = Machine::new(input, names);
        match machine.run() {
            Ok(root) => {
                let (values, len) = machine.finish();
                let pickle = Pickle {
                    input,
                    values,
                    root,
                };
                Ok((pickle, len))
            }
            Err(reason) => Err(Fault {
                offset: machine.finish().1,
                reason,
            }),
        }
    }

    /// The outermost value.
    pub fn root(&self) -> Id {
        self.root
    }

    /// A value.
    pub fn get(&self, id: Id) -> &Value {
        self.values.get(id).unwrap_or(&Value::None)
    }

    /// All values, in the order in which they were made.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The bytes of a string, or of an integer that is kept as bytes.
    pub fn bytes(&self, id: Id) -> Option<&'a [u8]> {
        match self.get(id) {
            Value::Bytes(range) | Value::BigInt(range) => self.input.get(range.clone()),
            _ => None,
        }
    }

    /// A string as text.
    pub fn text(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Value::Bytes(_) => std::str::from_utf8(self.bytes(id)?).ok(),
            _ => None,
        }
    }

    /// The values of a tuple.
    pub fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// What a call of `_codecs.encode` encodes: how Python 3 writes bytes in protocol 2, as the text that they
    /// are in Latin-1.
    pub fn encoded(&self, id: Id) -> Option<&'a str> {
        let Value::Call(call) = self.get(id) else {
            return None;
        };
        match self.get(call.callee) {
            Value::Name(name) if name.module == "_codecs" && name.name == "encode" => {
                self.text(*self.tuple(call.arguments)?.first()?)
            }
            _ => None,
        }
    }

    /// A dictionary's key as text, also where Python 3 has bytes.
    pub fn key_text(&self, id: Id) -> Option<&'a str> {
        self.text(id).or_else(|| self.encoded(id))
    }

    /// The keys of the outermost dictionary that are text, in order.
    pub fn keys(&self) -> Vec<&'a str> {
        let keys = self.items().iter().map(|&(key, _)| key);
        keys.filter_map(|key| self.key_text(key)).collect()
    }

    /// The value of a key of the outermost dictionary.
    pub fn key(&self, key: &str) -> Option<&Value> {
        let mut items = self.items().iter().rev();
        let found = items.find(|&&(k, _)| self.key_text(k) == Some(key));
        found.map(|&(_, value)| self.get(value))
    }

    fn items(&self) -> &[(Id, Id)] {
        match self.get(self.root) {
            Value::Dict(items) => items,
            _ => &[],
        }
    }
}
