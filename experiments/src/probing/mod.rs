//! Probing: what a frozen backbone's features are worth, class by class.
//!
//! [`images`] are what is classified, [`features`] what the backbone makes of them, kept on disk; [`protocol`] reads
//! how a classifier is fitted; [`measure`] says what it is worth, and [`report`] writes it down. [`zero_shot`]
//! is the classifier made of classes' names.

pub mod features;
pub mod images;
pub mod measure;
pub mod protocol;
pub mod report;
pub mod run;
pub mod zero_shot;
