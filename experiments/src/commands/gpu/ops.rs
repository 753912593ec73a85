//! `mr2 gpu ops`: every layer and operation on the device against the CPU in f64.

mod case;
mod comparison;
mod convolutions;
mod images;
mod losses;
mod networks;
mod optimizers;
mod rivals;
mod side;
mod statistics;
mod token_layers;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Instant;

use anyhow::Result;
use candle_core::Device;
use serde_json::{Value, json};

use self::case::{Case, Parts, Uses};
use self::comparison::{Checked, compare};
use self::side::Side;
use super::device::{first_line, quietly};
use super::results::Results;
use super::{BROKEN, FAILED, Place};
use crate::device::Precision;

/// Results and gradients of every layer and operation, with the same weights and inputs on both sides.
///
/// A row holds the relative error of each result, the norm of the difference over that of the CPU's in f64. After a
/// failure, an error or a panic it goes on, and lists the failures last.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) place: Place,
    /// Only the operations whose name contains this (may be given several times).
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only these precisions [default: all that the operation has].
    #[arg(long, value_enum)]
    precision: Vec<Precision>,
    /// Leave out what the file of results has from an earlier start.
    #[arg(long)]
    resume: bool,
    /// Print the names and do nothing.
    #[arg(long)]
    pub(super) list: bool,
}

/// Prints the names of the operations asked for.
pub(super) fn list(args: &Args, out: &mut dyn Write) -> Result<u8> {
    for case in cases(args) {
        writeln!(out, "{}", case.name)?;
    }
    Ok(0)
}

/// Checks, prints and writes a row at a time.
pub(super) fn run(args: &Args, device: &Device, out: &mut dyn Write) -> Result<u8> {
    let mut results = Results::open(args.place.out.as_deref(), "ops", device, args.resume)?;
    for case in cases(args) {
        let mut references = BTreeMap::new();
        for precision in precisions(args, &case, device) {
            let keys = [
                ("name", case.name.as_str()),
                ("precision", precision.name()),
            ];
            if results.has(&keys) {
                continue;
            }
            let start = Instant::now();
            let checked = check(&case, precision, device, &mut references);
            let seconds = start.elapsed().as_secs_f64();
            writeln!(out, "{}", line(&case, precision, &checked))?;
            out.flush()?;
            results.push(row(&case, precision, &checked, seconds))?;
            if quietly(|| device.synchronize()).is_ok_and(|done| done.is_ok()) {
                continue;
            }
            writeln!(out, "the GPU takes no more work from this process")?;
            return Ok(BROKEN);
        }
    }
    summary(&results, out)
}

fn cases(args: &Args) -> Vec<Case> {
    let mut all = convolutions::cases();
    all.extend(token_layers::cases());
    all.extend(losses::cases());
    all.extend(statistics::cases());
    all.extend(optimizers::cases());
    all.extend(rivals::cases());
    all.extend(images::cases());
    all.extend(networks::cases());
    let asked = |name: &str| args.only.is_empty() || args.only.iter().any(|o| name.contains(o));
    all.retain(|case| asked(&case.name));
    all
}

/// Layers have all precisions on a GPU; what follows them is f32, whose products TF32 must not touch.
fn precisions(args: &Args, case: &Case, device: &Device) -> Vec<Precision> {
    let mut all = match (device.is_cpu(), case.uses) {
        (true, _) => vec![Precision::F32],
        (false, Uses::Layers) => Precision::ALL.to_vec(),
        (false, Uses::Tensors) => vec![Precision::F32, Precision::Tf32],
    };
    all.retain(|p| args.precision.is_empty() || args.precision.contains(p));
    all
}

/// The errors of one operation in one precision, or why there are none.
fn check(
    case: &Case,
    precision: Precision,
    device: &Device,
    references: &mut BTreeMap<&'static str, Parts>,
) -> Result<Vec<Checked>, String> {
    precision.apply();
    let work = || -> Result<Vec<Checked>> {
        // The reference takes the same inputs, so those of a narrow type are rounded on both sides.
        let rounding = precision.dtype().as_str();
        if !references.contains_key(rounding) {
            references.insert(rounding, (case.run)(&Side::reference(precision))?);
        }
        let found = (case.run)(&Side::checked(device, precision))?;
        compare(case, precision, &found, &references[rounding])
    };
    match quietly(work) {
        Ok(Ok(checked)) => Ok(checked),
        Ok(Err(error)) => Err(first_line(&format!("{error:#}"))),
        Err(panic) => Err(first_line(&panic)),
    }
}

fn passed(checked: &Result<Vec<Checked>, String>) -> bool {
    checked
        .as_ref()
        .is_ok_and(|all| all.iter().all(Checked::passed))
}

/// The part that comes nearest to its tolerance, or exceeds it most.
fn worst(checked: &[Checked]) -> Option<&Checked> {
    checked
        .iter()
        .max_by(|a, b| a.share().total_cmp(&b.share()))
}

fn line(case: &Case, precision: Precision, checked: &Result<Vec<Checked>, String>) -> String {
    let word = if passed(checked) { "ok  " } else { "FAIL" };
    let said = match checked {
        Ok(all) => worst(all).map_or("nothing compared".to_string(), ToString::to_string),
        Err(message) => message.clone(),
    };
    format!("{word} {:44} {:5} {said}", case.name, precision.name())
}

fn row(
    case: &Case,
    precision: Precision,
    checked: &Result<Vec<Checked>, String>,
    seconds: f64,
) -> Value {
    let (errors, message) = match checked {
        Ok(all) => {
            let errors = all.iter().map(|c| (c.part.clone(), json!(c.error)));
            (errors.collect::<serde_json::Map<_, _>>(), Value::Null)
        }
        Err(message) => (serde_json::Map::new(), json!(message)),
    };
    json!({
        "name": case.name,
        "precision": precision.name(),
        "passed": passed(checked),
        "line": line(case, precision, checked),
        "errors": errors,
        "message": message,
        "seconds": seconds,
    })
}

/// How many failed, and which, last.
fn summary(results: &Results, out: &mut dyn Write) -> Result<u8> {
    let failures: Vec<&Value> = results
        .rows()
        .iter()
        .filter(|row| row["passed"] != true)
        .collect();
    writeln!(
        out,
        "\n{} checks, {} failed",
        results.rows().len(),
        failures.len()
    )?;
    for row in &failures {
        writeln!(out, "{}", row["line"].as_str().unwrap_or_default())?;
    }
    Ok(if failures.is_empty() { 0 } else { FAILED })
}
