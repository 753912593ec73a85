//! The stack machine that a pickle is a program for: opcodes that push, collect and remember.

use crate::input::Input;
use crate::value::{Call, Id, Name, Value};
use std::collections::HashMap;
use std::ops::Range;

/// The most values that a pickle may build. CIFAR's largest file builds about 150,000.
const MAX_VALUES: usize = 1 << 22;

/// The most containers that may be open at once. Python itself stops at about a thousand.
const MAX_MARKS: usize = 10_000;

pub(crate) struct Machine<'a> {
    input: Input<'a>,
    names: &'static [Name],
    values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

/// A result whose error says what is wrong; where is the machine's position.
pub(crate) type Step<T> = Result<T, String>;

impl<'a> Machine<'a> {
    pub fn new(bytes: &'a [u8], names: &'static [Name]) -> Self {
        Machine {
            input: Input { bytes, at: 0 },
            names,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
    }

    /// What was built, and how far the input was read.
    pub fn finish(self) -> (Vec<Value>, usize) {
        (self.values, self.input.at.min(self.input.bytes.len()))
    }

    /// Runs the program to its end and returns the value that it leaves.
    pub fn run(&mut self) -> Step<Id> {
        loop {
            let opcode = self.input.byte()?;
            match opcode {
                b'.' => return self.pop(),
                0x80 => {
                    let protocol = self.input.byte()?;
                    if protocol > 5 {
                        return Err(format!("protocol {protocol}, expected at most 5"));
                    }
                }
                0x95 => drop(self.input.number(8)?), // FRAME: its length is of no use here
                _ => self.literal(opcode)?,
            }
        }
    }

    /// Opcodes that push a value of their own.
    fn literal(&mut self, opcode: u8) -> Step<()> {
        let input = &mut self.input;
        let value = match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(i64::from(input.byte()?)),
            b'M' => Value::Int(input.number(2)? as i64),
            b'J' => Value::Int(i64::from(input.number(4)? as u32 as i32)),
            0x8a => input.long(1)?,
            0x8b => input.long(4)?,
            b'I' => input.decimal()?,
            b'G' => input.float()?,
            b'U' | b'C' | 0x8c => input.string(1)?,
            b'T' | b'B' | b'X' => input.string(4)?,
            0x8d | 0x8e | 0x96 => input.string(8)?,
            b']' => Value::List(Vec::new()),
            b'}' => Value::Dict(Vec::new()),
            b')' => Value::Tuple(Vec::new()),
            0x8f => Value::Set(Vec::new()),
            _ => return self.structure(opcode),
        };
        self.push(value)
    }

    /// Opcodes that work on what is on the stack.
    fn structure(&mut self, opcode: u8) -> Step<()> {
        match opcode {
            b'(' if self.marks.len() < MAX_MARKS => self.marks.push(self.stack.len()),
            b'(' => return Err(format!("more than {MAX_MARKS} containers in each other")),
            b'0' => drop(self.pop()?),
            b'q' => self.remember(1)?,
            b'r' => self.remember(4)?,
            0x94 => drop(self.memo.insert(self.memo.len() as u64, self.top()?)),
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b'R' | 0x81 => self.call()?,
            b'b' => self.build()?,
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))?;
            }
            b'c' => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                self.name(module, name)?;
            }
            0x93 => {
                let names = self.pop_many(2)?;
                let (module, name) = (self.range(names[0])?, self.range(names[1])?);
                self.name(module, name)?;
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
            b't' | b'l' | b'd' | b'e' | b'u' | 0x90 | 0x91 => self.pop_to_mark()?,
            _ => return Err(format!("opcode {opcode:#04x} is not one that is read")),
        };
        match opcode {
            b'a' | b'e' => self.extend_list(items),
            b's' | b'u' => self.extend_dict(items),
            0x90 => self.extend_set(items),
            0x91 => self.push(Value::Set(items)),
            b'l' => self.push(Value::List(items)),
            b'd' => {
                self.push(Value::Dict(Vec::new()))?;
                self.extend_dict(items)
            }
            _ => self.push(Value::Tuple(items)),
        }
    }

    /// Where a string is in the input.
    fn range(&self, id: Id) -> Step<Range<usize>> {
        match &self.values[id] {
            Value::Bytes(range) => Ok(range.clone()),
            _ => Err("a name that is no string".to_string()),
        }
    }

    /// Pushes a name of the list.
    fn name(&mut self, module: Range<usize>, name: Range<usize>) -> Step<()> {
        let (module, name) = (&self.input.bytes[module], &self.input.bytes[name]);
        let listed = |n: &&Name| n.module.as_bytes() == module && n.name.as_bytes() == name;
        match self.names.iter().find(listed) {
            Some(&name) => self.push(Value::Name(name)),
            None => {
                let module = String::from_utf8_lossy(&module[..module.len().min(60)]);
                let name = String::from_utf8_lossy(&name[..name.len().min(60)]);
                let name = format!("`{module}.{name}`");
                Err(format!("it asks for {name}, which is not on the list"))
            }
        }
    }

    /// Records a call.
    fn call(&mut self) -> Step<()> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        if !matches!(self.values[arguments], Value::Tuple(_)) {
            return Err("arguments that are no tuple".to_string());
        }
        if !matches!(self.values[callee], Value::Name(_)) {
            return Err("a call of something that is no name".to_string());
        }
        self.push(Value::Call(Box::new(Call {
            callee,
            arguments,
            state: None,
            items: Vec::new(),
            offset: self.input.at,
        })))
    }

    /// Gives an object its state.
    fn build(&mut self) -> Step<()> {
        let state = self.pop()?;
        let object = self.top()?;
        match &mut self.values[object] {
            Value::Call(call) if call.state.is_none() => call.state = Some(state),
            _ => return Err("state for something that is no new object".to_string()),
        }
        Ok(())
    }

    fn push(&mut self, value: Value) -> Step<()> {
        if self.values.len() >= MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values"));
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    /// Pops a value, but not through a mark.
    fn pop(&mut self) -> Step<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > floor {
            true => self.stack.pop().ok_or_else(missing),
            false => Err(missing()),
        }
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

    fn top(&self) -> Step<Id> {
        self.stack.last().copied().ok_or_else(missing)
    }

    fn remember(&mut self, bytes: usize) -> Step<()> {
        let key = self.input.number(bytes)?;
        self.memo.insert(key, self.top()?);
        match self.memo.len() <= MAX_VALUES {
            true => Ok(()),
            false => Err(format!("more than {MAX_VALUES} values are remembered")),
        }
    }

    fn recall(&mut self, bytes: usize) -> Step<()> {
        let key = self.input.number(bytes)?;
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

    fn extend_set(&mut self, items: Vec<Id>) -> Step<()> {
        match self.top().map(|id| &mut self.values[id])? {
            Value::Set(set) => set.extend(items),
            _ => return Err("items for something that is no set".to_string()),
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: Vec<Id>) -> Step<()> {
        let dict = match self.top().map(|id| &mut self.values[id])? {
            Value::Dict(dict) => dict,
            Value::Call(call) => &mut call.items,
            _ => return Err("key and value for something that is no dictionary".to_string()),
        };
        if !items.len().is_multiple_of(2) {
            return Err("a key without a value".to_string());
        }
        dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        Ok(())
    }
}

fn missing() -> String {
    "a value is missing on the stack".to_string()
}
