//! In which settings runs differ, and with what values.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use toml::{Table, Value};

/// Keys that make no other method of a run.
const FREE_KEYS: [&str; 5] = [
    "name",
    "training.seed",
    "training.checkpoint_every_steps",
    "training.log_every_steps",
    "data.loader_workers",
];
const OBJECTIVE: &str = "training.objective.";

/// A dotted key of `config.toml` in which runs differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// Its value in each of them; `None` where a run doesn't have it.
    pub values: Vec<Option<Value>>,
}

/// The settings that aren't the same in all of `runs`, by key.
pub fn differing(runs: &[&Table]) -> Vec<Setting> {
    let flat: Vec<BTreeMap<String, &Value>> = runs.iter().map(|run| flatten(run)).collect();
    let keys: BTreeSet<&String> = flat.iter().flat_map(BTreeMap::keys).collect();
    let settings = keys.into_iter().map(|key| Setting {
        key: key.clone(),
        values: flat
            .iter()
            .map(|run| run.get(key).copied().cloned())
            .collect(),
    });
    settings
        .filter(|setting| !FREE_KEYS.contains(&setting.key.as_str()))
        .filter(|setting| {
            setting
                .values
                .iter()
                .any(|value| *value != setting.values[0])
        })
        .collect()
}

/// What else the methods differ in than their objective, as a warning; `None` where in nothing.
pub fn beside_the_objective(settings: &[Setting]) -> Option<String> {
    let keys = settings.iter().map(|setting| setting.key.as_str());
    let others: Vec<&str> = keys.filter(|key| !key.starts_with(OBJECTIVE)).collect();
    (!others.is_empty()).then(|| {
        format!(
            "Beside their objective the methods differ in {}, so a difference in accuracy may come from that.",
            others.join(", ")
        )
    })
}

fn flatten(table: &Table) -> BTreeMap<String, &Value> {
    let mut flat = BTreeMap::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                let inner = flatten(inner).into_iter();
                flat.extend(inner.map(|(name, value)| (format!("{key}.{name}"), value)));
            }
            value => {
                flat.insert(key.clone(), value);
            }
        }
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        toml::from_str(text).expect("valid TOML")
    }

    #[test]
    fn settings_differ_by_their_dotted_keys_and_a_missing_one_has_no_value() {
        let a = table("name = 'x'\n[training]\nseed = 1\nepochs = 2\nobjective = { kind = 'erm' }");
        let b = table(
            "name = 'y'\n[training]\nseed = 2\nepochs = 2\nobjective = { kind = 'mr2', p = 2.0 }",
        );
        let found = differing(&[&a, &b]);
        let keys: Vec<&str> = found.iter().map(|setting| setting.key.as_str()).collect();
        assert_eq!(keys, ["training.objective.kind", "training.objective.p"]);
        assert_eq!(found[1].values, [None, Some(Value::Float(2.0))]);
        assert_eq!(beside_the_objective(&found), None);
        assert!(differing(&[&a, &a]).is_empty());
        let longer = table("[training]\nepochs = 3\nobjective = { kind = 'erm' }");
        let said = beside_the_objective(&differing(&[&a, &longer])).expect("epochs differ");
        assert!(said.contains("differ in training.epochs, so"), "{said}");
    }
}
