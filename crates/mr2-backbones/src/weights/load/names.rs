//! What a pickle of PyTorch may name.

use mr2_pickle::Name;

/// All that a pickle may name. Of these, tensors, parameters and dictionaries are understood; the rest is what
/// training scripts save beside them, and is passed over.
pub(super) const NAMES: &[Name] = &[
    name("torch._utils", "_rebuild_tensor_v2"),
    name("torch._utils", "_rebuild_tensor"),
    name("torch._utils", "_rebuild_parameter"),
    name("torch", "FloatStorage"),
    name("torch", "DoubleStorage"),
    name("torch", "HalfStorage"),
    name("torch", "BFloat16Storage"),
    name("torch", "ByteStorage"),
    name("torch", "CharStorage"),
    name("torch", "BoolStorage"),
    name("torch", "ShortStorage"),
    name("torch", "IntStorage"),
    name("torch", "LongStorage"),
    name("torch.storage", "UntypedStorage"),
    name("torch", "Size"),
    name("torch", "device"),
    name("collections", "OrderedDict"),
    name("collections", "defaultdict"),
    name("collections", "Counter"),
    name("argparse", "Namespace"),
    name("pathlib", "PosixPath"),
    name("__builtin__", "dict"),
    name("builtins", "dict"),
    name("__builtin__", "list"),
    name("builtins", "list"),
    name("__builtin__", "set"),
    name("builtins", "set"),
    name("__builtin__", "frozenset"),
    name("builtins", "frozenset"),
    name("__builtin__", "int"),
    name("builtins", "int"),
    name("__builtin__", "float"),
    name("builtins", "float"),
    name("__builtin__", "bytes"),
    name("builtins", "bytes"),
    name("_codecs", "encode"),
    name("numpy", "dtype"),
    name("numpy", "ndarray"),
    name("numpy.core.multiarray", "scalar"),
    name("numpy._core.multiarray", "scalar"),
    name("numpy.core.multiarray", "_reconstruct"),
    name("numpy._core.multiarray", "_reconstruct"),
];

const fn name(module: &'static str, name: &'static str) -> Name {
    Name { module, name }
}
