//! Protocol files: how a classifier is fitted to features, every number in the file.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use mr2_train::probe::{KnnConfig, ProbeConfig};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::crops::TrainingImages;
use crate::config::typed;

/// The protocols that the program carries, by name; a file of one's own is named by its path.
const CARRIED: [(&str, &str); 9] = [
    ("clip", include_str!("../../runs/probes/clip.toml")),
    (
        "clip_benchmark",
        include_str!("../../runs/probes/clip_benchmark.toml"),
    ),
    ("mae", include_str!("../../runs/probes/mae.toml")),
    ("moco_v2", include_str!("../../runs/probes/moco_v2.toml")),
    (
        "dinov2_linear",
        include_str!("../../runs/probes/dinov2_linear.toml"),
    ),
    (
        "dinov2_knn",
        include_str!("../../runs/probes/dinov2_knn.toml"),
    ),
    ("dino_knn", include_str!("../../runs/probes/dino_knn.toml")),
    (
        "clip_sources",
        include_str!("../../runs/probes/clip_sources.toml"),
    ),
    ("cosine", include_str!("../../runs/probes/cosine.toml")),
];

/// How features become classes.
#[derive(Clone, Debug, PartialEq)]
pub enum Protocol {
    /// A linear classifier.
    Linear(Box<Linear>),
    /// The nearest training images vote.
    Neighbours(KnnConfig),
}

/// How a linear classifier is fitted, and to what.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Which features of a backbone.
    pub features: Features,
    /// What heads are trained on.
    pub training_images: TrainingImages,
    /// How they are fitted.
    pub probe: ProbeConfig,
}

/// Which features of a backbone a protocol takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Features {
    /// The one that `--feature` names.
    Backbone,
    /// Of transformers the class tokens of the last four blocks and the mean of the patches, of which validation images
    /// choose a part; of other nets the one that they have.
    LastBlocks,
}

impl Protocol {
    /// The protocol of that name, or that of the file with that path.
    ///
    /// # Errors
    /// An unknown name (the message lists the valid ones); a key that is missing, unknown or wrong.
    pub fn read(name: &str) -> Result<Self> {
        if let Some((_, text)) = CARRIED.iter().find(|(known, _)| *known == name) {
            return Self::parse(text, name);
        }
        let path = PathBuf::from(name);
        if !path.is_file() {
            bail!(
                "unknown protocol `{name}`: valid are {}, or the path of a file",
                names().join(", ")
            );
        }
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read the protocol {}", path.display()))?;
        Self::parse(&text, &path.display().to_string())
    }

    fn parse(text: &str, origin: &str) -> Result<Self> {
        let table: Table =
            toml::from_str(text).map_err(|error| anyhow!("{origin}: not valid TOML: {error}"))?;
        match table.contains_key("neighbours") {
            true => typed(Value::Table(table)).map(Self::Neighbours),
            false => Self::linear(table),
        }
        .with_context(|| origin.to_string())
    }

    fn linear(mut table: Table) -> Result<Self> {
        let features = table
            .remove("features")
            .context("missing field `features`: \"backbone\", or \"last_blocks\"")?;
        let features = typed(features).context("features")?;
        let images = table.remove("training_images").context(
            "missing field `training_images`: { kind = \"evaluation\" }, or crops as in experiments/runs/probes/mae.toml",
        )?;
        let training_images: TrainingImages = typed(images).context("training_images")?;
        training_images.check()?;
        let probe = typed(Value::Table(table))?;
        Ok(Self::Linear(Box::new(Linear {
            features,
            training_images,
            probe,
        })))
    }

    /// What result rows call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Linear(linear) => &linear.probe.protocol,
            Self::Neighbours(config) => &config.protocol,
        }
    }

    /// Whether it tries a transformer's last blocks.
    pub fn takes_last_blocks(&self) -> bool {
        matches!(self, Self::Linear(linear) if linear.features == Features::LastBlocks)
    }

    /// Every number of it, for the result.
    ///
    /// # Errors
    /// When it can't be written as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        Ok(match self {
            Self::Linear(linear) => {
                let mut value = serde_json::to_value(&linear.probe)?;
                value["features"] = serde_json::to_value(linear.features)?;
                value["training_images"] = serde_json::to_value(&linear.training_images)?;
                value
            }
            Self::Neighbours(config) => serde_json::to_value(config)?,
        })
    }

    /// Whether it has a method of that name.
    pub fn offers(&self, name: &str) -> bool {
        match self {
            Self::Linear(linear) => {
                let mut methods = linear.probe.methods.iter();
                methods.any(|method| method.name == name)
            }
            Self::Neighbours(_) => false,
        }
    }

    /// Only these methods, in this order; the first is what others are compared with.
    ///
    /// # Errors
    /// A method that the protocol doesn't have; methods of a vote, which has none.
    pub fn with_methods(mut self, names: &[String]) -> Result<Self> {
        match &mut self {
            Self::Neighbours(_) => {
                if names.iter().any(|name| name != "erm") {
                    bail!("--method: neighbours' votes have no loss, so no methods");
                }
            }
            Self::Linear(linear) => {
                let config = &mut linear.probe;
                let known: Vec<_> = config.methods.iter().map(|m| m.name.clone()).collect();
                let wanted = names.iter().map(|name| {
                    let found = config.methods.iter().find(|method| method.name == *name);
                    found.cloned().with_context(|| {
                        format!(
                            "--method {name}: the protocol {} has {}",
                            config.protocol,
                            known.join(", ")
                        )
                    })
                });
                config.methods = wanted.collect::<Result<_>>()?;
            }
        }
        Ok(self)
    }
}

/// Names of the carried protocols.
pub fn names() -> Vec<&'static str> {
    CARRIED.iter().map(|(name, _)| *name).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use mr2_train::probe::Protocol as Published;

    fn linear(published: Published) -> ProbeConfig {
        match Protocol::read(published.name()).unwrap() {
            Protocol::Linear(file) => file.probe,
            Protocol::Neighbours(_) => panic!("{}", published.name()),
        }
    }

    #[test]
    fn the_files_say_what_the_published_protocols_are() {
        for published in Published::ALL {
            let file = linear(published);
            let names: Vec<_> = file
                .methods
                .iter()
                .map(|method| method.name.as_str())
                .collect();
            assert_eq!(names, ["erm", "uniform", "mr2"], "{}", published.name());
            file.check().unwrap();
            assert_eq!(file, published.config(file.methods.clone()));
        }
        // Those of this project.
        for name in ["clip_sources", "cosine"] {
            let Protocol::Linear(file) = Protocol::read(name).unwrap() else {
                panic!("{name}");
            };
            file.probe.check().unwrap();
            assert_eq!(file.probe.protocol, name);
        }
        for votes in [KnnConfig::dino(), KnnConfig::dinov2()] {
            let file = Protocol::read(&votes.protocol).unwrap();
            assert_eq!(file, Protocol::Neighbours(votes));
        }
    }

    #[test]
    fn uniform_margins_have_as_many_settings_to_try_as_mr2() {
        for published in Published::ALL {
            let file = linear(published);
            assert_eq!(file.methods[1].margins.len(), file.methods[2].margins.len());
        }
    }

    #[test]
    fn what_a_file_or_a_wish_has_too_much_is_named() {
        let error = |result: Result<Protocol>| format!("{:#}", result.unwrap_err());
        let known = error(Protocol::parse(
            "protocol = \"x\"\nneighbours = [1]\ntemperatur = 1.0",
            "f",
        ));
        assert!(known.contains("temperatur"), "{known}");
        let votes = Protocol::read("dino_knn").unwrap();
        assert!(votes.clone().with_methods(&["erm".into()]).is_ok());
        assert!(error(votes.with_methods(&["mr2".into()])).contains("no methods"));
    }
}
