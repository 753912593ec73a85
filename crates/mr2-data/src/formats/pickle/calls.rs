//! What a pickle may call: five names that make arrays of bytes or integers, and nothing else.

use super::machine::{Machine, Step};
use super::{Array, Global, Id, Value};
use crate::formats::npy::Integer;
use std::ops::Range;

impl Machine<'_> {
    /// Where a string is in the input.
    pub(super) fn range(&self, id: Id) -> Step<Range<usize>> {
        match &self.values[id] {
            Value::Bytes(range) => Ok(range.clone()),
            _ => Err("a name that is no string".to_string()),
        }
    }

    /// Pushes one of the five names.
    pub(super) fn global(&mut self, module: Range<usize>, name: Range<usize>) -> Step<()> {
        let (module, name) = (&self.input[module], &self.input[name]);
        match Global::named(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => {
                let module = String::from_utf8_lossy(&module[..module.len().min(60)]);
                let name = String::from_utf8_lossy(&name[..name.len().min(60)]);
                Err(format!(
                    "it asks for `{module}.{name}`, which is not on the list"
                ))
            }
        }
    }

    /// Calls one of the five names.
    pub(super) fn reduce(&mut self) -> Step<()> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let Value::Tuple(arguments) = &self.values[arguments] else {
            return Err("arguments that are no tuple".to_string());
        };
        let first = arguments.first().map(|&id| &self.values[id]);
        let made = match (&self.values[callee], first) {
            (Value::Global(Global::Reconstruct), Some(Value::Global(Global::NdArray))) => {
                Value::Array(None)
            }
            (Value::Global(Global::DType), Some(Value::Bytes(range))) => {
                match &self.input[range.clone()] {
                    b"u1" | b"|u1" | b"uint8" => Value::Element(Integer::U8),
                    b"i8" | b"<i8" | b"int64" => Value::Element(Integer::I64),
                    _ => return Err("an array of another type than uint8 or int64".to_string()),
                }
            }
            (Value::Global(Global::Encode), Some(Value::Bytes(range))) => {
                let range = range.clone();
                Value::Owned(self.latin1(range)?)
            }
            (Value::Global(Global::Bytes), None) => Value::Owned(Vec::new()),
            _ => return Err("a call that is not on the list".to_string()),
        };
        self.push(made)
    }

    fn latin1(&mut self, text: Range<usize>) -> Step<Vec<u8>> {
        self.owned_bytes += text.len();
        if self.owned_bytes > self.input.len() {
            return Err("the same string is encoded again and again".to_string());
        }
        let text = std::str::from_utf8(&self.input[text]).map_err(|e| e.to_string())?;
        let byte = |c: char| u8::try_from(u32::from(c)).map_err(|_| format!("{c:?} in Latin-1"));
        text.chars().map(byte).collect()
    }

    /// The state of a type: (version, byte order, ...).
    fn little_endian(&self, state: Id) -> Step<()> {
        let order = match &self.values[state] {
            Value::Tuple(parts) => parts.get(1).map(|&id| &self.values[id]),
            _ => None,
        };
        match order {
            Some(Value::Bytes(range)) if matches!(&self.input[range.clone()], b"<" | b"|") => {
                Ok(())
            }
            _ => Err("numbers that are not little-endian".to_string()),
        }
    }

    /// Gives an array its state: (version, shape, dtype, Fortran order, data).
    pub(super) fn build(&mut self) -> Step<()> {
        let state = self.pop()?;
        let object = self.top()?;
        match &self.values[object] {
            Value::Element(_) => return self.little_endian(state),
            Value::Array(None) => {}
            _ => return Err("state for something that is no new array".to_string()),
        }
        let Value::Tuple(state) = &self.values[state] else {
            return Err("array state that is no tuple".to_string());
        };
        let parts: Vec<&Value> = state.iter().map(|&id| &self.values[id]).collect();
        let [
            Value::Int(_),
            Value::Tuple(shape),
            Value::Element(element),
            order,
            _,
        ] = parts[..]
        else {
            return Err("array state that is not (version, shape, type, order, data)".to_string());
        };
        let fortran = match order {
            Value::Bool(flag) => *flag,
            Value::Int(flag) => *flag != 0,
            _ => return Err("array order that is no flag".to_string()),
        };
        let size = |&id: &Id| match self.values[id] {
            Value::Int(size) => usize::try_from(size).map_err(|e| e.to_string()),
            _ => Err("array shape that is no number".to_string()),
        };
        let shape = shape.iter().map(size).collect::<Step<Vec<_>>>()?;
        let array = Array {
            shape,
            element: *element,
            data: state[4],
            fortran,
        };
        self.values[object] = Value::Array(Some(array));
        Ok(())
    }
}
