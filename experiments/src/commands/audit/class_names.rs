//! From what stands in a file to a class index.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Indices from here on are taken for a mistake: every class costs a row of the report.
const MOST_CLASSES: u32 = 1_000_000;

/// The names given with `--classes`: themselves, or the lines of @FILE.
pub fn given(classes: &[String]) -> Result<Option<Vec<String>>> {
    let names = match classes {
        [] => return Ok(None),
        [one] if one.starts_with('@') => {
            let path = Path::new(&one[1..]);
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("--classes: cannot read {}", path.display()))?;
            let lines = text.trim_start_matches('\u{feff}').lines();
            lines.map(str::to_string).collect()
        }
        names => names.to_vec(),
    };
    // As the labels of a file are.
    let names: Vec<String> = names.iter().map(|name| name.trim().to_string()).collect();
    if names.is_empty() {
        bail!("--classes: the file is empty; write one class name a line");
    }
    check_distinct(&names).context("--classes")?;
    Ok(Some(names))
}

/// Refuses empty and repeated names.
pub fn check_distinct(names: &[String]) -> Result<()> {
    let mut seen = HashMap::new();
    for (index, name) in names.iter().enumerate() {
        if name.trim().is_empty() {
            bail!("class {index} has an empty name");
        }
        if let Some(other) = seen.insert(name, index) {
            bail!("classes {other} and {index} are both named `{name}`");
        }
    }
    Ok(())
}

/// How the classes of a file are written.
#[derive(Debug)]
pub enum Naming {
    /// A fixed list, from `--classes` or from score columns; indices are accepted beside names
    /// unless the names are numbers themselves.
    Listed {
        /// The names in the order of their indices.
        names: Vec<String>,
        /// Index of each name.
        index: HashMap<String, u32>,
        /// Whether an index may stand for a name.
        indices: bool,
    },
    /// Indices from 0; there are as many classes as the largest one says.
    Indices {
        /// Number of classes seen so far.
        classes: u32,
    },
    /// Names as they come; sorted at the end.
    Collected {
        /// The names so far.
        names: Vec<String>,
        /// Index of each name.
        index: HashMap<String, u32>,
    },
}

impl Naming {
    /// A fixed list.
    pub fn listed(names: &[String]) -> Self {
        let index = names
            .iter()
            .zip(0..)
            .map(|(name, i)| (name.clone(), i))
            .collect();
        let indices = names.iter().any(|name| name.trim().parse::<f64>().is_err());
        Self::Listed {
            names: names.to_vec(),
            index,
            indices,
        }
    }

    /// Names or indices, as the first label has it.
    pub fn after(first_label: &str) -> Self {
        if first_label.trim().parse::<f64>().is_ok() {
            Self::Indices { classes: 0 }
        } else {
            Self::Collected {
                names: Vec::new(),
                index: HashMap::new(),
            }
        }
    }

    /// The class that `text` stands for.
    ///
    /// # Errors
    /// Says what would be right.
    pub fn class(&mut self, text: &str) -> Result<u32> {
        let text = text.trim();
        if text.is_empty() {
            bail!("is empty; write a class name or index");
        }
        match self {
            Self::Listed {
                names,
                index,
                indices,
            } => {
                if let Some(&class) = index.get(text) {
                    return Ok(class);
                }
                match text.parse::<u32>() {
                    Ok(class) if *indices && (class as usize) < names.len() => Ok(class),
                    Ok(class) if *indices => bail!(
                        "is class {class}, but there are {} classes (0 to {})",
                        names.len(),
                        names.len() - 1
                    ),
                    _ => bail!(
                        "`{text}` is not one of the classes ({})",
                        shortlist(names, text)
                    ),
                }
            }
            Self::Indices { classes } => match text.parse::<u32>() {
                Ok(class) if class < MOST_CLASSES => {
                    *classes = (*classes).max(class + 1);
                    Ok(class)
                }
                Ok(class) => bail!("{class} is too large for a class index; number classes from 0"),
                Err(_) => bail!(
                    "`{text}` is not a class index; the first label is a number, so every label and \
                     prediction must be a whole number from 0 (or name the classes with --classes)"
                ),
            },
            Self::Collected { names, index } => {
                let next = names.len() as u32;
                let class = *index.entry(text.to_string()).or_insert(next);
                if class == next {
                    names.push(text.to_string());
                }
                Ok(class)
            }
        }
    }

    /// The names in order, and for each class found the index it has in them.
    pub fn finish(self) -> (Vec<String>, Option<Vec<u32>>) {
        match self {
            Self::Listed { names, .. } => (names, None),
            Self::Indices { classes } => ((0..classes).map(|k| k.to_string()).collect(), None),
            Self::Collected { names, .. } => {
                let mut order: Vec<usize> = (0..names.len()).collect();
                order.sort_by(|&a, &b| names[a].cmp(&names[b]));
                let mut place = vec![0; names.len()];
                for (position, &class) in order.iter().enumerate() {
                    place[class] = position as u32;
                }
                (
                    order.into_iter().map(|k| names[k].clone()).collect(),
                    Some(place),
                )
            }
        }
    }
}

/// The nearest name, or the first few.
fn shortlist(names: &[String], text: &str) -> String {
    let edits = |name: &String| strsim::damerau_levenshtein(name, text);
    match names.iter().min_by_key(|name| edits(name)) {
        // One wrong letter in three, but at least one.
        Some(near) if edits(near) <= (near.chars().count() / 3).max(1) => {
            format!("did you mean `{near}`?")
        }
        _ => {
            let first: Vec<&str> = names.iter().take(8).map(String::as_str).collect();
            let more = if names.len() > 8 { ", …" } else { "" };
            format!("{}{more}", first.join(", "))
        }
    }
}
