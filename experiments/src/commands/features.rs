//! `mr2 features`: what a pretrained backbone makes of images, on disk.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use mr2_data::{BadImages, Split};

use super::{Output, Threads, write_json};
use crate::assemble::data_root;
use crate::device::DeviceArg;
use crate::pretrained::PretrainedArgs;
use crate::probing::crops::Seen;
use crate::probing::features::{Extractor, FeatureArgs};
use crate::probing::images::Images;
use crate::probing::protocol::Protocol;
use crate::stop::{STOPPED, on_signals};

/// Compute the features of images with a pretrained backbone, once.
///
/// They are kept under the cache folder, in a folder named after a key of everything that decides them: the weights'
/// SHA-256, the net with its activation and ε, the preprocessing, the images. The same call again reads them there;
/// one that was stopped goes on. The backbone is hashed before and after: frozen is verified.
#[derive(clap::Args)]
#[command(after_help = "\
Each shard, and --out FILE, is a safetensors file with `features` (images, width), `labels` and `indices`.
--json prints an object: folder, file (of --out), images, width, encoder_sha256, backbone (what it is, with its preprocessing).

Example:
  mr2 features --backbone clip-vit-b-16 --images photos --split train --out train.safetensors
  mr2 features --backbone mae-vit-b-16 --images photos --split train --crops-of mae --views 10
  mr2 features --backbone efficientnet-lite0 --weights efficientnet-lite0-57934424.pth --dataset fashion-mnist --split test")]
pub struct Args {
    /// A pretrained backbone that `mr2 models --pretrained` lists.
    #[arg(long, value_name = "NAME")]
    backbone: String,
    #[command(flatten)]
    pretrained: PretrainedArgs,
    #[command(flatten)]
    images: ImagesArgs,
    /// Which part.
    #[arg(long, value_enum)]
    split: SplitArg,
    /// Take the crops that a protocol's heads are trained on, instead of images as they are tested.
    #[arg(long, value_name = "NAME|FILE")]
    crops_of: Option<String>,
    /// Crops of each image [default: a new one at every shuffle of the protocol].
    #[arg(long, value_name = "N", requires = "crops_of")]
    views: Option<u32>,
    /// Write them into one file as well.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    features: FeatureArgs,
    #[command(flatten)]
    threads: Threads,
    #[command(flatten)]
    device: DeviceArg,
}

/// Which images.
#[derive(clap::Args, Clone, Debug)]
pub struct ImagesArgs {
    /// A folder of class folders, or of train, val and test folders of those (repeatable in `mr2 probe`).
    #[arg(long, value_name = "DIR")]
    images: Vec<PathBuf>,
    /// A data set with a descriptor (`mr2 data list`; repeatable in `mr2 probe`).
    #[arg(long, value_name = "NAME")]
    dataset: Vec<String>,
    /// Leave out files that can't be decoded, and say how many; otherwise the first is an error that names it.
    #[arg(long)]
    skip_bad_images: bool,
    /// Folder with the data sets' descriptors [default: datasets].
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
}

impl ImagesArgs {
    /// Opens all that are named, folders first.
    ///
    /// # Errors
    /// Nothing named; a folder or data set that can't be used.
    pub fn open(&self) -> Result<Vec<Images>> {
        if self.images.is_empty() && self.dataset.is_empty() {
            bail!("name images: --images DIR (a folder of class folders) or --dataset NAME");
        }
        if self.skip_bad_images && !self.dataset.is_empty() {
            bail!(
                "--skip-bad-images is for --images; a data set with a descriptor is whole or an error"
            );
        }
        let bad = match self.skip_bad_images {
            true => BadImages::Skipped,
            false => BadImages::Refused,
        };
        let root = data_root(self.data_root.as_deref());
        let folders = self
            .images
            .iter()
            .map(|folder| Images::from_folder(folder, bad));
        let sets = self
            .dataset
            .iter()
            .map(|name| Images::from_dataset(name, &root));
        folders.chain(sets).collect()
    }
}

/// A part of the images.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SplitArg {
    /// What classifiers are fitted to.
    Train,
    /// What settings are chosen by.
    Validation,
    /// What is measured once.
    Test,
}

/// Runs the command; the number is the exit status.
///
/// # Errors
/// When the backbone, its weights or the images can't be used.
pub fn run(args: &Args, output: &Output, out: &mut dyn Write) -> Result<u8> {
    let protocol = args.crops_of.as_deref().map(Protocol::read).transpose()?;
    if protocol.is_some() && !matches!(args.split, SplitArg::Train) {
        bail!("--crops-of: only training images are cropped; say --split train");
    }
    if protocol.is_some() && args.out.is_some() {
        bail!("--out is one file of one view; crops have several: read their folder");
    }
    args.threads.apply()?;
    let mut images = args.images.open()?;
    let (Some(images), true) = (images.pop(), images.is_empty()) else {
        bail!("name one folder or data set: each has features of its own");
    };
    let compute = args.device.open()?;
    let pretrained = args
        .pretrained
        .open(&args.backbone, &compute.device, output.quiet)?;
    let split = match args.split {
        SplitArg::Train => Split::Train,
        SplitArg::Validation => Split::Validation,
        SplitArg::Test => Split::Test,
    };
    let stop = on_signals()?;
    let extractor = Extractor {
        args: &args.features,
        pretrained: &pretrained,
        compute: &compute,
        quiet: output.quiet,
        stop: &stop,
    };
    let seen = match &protocol {
        Some(protocol) => Seen::new(protocol, args.views, images.train.len())?,
        None => Seen::as_tested(),
    };
    let files = match seen {
        Seen::Tested { .. } => extractor.files(&images, split)?,
        Seen::Crops { crops, views, .. } => extractor.crop_files(&images, crops, views)?,
    };
    let Some(files) = files else {
        return Ok(STOPPED);
    };
    if let Some(file) = &args.out {
        files.save(0, file)?;
    }
    if output.json {
        let found = serde_json::json!({
            "folder": files.folder(),
            "file": args.out,
            "images": files.meta().images,
            "width": files.feature_dim(),
            "encoder_sha256": files.encoder(),
            "backbone": pretrained.description,
        });
        write_json(&found, out)?;
        return Ok(0);
    }
    writeln!(
        out,
        "{} images{}, {} features each, in {}",
        files.meta().images,
        match files.views() {
            1 => String::new(),
            views => format!(", {views} crops of each"),
        },
        files.feature_dim(),
        args.out.as_deref().unwrap_or(files.folder()).display()
    )?;
    Ok(0)
}
