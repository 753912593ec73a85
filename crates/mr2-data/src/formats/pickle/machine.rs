//! The stack machine that a pickle is a program for: opcodes that push, collect and remember.

use super::{Id, Value};
use std::collections::HashMap;
use std::ops::Range;

/// The most values that a pickle may build. CIFAR's largest file builds about 150,000.
const MAX_VALUES: usize = 1 << 22;

#[derive(Default)]
pub(super) struct Machine<'a> {
    pub(super) input: &'a [u8],
    pub(super) at: usize,
    pub(super) values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    pub(super) owned_bytes: usize,
}

/// A result whose error says what is wrong; where is the machine's position.
pub(super) type Step<T> = Result<T, String>;

impl<'a> Machine<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Machine {
            input,
            ..Machine::default()
        }
    }

    /// Runs the program to its end and returns the value that it leaves.
    pub(super) fn run(&mut self) -> Step<Id> {
        loop {
            let opcode = self.byte()?;
            match opcode {
                b'.' => return self.pop(),
                0x80 => {
                    let protocol = self.byte()?;
                    if protocol > 5 {
                        return Err(format!("protocol {protocol}, expected at most 5"));
                    }
                }
                0x95 => drop(self.number(8)?), // FRAME: its length is of no use here
                _ => self.literal(opcode)?,
            }
        }
    }

    /// Opcodes that push a value of their own.
    fn literal(&mut self, opcode: u8) -> Step<()> {
        let value = match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(i64::from(self.byte()?)),
            b'M' => Value::Int(self.number(2)? as i64),
            b'J' => Value::Int(i64::from(self.number(4)? as u32 as i32)),
            0x8a => self.long()?,
            b'I' => self.decimal()?,
            b'U' | b'C' | 0x8c => self.string(1)?,
            b'T' | b'B' | b'X' => self.string(4)?,
            0x8d | 0x8e => self.string(8)?,
            b']' => Value::List(Vec::new()),
            b'}' => Value::Dict(Vec::new()),
            b')' => Value::Tuple(Vec::new()),
            _ => return self.structure(opcode),
        };
        self.push(value)
    }

    /// Opcodes that work on what is on the stack.
    fn structure(&mut self, opcode: u8) -> Step<()> {
        match opcode {
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'q' => self.remember(1)?,
            b'r' => self.remember(4)?,
            0x94 => drop(self.memo.insert(self.memo.len() as u64, self.top()?)),
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let names = self.pop_many(2)?;
                let (module, name) = (self.range(names[0])?, self.range(names[1])?);
                self.global(module, name)?;
            }
            _ => self.collect(opcode)?,
        }
        Ok(())
    }

    /// Opcodes that gather values into a container: a fixed number, or all above the mark.
    fn collect(&mut self, opcode: u8) -> Step<()> {
        let items = match opcode {
            b'a' => self.pop_many(1)?,
            b's' => self.pop_many(2)?,
            0x85..=0x87 => self.pop_many(usize::from(opcode) - 0x84)?,
            b't' | b'l' | b'd' | b'e' | b'u' => self.pop_to_mark()?,
            _ => {
                return Err(format!(
                    "opcode {opcode:#04x} is not one that CIFAR's files use"
                ));
            }
        };
        match opcode {
            b'a' | b'e' => self.extend_list(items),
            b's' | b'u' => self.extend_dict(items),
            b'l' => self.push(Value::List(items)),
            b'd' => {
                self.push(Value::Dict(Vec::new()))?;
                self.extend_dict(items)
            }
            _ => self.push(Value::Tuple(items)),
        }
    }

    fn byte(&mut self) -> Step<u8> {
        let byte = self
            .input
            .get(self.at)
            .copied()
            .ok_or("it ends too early")?;
        self.at += 1;
        Ok(byte)
    }

    fn take(&mut self, len: usize) -> Step<Range<usize>> {
        let end = self
            .at
            .checked_add(len)
            .filter(|&end| end <= self.input.len());
        let range = self.at..end.ok_or("it ends too early")?;
        self.at = range.end;
        Ok(range)
    }

    fn number(&mut self, bytes: usize) -> Step<u64> {
        let range = self.take(bytes)?;
        Ok(self.input[range]
            .iter()
            .rev()
            .fold(0, |n, &byte| n << 8 | u64::from(byte)))
    }

    fn long(&mut self) -> Step<Value> {
        let len = usize::from(self.byte()?);
        if len > 8 {
            return Err(format!("a number of {len} bytes"));
        }
        let unsigned = self.number(len)?;
        let shift = 64 - 8 * len as u32;
        let signed = if len == 0 {
            0
        } else {
            (unsigned << shift) as i64 >> shift
        };
        Ok(Value::Int(signed))
    }

    fn decimal(&mut self) -> Step<Value> {
        let line = self.line()?;
        let text = std::str::from_utf8(&self.input[line]).ok();
        match text {
            Some("00") => Ok(Value::Bool(false)),
            Some("01") => Ok(Value::Bool(true)),
            _ => text
                .and_then(|t| t.parse().ok())
                .map(Value::Int)
                .ok_or("not a number".into()),
        }
    }

    fn line(&mut self) -> Step<Range<usize>> {
        let rest = &self.input[self.at..];
        let len = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .ok_or("a line without end")?;
        let range = self.take(len)?;
        self.at += 1;
        Ok(range)
    }

    fn string(&mut self, length_bytes: usize) -> Step<Value> {
        let len = usize::try_from(self.number(length_bytes)?).map_err(|e| e.to_string())?;
        self.take(len).map(Value::Bytes)
    }

    pub(super) fn push(&mut self, value: Value) -> Step<()> {
        if self.values.len() >= MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values"));
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    /// Pops a value, but not through a mark.
    pub(super) fn pop(&mut self) -> Step<Id> {
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return Err("a value is missing on the stack".to_string());
        }
        self.stack
            .pop()
            .ok_or_else(|| "a value is missing on the stack".to_string())
    }

    fn pop_many(&mut self, count: usize) -> Step<Vec<Id>> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Step<Vec<_>>>()?;
        items.reverse();
        Ok(items)
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    pub(super) fn top(&self) -> Step<Id> {
        self.stack
            .last()
            .copied()
            .ok_or_else(|| "a value is missing on the stack".to_string())
    }

    fn remember(&mut self, bytes: usize) -> Step<()> {
        let key = self.number(bytes)?;
        self.memo.insert(key, self.top()?);
        Ok(())
    }

    fn recall(&mut self, bytes: usize) -> Step<()> {
        let key = self.number(bytes)?;
        let id = self.memo.get(&key).copied();
        self.stack
            .push(id.ok_or_else(|| format!("nothing is remembered as {key}"))?);
        if self.stack.len() > 2 * MAX_VALUES {
            return Err("the stack is too deep".to_string());
        }
        Ok(())
    }

    fn extend_list(&mut self, items: Vec<Id>) -> Step<()> {
        match self.top().map(|id| &mut self.values[id])? {
            Value::List(list) => list.extend(items),
            _ => return Err("items for something that is no list".to_string()),
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: Vec<Id>) -> Step<()> {
        match self.top().map(|id| &mut self.values[id])? {
            Value::Dict(dict) if items.len().is_multiple_of(2) => {
                dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            _ => return Err("key and value for something that is no dictionary".to_string()),
        }
        Ok(())
    }
}
