//! The tensors in the object that `torch.save` pickles.

use std::path::Path;

use candle_core::Tensor;
use mr2_pickle::{Call, Fault, Id, Pickle, Value};

use super::elements::{Strided, count};
use super::storage::{StorageRef, size};
use crate::weights::{Error, Result, Tensors};

/// The most that may be looked at. Dictionaries can be shared, so that a small pickle has many ways through it.
const MAX_VISITS: usize = 1 << 22;

/// The deepest nesting, the longest key and the most dimensions.
const MAX_DEPTH: usize = 100;
const MAX_KEY: usize = 1_000;
const MAX_DIMENSIONS: usize = 64;

/// What the tensors may take together: so many times the file (they may share storages, and be expanded) and
/// a little more for small ones.
const MAX_GROWTH: usize = 4;
const SPARE_BYTES: usize = 1 << 20;

/// What a tensor takes beside its elements and its name.
const TENSOR_BYTES: usize = 256;

/// The bytes of a whole storage.
pub(super) type Storages<'s> = dyn Fn(&StorageRef) -> std::result::Result<&'s [u8], String> + 's;

/// All tensors of a pickle that begins at byte `start` of a file of `len` bytes.
pub(super) fn read_tensors<'w>(
    path: &'w Path,
    pickle: &'w Pickle<'w>,
    start: usize,
    len: usize,
    storages: &'w Storages<'w>,
) -> Result<Tensors> {
    let mut walk = Walk {
        path,
        pickle,
        start,
        storages,
        tensors: Tensors::new(),
        name: Vec::new(),
        visits: 0,
        depth: 0,
        bytes_left: len.saturating_mul(MAX_GROWTH).saturating_add(SPARE_BYTES),
    };
    walk.visit(pickle.root())?;
    Ok(walk.tensors)
}

/// A way through everything that a pickle holds.
struct Walk<'w> {
    path: &'w Path,
    pickle: &'w Pickle<'w>,
    start: usize,
    storages: &'w Storages<'w>,
    tensors: Tensors,
    /// The keys that lead here; `None` for one that is neither text of a reasonable length nor a number.
    name: Vec<Option<String>>,
    visits: usize,
    depth: usize,
    bytes_left: usize,
}

impl<'w> Walk<'w> {
    fn visit(&mut self, id: Id) -> Result<()> {
        let pickle = self.pickle;
        self.depth += 1;
        self.count()?;
        match pickle.get(id) {
            Value::Dict(items) => self.items(items),
            Value::List(items) | Value::Tuple(items) => {
                let mut items = items.iter().enumerate();
                items.try_for_each(|(index, &item)| self.under(Some(index.to_string()), item))
            }
            Value::Call(call) => self.call(call),
            _ => Ok(()),
        }?;
        self.depth -= 1;
        Ok(())
    }

    /// Counts whatever is looked at.
    fn count(&mut self) -> Result<()> {
        self.visits += 1;
        if self.visits > MAX_VISITS || self.depth > MAX_DEPTH {
            let reason = "it is nested too deep, or the same things are in it again and again";
            return Err(Error::format(self.path, reason));
        }
        Ok(())
    }

    fn items(&mut self, items: &[(Id, Id)]) -> Result<()> {
        let pickle = self.pickle;
        items.iter().try_for_each(|&(key, item)| {
            let key = match pickle.get(key) {
                Value::Int(number) => Some(number.to_string()),
                _ => {
                    let text = pickle.key_text(key).filter(|text| text.len() <= MAX_KEY);
                    text.map(str::to_string)
                }
            };
            self.under(key, item)
        })
    }

    fn under(&mut self, key: Option<String>, item: Id) -> Result<()> {
        self.count()?;
        // Scalars are most of what there is beside tensors.
        if !matches!(
            self.pickle.get(item),
            Value::Dict(_) | Value::List(_) | Value::Tuple(_) | Value::Call(_)
        ) {
            return Ok(());
        }
        self.name.push(key);
        self.visit(item)?;
        self.name.pop();
        Ok(())
    }

    fn call(&mut self, call: &'w Call) -> Result<()> {
        let pickle = self.pickle;
        let Value::Name(callee) = pickle.get(call.callee) else {
            return Ok(());
        };
        let arguments = pickle.tuple(call.arguments).unwrap_or_default();
        match (callee.name, arguments) {
            ("_rebuild_tensor" | "_rebuild_tensor_v2", &[storage, offset, shape, strides, ..]) => {
                self.tensor(call, [storage, offset, shape, strides])
            }
            ("_rebuild_tensor" | "_rebuild_tensor_v2", _) => {
                Err(self.fault(call, "a tensor without storage, offset, shape and strides"))
            }
            ("_rebuild_parameter", &[data, ..]) => self.visit(data),
            ("Namespace", _) => call.state.map_or(Ok(()), |state| self.visit(state)),
            ("OrderedDict" | "defaultdict" | "dict", _) => {
                // Python 2 hands an OrderedDict its items as a list of pairs.
                if let Some(Value::List(pairs)) = arguments.first().map(|&id| pickle.get(id)) {
                    for &pair in pairs {
                        self.count()?;
                        if let Value::List(pair) | Value::Tuple(pair) = pickle.get(pair)
                            && let [key, item] = pair[..]
                        {
                            self.items(&[(key, item)])?;
                        }
                    }
                }
                self.items(&call.items)
            }
            _ => Ok(()),
        }
    }

    fn tensor(&mut self, call: &Call, parts: [Id; 4]) -> Result<()> {
        let name = self.name.iter().cloned().collect::<Option<Vec<_>>>();
        let name = name.map(|parts| parts.join(".")).unwrap_or_default();
        if name.is_empty() {
            let reason = "a tensor whose name is not text: expected a dictionary of tensors, as \
                          state_dict() gives";
            return Err(self.fault(call, reason));
        }
        let (element, shape, elements) = self
            .described(parts)
            .map_err(|reason| Error::tensor(self.path, &name, reason))?;
        let bytes = elements
            .checked_mul(element.element.size())
            .and_then(|bytes| bytes.checked_add(name.len() + TENSOR_BYTES));
        let left = bytes.and_then(|bytes| self.bytes_left.checked_sub(bytes));
        self.bytes_left = left.ok_or_else(|| {
            let reason = format!("with it the tensors take over {MAX_GROWTH} times the file");
            Error::tensor(self.path, &name, reason)
        })?;
        let tensor = self
            .made(&element, parts, &shape)
            .map_err(|reason| Error::tensor(self.path, &name, reason))?;
        if self.tensors.contains_key(&name) {
            return Err(Error::tensor(
                self.path,
                &name,
                "two tensors have this name",
            ));
        }
        self.tensors.insert(name, tensor);
        Ok(())
    }

    /// Storage, shape and number of elements.
    fn described(
        &self,
        [storage, _, shape, _]: [Id; 4],
    ) -> std::result::Result<(StorageRef<'w>, Vec<usize>, usize), String> {
        let Value::Persistent(storage) = self.pickle.get(storage) else {
            return Err("it has no storage".to_string());
        };
        let storage = StorageRef::read(self.pickle, *storage)?;
        let shape = self.sizes(shape)?;
        let elements = count(&shape).ok_or_else(|| format!("its shape {shape:?} is too large"))?;
        Ok((storage, shape, elements))
    }

    fn made(
        &self,
        storage: &StorageRef,
        [_, offset, _, strides]: [Id; 4],
        shape: &[usize],
    ) -> std::result::Result<Tensor, String> {
        let strides = self.sizes(strides)?;
        if strides.len() != shape.len() {
            return Err(format!("it has shape {shape:?} and strides {strides:?}"));
        }
        let strided = Strided {
            offset: size(self.pickle, offset)?,
            shape,
            strides: &strides,
        };
        let whole = (self.storages)(storage)?;
        let bytes = storage
            .part_of(whole)
            .and_then(|bytes| strided.gather(bytes, storage.element.size()))
            .ok_or_else(|| format!("shape {shape:?} reaches beyond its storage"))?;
        let tensor = storage.element.tensor(&bytes, shape);
        tensor.map_err(|e| e.to_string())
    }

    /// A tuple of sizes, or `torch.Size` of one.
    fn sizes(&self, id: Id) -> std::result::Result<Vec<usize>, String> {
        let pickle = self.pickle;
        let id = match pickle.get(id) {
            Value::Call(call) => pickle
                .tuple(call.arguments)
                .and_then(|a| a.first().copied()),
            _ => Some(id),
        };
        let sizes = id
            .and_then(|id| pickle.tuple(id))
            .ok_or("sizes that are no tuple")?;
        if sizes.len() > MAX_DIMENSIONS {
            return Err(format!("it has {} dimensions", sizes.len()));
        }
        sizes.iter().map(|&id| size(pickle, id)).collect()
    }

    fn fault(&self, call: &Call, reason: &str) -> Error {
        let fault = Fault {
            offset: call.offset,
            reason: reason.to_string(),
        };
        Error::pickle(self.path, self.start, fault)
    }
}
