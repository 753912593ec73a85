//! The whole program as a user meets it, and the conventions of the tree.
#![allow(clippy::unwrap_used)]

mod support; // a temporary folder, the built `mr2`, small run files

mod audit; // anyone's predictions → the class-wise report
mod bench; // times of the loss and of a training step
mod closed_pipe; // `mr2 … --json | head`
mod config; // run files: missing and unknown keys, presets, --set
mod data; // data sets on disk: missing, damaged, whole
mod eval; // a run's weights on a part of its data
mod gpu; // the checks of the CUDA backend, without a GPU and rehearsed on the CPU
mod grid; // tables at smoke size: shared runs, kills, shards, failures
mod image_folder; // a folder of image files: checked, trained on, evaluated
mod licences; // what the dependencies ask for
mod models; // the backbones and their sizes
mod probe; // pretrained features on a folder of images: table, report, cache, errors
mod quickstart; // the README's first command at smoke size: run, reuse, stop, resume, restart
mod report; // Markdown, LaTeX and HTML from run folders; names that need escaping
mod stranger; // the READMEs' examples in a project outside this workspace
mod terminal; // a bar, warnings and colours on a terminal
mod tidy; // dependency arrows, links, file heads, experiment files
mod train; // one run through the command line: signals, kills, resuming, errors
mod tune; // settings chosen on validation images, stage by stage
#[cfg(all(unix, feature = "hub"))]
mod weights; // files of the Hub: listed, found, verified, offline
mod zeroshot; // CLIP by the names of classes: table, report, templates, errors
