//! Properties of a build: named values, each with the place that set it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::value::{Pair, Value};

/// Named values with their sources, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Properties(BTreeMap<String, (Value, String)>);

/// No properties.
pub static NONE: Properties = Properties(BTreeMap::new());

impl Properties {
    /// Sets `name`; a later source replaces an earlier one.
    pub fn set(&mut self, name: impl Into<String>, value: Value, source: &str) {
        self.0.insert(name.into(), (value, source.to_owned()));
    }

    /// Takes `name` away; one that is not there is no error.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).map(|(value, _)| value)
    }

    /// Name, value and source, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value, &str)> {
        self.0.iter().map(|(name, (value, source))| (name.as_str(), value, source.as_str()))
    }

    /// Takes over all of `other`; its values win.
    pub fn extend(&mut self, other: &Properties) {
        self.0.extend(other.0.iter().map(|(name, entry)| (name.clone(), entry.clone())));
    }

    /// Takes over what is not set yet of `other`.
    pub fn extend_unset(&mut self, other: &Properties) {
        for (name, entry) in &other.0 {
            self.0.entry(name.clone()).or_insert_with(|| entry.clone());
        }
    }

    /// Where the value of `name` came from.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|(_, source)| source.as_str())
    }

    /// Names and values, sorted by name.
    #[must_use]
    pub fn pairs(&self) -> Vec<Pair> {
        self.0.iter().map(|(name, (value, _))| Pair { name: name.clone(), value: value.clone() }).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What they take up, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.iter().map(|(name, value, source)| name.len() + value.bytes() + source.len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
