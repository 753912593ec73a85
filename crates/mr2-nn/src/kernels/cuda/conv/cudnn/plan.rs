//! An engine made ready to run, and the choice among those that are.

use super::super::choice::{goes_on, to_try};
use super::descriptor::{Descriptor, Kind, Name, Value};
use super::engines::{Engine, engines};
use super::graph::{self, Graph, graph};
use super::{Key, Pointers, handle_of, named};
use candle_core::cuda_backend::cudarc::cudnn::sys;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr, sys::CUevent_flags};
use candle_core::{CudaDevice, Error, Result, bail};
use std::ffi::c_void;

/// Workspace that an engine may take.
const WORKSPACE: usize = 512 << 20;

/// Runs of an engine before its clock starts, and with it.
const WARM_UP: usize = 1;
const RUNS: usize = 4;

/// An engine ready to run.
pub(super) struct Plan {
    handle: sys::cudnnHandle_t,
    plan: Descriptor,
    /// Bytes.
    workspace: usize,
    _engine: Engine,
}

/// The chosen plan of a pass, and the graph that it is of.
pub(super) struct Chosen {
    plan: Plan,
    _graph: Graph,
}

impl Chosen {
    /// The fastest on these very tensors, among those that [`super::super::choice`] lets run.
    pub(super) fn new(device: &CudaDevice, key: &Key, pointers: Pointers) -> Result<Self> {
        let handle = handle_of(device)?;
        let graph = graph(handle, key).map_err(named)?;
        let engines = engines(&graph).map_err(named)?;
        let traits: Vec<_> = engines.iter().map(|engine| engine.traits).collect();
        let mut engines: Vec<Option<Engine>> = engines.into_iter().map(Some).collect();
        let mut ran = Vec::new();
        let mut fastest: Option<(f32, Plan)> = None;
        for place in to_try(&traits, key.exact) {
            if !goes_on(&ran, traits[place]) {
                break;
            }
            let Some(plan) = engines[place].take().and_then(|e| Plan::new(handle, e)) else {
                continue;
            };
            let Ok(milliseconds) = plan.time(device, pointers) else {
                continue;
            };
            ran.push(traits[place]);
            if fastest
                .as_ref()
                .is_none_or(|(best, _)| milliseconds < *best)
            {
                fastest = Some((milliseconds, plan));
            }
        }
        match fastest {
            Some((_, plan)) => Ok(Self {
                plan,
                _graph: graph,
            }),
            None => bail!("conv2d: cuDNN has no engine for {:?}", key.geometry),
        }
    }

    /// Puts the pass into the device's queue.
    pub(super) fn run(&self, device: &CudaDevice, pointers: Pointers) -> Result<()> {
        let workspace = self.plan.workspace(device)?;
        self.plan.run(pointers, workspace.as_ref())
    }
}

impl Plan {
    /// None where the engine doesn't take these sizes or wants too much memory.
    fn new(handle: sys::cudnnHandle_t, engine: Engine) -> Option<Self> {
        let plan = Descriptor::new(
            Kind::CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR,
            &[
                (
                    Name::CUDNN_ATTR_EXECUTION_PLAN_HANDLE,
                    Value::Handle(handle),
                ),
                (
                    Name::CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                    Value::Descriptor(&engine.config),
                ),
            ],
        )
        .ok()?;
        let workspace = plan
            .read_int(Name::CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)
            .ok()?;
        let workspace = usize::try_from(workspace).ok()?;
        (workspace <= WORKSPACE).then_some(Self {
            handle,
            plan,
            workspace,
            _engine: engine,
        })
    }

    fn workspace(&self, device: &CudaDevice) -> Result<Option<CudaSlice<u8>>> {
        match self.workspace {
            0 => Ok(None),
            // SAFETY: nothing reads what the engine writes there.
            bytes => unsafe { device.alloc::<u8>(bytes) }.map(Some),
        }
    }

    /// Milliseconds of one run.
    fn time(&self, device: &CudaDevice, pointers: Pointers) -> Result<f32> {
        let stream = device.cuda_stream();
        let workspace = self.workspace(device)?;
        for _ in 0..WARM_UP {
            self.run(pointers, workspace.as_ref())?;
        }
        let failed = |error| Error::Msg(format!("conv2d: {error}"));
        let now = || stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
        let start = now().map_err(failed)?;
        for _ in 0..RUNS {
            self.run(pointers, workspace.as_ref())?;
        }
        let end = now().map_err(failed)?;
        Ok(start.elapsed_ms(&end).map_err(failed)? / RUNS as f32)
    }

    fn run(&self, p: Pointers, workspace: Option<&CudaSlice<u8>>) -> Result<()> {
        let at = workspace.map_or(0, |memory| memory.device_ptr(memory.stream()).0);
        let tensors = [p.images, p.weight, p.out].map(|address| address as *mut c_void);
        let pack = Descriptor::new(
            Kind::CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR,
            &[
                (
                    Name::CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS,
                    Value::Ints(&[graph::IMAGES, graph::WEIGHT, graph::OUT]),
                ),
                (
                    Name::CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                    Value::Pointers(&tensors),
                ),
                (
                    Name::CUDNN_ATTR_VARIANT_PACK_WORKSPACE,
                    Value::Pointers(&[at as *mut c_void]),
                ),
            ],
        )
        .map_err(named)?;
        // SAFETY: the pointers are those of living tensors of the described sizes, as `super::run` took them, and of as much
        // workspace as the plan asks for; memory is freed in the order of the stream that the handle launches on.
        unsafe { sys::cudnnBackendExecute(self.handle, self.plan.raw(), pack.raw()) }
            .result()
            .map_err(named)
    }
}
