//! Probing: what a frozen backbone's features are worth, class by class.
//!
//! [`images`] are what is classified, [`features`] what the backbone makes of them, kept on disk,
//! of one kind or several ([`kinds`]); [`protocol`] reads
//! how a classifier is fitted, and [`crops`] to what; [`measure`] says what it is worth, and [`report`] writes it down
//! ([`seeds`] where there are several). [`zero_shot`]
//! is the classifier made of classes' names.

pub mod crops;
pub mod features;
pub mod images;
pub mod kinds;
pub mod measure;
pub mod protocol;
pub mod report;
pub mod run;
pub mod seeds;
pub mod zero_shot;
