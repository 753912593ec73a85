//! NumPy's arrays of bytes or 64-bit integers in a pickle: five names, and what calls of them mean.

use super::npy::Integer;
use mr2_pickle::{Call, Fault, Id, Name, Pickle, Value};
use std::borrow::Cow;

/// What a pickle of CIFAR or CIFAR-N may name.
pub(crate) const NAMES: &[Name] = &[
    name("numpy.core.multiarray", "_reconstruct"),
    name("numpy._core.multiarray", "_reconstruct"),
    name("numpy", "ndarray"),
    name("numpy", "dtype"),
    name("_codecs", "encode"),
    name("__builtin__", "bytes"),
    name("builtins", "bytes"),
];

const fn name(module: &'static str, name: &'static str) -> Name {
    Name { module, name }
}

/// A NumPy array of bytes or 64-bit integers, little-endian.
#[derive(Debug)]
pub(crate) struct Array<'a> {
    pub shape: Vec<usize>,
    pub element: Integer,
    pub data: Cow<'a, [u8]>,
    pub fortran: bool,
}

impl<'a> Array<'a> {
    /// The array that a value is; `None` if it is none.
    pub fn read(pickle: &Pickle<'a>, value: &Value) -> Result<Option<Self>, Fault> {
        let Value::Call(call) = value else {
            return Ok(None);
        };
        let first = arguments(pickle, call).first();
        let class = first.map(|&id| pickle.get(id));
        match (called(pickle, call), class) {
            ("_reconstruct", Some(Value::Name(name))) if name.name == "ndarray" => {}
            _ => return Ok(None),
        }
        let Some(state) = call.state.and_then(|id| pickle.tuple(id)) else {
            return Err(fault(call, "array state that is no tuple"));
        };
        let parts: Vec<&Value> = state.iter().map(|&id| pickle.get(id)).collect();
        let [
            Value::Int(_),
            Value::Tuple(shape),
            Value::Call(element),
            order,
            _,
        ] = parts[..]
        else {
            let reason = "array state that is not (version, shape, type, order, data)";
            return Err(fault(call, reason));
        };
        let fortran = match order {
            Value::Bool(flag) => *flag,
            Value::Int(flag) => *flag != 0,
            _ => return Err(fault(call, "array order that is no flag")),
        };
        let size = |&id: &Id| match pickle.get(id) {
            Value::Int(size) => usize::try_from(*size).map_err(|e| fault(call, &e.to_string())),
            _ => Err(fault(call, "array shape that is no number")),
        };
        Ok(Some(Array {
            shape: shape.iter().map(size).collect::<Result<_, _>>()?,
            element: element_type(pickle, element)?,
            data: data(pickle, call, state[4])?,
            fortran,
        }))
    }
}

fn fault(call: &Call, reason: &str) -> Fault {
    Fault {
        offset: call.offset,
        reason: reason.to_string(),
    }
}

fn called(pickle: &Pickle, call: &Call) -> &'static str {
    match pickle.get(call.callee) {
        Value::Name(name) => name.name,
        _ => "",
    }
}

fn arguments<'p>(pickle: &'p Pickle, call: &Call) -> &'p [Id] {
    pickle.tuple(call.arguments).unwrap_or_default()
}

/// `numpy.dtype("u1")` or `("i8")`, whose state is (version, byte order, ...).
fn element_type(pickle: &Pickle, call: &Call) -> Result<Integer, Fault> {
    let code = arguments(pickle, call).first();
    let code = code.and_then(|&id| pickle.bytes(id)).unwrap_or_default();
    let element = match code {
        _ if called(pickle, call) != "dtype" => Err("an array without a type"),
        b"u1" | b"|u1" | b"uint8" => Ok(Integer::U8),
        b"i8" | b"<i8" | b"int64" => Ok(Integer::I64),
        _ => Err("an array of another type than uint8 or int64"),
    };
    let element = element.map_err(|reason| fault(call, reason))?;
    let order = |state| Some(pickle.bytes(*pickle.tuple(state)?.get(1)?));
    match call.state.map(order) {
        None | Some(Some(Some(b"<" | b"|"))) => Ok(element),
        _ => Err(fault(call, "numbers that are not little-endian")),
    }
}

/// A string, or Unicode to be encoded as Latin-1: how Python 3 writes bytes in protocol 2.
fn data<'a>(pickle: &Pickle<'a>, array: &Call, id: Id) -> Result<Cow<'a, [u8]>, Fault> {
    if let Some(bytes) = pickle.bytes(id) {
        return Ok(Cow::Borrowed(bytes));
    }
    if let Some(text) = pickle.encoded(id) {
        let byte = |c: char| u8::try_from(u32::from(c)).map_err(|_| format!("{c:?} in Latin-1"));
        let bytes = text.chars().map(byte).collect::<Result<_, _>>();
        return bytes
            .map(Cow::Owned)
            .map_err(|reason| fault(array, &reason));
    }
    match pickle.get(id) {
        Value::Call(call) if called(pickle, call) == "bytes" => Ok(Cow::Borrowed(&[])),
        _ => Err(fault(array, "array data that is no string")),
    }
}
