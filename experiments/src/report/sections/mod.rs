//! The parts of a comparison that come with plots: classes, mistakes, training; and the list of runs.

mod classes;
mod mistakes;
mod runs;
mod training;

pub(super) use classes::classes;
pub(super) use mistakes::mistakes;
pub(super) use runs::runs;
pub(super) use training::training;

use std::collections::BTreeMap;

use super::document::{Block, Figure};
use super::plots::Scene;

/// Adds a plot under a free name and returns its place in the document.
fn figure(name: &str, caption: &str, scene: Scene, plots: &mut BTreeMap<String, Scene>) -> Block {
    let mut free = name.to_string();
    let mut number = 2;
    while plots.contains_key(&free) {
        free = format!("{name}-{number}");
        number += 1;
    }
    plots.insert(free.clone(), scene);
    Block::Figure(Figure {
        name: free,
        caption: caption.to_string(),
    })
}

/// "over 3 seeds", for the spread that is drawn; `None` where no method has two.
fn over_seeds(seeds: impl IntoIterator<Item = usize>) -> Option<String> {
    let several: Vec<usize> = seeds.into_iter().filter(|&n| n > 1).collect();
    let (least, most) = (several.iter().min()?, several.iter().max()?);
    Some(match least == most {
        true => format!("over {most} seeds"),
        false => format!("over {least} to {most} seeds"),
    })
}

/// What is drawn around a mean.
fn spread(over: Option<&String>) -> String {
    over.map_or(String::new(), |over| {
        format!("± 1 standard deviation {over}")
    })
}

/// The same for a caption, as the end of its sentence.
fn means(over: Option<&String>) -> String {
    over.map_or(".".into(), |over| {
        format!("; means and standard deviations {over}.")
    })
}
