//! `mr2 bench ceilings`: how near each kind of layer comes to what the machine can do.

mod layers;
mod measure;

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Result, bail};
use mr2_nn::machine::{copy_bandwidth, fma_peak, read_bandwidth};
use serde::Serialize;

use self::layers::{HOT, NETWORKS};
use self::measure::{Part, Row, measure};
use crate::commands::{Output, Threads, write_json};
use crate::run::versions;

/// The share of the multiply-add peak below which the hot convolution counts as broken.
const GUARD: f64 = 0.5;
/// A guard that cries wolf is switched off, so it looks often.
const GUARD_REPETITIONS: u32 = 100;

/// How near the layers come to the machine's peaks.
///
/// The multiply-add peak is that of a loop in registers, with the vectors that the kernels use; bandwidths are those of a
/// buffer larger than the caches. Of a convolution the share of the multiply-add peak is shown, of the others the
/// time that their bytes take at the bandwidth of copying, as a share of theirs: above 1 where they stay in a cache.
#[derive(clap::Args)]
#[command(
    after_help = "Example: mr2 bench ceilings --network resnet32 --threads 1; in CI: mr2 bench ceilings --guard"
)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) threads: Threads,
    /// Only the layers of this network (may be given several times).
    #[arg(long, value_name = "NAME", value_parser = NETWORKS.map(|(name, _)| name))]
    network: Vec<String>,
    /// Only the hot 3x3 convolution of 64 channels, on one thread, and an error if it is below half of the multiply-add peak.
    #[arg(long)]
    guard: bool,
    /// Repetitions of each layer, of which the shortest counts.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: u32,
    /// Size of the buffers for the bandwidths.
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=16384))]
    buffer: u32,
}

/// What the machine can do.
#[derive(Serialize)]
struct Machine {
    threads: usize,
    /// Floating-point operations a second, a multiply-add being two.
    fma_peak: f64,
    /// Bytes a second.
    read_bandwidth: f64,
    copy_bandwidth: f64,
}

#[derive(Serialize)]
struct Report {
    versions: BTreeMap<String, String>,
    machine: Machine,
    layers: Vec<Row>,
}

/// Measures and prints a table, or JSON.
///
/// # Errors
/// With `--guard`, a kernel below its share of the peak.
pub(super) fn run(args: &Args, output: &Output, out: &mut dyn Write) -> Result<()> {
    if args.guard {
        return guard(args, out);
    }
    let bytes = args.buffer as usize * 1024 * 1024;
    let machine = Machine {
        threads: rayon::current_num_threads(),
        fma_peak: fma_peak(),
        read_bandwidth: read_bandwidth(bytes),
        copy_bandwidth: copy_bandwidth(bytes / 2),
    };
    let mut layers = Vec::new();
    for (network, list) in NETWORKS {
        if !args.network.is_empty() && !args.network.iter().any(|name| name == network) {
            continue;
        }
        for layer in list {
            layers.extend(measure(network, layer, args.repetitions)?);
        }
    }
    let report = Report {
        versions: versions(),
        machine,
        layers,
    };
    match output.json {
        true => write_json(&report, out),
        false => table(&report, out),
    }
}

fn table(report: &Report, out: &mut dyn Write) -> Result<()> {
    let Machine {
        threads,
        fma_peak,
        read_bandwidth,
        copy_bandwidth,
    } = &report.machine;
    writeln!(
        out,
        "threads {threads}: {:.1} GF/s of multiply-adds ({:.1} a thread), {:.1} GB/s read, {:.1} GB/s copied",
        fma_peak / 1e9,
        fma_peak / 1e9 / *threads as f64,
        read_bandwidth / 1e9,
        copy_bandwidth / 1e9
    )?;
    writeln!(
        out,
        "{:10} {:42} {:8} {:>10} {:>8} {:>8}  ceiling",
        "network", "layer", "part", "ms", "GF/s", "share"
    )?;
    for row in &report.layers {
        let (rate, share, ceiling) = match row.operations {
            Some(operations) => {
                let rate = operations / row.seconds;
                (
                    format!("{:.1}", rate / 1e9),
                    rate / fma_peak,
                    "multiply-adds",
                )
            }
            None => {
                let share = row.bytes / copy_bandwidth / row.seconds;
                ("-".to_string(), share, "bandwidth")
            }
        };
        writeln!(
            out,
            "{:10} {:42} {:8} {:>10.3} {rate:>8} {:>7.0}%  {ceiling}",
            row.network,
            row.layer,
            row.part.name(),
            row.seconds * 1e3,
            share * 100.0
        )?;
    }
    Ok(())
}

/// On one thread, whatever was asked for: where others have some of the cores, two threads reach no peak.
fn guard(args: &Args, out: &mut dyn Write) -> Result<()> {
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let (peak, rows) = one.install(|| {
        let before = fma_peak();
        let rows = measure("resnet32", &HOT, args.repetitions.max(GUARD_REPETITIONS))?;
        Ok::<_, anyhow::Error>((before.max(fma_peak()), rows))
    })?;
    for row in rows.iter().filter(|row| row.part == Part::Forward) {
        let rate = row.operations.unwrap_or(0.0) / row.seconds;
        writeln!(out, "{}: {}", row.layer, judged(rate, peak)?)?;
    }
    Ok(())
}

/// The rate in words, if it is at least [`GUARD`] of the peak.
fn judged(rate: f64, peak: f64) -> Result<String> {
    let share = rate / peak;
    let said = format!(
        "{:.1} of {:.1} GF/s, {:.0} %",
        rate / 1e9,
        peak / 1e9,
        share * 100.0
    );
    // Written so that NaN fails too.
    match share >= GUARD {
        true => Ok(said),
        false => bail!(
            "the hot 3x3 convolution reaches {said} of the multiply-add peak; expected at least {:.0} %",
            GUARD * 100.0
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_fails_below_half_of_the_peak() {
        assert!(judged(60e9, 100e9).is_ok());
        assert!(judged(50e9, 100e9).is_ok());
        let refused = judged(49e9, 100e9).map_err(|e| e.to_string());
        assert!(refused.is_err_and(|text| text.contains("49 %") && text.contains("at least 50 %")));
        assert!(judged(f64::NAN, 100e9).is_err());
    }
}
