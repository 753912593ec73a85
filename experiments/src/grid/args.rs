//! The command line that all tables share.

use std::path::PathBuf;

use super::table_file::Scale;
use crate::commands::Output;
use crate::device::DeviceArg;

/// Train what is missing of this table's runs, then write its report.
///
/// Finished runs are reused, also those of other tables; interrupted ones are resumed. Ctrl-C saves and stops.
#[derive(clap::Parser, Clone, Debug)]
#[command(
    version,
    after_help = "Start with --dry-run: it lists the runs to do, and measures what they would cost. kill -9 loses the steps \
                  since the last checkpoint; the same command continues. Machines share the work with --shard 1/4, … 4/4: \
                  copy their run folders into one, and run the command once more for the table; where settings are tuned, copy them to all \
                  machines once all tuning runs are done, since arms wait for theirs."
)]
pub struct Args {
    /// How much is trained: smoke (a check that the program works), rehearsal (the carried data, a small network)
    /// or full (the paper's).
    #[arg(long, value_enum, default_value_t = Scale::Rehearsal)]
    pub scale: Scale,
    /// Folder of all runs, shared by all tables; a run's folder is named by the hash of its configuration.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Folder for the report [default: reports/TABLE-SCALE].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Seeds of each arm, counted from 1 [default: the table's].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: Option<u64>,
    /// Train and show this arm only (and the reference); give it several times for several arms.
    #[arg(long, value_name = "ARM")]
    pub only: Vec<String>,
    /// Runs trained side by side.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub jobs: u64,
    /// Threads of each run; 0 shares the cores among the jobs.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Where runs compute; each job opens a GPU for itself.
    #[command(flatten)]
    pub device: DeviceArg,
    /// Train only the i-th of n shares of the runs.
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub shard: Option<Shard>,
    /// List the runs to do, with hours, disk and memory, and train nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Folder of committed results, read as a second store [default: experiments/results/rehearsal].
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Copy the results of this table's finished runs, and their configurations, into this folder: a second store, small
    /// enough to commit.
    #[arg(long, value_name = "DIR")]
    pub collect: Option<PathBuf>,
    /// Folder with the data sets' descriptors [default: datasets].
    #[arg(long, value_name = "DIR")]
    pub data_root: Option<PathBuf>,
    /// Time one case of the representation loss in this process (JSON), and print what was measured.
    #[arg(long, value_name = "CASE", hide = true)]
    pub cost_case: Option<String>,
    /// How much is said, and how.
    #[command(flatten)]
    pub output: Output,
}

/// One of several machines' share of the runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which, counted from 1.
    pub index: usize,
    /// Of how many.
    pub of: usize,
}

impl Shard {
    /// Whether the share has the `position`-th run, counted from 0.
    pub fn has(self, position: usize) -> bool {
        position % self.of == self.index - 1
    }
}

fn shard(text: &str) -> Result<Shard, String> {
    let parsed = text.split_once('/').and_then(|(index, of)| {
        let (index, of) = (index.trim().parse().ok()?, of.trim().parse().ok()?);
        (1..=of).contains(&index).then_some(Shard { index, of })
    });
    parsed.ok_or_else(|| format!("expected I/N with I from 1 to N, such as 2/4, got `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_every_run_once() {
        let shares: Vec<Shard> = (1..=3).map(|index| Shard { index, of: 3 }).collect();
        for position in 0..10 {
            let owners = shares.iter().filter(|share| share.has(position)).count();
            assert_eq!(owners, 1, "run {position}");
        }
    }

    #[test]
    fn a_share_that_cannot_be_is_refused() {
        for text in ["0/3", "4/3", "1", "1/0", "a/b", ""] {
            assert!(shard(text).is_err(), "{text}");
        }
        assert_eq!(shard("2/4"), Ok(Shard { index: 2, of: 4 }));
    }
}
