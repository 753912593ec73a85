//! Descriptors of cuDNN's graph interface: made, given attributes, finalised, then only read.

use candle_core::cuda_backend::cudarc::cudnn::{CudnnError, sys};
use std::ffi::c_void;

pub(super) use sys::cudnnBackendAttributeName_t as Name;
use sys::cudnnBackendAttributeType_t as Type;
pub(super) use sys::cudnnBackendDescriptorType_t as Kind;

pub(super) type Result<T> = std::result::Result<T, CudnnError>;

/// One descriptor, destroyed with its owner.
pub(super) struct Descriptor(sys::cudnnBackendDescriptor_t);

/// What an attribute is set to.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Ints(&'a [i64]),
    Float(f32),
    Pointers(&'a [*mut c_void]),
    DataType(sys::cudnnDataType_t),
    ConvolutionMode(sys::cudnnConvolutionMode_t),
    HeuristicMode(sys::cudnnBackendHeurMode_t),
    Handle(sys::cudnnHandle_t),
    Descriptor(&'a Descriptor),
}

impl Descriptor {
    /// With all its attributes, finalised.
    pub(super) fn new(kind: Kind, attributes: &[(Name, Value<'_>)]) -> Result<Self> {
        let descriptor = Self::empty(kind)?;
        for &(name, value) in attributes {
            descriptor.set(name, value)?;
        }
        // SAFETY: the descriptor is alive.
        unsafe { sys::cudnnBackendFinalize(descriptor.0) }.result()?;
        Ok(descriptor)
    }

    /// One that [`Descriptor::read_into`] fills.
    pub(super) fn empty(kind: Kind) -> Result<Self> {
        let mut descriptor = std::ptr::null_mut();
        // SAFETY: cuDNN writes a handle there.
        unsafe { sys::cudnnBackendCreateDescriptor(kind, &mut descriptor) }.result()?;
        Ok(Self(descriptor))
    }

    pub(super) fn raw(&self) -> sys::cudnnBackendDescriptor_t {
        self.0
    }

    fn set(&self, name: Name, value: Value<'_>) -> Result<()> {
        fn one<T>(value: &T) -> (i64, *const c_void) {
            (1, std::ptr::from_ref(value).cast())
        }
        let (kind, (count, at)) = match &value {
            Value::Ints(numbers) => (
                Type::CUDNN_TYPE_INT64,
                (numbers.len() as i64, numbers.as_ptr().cast()),
            ),
            Value::Pointers(all) => (
                Type::CUDNN_TYPE_VOID_PTR,
                (all.len() as i64, all.as_ptr().cast()),
            ),
            Value::Float(number) => (Type::CUDNN_TYPE_FLOAT, one(number)),
            Value::DataType(of) => (Type::CUDNN_TYPE_DATA_TYPE, one(of)),
            Value::ConvolutionMode(mode) => (Type::CUDNN_TYPE_CONVOLUTION_MODE, one(mode)),
            Value::HeuristicMode(mode) => (Type::CUDNN_TYPE_HEUR_MODE, one(mode)),
            Value::Handle(handle) => (Type::CUDNN_TYPE_HANDLE, one(handle)),
            Value::Descriptor(other) => (Type::CUDNN_TYPE_BACKEND_DESCRIPTOR, one(&other.0)),
        };
        // SAFETY: `at` points to `count` values of the type that is named with it; cuDNN copies them.
        unsafe { sys::cudnnBackendSetAttribute(self.0, name, kind, count, at) }.result()
    }

    /// Descriptors that this one has as an attribute, at most `most`.
    pub(super) fn read_all(&self, name: Name, of: Kind, most: usize) -> Result<Vec<Self>> {
        let all: Vec<Self> = (0..most).map(|_| Self::empty(of)).collect::<Result<_>>()?;
        let mut raw: Vec<_> = all.iter().map(|one| one.0).collect();
        let found = self.get(
            name,
            Type::CUDNN_TYPE_BACKEND_DESCRIPTOR,
            raw.len(),
            raw.as_mut_ptr().cast(),
        )?;
        Ok(all.into_iter().take(found).collect())
    }

    /// A number that is an attribute.
    pub(super) fn read_int(&self, name: Name) -> Result<i64> {
        let mut number = 0i64;
        self.get(
            name,
            Type::CUDNN_TYPE_INT64,
            1,
            std::ptr::from_mut(&mut number).cast(),
        )?;
        Ok(number)
    }

    /// Notes on an engine, by their numbers in cuDNN's enums: a newer cuDNN may have more of them.
    pub(super) fn read_notes(&self, name: Name, of: Type) -> Result<Vec<u32>> {
        let mut notes = [0u32; NOTES];
        let found = self.get(name, of, NOTES, notes.as_mut_ptr().cast())?;
        Ok(notes[..found].to_vec())
    }

    /// Reads at most `count` values to `at`, which has room for them; how many there were.
    fn get(&self, name: Name, kind: Type, count: usize, at: *mut c_void) -> Result<usize> {
        let mut found = 0i64;
        // SAFETY: the callers give room for `count` values of the type.
        unsafe { sys::cudnnBackendGetAttribute(self.0, name, kind, count as i64, &mut found, at) }
            .result()?;
        Ok((found.max(0) as usize).min(count))
    }
}

/// More notes than an engine has.
const NOTES: usize = 32;

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: made by `empty` and destroyed once. What it was an attribute of has its own copy.
        let _ = unsafe { sys::cudnnBackendDestroyDescriptor(self.0) };
    }
}
