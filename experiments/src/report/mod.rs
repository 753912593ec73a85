//! Reports: data first ([`Document`], what `report.json` holds), rendering second.
//!
//! [`markdown`], [`latex`], [`html`] and [`terminal`] write one and the same document; [`plots`] turns
//! numbers into pictures; [`tables`] lays a [`mr2_metrics::ClassReport`] out; [`run_folders`] reads what
//! `mr2 train` wrote; [`files`] says what is put on disk and [`folder`] how. Words of the user are escaped in [`escape`] only.

pub mod cell;
pub mod claims;
pub mod comparison;
pub mod document;
pub mod escape;
pub mod files;
pub mod folder;
#[cfg(test)]
mod golden;
pub mod html;
pub mod latex;
pub mod markdown;
pub mod plots;
pub mod premise;
pub mod published;
pub mod run_folders;
pub mod scale;
mod sections;
pub mod settings;
pub mod tables;
pub mod terminal;

pub use cell::Cell;
pub use document::{Align, Block, Claim, Column, Document, Figure, Section, Table, Tone};
pub use published::{Published, Source};
pub use scale::Scale;
