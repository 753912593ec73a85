//! The engines that cuDNN suggests for a pass, in its order.

use super::super::choice::Traits;
use super::descriptor::{Descriptor, Kind, Name, Result, Value};
use super::graph::Graph;
use candle_core::cuda_backend::cudarc::cudnn::sys;
use sys::cudnnBackendAttributeType_t as Type;
use sys::cudnnBackendBehaviorNote_t::CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION as COMPILED;
use sys::cudnnBackendHeurMode_t as Mode;
use sys::cudnnBackendNumericalNote_t as Note;

/// Suggestions of one kind that are looked at.
const SUGGESTIONS: usize = 64;

/// An engine with its settings.
pub(super) struct Engine {
    pub(super) config: Descriptor,
    pub(super) traits: Traits,
}

/// What cuDNN thinks fast, then what it falls back to.
pub(super) fn engines(graph: &Graph) -> Result<Vec<Engine>> {
    let mut all = Vec::new();
    for mode in [Mode::CUDNN_HEUR_MODE_A, Mode::CUDNN_HEUR_MODE_FALLBACK] {
        let suggestions = Descriptor::new(
            Kind::CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR,
            &[
                (
                    Name::CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
                    Value::Descriptor(&graph.graph),
                ),
                (Name::CUDNN_ATTR_ENGINEHEUR_MODE, Value::HeuristicMode(mode)),
            ],
        );
        // No suggestions of one kind are no error: the other kind may have some.
        let Ok(suggestions) = suggestions else {
            continue;
        };
        let configs = suggestions.read_all(
            Name::CUDNN_ATTR_ENGINEHEUR_RESULTS,
            Kind::CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
            SUGGESTIONS,
        )?;
        for config in configs {
            let traits = traits(&config)?;
            all.push(Engine { config, traits });
        }
    }
    Ok(all)
}

fn traits(config: &Descriptor) -> Result<Traits> {
    let engines = config.read_all(
        Name::CUDNN_ATTR_ENGINECFG_ENGINE,
        Kind::CUDNN_BACKEND_ENGINE_DESCRIPTOR,
        1,
    )?;
    let (mut numerical, mut behaviour) = (Vec::new(), Vec::new());
    for engine in &engines {
        numerical.extend(engine.read_notes(
            Name::CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
            Type::CUDNN_TYPE_NUMERICAL_NOTE,
        )?);
        behaviour.extend(engine.read_notes(
            Name::CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE,
            Type::CUDNN_TYPE_BEHAVIOR_NOTE,
        )?);
    }
    let has = |note: Note| numerical.contains(&(note as u32));
    Ok(Traits {
        deterministic: !has(Note::CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC),
        tensor_cores: has(Note::CUDNN_NUMERICAL_NOTE_TENSOR_CORE)
            || has(Note::CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS),
        narrow_sums: has(Note::CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION),
        compiled: behaviour.contains(&(COMPILED as u32)),
    })
}
