//! A run under way: the loop over epochs and steps.

use std::collections::HashMap;
use std::time::Instant;

use candle_core::Tensor;
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::optim::Optimizer;
use mr2_nn::schedule::Schedule;
use mr2_stats::{Centre, ClassStats, Estimator, StatsConfig};

use crate::checkpoint::discard_after;
use crate::compute::context;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::feed::Feed;
use crate::measures::diversity;
use crate::metrics_log::MetricsLog;
use crate::objective::{Objective, Setting};
use crate::progress::{EpochCounters, Progress};
use crate::report::{Diversity, EpochRecord};
use crate::run_folder::RunDir;
use crate::saved_state;
use crate::stages;
use crate::step::reading::{Reading, Step};
use crate::stop::StopFlag;
use crate::tensorboard::EventFile;
use crate::train::Job;

/// Statistics that every run keeps in the same way, whatever its objective uses, so that m and v
/// of different methods can be compared.
fn observed() -> StatsConfig {
    StatsConfig {
        norm: 2.0,
        decay: 0.9,
        estimator: Estimator::Pooled,
        centre: Centre::None,
    }
}

/// A run under way.
pub(crate) struct Run<'a> {
    pub(crate) job: &'a Job<'a>,
    pub(crate) dir: &'a RunDir,
    pub(crate) observer: &'a mut dyn FnMut(&Event<'_>),
    pub(crate) feed: Feed<'a>,
    pub(crate) context: Ctx,
    pub(crate) optimizer: Box<dyn Optimizer>,
    pub(crate) schedule: Schedule,
    pub(crate) objective: Box<dyn Objective + 'a>,
    pub(crate) statistics: ClassStats,
    pub(crate) progress: Progress,
    pub(crate) reading: Reading,
    /// Steps taken whose numbers aren't read yet.
    pub(crate) unread: Vec<Step>,
    pub(crate) history: Vec<EpochRecord>,
    pub(crate) metrics: MetricsLog,
    pub(crate) events: EventFile,
    /// The weights and buffers that a second stage begins with, where there is one.
    pub(crate) initial: HashMap<String, Tensor>,
    /// Of the training images, before anything was learnt.
    pub(crate) diversity: Option<Diversity>,
    /// Start of this process's part of the run, and the total seconds before it.
    pub(crate) started: (Instant, f64),
}

impl<'a> Run<'a> {
    pub(crate) fn begin(
        job: &'a Job<'a>,
        dir: &'a RunDir,
        observer: &'a mut dyn FnMut(&Event<'_>),
    ) -> Result<Self> {
        let (classes, dim) = (job.model.classes(), job.model.feature_dim());
        let (dtype, device) = (
            job.model.head_weight().dtype(),
            job.model.head_weight().device(),
        );
        let mut optimizer = job.config.optimizer.build(job.params)?;
        let mut objective = job.config.objective.build(&Setting::of(job))?;
        let mut statistics = ClassStats::new(observed(), classes, dim, dtype, device)?;
        let steps_per_epoch = job.train.batches_per_epoch() as u64;
        let schedule = job
            .config
            .schedule
            .in_steps(job.config.epochs, steps_per_epoch)?;
        let mut progress = Progress::start(steps_per_epoch, classes);
        let mut warnings = Vec::new();
        let initial = stages::initial_weights(job)?;
        let diversity = diversity(job)?;
        let saved = saved_state::newest(dir, device, steps_per_epoch, &mut warnings)?;
        if let Some(saved) = saved {
            progress = saved.restore(
                job.params,
                optimizer.as_mut(),
                objective.as_mut(),
                &mut statistics,
            )?;
        }
        discard_after(dir, progress.step)?;
        let (metrics, history) = MetricsLog::open_at(dir, progress.step, progress.epochs_measured)?;
        let events = EventFile::create(dir.files(), &dir.file("tb"), progress.step)?;
        progress.timings.starts += 1;
        let started = (Instant::now(), progress.timings.total_seconds);
        let context = context(job.model, job.activations, Mode::Train)?;
        let mut run = Self {
            job,
            dir,
            observer,
            feed: Feed::new(job.train, device)?,
            context,
            optimizer,
            schedule,
            objective,
            statistics,
            progress,
            reading: Reading::on(device),
            unread: Vec::new(),
            history,
            metrics,
            events,
            initial,
            diversity,
            started,
        };
        if run.history.len() as u64 != run.progress.epochs_measured {
            let (has, done) = (run.history.len(), run.progress.epochs_measured);
            warnings.push(format!(
                "metrics.jsonl has {has} of {done} epochs; curves have gaps"
            ));
        }
        warnings.iter().for_each(|warning| run.warn(warning));
        let (step, total_steps) = (run.progress.step, run.total_steps());
        (run.observer)(&Event::Started {
            step,
            total_steps,
            steps_per_epoch,
        });
        Ok(run)
    }

    pub(crate) fn total_steps(&self) -> u64 {
        self.first_stage_steps() + self.job.config.epochs * self.progress.steps_per_epoch
    }

    pub(crate) fn warn(&mut self, message: &str) {
        (self.observer)(&Event::Warning(message));
    }

    /// Trains to the end, or until a stop is asked for; says which by `true` for the end.
    pub(crate) fn train_until(&mut self, stop: &StopFlag) -> Result<bool> {
        let job = self.job;
        // A stop may have come before the end of the last epoch was measured.
        if self.at_end_of_epoch() && self.after_step(stop)? {
            return Ok(false);
        }
        while self.progress.step < self.total_steps() {
            if self.begins_second_stage() && !self.begin_second_stage(stop)? {
                return Ok(false);
            }
            let (epoch, first) = (self.progress.epochs_done(), self.progress.batches_done());
            let of_stage = self.stage_step(self.progress.step) / self.progress.steps_per_epoch;
            if first == 0 {
                self.progress.counters = EpochCounters::zero(job.class_names.len());
                self.objective.start_epoch()?;
            }
            let mut clock = Instant::now();
            for batch in self.feed.epoch(of_stage, first as usize) {
                self.step(&batch?)?;
                let records = match self.reads_now(stop) {
                    true => self.read_steps()?,
                    false => Vec::new(),
                };
                let seconds = clock.elapsed().as_secs_f64();
                self.progress.counters.seconds += seconds;
                self.progress.timings.training_seconds += seconds;
                self.log_steps(records)?;
                if self.after_step(stop)? {
                    return Ok(false);
                }
                clock = Instant::now();
            }
            if self.progress.epochs_done() == epoch {
                let (done, all) = (self.progress.batches_done(), self.progress.steps_per_epoch);
                let reason = format!("the loader ended an epoch after {done} of {all} batches");
                return Err(Error::Config {
                    key: "train",
                    reason,
                });
            }
        }
        Ok(true)
    }

    /// Whether an epoch is done and not measured yet.
    fn at_end_of_epoch(&self) -> bool {
        self.progress.epochs_measured < self.progress.epochs_done()
    }

    /// Ends the epoch, saves; `true` when the training is to stop here.
    fn after_step(&mut self, stop: &StopFlag) -> Result<bool> {
        let (step, every) = (self.progress.step, self.job.config.checkpoint_every_steps);
        let improved = self.at_end_of_epoch() && self.end_epoch(stop)?;
        let last = step == self.total_steps();
        let stopping = stop.is_set();
        if stopping {
            (self.observer)(&Event::Stopping);
        }
        if improved || last || stopping || step.is_multiple_of(every) {
            self.save()?;
        }
        Ok(stopping)
    }
}
