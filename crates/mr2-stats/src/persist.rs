//! Statistics to and from named tensors and safetensors files.
use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Result, Tensor, bail, safetensors};

use crate::segment_sum::{ClassRows, wide_dtype};
use crate::state::{State, home};
use crate::{Centre, ClassStats, Estimator, StatsConfig};

/// The name of the tensor that holds the config as numbers.
const CONFIG: &str = "config";
/// The version of the names and their meaning.
const FORMAT: f64 = 1.0;

impl ClassStats {
    /// Copies of the state and the config as tensors on the CPU, in a fixed order, for a
    /// checkpoint.
    ///
    /// # Shapes
    /// `config` (7); the rest (classes), but for `mean` (classes, feature_dim), `centre`
    /// (feature_dim) and `centre_batches` (1), where the config has them.
    ///
    /// # Errors
    /// On an accelerator, statistics that a NaN or infinite feature has spoilt (see
    /// [`ClassStats::observe`]); what the device reports.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let numbers = config_numbers(self.config(), self.classes(), self.feature_dim());
        let mut tensors = vec![(CONFIG.to_string(), Tensor::new(&numbers, &Device::Cpu)?)];
        for (name, tensor) in self.state.fields() {
            let copy = tensor.copy()?.to_device(&Device::Cpu)?;
            if !self.device().is_cpu() {
                check_values(name, &copy, tensor.dims())?;
            }
            tensors.push((name.to_string(), copy));
        }
        Ok(tensors)
    }

    /// Replaces the state by one that [`ClassStats::tensors`] gave.
    ///
    /// # Shapes
    /// As [`ClassStats::tensors`].
    ///
    /// # Errors
    /// Another config, a tensor too many, too few, of another shape, or with a number that is not
    /// finite or negative where it can't be. After an error the state is as before.
    pub fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<()> {
        let saved = find(tensors, CONFIG)?
            .to_dtype(DType::F64)?
            .flatten_all()?
            .to_vec1::<f64>()?;
        let own = config_numbers(self.config(), self.classes(), self.feature_dim());
        if saved.len() != own.len() {
            bail!(
                "statistics: config must have {} numbers, got {}",
                own.len(),
                saved.len()
            )
        }
        for ((name, own), saved) in CONFIG_NAMES.iter().zip(own).zip(saved) {
            if own != saved {
                bail!("statistics were saved with {name} = {saved}, expected {own}")
            }
        }
        let (classes, feature_dim) = (self.classes(), self.feature_dim());
        self.state = read_state(tensors, self.config(), classes, feature_dim, self.device())?;
        Ok(())
    }

    /// Writes state and config to a safetensors file.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let tensors: HashMap<String, Tensor> = self.tensors()?.into_iter().collect();
        safetensors::save(&tensors, path)
    }

    /// Reads statistics, with their config, from a file that [`ClassStats::save`] wrote.
    ///
    /// # Errors
    /// A file that can't be read or is none of these; as [`ClassStats::load`].
    pub fn open(path: impl AsRef<Path>, dtype: DType, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        let open = || -> Result<Self> {
            let tensors = safetensors::load(path, &Device::Cpu)?;
            let numbers = find(&tensors, CONFIG)?.to_dtype(DType::F64)?;
            let numbers = numbers.flatten_all()?.to_vec1::<f64>()?;
            let (config, classes, feature_dim) = parse_config(&numbers)?;
            Self::with_state(config, classes, feature_dim, dtype, device, |config| {
                read_state(&tensors, config, classes, feature_dim, device)
            })
        };
        open().map_err(|error| error.with_path(path))
    }
}

const CONFIG_NAMES: [&str; 7] = [
    "format",
    "norm",
    "decay",
    "estimator",
    "centre",
    "classes",
    "feature_dim",
];

/// Choices are saved by their place in `ALL`.
fn config_numbers(config: &StatsConfig, classes: usize, feature_dim: usize) -> [f64; 7] {
    let place = |found: Option<usize>| found.map_or(-1.0, |place| place as f64);
    let estimator = place(Estimator::ALL.iter().position(|&e| e == config.estimator));
    let centre = place(Centre::ALL.iter().position(|&c| c == config.centre));
    let (classes, feature_dim) = (classes as f64, feature_dim as f64);
    [
        FORMAT,
        config.norm,
        config.decay,
        estimator,
        centre,
        classes,
        feature_dim,
    ]
}

/// The config, the classes and the feature_dim. Nothing may be allocated by these two alone, a file can
/// name any; [`read_state`] compares them with the tensors that are there.
fn parse_config(numbers: &[f64]) -> Result<(StatsConfig, usize, usize)> {
    let &[format, norm, decay, estimator, centre, classes, feature_dim] = numbers else {
        bail!(
            "statistics: config must have {} numbers, got {}",
            CONFIG_NAMES.len(),
            numbers.len()
        )
    };
    if format != FORMAT {
        bail!("statistics have format {format}, expected {FORMAT}")
    }
    let place = |x: f64| {
        if x >= 0.0 && x.fract() == 0.0 {
            x as usize
        } else {
            usize::MAX
        }
    };
    let Some(&estimator) = Estimator::ALL.get(place(estimator)) else {
        bail!("statistics have unknown estimator {estimator}")
    };
    let Some(&centre) = Centre::ALL.get(place(centre)) else {
        bail!("statistics have unknown centre {centre}")
    };
    for (name, size) in [("classes", classes), ("feature_dim", feature_dim)] {
        if size < 1.0 || place(size) > u32::MAX as usize {
            bail!(
                "statistics have {name} = {size}, expected 1 to {}",
                u32::MAX
            )
        }
    }
    let config = StatsConfig {
        norm,
        decay,
        estimator,
        centre,
    };
    Ok((config, place(classes), place(feature_dim)))
}

/// The state that `tensors` hold: all of its tensors, of the right shapes, and no others.
fn read_state(
    tensors: &HashMap<String, Tensor>,
    config: &StatsConfig,
    classes: usize,
    feature_dim: usize,
    device: &Device,
) -> Result<State> {
    let rows = ClassRows::on(device);
    let state = State::build(config, classes, feature_dim, rows, |name, shape| {
        let tensor = find(tensors, name)?;
        check_values(name, tensor, shape)?;
        tensor
            .to_device(home(name, device))?
            .to_dtype(wide_dtype(device))?
            .copy()
    })?;
    let known = state.fields();
    let mut unexpected: Vec<&str> = tensors
        .keys()
        .map(String::as_str)
        .filter(|&name| name != CONFIG && !known.iter().any(|&(known, _)| known == name))
        .collect();
    unexpected.sort_unstable();
    if !unexpected.is_empty() {
        bail!(
            "statistics have unexpected tensors: {}",
            unexpected.join(", ")
        )
    }
    Ok(state)
}

fn find<'a>(tensors: &'a HashMap<String, Tensor>, name: &str) -> Result<&'a Tensor> {
    match tensors.get(name) {
        Some(tensor) => Ok(tensor),
        None => bail!("statistics lack the tensor {name}"),
    }
}

fn check_values(name: &str, tensor: &Tensor, shape: &[usize]) -> Result<()> {
    if tensor.dims() != shape {
        bail!(
            "statistics: {name} must be {shape:?}, got {:?}",
            tensor.dims()
        )
    }
    let values = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    let signed = matches!(name, "mean" | "centre");
    let values = values.flatten_all()?.to_vec1::<f64>()?;
    if let Some(wrong) = values
        .iter()
        .find(|x| !x.is_finite() || (!signed && **x < 0.0))
    {
        bail!("statistics: {name} holds {wrong}")
    }
    Ok(())
}
