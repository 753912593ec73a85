//! What a protocol's heads are trained on: images as they are tested, or crops, new ones at every shuffle.

use anyhow::{Context, Result, anyhow, bail};
use mr2_backbones::pretrained::Preprocessing;
use mr2_data::{Interpolation, Loader, Pipeline, RandomResizedCrop, Transform};
use mr2_train::features::FeatureFiles;
use mr2_train::probe::{FitConfig, Views};
use mr2_train::{Error, Result as Trained};
use serde::{Deserialize, Serialize};

use super::features::Extractor;
use super::protocol::Protocol;

/// What heads are trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TrainingImages {
    /// Images as they are tested.
    Evaluation {},
    /// A new crop of each image, of the size that it is tested at, at every shuffle.
    Crops(Crops),
}

/// How crops are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crops {
    /// How often a rectangle is drawn that doesn't fit.
    pub draws: DrawsArg,
    /// Smallest and largest share of the image's area.
    pub scale: [f64; 2],
    /// Smallest and largest width / height.
    pub ratio: [f64; 2],
    /// How pixels are interpolated.
    pub interpolation: Interpolation,
    /// Probability of exchanging left and right.
    pub flip: f64,
    /// Seed of crops and flips.
    pub seed: u64,
}

/// How often a rectangle is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrawsArg {
    /// Once, then cut to the image: MAE's probes.
    OneDraw,
    /// Up to ten times, then the middle: torchvision.
    TenDraws,
}

impl TrainingImages {
    /// The crops, where there are any.
    pub fn crops(&self) -> Option<&Crops> {
        match self {
            Self::Evaluation {} => None,
            Self::Crops(crops) => Some(crops),
        }
    }

    /// Whether every number is in its range.
    ///
    /// # Errors
    /// Names the first that isn't.
    pub fn check(&self) -> Result<()> {
        let Some(crops) = self.crops() else {
            return Ok(());
        };
        let of_any_size = crops.transforms(1, &[0.0], &[1.0]);
        let checked = Pipeline::new(of_any_size).map(drop);
        checked.context("training_images")
    }
}

impl Crops {
    /// From image to numbers, at the size and with the mean and deviation of the weights.
    ///
    /// # Errors
    /// A size out of range.
    pub fn pipeline(&self, preprocessing: &Preprocessing) -> Result<Pipeline> {
        let Preprocessing {
            crop, mean, std, ..
        } = preprocessing;
        Pipeline::new(self.transforms(*crop, mean, std)).context("training_images")
    }

    fn transforms(&self, size: usize, mean: &[f64], std: &[f64]) -> Vec<Transform> {
        let crop = RandomResizedCrop {
            size,
            scale: self.scale,
            ratio: self.ratio,
            interpolation: self.interpolation,
        };
        vec![
            match self.draws {
                DrawsArg::OneDraw => Transform::RandomResizedCropOnce(crop),
                DrawsArg::TenDraws => Transform::RandomResizedCrop(crop),
            },
            Transform::HorizontalFlip { p: self.flip },
            Transform::Normalize {
                mean: mean.to_vec(),
                std: std.to_vec(),
            },
        ]
    }
}

/// What heads see of the training images in this run.
pub enum Seen<'a> {
    /// What validation and test see of theirs; `instead_of_crops` where the protocol has crops.
    Tested {
        /// Whether the protocol has crops.
        instead_of_crops: bool,
    },
    /// Crops.
    Crops {
        /// How they are drawn.
        crops: &'a Crops,
        /// How many there are of each image.
        views: u32,
        /// How many the protocol's authors would have drawn.
        shuffles: u64,
    },
}

impl<'a> Seen<'a> {
    /// What validation and test see of theirs.
    pub fn as_tested() -> Self {
        Self::Tested {
            instead_of_crops: false,
        }
    }

    /// What the protocol says, or `views` crops of each of `images` training images.
    ///
    /// # Errors
    /// Views where the protocol has no crops; more of them than can be told apart; too few images for the protocol.
    pub fn new(protocol: &'a Protocol, views: Option<u32>, images: usize) -> Result<Self> {
        let of_steps = match protocol {
            Protocol::Linear(linear) => match (linear.training_images.crops(), &linear.probe.fit) {
                (Some(crops), FitConfig::Steps(steps)) => Some((crops, steps.shuffles(images)?)),
                (Some(_), FitConfig::Lbfgs { .. }) => {
                    bail!("training_images: L-BFGS sees every image once, so it can't have crops")
                }
                (None, _) => None,
            },
            Protocol::Neighbours(_) => None,
        };
        match (of_steps, views) {
            (None, None | Some(0)) => Ok(Self::as_tested()),
            (None, Some(_)) => bail!(
                "--views: the protocol {} draws no crops; leave it out",
                protocol.name()
            ),
            (Some(_), Some(0)) => Ok(Self::Tested {
                instead_of_crops: true,
            }),
            (Some((crops, shuffles)), views) => {
                let views = views.map_or(shuffles, |views| shuffles.min(views.into()));
                let views = u16::try_from(views).map_err(|_| {
                    anyhow!(
                        "the protocol {} would shuffle these {images} images {views} times: say how many crops of each \
                         are enough, such as --views 100",
                        protocol.name()
                    )
                })?;
                Ok(Self::Crops {
                    crops,
                    views: views.into(),
                    shuffles,
                })
            }
        }
    }

    /// The protocol's name in tables, with what is not as its authors do it.
    pub fn name(&self, protocol: &Protocol) -> String {
        let name = protocol.name();
        match self {
            Self::Tested {
                instead_of_crops: true,
            } => format!("{name}, no crops"),
            Self::Crops {
                views, shuffles, ..
            } if u64::from(*views) < *shuffles => {
                format!("{name}, {views} of {shuffles} crops")
            }
            _ => name.to_string(),
        }
    }

    /// Every number of the protocol and how many crops there were, for the result.
    ///
    /// # Errors
    /// When it can't be written as JSON.
    pub fn json(&self, protocol: &Protocol) -> Result<serde_json::Value> {
        let mut json = protocol.json()?;
        json["views"] = match self {
            Self::Tested { .. } => 0.into(),
            Self::Crops { views, .. } => (*views).into(),
        };
        Ok(json)
    }
}

/// Features of crops; after the last view comes the first again.
pub enum CropFeatures<'a> {
    /// On disk.
    Kept(FeatureFiles),
    /// Computed when they are asked for, and kept nowhere.
    Computed {
        /// What computes them.
        extractor: Extractor<'a>,
        /// The crops.
        loader: Loader,
        /// How many there are of each image.
        views: u32,
    },
}

impl Views for CropFeatures<'_> {
    fn features(&self, shuffle: u64) -> Trained<Vec<f32>> {
        match self {
            Self::Kept(files) => {
                let view = shuffle % u64::from(files.views());
                Ok(files.read(view as u32)?.values)
            }
            Self::Computed {
                extractor,
                loader,
                views,
            } => {
                let view = shuffle % u64::from(*views);
                let label = format!("crops {}", shuffle + 1);
                match extractor.compute(loader, view, &label)? {
                    Some(features) => Ok(features.values),
                    None => Err(Error::Tensor(candle_core::Error::Msg("stopped".into()))),
                }
            }
        }
    }
}
