//! What the pulls are, and that taking them is not seen in the run.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Device;
use mr2_backbones::{BuildConfig, Head, build};
use mr2_data::{ImageSet, Loader, LoaderConfig, Pipeline, Sampler, Source, Split};
use mr2_loss::{
    ClassCount, ExponentScale, GammaSource, Mr2Config, Positives, Preset, Reduction,
    RepresentationConfig, SpreadRule,
};
use mr2_nn::graph::{Act, Ctx};
use mr2_nn::layers::Dropout;
use mr2_nn::model::Backbone;
use mr2_nn::params::ParamStore;
use mr2_nn::rng;
use serde_json::Value;

use super::*;
use crate::objective::StepInput;
use crate::{
    ClassMeasures, Clip, Job, ObjectiveConfig, OptimizerConfig, RunDir, ScheduleConfig, Select,
    Sharpness, TrainConfig,
};

const CLASSES: usize = 2;
/// λ.
const WEIGHT: f64 = 0.3;

/// A small ResNet with dropout before its head.
struct WithDropout(Box<dyn Backbone>, Dropout);

impl Backbone for WithDropout {
    fn features(&self, cx: &Ctx, images: &Act) -> candle_core::Result<Tensor> {
        self.0.features(cx, images)
    }

    fn head(&self, cx: &Ctx, features: &Tensor) -> candle_core::Result<Tensor> {
        self.0.head(cx, &self.1.forward_tensor(cx, features)?)
    }

    fn feature_dim(&self) -> usize {
        self.0.feature_dim()
    }

    fn classes(&self) -> usize {
        self.0.classes()
    }

    fn head_weight(&self) -> &Tensor {
        self.0.head_weight()
    }
}

/// Margins of 1 and no threshold, so that the terms can be written down.
fn objective() -> Mr2Config {
    let mut config = Preset::Recommended.config();
    config.gamma.source = GammaSource::Uniform;
    config.gamma.budget = 1.0;
    config.representation = RepresentationConfig {
        weight: WEIGHT,
        scale: ExponentScale::TenTimesDim,
        spread: SpreadRule::Zero,
        positives: Positives::All,
        reduction: Reduction::ClassMean(ClassCount::Data),
    };
    config
}

fn noise(split: Split) -> Arc<ImageSet> {
    let labels: Vec<u32> = (0..12).map(|image| image % CLASSES as u32).collect();
    let pixels = (0..12 * 64).map(|i| (255.0 * rng::uniform(1, i)) as u8);
    let source = Source::Memory {
        pixels: pixels.collect(),
        height: 8,
        width: 8,
        channels: 1,
    };
    let classes = vec!["a".to_string(), "b".to_string()];
    Arc::new(ImageSet::new("noise", split, classes, labels, source).unwrap())
}

/// Hands a run that has just begun to `then`, with its training batches.
pub(crate) fn with_run<T>(
    objective: ObjectiveConfig,
    then: impl FnOnce(&mut Run<'_>, &Loader) -> T,
) -> T {
    let params = ParamStore::new(3, DType::F32, &Device::Cpu);
    let shape = BuildConfig {
        in_channels: 1,
        classes: CLASSES,
        head: Head::Linear,
        dropout: 0.0,
    };
    let network = build("resnet8", &shape, params.var_builder()).unwrap();
    let model = WithDropout(network, Dropout::new(0.5).unwrap());
    let pipeline = Pipeline::new(Vec::new()).unwrap();
    let config = LoaderConfig {
        images_per_batch: 6,
        sampler: Sampler::Shuffled,
        seed: 5,
        workers: 0,
        drop_last: false,
    };
    let train = Loader::new(noise(Split::Train), pipeline.clone(), config, &Device::Cpu).unwrap();
    let test = Loader::for_evaluation(noise(Split::Test), pipeline, 6, 0, &Device::Cpu).unwrap();
    let config = TrainConfig {
        seed: 1,
        epochs: 1,
        optimizer: OptimizerConfig::Sgd {
            lr: 0.1,
            momentum: 0.9,
            nesterov: true,
            weight_decay: 5e-4,
            decay_norm_and_bias: false,
        },
        schedule: ScheduleConfig::Constant {},
        clip: Clip::Off {},
        label_smoothing: 0.0,
        objective,
        sharpness: Sharpness::Off {},
        checkpoint_every_steps: 100,
        log_every_steps: 3,
        select: Select::Last,
        test_every_epoch: false,
        class_measures: ClassMeasures::Off,
    };
    let folder = tempfile::tempdir().unwrap();
    let dir = RunDir::open(folder.path()).unwrap();
    let job = Job {
        config: &config,
        config_text: "",
        model: &model,
        params: &params,
        activations: DType::F32,
        about: &Value::Null,
        train: &train,
        validation: None,
        test: &test,
        extra_tests: &[],
        train_once: None,
        twin: None,
        class_names: train.set().classes(),
        versions: &BTreeMap::new(),
    };
    let mut observer = |_: &crate::Event<'_>| {};
    let mut run = Run::begin(&job, &dir, &mut observer).unwrap();
    then(&mut run, &train)
}

#[test]
fn taking_the_pulls_changes_nothing_of_the_run() {
    let after_two_steps = |more: bool| {
        let config = ObjectiveConfig::Mr2(Preset::Recommended.config());
        with_run(config, |run, train| {
            for batch in train.epoch(0, 0) {
                let batch = batch.unwrap();
                run.step(&batch).unwrap();
                if more {
                    let dims = (batch.labels.len(), run.job.model.feature_dim());
                    let features = Tensor::randn(0f32, 1.0, dims, &Device::Cpu).unwrap();
                    let pairs = Pairs::new(&batch.labels, CLASSES).unwrap();
                    run.pulls(&batch, &features, &pairs).unwrap().unwrap();
                }
            }
            let bits = |tensor: Tensor| -> Vec<u64> {
                let flat = tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
                let values: Vec<f64> = flat.to_vec1().unwrap();
                values.into_iter().map(f64::to_bits).collect()
            };
            let tensors = run.tensors().unwrap().into_iter();
            let tensors: Vec<_> = tensors.map(|(name, tensor)| (name, bits(tensor))).collect();
            (tensors, run.progress.counters.pulls)
        })
    };
    assert_eq!(after_two_steps(true), after_two_steps(false));
}

#[test]
fn the_pulls_are_the_norms_of_the_gradients() {
    let dim = 64;
    let labels = [1, 1];
    let values: Vec<f32> = (0..2 * dim).map(|i| rng::normal(9, i) as f32).collect();
    let features = Tensor::from_vec(values.clone(), (2, dim as usize), &Device::Cpu).unwrap();
    let pairs = Pairs::new(&labels, CLASSES).unwrap();
    let (pulls, logits, weight) = with_run(ObjectiveConfig::Mr2(objective()), |run, train| {
        // Neither of the terms looks at the images.
        let mut batch = train.epoch(0, 0).next().unwrap().unwrap();
        batch.labels = labels.to_vec();
        let context = Ctx::new(&Device::Cpu, DType::F32, Mode::Eval).unwrap();
        let logits = run.job.model.head(&context, &features).unwrap();
        let weight = run.job.model.head_weight().to_vec2::<f32>().unwrap();
        let pulls = run.pulls(&batch, &features, &pairs).unwrap().unwrap();
        (pulls, logits.to_vec2::<f32>().unwrap(), weight)
    });
    // Cross-entropy: (softmax − one-hot) · W / batch.
    let mut squares = 0.0;
    for row in logits {
        let sum: f64 = row.iter().map(|z| f64::from(*z).exp()).sum();
        let error = |class: usize| f64::from(row[class]).exp() / sum - f64::from(class == 1);
        for (of_first, of_second) in weight[0].iter().zip(&weight[1]) {
            let gradient = error(0) * f64::from(*of_first) + error(1) * f64::from(*of_second);
            squares += (gradient / labels.len() as f64).powi(2);
        }
    }
    let close = |a: f64, b: f64| assert!((a - b).abs() <= 1e-5 * b, "{a} and {b}");
    close(pulls.classification, squares.sqrt());
    // λ (D/10)(1/K) ln(1 + exp(d² / 10 D)), for both of the two samples.
    let (first, second) = values.split_at(dim as usize);
    let square: f64 = first
        .iter()
        .zip(second)
        .map(|(a, b)| f64::from(a - b).powi(2))
        .sum();
    let share = 1.0 / (1.0 + (-square / (10.0 * dim as f64)).exp());
    let expected = WEIGHT * share * (2.0 * square).sqrt() / (50.0 * CLASSES as f64);
    close(pulls.representation, expected);
}

#[test]
fn a_loss_of_one_term_has_no_pulls() {
    let mut config = Preset::Recommended.config();
    config.representation.weight = 0.0;
    for config in [ObjectiveConfig::Erm {}, ObjectiveConfig::Mr2(config)] {
        let pulls = with_run(config, |run, train| {
            run.step(&train.epoch(0, 0).next().unwrap().unwrap())
                .unwrap();
            run.progress.counters.pulls
        });
        assert_eq!(pulls, None);
    }
}

/// Plain cross-entropy with a weight for each image of the training set, which grows when it is seen.
struct OfImages {
    weights: Vec<f32>,
    observed: Vec<(Vec<u32>, Vec<usize>)>,
    losses: std::cell::Cell<usize>,
}

impl crate::objective::Objective for std::rc::Rc<std::cell::RefCell<OfImages>> {
    fn observe(&mut self, step: &StepInput<'_>) -> Result<()> {
        let mut state = self.borrow_mut();
        for index in &step.batch.indices {
            state.weights[*index as usize] += 1.0;
        }
        let seen = (
            step.batch.indices.clone(),
            step.batch.images.dims().to_vec(),
        );
        state.observed.push(seen);
        Ok(())
    }

    fn loss(&self, step: &StepInput<'_>) -> Result<StepLoss> {
        let state = self.borrow();
        state.losses.set(state.losses.get() + 1);
        let of_batch = step.batch.indices.iter();
        let weights: Vec<f32> = of_batch.map(|i| state.weights[*i as usize]).collect();
        let weights = Tensor::new(weights, step.logits.device())?;
        let target = mr2_nn::ops::Target::Hard(&step.batch.labels);
        let losses = mr2_nn::ops::cross_entropy(step.logits, target, None)?;
        let total = (losses * weights)?.mean_all()?;
        Ok(StepLoss {
            classification: total.clone(),
            total,
            representation: None,
        })
    }
}

#[test]
fn an_objective_sees_images_and_their_places_once_a_step_and_a_single_term_is_computed_once() {
    let of_images = std::rc::Rc::new(std::cell::RefCell::new(OfImages {
        weights: vec![0.0; 12],
        observed: Vec::new(),
        losses: std::cell::Cell::new(0),
    }));
    let expected = with_run(ObjectiveConfig::Erm {}, |run, train| {
        run.objective = Box::new(of_images.clone());
        let batches: Vec<_> = train.epoch(0, 0).map(|batch| batch.unwrap()).collect();
        for batch in &batches {
            run.step(batch).unwrap();
        }
        let seen = |batch: mr2_data::Batch| (batch.indices, batch.images.dims().to_vec());
        batches.into_iter().map(seen).collect::<Vec<_>>()
    });
    let state = of_images.borrow();
    assert_eq!(state.observed, expected);
    assert_eq!(state.weights, [1.0; 12]);
    assert_eq!(state.losses.get(), expected.len());
}
