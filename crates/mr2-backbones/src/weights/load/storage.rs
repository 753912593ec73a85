//! Storages of PyTorch: the numbers that tensors are views of, kept outside of the pickle.

use candle_core::DType;
use mr2_pickle::{Id, Pickle, Value};

use super::elements::Element;

/// A storage as a pickle describes it: `("storage", type, key, device, elements)`, and in old files what part
/// of it is meant.
#[derive(Debug, Clone, Copy)]
pub(super) struct StorageRef<'a> {
    pub key: &'a str,
    pub element: Element,
    /// Elements of the whole storage.
    pub len: usize,
    /// First element and number of elements of the part.
    part: Option<(usize, usize)>,
}

impl<'a> StorageRef<'a> {
    /// Reads the tuple that identifies a storage.
    pub fn read(pickle: &Pickle<'a>, id: Id) -> std::result::Result<Self, String> {
        let (&[tag, class, key, _, len], part) = pickle
            .tuple(id)
            .and_then(|parts| parts.split_first_chunk::<5>())
            .ok_or("a storage that is not described as PyTorch does")?;
        if pickle.text(tag) != Some("storage") {
            return Err("a reference to something that is no storage".to_string());
        }
        let Value::Name(class) = pickle.get(class) else {
            return Err("a storage without a type".to_string());
        };
        let element = element(class.name).ok_or("a storage of an unknown type")?;
        let part = match part.first().map(|&id| pickle.get(id)) {
            None | Some(Value::None) => None,
            Some(Value::Tuple(view)) => match view[..] {
                [_, offset, len] => Some((size(pickle, offset)?, size(pickle, len)?)),
                _ => return Err("a part of a storage that is not (key, start, length)".to_string()),
            },
            Some(_) => return Err("a part of a storage that is no tuple".to_string()),
        };
        Ok(StorageRef {
            key: pickle.text(key).ok_or("a storage's key that is no text")?,
            element,
            len: size(pickle, len)?,
            part,
        })
    }

    /// Bytes of the whole storage.
    pub fn bytes(&self) -> Option<usize> {
        self.len.checked_mul(self.element.size())
    }

    /// The bytes that are meant, of those of the whole storage.
    pub fn part_of<'s>(&self, storage: &'s [u8]) -> Option<&'s [u8]> {
        let Some((start, len)) = self.part else {
            return Some(storage);
        };
        let size = self.element.size();
        let (start, len) = (start.checked_mul(size)?, len.checked_mul(size)?);
        storage.get(start..start.checked_add(len)?)
    }
}

fn element(storage: &str) -> Option<Element> {
    Some(match storage {
        "FloatStorage" => Element::Same(DType::F32),
        "DoubleStorage" => Element::Same(DType::F64),
        "HalfStorage" => Element::Same(DType::F16),
        "BFloat16Storage" => Element::Same(DType::BF16),
        "ByteStorage" | "UntypedStorage" => Element::Same(DType::U8),
        "CharStorage" => Element::I8,
        "BoolStorage" => Element::Bool,
        "ShortStorage" => Element::Same(DType::I16),
        "IntStorage" => Element::Same(DType::I32),
        "LongStorage" => Element::Same(DType::I64),
        _ => return None,
    })
}

/// A number that counts elements.
pub(super) fn size(pickle: &Pickle, id: Id) -> std::result::Result<usize, String> {
    match pickle.get(id) {
        Value::Int(size) => usize::try_from(*size).map_err(|_| format!("{size} as a size")),
        _ => Err("a size that is no number".to_string()),
    }
}
