//! Learning from failure: a second network that is made to be biased says which images the model must
//! learn.

use std::collections::HashMap;

use candle_core::Tensor;
use mr2_loss::baselines::{SampleLosses, generalized_cross_entropy, lff_weights};
use mr2_nn::graph::{Ctx, Mode};
use mr2_nn::ops::{Target, cross_entropy};
use mr2_nn::optim::{Optimizer, clip_grad_norm_unread};
use mr2_nn::rng;

use super::{Objective, Setting, StepInput, StepLoss};
use crate::compute::{context, enter};
use crate::config::Clip;
use crate::error::{Error, Result};
use crate::saved_state::part;
use crate::train::Twin;

/// What the names of the state's parts begin with.
const MODEL: &str = "twin.model.";
const OPTIMIZER: &str = "twin.optimizer.";
const BIASED: &str = "biased.";
const DEBIASED: &str = "debiased.";

/// The model is the debiased network; the twin is the biased one, trained on the same batches by
/// generalised cross-entropy, with an optimiser of its own with the same settings. The two losses share
/// no gradient, since the weights are constants, so that the twin's steps are its own.
pub(super) struct Lff<'a> {
    q: f64,
    biased: SampleLosses,
    debiased: SampleLosses,
    twin: Twin<'a>,
    context: Ctx,
    optimizer: Box<dyn Optimizer>,
    clip: Clip,
    /// Of the twin's dropout masks.
    seed: u64,
    under_way: Option<UnderWay>,
    /// Of the twin's last gradient, which nobody may have looked at.
    last_norm: Option<Tensor>,
}

/// What the twin made of the step's batch.
struct UnderWay {
    /// Of the images in the model's loss, (batch) in f64.
    weights: Tensor,
    /// The twin's loss, with its graph.
    loss: Tensor,
}

impl<'a> Lff<'a> {
    pub(super) fn new(q: f64, decay: f64, setting: &Setting<'a>) -> Result<Self> {
        let (logits, labels) = setting.rehearsal()?;
        generalized_cross_entropy(&logits, &labels, q)?;
        let Some(twin) = setting.twin else {
            return Err(Error::Config {
                key: "objective",
                reason: "lff trains a second network: give the job a twin".to_string(),
            });
        };
        if twin.model.classes() != setting.classes {
            let (own, other) = (setting.classes, twin.model.classes());
            return Err(Error::Config {
                key: "objective",
                reason: format!("lff: the twin has {other} classes, the model {own}"),
            });
        }
        let (labels, classes) = (setting.labels, setting.classes);
        let losses = SampleLosses::new(labels, classes, decay, setting.device)?;
        Ok(Self {
            q,
            biased: losses.clone(),
            debiased: losses,
            twin,
            context: context(twin.model, setting.activations, Mode::Train)?,
            optimizer: setting.config.optimizer.build(twin.params)?,
            clip: setting.config.clip.clone(),
            seed: rng::stream(setting.config.seed, "twin"),
            under_way: None,
            last_norm: None,
        })
    }
}

impl Objective for Lff<'_> {
    fn observe(&mut self, step: &StepInput<'_>) -> Result<()> {
        let (indices, labels) = (&step.batch.indices, step.labels());
        self.context.begin_step(self.seed, step.step);
        let images = enter(&self.context, step.batch)?;
        let logits = self.twin.model.forward(&self.context, &images)?;
        let losses = |logits: &Tensor| cross_entropy(&logits.detach(), Target::Hard(labels), None);
        self.biased.update(indices, &losses(&logits)?)?;
        self.debiased.update(indices, &losses(step.logits)?)?;
        let (biased, debiased) = (
            self.biased.normalised(indices)?,
            self.debiased.normalised(indices)?,
        );
        self.under_way = Some(UnderWay {
            weights: lff_weights(&biased, &debiased)?,
            loss: generalized_cross_entropy(&logits, labels, self.q)?.mean_all()?,
        });
        Ok(())
    }

    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss> {
        let Some(UnderWay { weights, loss }) = &self.under_way else {
            return Err(Error::refused("lff: a loss before its step was observed"));
        };
        let losses = cross_entropy(step.logits, Target::Hard(step.labels()), None)?;
        let own = (&losses * weights.to_dtype(losses.dtype())?)?.mean_all()?;
        Ok(StepLoss::of((own + loss.detach())?))
    }

    fn update(&mut self, _step: &StepInput<'_>, lr: f64) -> Result<()> {
        if let Some(UnderWay { loss, .. }) = self.under_way.take() {
            let mut gradients = self.context.backward(&loss)?;
            let parameters = self.twin.params.parameters();
            let max_norm = self.clip.max_norm();
            let norm = clip_grad_norm_unread(&parameters, &mut gradients, max_norm)?;
            self.optimizer.step(&gradients, lr)?;
            self.last_norm = Some(norm);
        }
        Ok(())
    }

    fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        if let Some(norm) = &self.last_norm {
            let norm: f64 = norm.to_scalar()?;
            if !norm.is_finite() {
                return Err(Error::refused(format!(
                    "lff: the twin's gradient has the norm {norm}"
                )));
            }
        }
        let parts = [
            (MODEL, self.twin.params.tensors()),
            (OPTIMIZER, self.optimizer.state()?),
            (BIASED, self.biased.tensors()?),
            (DEBIASED, self.debiased.tensors()?),
        ];
        let named = parts.into_iter().flat_map(|(prefix, part)| {
            let tensors = part.into_iter();
            tensors.map(move |(name, tensor)| (format!("{prefix}{name}"), tensor))
        });
        Ok(named.collect())
    }

    fn load(&mut self, tensors: &HashMap<String, Tensor>) -> Result<()> {
        self.twin.params.load(&part(tensors, MODEL))?;
        self.optimizer.load_state(&part(tensors, OPTIMIZER))?;
        self.biased.load(&part(tensors, BIASED))?;
        Ok(self.debiased.load(&part(tensors, DEBIASED))?)
    }
}
