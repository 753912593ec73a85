//! The command line of `mr2`: one file per command.

use std::io::{IsTerminal, Write};

use anyhow::Result;
use clap::{Parser, Subcommand};

pub mod audit;
pub mod bench;
pub mod data;
pub mod eval;
pub mod features;
pub mod gpu;
pub mod models;
pub mod presets;
pub mod probe;
pub mod report;
pub mod train;
pub mod tune;
#[cfg(feature = "hub")]
pub mod weights;
pub mod zeroshot;

/// Measure and reduce class-wise accuracy disparity in image classifiers.
#[derive(Parser)]
#[command(
    name = "mr2",
    version,
    after_help = "Start with `cargo run --release` (the quickstart), or audit predictions you already have: \
                  `mr2 audit --example > p.csv && mr2 audit --predictions p.csv`."
)]
struct Cli {
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

/// How much is said, and how.
#[derive(clap::Args, Clone, Debug)]
pub struct Output {
    /// Say nothing on stderr but errors.
    #[arg(long, global = true)]
    pub quiet: bool,
    /// Print results on stdout as JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Train the run that a TOML file describes, into a run folder.
    Train(train::Args),
    /// Choose hyperparameters on validation images, with the budget in a file.
    Tune(tune::Args),
    /// The class-wise report of a run's weights on its test, validation or training images.
    Eval(eval::Args),
    /// Tables and plots from run folders: Markdown, LaTeX, HTML, SVG, PNG.
    Report(report::Args),
    /// The class-wise report of anyone's predictions; no training.
    Audit(audit::Args),
    /// Probe pretrained backbones on images of your own, class by class.
    Probe(probe::Args),
    /// Classify images of your own by their classes' names with CLIP; no training.
    Zeroshot(zeroshot::Args),
    /// Compute the features of images with a pretrained backbone.
    Features(features::Args),
    /// List the known data sets, or check one on disk.
    Data(data::Args),
    /// List the backbones.
    Models(models::Args),
    /// Weights from the Hugging Face Hub: list, find, verify.
    #[cfg(feature = "hub")]
    Weights(weights::Args),
    /// List the MR2 presets, or print one as the block to paste into a run file.
    Presets(presets::Args),
    /// Time the MR2 loss, networks and layers.
    Bench(bench::Args),
    /// Check and measure the CUDA backend on this machine's GPU.
    Gpu(gpu::Args),
}

/// Parses the command line and runs the command; the number is the exit status.
///
/// # Errors
/// Whatever stopped the command, with its causes.
pub fn main(out: &mut dyn Write) -> Result<u8> {
    let cli = Cli::parse();
    init_logging(&cli.output);
    match &cli.command {
        Command::Train(args) => return train::run(args, &cli.output, out),
        Command::Tune(args) => return tune::run(args, &cli.output, out),
        Command::Gpu(args) => return gpu::run(args, out),
        Command::Probe(args) => return probe::run(args, &cli.output, out),
        Command::Zeroshot(args) => return zeroshot::run(args, &cli.output, out),
        Command::Features(args) => return features::run(args, &cli.output, out),
        Command::Eval(args) => eval::run(args, &cli.output, out)?,
        Command::Report(args) => report::run(args, &cli.output, out)?,
        Command::Audit(args) => audit::run(args, &cli.output, out)?,
        Command::Data(args) => data::run(args, &cli.output, out)?,
        Command::Models(args) => models::run(args, &cli.output, out)?,
        #[cfg(feature = "hub")]
        Command::Weights(args) => weights::run(args, &cli.output, out)?,
        Command::Presets(args) => presets::run(args, &cli.output, out)?,
        Command::Bench(args) => bench::run(args, &cli.output, out)?,
    }
    Ok(0)
}

/// Warnings, which device `--device auto` took where it had a choice, and what is downloaded.
const USUAL: &str = "warn,mr2::device=info,mr2::hub=info";

/// Sends the libraries' warnings (and more with `RUST_LOG`) to stderr; with `--quiet`, only errors.
pub fn init_logging(output: &Output) {
    use tracing_subscriber::EnvFilter;
    let filter = match output.quiet {
        true => EnvFilter::new("error"),
        false => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USUAL)),
    };
    // A second initialisation (tests in one process) keeps the first.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours(std::io::stderr().is_terminal()))
        .without_time()
        .with_target(false)
        .try_init();
}

/// Whether colours may be used on a stream, by the NO_COLOR convention (<https://no-color.org>).
pub fn colours(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// How many threads compute.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Threads {
    /// Threads for the kernels; 0 for one per core.
    ///
    /// The same seed, machine and number of threads give the same bits; another number may change the last of
    /// them. Candle's own operations on 65,536 numbers or more don't follow it: they take CANDLE_NUM_THREADS
    /// from the environment, or else RAYON_NUM_THREADS, or else one thread per physical core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

impl Threads {
    /// Makes the thread pool of that size.
    ///
    /// # Errors
    /// When the thread pool was already made.
    pub fn apply(self) -> Result<()> {
        if self.threads > 0 {
            rayon::ThreadPoolBuilder::new()
                .num_threads(self.threads)
                .build_global()?;
        }
        Ok(())
    }
}

/// Prints `value` as JSON, and a line break.
///
/// # Errors
/// When it can't be written; of a closed pipe, so that [`is_closed_pipe`] knows it (serde_json's own
/// writer hides the cause).
pub fn write_json(value: &impl serde::Serialize, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "{}", serde_json::to_string_pretty(value)?)?;
    Ok(())
}

/// Whether `error` comes from writing to a pipe that its reader has closed.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
