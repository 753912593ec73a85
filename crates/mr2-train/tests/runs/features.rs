//! Extraction of features: what is stored, what goes on after a stop, and what is never used again.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mr2_data::{Fingerprint, ImageSet, Loader, LoaderConfig, Pipeline, Sampler, Split, Transform};
use mr2_nn::graph::{Act, Ctx, Mode};
use mr2_nn::model::Backbone;
use mr2_nn::params::ParamStore;
use mr2_train::candle_core::{self, DType, Device, Tensor};
use mr2_train::features::{
    Damaged, ExtractConfig, Extraction, FeatureFiles, FeatureMeta, FeatureSource, FeatureType,
    Features, compute, encoder_hash, extract, load,
};
use mr2_train::{Error, StopFlag};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::support::{FEATURES, TinyNet, images};

const IMAGES: u32 = 44;
/// 44 images: shards of 13, 13, 13 and 5; batches of 8 end elsewhere.
const PER_SHARD: usize = 13;

struct Bench {
    folder: TempDir,
    network: TinyNet,
    params: ParamStore,
    loader: Loader,
    source: FeatureSource,
}

fn loader(set: Arc<ImageSet>, images_per_batch: usize, random: bool) -> Loader {
    let normalize = Transform::Normalize {
        mean: vec![0.5],
        std: vec![0.25],
    };
    let crop = Transform::RandomCrop {
        size: 8,
        padding: 2,
    };
    let transforms = match random {
        true => vec![crop, normalize],
        false => vec![normalize],
    };
    let config = LoaderConfig {
        images_per_batch,
        sampler: Sampler::Sequential,
        seed: 5,
        workers: 2,
        drop_last: false,
    };
    let pipeline = Pipeline::new(transforms).unwrap();
    Loader::new(set, pipeline, config, &Device::Cpu).unwrap()
}

impl Bench {
    fn new(random: bool, views: u32, dtype: FeatureType) -> Self {
        let set = images(Split::Train, IMAGES as usize);
        let dataset_hash = set.fingerprint(Fingerprint::Content, 1).unwrap();
        let params = ParamStore::new(3, DType::F32, &Device::Cpu);
        Bench {
            folder: tempfile::tempdir().unwrap(),
            network: TinyNet::new(&params, false).unwrap(),
            params,
            loader: loader(set, 8, random),
            source: FeatureSource {
                backbone: "tiny".to_string(),
                output: "pooled".to_string(),
                weights_sha256: "0".repeat(64),
                arithmetic: "f32 cpu".to_string(),
                dataset_hash,
                dtype,
                views,
            },
        }
    }

    fn plain() -> Self {
        Bench::new(false, 1, FeatureType::F32)
    }

    fn meta(&self) -> FeatureMeta {
        FeatureMeta::new(self.source.clone(), &self.loader).unwrap()
    }

    /// The folder of these features.
    fn place(&self) -> PathBuf {
        self.folder.path().join(self.meta().key().unwrap())
    }

    fn shard(&self, view: u32, number: u32) -> PathBuf {
        self.place()
            .join(format!("view-{view:03}-shard-{number:05}.safetensors"))
    }

    /// Stops after `shards` reports of finished shards.
    fn run_until(&self, shards: u64, damaged: Damaged) -> Result<Extraction, Error> {
        let (stop, mut reports) = (StopFlag::new(), 0);
        let config = ExtractConfig {
            cache: self.folder.path().to_path_buf(),
            images_per_shard: PER_SHARD,
            damaged,
            activations: DType::F32,
        };
        let mut progress = |progress: mr2_train::features::ExtractProgress| {
            assert!(progress.done <= progress.total);
            if reports == shards {
                stop.stop();
            }
            reports += 1;
        };
        let (network, meta) = (&self.network, self.meta());
        let (params, loader) = (&self.params, &self.loader);
        extract(
            network,
            params,
            loader,
            &meta,
            &config,
            &mut progress,
            &stop,
        )
    }

    fn run(&self, damaged: Damaged) -> Result<Extraction, Error> {
        self.run_until(u64::MAX, damaged)
    }

    fn finished(&self, damaged: Damaged) -> (FeatureFiles, u64, Vec<String>) {
        match self.run(damaged).unwrap() {
            Extraction::Finished {
                files,
                computed,
                replaced,
            } => (files, computed, replaced),
            Extraction::Stopped => panic!("nobody asked for a stop"),
        }
    }

    fn refused(&self) -> String {
        let message = self.run(Damaged::Refuse).map(|_| ()).unwrap_err();
        message.with_place(&self.place())
    }

    /// The features batch by batch, without any file.
    fn by_hand(&self, view: u64) -> Features {
        let context = Ctx::new(&Device::Cpu, DType::F32, Mode::Eval).unwrap();
        let (mut values, mut labels, mut indices) = (Vec::new(), Vec::new(), Vec::new());
        for batch in self.loader.epoch(view, 0) {
            let batch = batch.unwrap();
            let images = context.enter(&batch.images).unwrap();
            let features = self.network.features(&context, &images).unwrap();
            values.extend(features.flatten_all().unwrap().to_vec1::<f32>().unwrap());
            labels.extend(batch.labels);
            indices.extend(batch.indices);
        }
        Features {
            values,
            dim: FEATURES,
            labels,
            indices,
        }
    }
}

trait WithPlace {
    fn with_place(&self, place: &Path) -> String;
}

impl WithPlace for Error {
    fn with_place(&self, place: &Path) -> String {
        self.to_string()
            .replace(&place.display().to_string(), "PLACE")
    }
}

#[test]
fn stored_features_are_those_of_the_network_and_a_second_call_computes_none() {
    let bench = Bench::plain();
    let (files, computed, replaced) = bench.finished(Damaged::Refuse);
    assert_eq!((computed, replaced.len()), (44, 0));
    assert_eq!(
        (files.shards(), files.views(), files.feature_dim()),
        (4, 1, FEATURES)
    );
    assert_eq!(files.encoder(), encoder_hash(&bench.params).unwrap());
    let all = files.read(0).unwrap();
    assert_eq!(all, bench.by_hand(0));
    assert_eq!(all.indices, (0..IMAGES).collect::<Vec<_>>());
    let last = files.read_shard(0, 3).unwrap();
    assert_eq!(last.values, all.values[39 * FEATURES..]);
    let written = fs::metadata(bench.shard(0, 0)).unwrap().modified().unwrap();
    let (again, computed, _) = bench.finished(Damaged::Refuse);
    assert_eq!((again.read(0).unwrap(), computed), (all, 0));
    let now = fs::metadata(bench.shard(0, 0)).unwrap().modified().unwrap();
    assert_eq!(written, now);
    let opened = FeatureFiles::open(&bench.place(), Some(&bench.meta())).unwrap();
    assert_eq!(opened, files);
}

#[test]
fn features_in_memory_and_in_one_file_are_those_of_the_shards() {
    let bench = Bench::new(true, 2, FeatureType::F32);
    let (files, ..) = bench.finished(Damaged::Refuse);
    let mut done = Vec::new();
    let (network, params, loader) = (&bench.network, &bench.params, &bench.loader);
    let mut progress = |images| done.push(images);
    let stop = StopFlag::new();
    let found = compute(network, params, loader, DType::F32, 1, &mut progress, &stop).unwrap();
    assert_eq!(found.unwrap(), files.read(1).unwrap());
    assert_eq!(done, [8, 16, 24, 32, 40, 44]);
    stop.stop();
    let stopped = compute(network, params, loader, DType::F32, 1, &mut |_| {}, &stop).unwrap();
    assert!(stopped.is_none());
    let path = bench.folder.path().join("all.safetensors");
    files.save(1, &path).unwrap();
    assert_eq!(load(&path).unwrap(), (files.read(1).unwrap(), bench.meta()));
    fs::write(&path, b"no features").unwrap();
    let error = load(&path).unwrap_err().to_string();
    assert!(error.contains("all.safetensors"), "{error}");
}

#[test]
fn an_extraction_stopped_after_any_shard_goes_on_to_the_same_files() {
    let whole = Bench::new(true, 2, FeatureType::F32);
    let (files, _, _) = whole.finished(Damaged::Refuse);
    for shards in 0..8 {
        let bench = Bench::new(true, 2, FeatureType::F32);
        let stopped = bench.run_until(shards, Damaged::Refuse).unwrap();
        assert_eq!(stopped, Extraction::Stopped);
        assert!(FeatureFiles::open(&bench.place(), None).is_err());
        // A kill in the middle of a write leaves what is aside.
        fs::write(
            bench.place().join("view-001-shard-00003.safetensors.aside"),
            "half",
        )
        .unwrap();
        let (resumed, computed, _) = bench.finished(Damaged::Refuse);
        let before = 13 * (shards.min(3) + shards.saturating_sub(4)) + 5 * (shards / 4);
        assert_eq!(computed, 88 - before, "after {shards} shards");
        for view in 0..2 {
            assert_eq!(resumed.read(view).unwrap(), files.read(view).unwrap());
            for number in 0..4 {
                let [a, b] = [&bench, &whole].map(|b| fs::read(b.shard(view, number)).unwrap());
                assert!(a == b, "view {view} shard {number} differs");
            }
        }
    }
}

#[test]
fn the_size_of_batches_changes_neither_views_nor_key() {
    let bench = Bench::new(true, 2, FeatureType::F32);
    bench.run_until(2, Damaged::Refuse).unwrap();
    let mut other = Bench::new(true, 2, FeatureType::F32);
    other.loader = loader(images(Split::Train, IMAGES as usize), 5, true);
    assert_eq!(bench.place().file_name(), other.place().file_name());
    let (files, _, _) = other.finished(Damaged::Refuse);
    let views = [0, 1].map(|view| files.read(view).unwrap());
    for (view, found) in views.iter().enumerate() {
        let expected = bench.by_hand(view as u64);
        assert_eq!(found.indices, expected.indices);
        let pairs = found.values.iter().zip(&expected.values);
        assert!(
            pairs.clone().all(|(a, b)| (a - b).abs() < 1e-5),
            "view {view}"
        );
    }
    assert_ne!(views[0].values, views[1].values);
}

#[test]
fn half_precision_takes_half_the_space_and_rounds() {
    let bench = Bench::new(false, 1, FeatureType::F16);
    let (files, _, _) = bench.finished(Damaged::Refuse);
    let (stored, exact) = (files.read(0).unwrap(), bench.by_hand(0));
    assert_eq!(stored.labels, exact.labels);
    for (stored, exact) in stored.values.iter().zip(&exact.values) {
        assert!(
            (stored - exact).abs() <= exact.abs() / 2048.0 + 3e-8,
            "{stored} of {exact}"
        );
    }
    assert_ne!(stored.values, exact.values);
}

#[test]
fn a_damaged_file_is_named_or_computed_again_and_never_used() {
    let bench = Bench::plain();
    let (files, _, _) = bench.finished(Damaged::Refuse);
    let whole = files.read(0).unwrap();
    let path = bench.shard(0, 1);
    let bytes = fs::read(&path).unwrap();
    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for (damage, reason) in [
        (
            bytes[..bytes.len() - 9].to_vec(),
            "incomplete or not a safetensors file",
        ),
        (Vec::new(), "incomplete or not a safetensors file"),
        (
            flipped,
            "the checksum differs, so the file was damaged after it was written",
        ),
    ] {
        fs::write(&path, damage).unwrap();
        let message = bench.refused();
        let expected =
            format!("PLACE/view-000-shard-00001.safetensors: not usable features: {reason}");
        assert!(message.starts_with(&expected), "{message}");
        let end = "; remove the file, or have it computed again";
        assert!(message.ends_with(end), "{message}");
        assert!(files.read(0).is_err());
        let (again, computed, replaced) = bench.finished(Damaged::Recompute);
        assert_eq!((computed, replaced.len()), (13, 1));
        assert_eq!(again.read(0).unwrap(), whole);
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_file_cut_short_or_with_one_byte_changed_is_never_read(
        at in any::<prop::sample::Index>(), flip in 1u8..=255, cut in any::<bool>(),
    ) {
        let bytes = ONE_SHARD.with(Clone::clone);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("view-000-shard-00000.safetensors");
        fs::write(&file, &bytes).unwrap();
        let whole = FeatureFiles::open(folder.path(), None).unwrap();
        let mut damaged = bytes;
        let at = at.index(damaged.len());
        match cut {
            true => damaged.truncate(at),
            false => damaged[at] ^= flip,
        }
        fs::write(&file, damaged).unwrap();
        // A space of the header's padding may become another blank, which changes nothing.
        if let Ok(files) = FeatureFiles::open(folder.path(), None) {
            prop_assert_eq!(files, whole);
        }
    }
}

thread_local! {
    /// The only file of a small extraction.
    static ONE_SHARD: Vec<u8> = {
        let mut bench = Bench::plain();
        bench.loader = loader(images(Split::Train, 5), 8, false);
        bench.finished(Damaged::Refuse);
        fs::read(bench.shard(0, 0)).unwrap()
    };
}

#[test]
fn a_file_of_something_else_is_never_used() {
    let bench = Bench::plain();
    let (files, _, _) = bench.finished(Damaged::Refuse);
    let mut other = Bench::plain();
    other.source.backbone = "other".to_string();
    other.source.dataset_hash = "1".repeat(64);
    let (others, _, _) = other.finished(Damaged::Refuse);
    assert_ne!(bench.place().file_name(), other.place().file_name());
    let error = FeatureFiles::open(&other.place(), Some(&bench.meta())).unwrap_err();
    let message = error.with_place(&other.place());
    for part in [
        "backbone: found \"other\", expected \"tiny\"",
        "dataset_hash: found",
    ] {
        assert!(message.contains(part), "{message}");
    }
    // Under the right name.
    fs::copy(other.shard(0, 2), bench.shard(0, 2)).unwrap();
    assert!(
        bench
            .refused()
            .contains("backbone: found \"other\", expected \"tiny\"")
    );
    assert!(files.read_shard(0, 2).is_err());
    assert_eq!(others.read(0).unwrap().labels.len(), 44);
    // Another shard of the same features.
    fs::copy(bench.shard(0, 1), bench.shard(0, 2)).unwrap();
    let message = bench.refused();
    let expected = "it holds view 0, 13 images from 13 on, 8 numbers each, expected view 0, 13 images \
                    from 26 on";
    assert!(message.contains(expected), "{message}");
    let (_, computed, _) = bench.finished(Damaged::Recompute);
    assert_eq!(computed, 13);
}

#[test]
fn features_of_other_weights_are_never_used_under_the_same_name() {
    let bench = Bench::plain();
    bench.run_until(2, Damaged::Refuse).unwrap();
    let mut other = Bench::plain();
    other.params = ParamStore::new(4, DType::F32, &Device::Cpu);
    other.network = TinyNet::new(&other.params, false).unwrap();
    other.folder = bench.folder;
    let message = other.refused();
    assert!(
        message.contains("it was made by another network: encoder hash"),
        "{message}"
    );
    let (files, computed, replaced) = other.finished(Damaged::Recompute);
    assert_eq!((computed, replaced.len()), (44, 2));
    assert_eq!(files.read(0).unwrap(), other.by_hand(0));
}

/// A network that isn't frozen: it moves a running mean at its second batch.
struct Thawing {
    inside: TinyNet,
    params: ParamStore,
    batches: Cell<u32>,
}

impl Backbone for Thawing {
    fn features(&self, cx: &Ctx, images: &Act) -> candle_core::Result<Tensor> {
        self.batches.set(self.batches.get() + 1);
        if self.batches.get() == 2 {
            let (_, mean) = &self.params.buffers()[0];
            mean.set(&(mean.as_tensor() + 1.0)?)?;
        }
        self.inside.features(cx, images)
    }
    fn head(&self, cx: &Ctx, features: &Tensor) -> candle_core::Result<Tensor> {
        self.inside.head(cx, features)
    }
    fn feature_dim(&self) -> usize {
        self.inside.feature_dim()
    }
    fn classes(&self) -> usize {
        self.inside.classes()
    }
    fn head_weight(&self) -> &Tensor {
        self.inside.head_weight()
    }
}

#[test]
fn an_encoder_that_changes_on_the_way_is_an_error_and_leaves_no_file() {
    let bench = Bench::plain();
    let network = Thawing {
        inside: TinyNet::new(&bench.params, false).unwrap(),
        params: bench.params.clone(),
        batches: Cell::new(0),
    };
    let config = ExtractConfig {
        cache: bench.folder.path().to_path_buf(),
        images_per_shard: PER_SHARD,
        damaged: Damaged::Recompute,
        activations: DType::F32,
    };
    let (loader, stop) = (&bench.loader, StopFlag::new());
    let run = |meta: &FeatureMeta| {
        extract(
            &network,
            &bench.params,
            loader,
            meta,
            &config,
            &mut |_| {},
            &stop,
        )
    };
    let message = run(&bench.meta()).unwrap_err().to_string();
    assert!(message.contains("so it is not frozen"), "{message}");
    assert!(!bench.shard(0, 0).exists());
    let mut wrong = bench.meta();
    wrong.seed = 9;
    let message = run(&wrong).unwrap_err().to_string();
    assert!(
        message.starts_with("config key `meta`: it is not that of the loader"),
        "{message}"
    );
}

#[test]
fn what_cannot_be_extracted_is_refused() {
    let mut bench = Bench::plain();
    for (views, reason) in [
        (0, "expected at least 1, got 0"),
        (
            3,
            "expected 1, got 3: no transform is random, so all views would be the same",
        ),
    ] {
        bench.source.views = views;
        let error = FeatureMeta::new(bench.source.clone(), &bench.loader).unwrap_err();
        assert_eq!(error.to_string(), format!("config key `views`: {reason}"));
    }
    // A weight that is NaN makes every feature so.
    let bench = Bench::plain();
    let (_, weight) = &bench.params.parameters()[0];
    weight
        .set(&(weight.as_tensor() * f64::NAN).unwrap())
        .unwrap();
    let message = bench.refused();
    assert!(
        message.contains("its feature has NaN, which can't be stored"),
        "{message}"
    );
}
