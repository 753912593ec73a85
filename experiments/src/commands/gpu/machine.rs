//! What the driver says of the GPU: name, clocks, memory.

use std::process::Command;

use candle_core::{Device, DeviceLocation};
use serde_json::{Map, Value, json};

/// What `nvidia-smi` is asked for, and is recorded in every result.
const FIELDS: [&str; 10] = [
    "name",
    "driver_version",
    "compute_cap",
    "clocks.sm",
    "clocks.mem",
    "clocks.max.sm",
    "power.limit",
    "temperature.gpu",
    "memory.total",
    "memory.used",
];

/// The GPU with its clocks (MHz) and memory (MiB) as of now; the CPU where that is the device.
pub(super) fn about(device: &Device) -> Value {
    let DeviceLocation::Cuda { gpu_id } = device.location() else {
        return json!({ "name": "CPU" });
    };
    let values = query(&FIELDS, &number_for_driver(gpu_id));
    let named = FIELDS.iter().zip(values).map(|(field, value)| {
        let value = value.parse::<f64>().map_or(Value::from(value), Value::from);
        (field.replace('.', "_"), value)
    });
    Value::Object(named.collect::<Map<_, _>>())
}

/// The most MiB that this process's tensors have taken on the GPU at one time; `None` on the CPU.
pub(super) fn memory_used(device: &Device) -> Option<f64> {
    #[cfg(feature = "cuda")]
    if let Ok(memory) = mr2_nn::cuda::memory(device) {
        return Some(memory.most as f64 / f64::from(1 << 20));
    }
    let _ = device;
    None
}

/// What `nvidia-smi -i` takes for a GPU that this process counts as `number`: it may see a few of the machine's alone.
fn number_for_driver(number: usize) -> String {
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
    let own = visible.split(',').nth(number).map(str::trim);
    let own = own.filter(|own| !own.is_empty());
    own.map_or(number.to_string(), ToString::to_string)
}

/// The values of one GPU, or nothing where `nvidia-smi` is missing.
fn query(fields: &[&str], gpu: &str) -> Vec<String> {
    let asked = format!("--query-gpu={}", fields.join(","));
    let output = Command::new("nvidia-smi")
        .args(["-i", gpu, &asked, "--format=csv,noheader,nounits"])
        .output();
    let text = match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).to_string()
        }
        _ => return Vec::new(),
    };
    let first = text.lines().next().unwrap_or_default();
    first.split(',').map(|v| v.trim().to_string()).collect()
}
