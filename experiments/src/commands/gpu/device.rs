//! The device that was asked for, if it is there.

use anyhow::{Result, bail};
use candle_core::Device;

use crate::device::{Choice, no_gpu};

/// What [`open`] found.
pub(super) enum Opened {
    Device(Device),
    /// There is none, and why.
    NoGpu(String),
}

/// A device by its name, but for `auto`, which could take the CPU.
pub(super) fn named(text: &str) -> Result<Choice, String> {
    match text.parse() {
        Ok(Choice::Auto) => Err(
            "auto could take the CPU, and the GPU would not be checked: name cuda, cuda:N or cpu"
                .to_string(),
        ),
        Ok(choice) => Ok(choice),
        Err(_) => Err(format!(
            "expected cuda, cuda:N with N from 0, or cpu, got `{text}`"
        )),
    }
}

/// Opens the device. That this build has no CUDA, or the machine no GPU, is no error here: the caller has a status of
/// its own for it.
///
/// # Errors
/// A GPU that can't be opened though there is one, as of a number too high.
pub(super) fn open(choice: Choice) -> Result<Opened> {
    // Where a part of the driver is missing, its bindings panic.
    if choice != Choice::Cpu
        && let Some(reason) = quietly(no_gpu).unwrap_or_else(Some)
    {
        return Ok(Opened::NoGpu(first_line(&reason)));
    }
    match quietly(|| choice.open()) {
        Ok(device) => Ok(Opened::Device(device?)),
        Err(panic) => bail!("cannot open the device: {}", first_line(&panic)),
    }
}

/// What `work` gives, or the message of its panic, of which nothing is printed.
pub(super) fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    std::panic::set_hook(hook);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        format!("panic: {}", text.unwrap_or_default())
    })
}

/// An error's own words, without the backtrace that Candle may add.
pub(super) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_refused_with_what_to_name() {
        assert_eq!(named("cuda:2"), Ok(Choice::Cuda(2)));
        assert_eq!(named("cpu"), Ok(Choice::Cpu));
        let error = |text| named(text).expect_err("refused");
        assert!(error("auto").ends_with("name cuda, cuda:N or cpu"));
        assert!(error("gpu").ends_with("or cpu, got `gpu`"));
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_build_without_cuda_has_no_gpu_and_opens_the_cpu() {
        let gpu = open(Choice::Cuda(0)).expect("no error");
        assert!(matches!(gpu, Opened::NoGpu(reason) if reason.contains("--features cuda")));
        let cpu = open(Choice::Cpu).expect("no error");
        assert!(matches!(cpu, Opened::Device(device) if device.is_cpu()));
    }

    #[test]
    fn a_panic_becomes_a_message() {
        let message = quietly(|| -> u8 { panic!("no {}", "driver") });
        assert_eq!(message, Err("panic: no driver".to_string()));
        assert_eq!(quietly(|| 7), Ok(7));
    }
}
