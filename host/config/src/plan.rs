//! What a reconfig would change: two checked configurations in, a readable difference out.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::Master;

/// The difference between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What changes, in the order of the file's sections.
    pub changes: Vec<Change>,
    /// Settings that differ and need a restart. Nothing is changed if there is one.
    pub refused: Vec<Field>,
}

/// A thing of the configuration that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// How.
    pub how: How,
    /// `builder`, `worker`, `scheduler`, `git poller`, `policy`, `grant`, `setting`.
    pub what: String,
    /// Its name.
    pub name: String,
    /// The fields that differ, if it was and stays there.
    pub fields: Vec<Field>,
}

/// How a thing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It is new.
    Added,
    /// It is different.
    Changed,
    /// It is gone.
    Removed,
}

/// A field that differs. Values are shown as in JSON; none: not set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// `steps.compile.args.command`.
    pub name: String,
    /// Before.
    pub old: Option<String>,
    /// After.
    pub new: Option<String>,
}

impl Plan {
    /// Whether the two are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.refused.is_empty()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = f;
        unimplemented!("landing soon")
    }
}

/// Returns what a reconfig from `old` to `new` would change.
#[must_use]
pub fn diff(old: &Master, new: &Master) -> Plan {
    let _ = (old, new);
    unimplemented!("landing soon")
}
