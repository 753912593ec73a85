//! The bytes of a pickle, taken from front to back.

use crate::machine::Step;
use crate::value::Value;
use std::ops::Range;

pub(crate) struct Input<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl Input<'_> {
    pub fn byte(&mut self) -> Step<u8> {
        let byte = self.bytes.get(self.at).copied();
        let byte = byte.ok_or("it ends too early")?;
        self.at += 1;
        Ok(byte)
    }

    pub fn take(&mut self, len: usize) -> Step<Range<usize>> {
        let end = self.at.checked_add(len);
        let end = end.filter(|&end| end <= self.bytes.len());
        let range = self.at..end.ok_or("it ends too early")?;
        self.at = range.end;
        Ok(range)
    }

    /// An unsigned number of up to eight bytes, the lowest first.
    pub fn number(&mut self, bytes: usize) -> Step<u64> {
        let range = self.take(bytes)?;
        let bytes = self.bytes[range].iter().rev();
        Ok(bytes.fold(0, |n, &byte| n << 8 | u64::from(byte)))
    }

    pub fn size(&mut self, bytes: usize) -> Step<usize> {
        usize::try_from(self.number(bytes)?).map_err(|e| e.to_string())
    }

    pub fn float(&mut self) -> Step<Value> {
        let bits = self.number(8)?; // The one number of a pickle with its highest byte first.
        Ok(Value::Float(f64::from_bits(bits.swap_bytes())))
    }

    /// An integer in two's complement whose length is written in `length_bytes` bytes.
    pub fn long(&mut self, length_bytes: usize) -> Step<Value> {
        let len = self.size(length_bytes)?;
        if len > 8 {
            return self.take(len).map(Value::BigInt);
        }
        let unsigned = self.number(len)?;
        let shift = 64 - 8 * len as u32;
        Ok(Value::Int(match len {
            0 => 0,
            _ => (unsigned << shift) as i64 >> shift,
        }))
    }

    /// An integer in decimal digits, or a Boolean as protocol 1 writes it.
    pub fn decimal(&mut self) -> Step<Value> {
        let line = self.line()?;
        let text = std::str::from_utf8(&self.bytes[line]).ok();
        match text {
            Some("00") => Ok(Value::Bool(false)),
            Some("01") => Ok(Value::Bool(true)),
            _ => text
                .and_then(|t| t.parse().ok())
                .map(Value::Int)
                .ok_or("not a number".into()),
        }
    }

    pub fn line(&mut self) -> Step<Range<usize>> {
        let rest = &self.bytes[self.at..];
        let len = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .ok_or("a line without end")?;
        let range = self.take(len)?;
        self.at += 1;
        Ok(range)
    }

    pub fn string(&mut self, length_bytes: usize) -> Step<Value> {
        let len = self.size(length_bytes)?;
        self.take(len).map(Value::Bytes)
    }
}
