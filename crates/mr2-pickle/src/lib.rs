//! Python pickles read as data.
//!
//! A pickle is a program that imports and calls what it likes. Here it builds a tree: numbers, strings,
//! containers, and for each name and call a record that says which it was. Nothing is imported, called or
//! run, and a name that the caller has not listed ends the reading with an error.
//!
//! - [`Pickle::read`] reads bytes that are one pickle, [`Pickle::read_prefix`] the first of several.
//! - [`Value`] is a node of the tree, [`Call`] an object that Python would make by a call.
//! - [`Archive`] is the zip file that `torch.save` puts a pickle and its storages into.
//!
//! Values live in an arena and refer to each other by number, so that a pickle can neither nest deeper than a
//! program's stack nor blow up by repeating itself; strings stay where they are in the input. Whoever
//! walks the tree keeps in mind that a value may be reached by many ways, or contain itself.
//!
//! Protocols 0 to 5 as far as Python 2 and 3 and PyTorch write them in protocol 2 and later: what is text in the
//! older protocols is not read.
//!
//! ```
//! use mr2_pickle::{Name, Pickle, Value};
//!
//! // {"epoch": 3, "rate": OrderedDict()}, as protocol 2 writes it.
//! let bytes = b"\x80\x02}(X\x05\x00\x00\x00epochK\x03X\x04\x00\x00\x00rateccollections\nOrderedDict\n)Ru.";
//! const NAMES: &[Name] = &[Name { module: "collections", name: "OrderedDict" }];
//!
//! let pickle = Pickle::read(bytes, NAMES)?;
//! assert_eq!(pickle.keys(), ["epoch", "rate"]);
//! assert_eq!(pickle.key("epoch"), Some(&Value::Int(3)));
//! let Some(Value::Call(call)) = pickle.key("rate") else { panic!("an object") };
//! assert_eq!(pickle.get(call.callee), &Value::Name(NAMES[0]));
//!
//! let hostile = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.";
//! let fault = Pickle::read(hostile, NAMES).err().expect("the name is not listed");
//! assert_eq!(fault.reason, "it asks for `os.system`, which is not on the list");
//! # Ok::<(), mr2_pickle::Fault>(())
//! ```

mod archive;
mod input;
mod machine;
mod pickle;
mod value;

pub use archive::Archive;
pub use pickle::Pickle;
pub use value::{Call, Fault, Id, Name, Value};
