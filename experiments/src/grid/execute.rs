//! Trains what is missing: several workers over one queue, each run locked, a failed one tried once more.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use mr2_train::{Outcome, StopFlag};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::args::{Args, Shard};
use super::plan::PlannedRun;
use super::store::Store;
use super::view::View;
use crate::assemble::{Data, data, data_root};
use crate::device::{Compute, DeviceArg};
use crate::run::{start_for, train_into};

/// How often a run is tried.
const TRIES: usize = 2;
/// Between two looks at a run that another process is training.
const BUSY: Duration = Duration::from_secs(2);

/// A run that couldn't be trained.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Failure {
    /// The run's hash.
    pub key: String,
    /// Arm and seed.
    pub label: String,
    /// The error with its causes.
    pub error: String,
}

/// How the runs ended.
pub enum Ended {
    /// All were tried; these failed.
    Done(Vec<Failure>),
    /// A signal stopped them; they are saved.
    Stopped,
}

/// What all workers share.
pub struct Grid<'a> {
    store: &'a Store,
    data_root: std::path::PathBuf,
    jobs: usize,
    threads: usize,
    device: DeviceArg,
    shard: Option<Shard>,
    stop: &'a StopFlag,
    opened: Mutex<HashMap<String, Arc<Data>>>,
}

/// Who does a part of the work, with threads and a handle of the device for itself.
pub(super) struct Worker {
    /// Counted from 0.
    number: usize,
    pub(super) pool: ThreadPool,
    pub(super) compute: Compute,
}

struct Queued {
    run: PlannedRun,
    tries: usize,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Queued>,
    failures: Vec<Failure>,
}

enum Tried {
    Finished,
    Busy,
    Stopped,
    Failed(anyhow::Error),
}

impl<'a> Grid<'a> {
    /// Workers and threads as the command line says.
    pub fn new(args: &Args, store: &'a Store, stop: &'a StopFlag) -> Self {
        let jobs = args.jobs as usize;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = match args.threads {
            0 => (cores / jobs).max(1),
            threads => threads,
        };
        Self {
            store,
            data_root: data_root(args.data_root.as_deref()),
            jobs,
            threads,
            device: args.device,
            shard: args.shard,
            stop,
            opened: Mutex::default(),
        }
    }

    /// Runs trained side by side.
    pub fn jobs(&self) -> usize {
        self.jobs
    }

    /// Those of `runs` that have no result yet, each once.
    pub fn missing(&self, runs: &[PlannedRun]) -> Vec<PlannedRun> {
        let mut keys = std::collections::BTreeSet::new();
        let missing = |run: &&PlannedRun| {
            self.store.finished(&run.key).is_none() && keys.insert(run.key.clone())
        };
        runs.iter().filter(missing).cloned().collect()
    }

    /// Those of [`Grid::missing`] that are this machine's share.
    pub fn share(&self, runs: &[PlannedRun]) -> Vec<PlannedRun> {
        let missing = self.missing(runs);
        let Some(shard) = self.shard else {
            return missing;
        };
        // By the hash, so that shares stay the same while other machines' results arrive.
        let mine = |run: &PlannedRun| {
            let number = u64::from_str_radix(&run.key, 16).unwrap_or(0);
            shard.has((number % shard.of as u64) as usize)
        };
        missing.into_iter().filter(mine).collect()
    }

    /// The data of a run; opened once for all runs that read the same.
    ///
    /// # Errors
    /// When files are missing or wrong.
    pub fn data(&self, run: &PlannedRun) -> Result<Arc<Data>> {
        let asked = serde_json::to_string(&run.file.config.data.images())?;
        let mut opened = locked(&self.opened);
        if let Some(data) = opened.get(&asked) {
            return Ok(data.clone());
        }
        let data = Arc::new(data(&run.file.config, &self.data_root)?);
        opened.insert(asked, data.clone());
        Ok(data)
    }

    /// Whether the training images of a run are as many for each class.
    ///
    /// # Errors
    /// As [`Grid::data`].
    pub fn is_balanced(&self, run: &PlannedRun) -> Result<bool> {
        let counts = self.data(run)?.splits.train.counts();
        Ok(counts.windows(2).all(|pair| pair[0] == pair[1]))
    }

    /// Trains the runs, in their order as far as workers allow.
    ///
    /// # Errors
    /// When a worker's threads can't be made.
    pub fn train(&self, runs: Vec<PlannedRun>, view: &View) -> Result<Ended> {
        let waiting = runs.into_iter().map(|run| Queued { run, tries: 0 });
        let queue = Mutex::new(Queue {
            waiting: waiting.collect(),
            failures: Vec::new(),
        });
        self.side_by_side(|by| self.work(by, &queue, view))?;
        if self.stop.is_set() {
            return Ok(Ended::Stopped);
        }
        let queue = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Ended::Done(queue.failures))
    }

    /// Does the work of every worker at the same time.
    ///
    /// # Errors
    /// The first worker's that fails, and when threads can't be made or the device not opened.
    pub(super) fn side_by_side(&self, work: impl Fn(&Worker) -> Result<()> + Sync) -> Result<()> {
        let start = |number| {
            let pool = ThreadPoolBuilder::new().num_threads(self.threads);
            work(&Worker {
                number,
                pool: pool.build()?,
                compute: self.device.open()?,
            })
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs)
                .map(|number| {
                    let start = &start;
                    scope.spawn(move || start(number))
                })
                .collect();
            workers.into_iter().try_for_each(|worker| {
                let ended = worker.join();
                ended.unwrap_or_else(|_| Err(anyhow!("a worker of the grid panicked")))
            })
        })
    }

    fn work(&self, by: &Worker, queue: &Mutex<Queue>, view: &View) -> Result<()> {
        let worker = by.number;
        while !self.stop.is_set() {
            let Some(mut next) = locked(queue).waiting.pop_front() else {
                return Ok(());
            };
            next.tries += 1;
            view.begin(worker, &next.run);
            match by.pool.install(|| self.attempt(by, &next.run, view)) {
                Tried::Finished => view.finished(worker, &next.run),
                Tried::Stopped => return Ok(()),
                Tried::Busy => {
                    next.tries -= 1;
                    view.elsewhere(worker);
                    // Others first; where it is the last, its process is waited for.
                    locked(queue).waiting.push_back(next);
                    std::thread::sleep(BUSY);
                }
                Tried::Failed(error) if next.tries < TRIES => {
                    view.failed(worker, &next.run, &error, true);
                    locked(queue).waiting.push_back(next);
                }
                Tried::Failed(error) => {
                    view.failed(worker, &next.run, &error, false);
                    locked(queue).failures.push(Failure {
                        key: next.run.key,
                        label: next.run.label,
                        error: format!("{error:#}"),
                    });
                }
            }
        }
        Ok(())
    }

    fn attempt(&self, by: &Worker, run: &PlannedRun, view: &View) -> Tried {
        // Another process may have finished it since.
        if self.store.finished(&run.key).is_some() {
            return Tried::Finished;
        }
        let folder = self.store.folder(&run.key);
        match self.train_one(by, run, &folder, view) {
            Ok(Outcome::Finished(_) | Outcome::AlreadyFinished(_)) => Tried::Finished,
            Ok(Outcome::Stopped { .. }) => Tried::Stopped,
            Err(error) if is_locked(&error) => Tried::Busy,
            Err(error) => Tried::Failed(error),
        }
    }

    fn train_one(
        &self,
        by: &Worker,
        run: &PlannedRun,
        folder: &Path,
        view: &View,
    ) -> Result<Outcome> {
        let data = self.data(run).with_context(|| run.label.clone())?;
        let start = start_for(folder);
        train_into(
            &run.file,
            &data,
            &by.compute,
            folder,
            start,
            self.stop,
            &mut |event| view.event(by.number, event),
        )
    }
}

fn is_locked(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<mr2_train::Error>())
        .any(|error| matches!(error, mr2_train::Error::Locked { .. }))
}

/// The value, also after a panic of another worker.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
