//! What decides the numbers of a feature file, and the key made of it.

use candle_core::DType;
use mr2_data::{Loader, Split, Transform};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::checkpoint::hex;
use crate::error::{Error, Result};

/// How features are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureType {
    /// As they are computed.
    F32,
    /// Half the space, 11 significant bits, nothing beyond 65504.
    F16,
}

impl FeatureType {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        self.dtype().size_in_bytes()
    }

    pub(super) fn dtype(self) -> DType {
        match self {
            FeatureType::F32 => DType::F32,
            FeatureType::F16 => DType::F16,
        }
    }
}

/// What the loader can't tell about features.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSource {
    /// Name of the backbone.
    pub backbone: String,
    /// Which of its outputs is taken, where it has several, such as "before_projection".
    pub output: String,
    /// SHA-256 of the weights as they were read from their file.
    pub weights_sha256: String,
    /// What the layers compute in and on, such as "f32 cpu", and which code: other arithmetic gives other last bits.
    pub arithmetic: String,
    /// `ImageSet::fingerprint` of the images.
    pub dataset_hash: String,
    /// How features are stored.
    pub dtype: FeatureType,
    /// Times that each image is taken; more than 1 needs a random transform.
    pub views: u32,
}

/// Everything that decides the numbers of a feature file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureMeta {
    /// The backbone and the data.
    pub source: FeatureSource,
    /// Name of the data set.
    pub dataset: String,
    /// Which part of it.
    pub split: Split,
    /// Number of images.
    pub images: u64,
    /// From image to numbers.
    pub preprocessing: Vec<Transform>,
    /// Seed of the augmentation, of which the number of the view is another part; 0 without a random
    /// transform.
    pub seed: u64,
}

impl FeatureMeta {
    /// Joins `source` with what the loader will give.
    ///
    /// # Errors
    /// No view, or several that would all be the same.
    pub fn new(source: FeatureSource, loader: &Loader) -> Result<Self> {
        let preprocessing = loader.transforms().to_vec();
        let random = preprocessing.iter().any(Transform::is_random);
        let reason = match source.views {
            0 => Some("expected at least 1, got 0".to_string()),
            1 => None,
            views if random => u16::try_from(views)
                .is_err()
                .then(|| format!("expected at most {}, got {views}", u16::MAX)),
            views => Some(format!(
                "expected 1, got {views}: no transform is random, so all views would be the same"
            )),
        };
        if let Some(reason) = reason {
            let key = "views";
            return Err(Error::Config { key, reason });
        }
        let set = loader.set();
        Ok(Self {
            source,
            dataset: set.name().to_string(),
            split: set.split(),
            images: set.len() as u64,
            preprocessing,
            seed: match random {
                true => loader.config().seed,
                false => 0,
            },
        })
    }

    /// SHA-256, in hexadecimal, of the text of all fields in their order.
    ///
    /// # Errors
    /// A preprocessing that can't be written as JSON, such as one with a NaN.
    pub fn key(&self) -> Result<String> {
        let text = serde_json::to_string(self)
            .map_err(|e| Error::refused(format!("the key of features: {e}")))?;
        Ok(hex(&Sha256::digest(text)))
    }

    /// The fields that differ, as `field: found …, expected …`; empty where none does.
    pub(super) fn differences(&self, found: &Self) -> String {
        let fields = |meta: &Self| match serde_json::to_value(meta) {
            Ok(serde_json::Value::Object(mut fields)) => {
                if let Some(serde_json::Value::Object(source)) = fields.remove("source") {
                    fields.extend(source);
                }
                fields
            }
            _ => serde_json::Map::new(),
        };
        let (own, found) = (fields(self), fields(found));
        let lines: Vec<String> = own
            .iter()
            .filter(|(field, value)| found.get(*field) != Some(*value))
            .map(|(field, value)| {
                let other = found.get(field).unwrap_or(&serde_json::Value::Null);
                format!("{field}: found {other}, expected {value}")
            })
            .collect();
        lines.join("; ")
    }
}
