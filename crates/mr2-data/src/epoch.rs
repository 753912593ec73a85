//! The making of an epoch's batches: one after the other, or ahead of their use in threads.

use crate::error::{Error, Result};
use crate::loader::{Batch, Recipe};
use crate::random::Draws;
use crate::transforms::Canvas;
use candle_core::{Device, Tensor};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

/// Batches that each thread may make ahead.
const BATCHES_AHEAD: usize = 2;

/// An epoch to be made.
#[derive(Debug)]
pub(crate) struct Job {
    pub recipe: Arc<Recipe>,
    /// The images, batch after batch.
    pub order: Vec<u32>,
    pub epoch: u64,
}

impl Job {
    /// The places in the order that make up a batch.
    pub(crate) fn places(&self, number: usize) -> Range<usize> {
        let size = self.recipe.config.images_per_batch;
        let start = number * size;
        start..(start + size).min(self.order.len())
    }

    /// What the image at a place in the order is augmented with.
    pub(crate) fn draws(&self, place: usize) -> Result<Draws> {
        let Recipe { set, config, .. } = &*self.recipe;
        let index = self.order[place];
        let drawn = match config.sampler.augments_each_draw() {
            true => place as u64,
            false => u64::from(index),
        };
        let original = set.original_index(index as usize)?;
        Ok(Draws::for_image(config.seed, self.epoch, drawn).of_original(original))
    }

    fn batch(&self, number: usize, canvas: &mut Canvas) -> Result<Batch> {
        let Recipe { set, pipeline, .. } = &*self.recipe;
        let places = self.places(number);
        let indices = self.order[places.clone()].to_vec();
        let mut labels = Vec::with_capacity(indices.len());
        let mut values: Vec<f32> = Vec::new();
        let mut shape = None;
        for (place, &index) in places.zip(&indices) {
            labels.push(set.label(index as usize)?);
            canvas.load(&set.image(index as usize)?);
            let mut draws = self.draws(place)?;
            let name = || set.image_name(index as usize);
            pipeline
                .run(canvas, &mut draws)
                .map_err(|misfit| misfit.of(name()))?;
            let found = [canvas.channels, canvas.height, canvas.width];
            let expected = *shape.get_or_insert(found);
            if found != expected {
                let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
                return Err(Error::BatchShape {
                    image: name(),
                    expected,
                    found,
                });
            }
            let size: usize = found.iter().product();
            values.reserve_exact(if values.is_empty() {
                size * indices.len()
            } else {
                0
            });
            let filled = values.len();
            values.resize(filled + size, 0.0);
            pipeline.write(canvas, &mut values[filled..]);
        }
        let [channels, height, width] = shape.unwrap_or_default();
        let shape = (indices.len(), channels, height, width);
        let images = Tensor::from_vec(values, shape, &Device::Cpu)?;
        Ok(Batch {
            images,
            labels,
            indices,
        })
    }
}

/// The batches of an epoch. Dropping it stops its threads.
#[derive(Debug)]
pub struct Epoch {
    threads: Threads,
    job: Arc<Job>,
    device: Device,
    canvas: Canvas,
    first: usize,
    next: usize,
    end: usize,
}

impl Epoch {
    pub(crate) fn start(job: Job, batches: Range<usize>, device: &Device) -> Self {
        let job = Arc::new(job);
        let workers = job.recipe.config.workers.min(batches.len());
        Epoch {
            threads: Threads::start(&job, workers, batches.clone()),
            job,
            device: device.clone(),
            canvas: Canvas::default(),
            first: batches.start,
            next: batches.start,
            end: batches.end,
        }
    }

    fn make_next(&mut self) -> Result<Batch> {
        let batch = match self.threads.count() {
            0 => self.job.batch(self.next, &mut self.canvas)?,
            _ => self.threads.receive(self.next - self.first)?,
        };
        let images = batch.images.to_device(&self.device)?;
        Ok(Batch { images, ..batch })
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let batch = self.make_next();
        self.next = if batch.is_ok() {
            self.next + 1
        } else {
            self.end
        };
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.next);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Epoch {}

/// Thread t of n makes every n-th batch from the t-th on and sends it through a channel of its own,
/// so that taking from the channels in turn gives the batches in order.
#[derive(Debug, Default)]
struct Threads {
    channels: Vec<Receiver<Result<Batch>>>,
    handles: Vec<JoinHandle<()>>,
    failure: Option<String>,
}

impl Threads {
    fn start(job: &Arc<Job>, workers: usize, batches: Range<usize>) -> Self {
        let mut threads = Threads::default();
        for worker in 0..workers {
            let (sender, receiver) = sync_channel(BATCHES_AHEAD);
            let (job, batches) = (job.clone(), batches.clone());
            let work = move || {
                let mut canvas = Canvas::default();
                for number in batches.skip(worker).step_by(workers) {
                    let batch = job.batch(number, &mut canvas);
                    let failed = batch.is_err();
                    if sender.send(batch).is_err() || failed {
                        return;
                    }
                }
            };
            threads.channels.push(receiver);
            match thread::Builder::new()
                .name(format!("loader-{worker}"))
                .spawn(work)
            {
                Ok(handle) => threads.handles.push(handle),
                Err(error) => threads.failure = Some(format!("could not be started: {error}")),
            }
        }
        threads
    }

    fn count(&self) -> usize {
        self.channels.len()
    }

    fn receive(&self, position: usize) -> Result<Batch> {
        match self.channels[position % self.channels.len()].recv() {
            Ok(batch) => batch,
            Err(_) => {
                let why = self.failure.clone();
                Err(Error::Worker(why.unwrap_or_else(|| "panicked".to_string())))
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.channels.clear(); // a thread that waits to send is woken and ends
        for handle in self.handles.drain(..) {
            let _ = handle.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_is_an_error() {
        let (sender, receiver) = sync_channel(1);
        drop(sender);
        let mut threads = Threads::default();
        threads.channels.push(receiver);
        let message = threads
            .receive(0)
            .map(|_| ())
            .map_err(|error| error.to_string());
        assert_eq!(message, Err("a loader thread panicked".to_string()));
    }
}
