//! Reconfiguration as a transaction: prepare everything, then swap, or leave all as it was.

use std::path::PathBuf;

use crate::view;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ReconfigError {
    /// The configuration file cannot be read.
    #[error("failed to read `{path}`", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The configuration has errors: all of them, with their places in the file.
    #[error("the configuration has errors; nothing was changed")]
    Config(#[source] windlass_config::Diagnostics),
    /// Plugins cannot be loaded; one text for each.
    #[error("{} cannot be loaded; nothing was changed", plugins(.0.len()))]
    Plugins(Vec<String>),
    /// Settings that need a restart differ.
    #[error("settings that need a restart differ; nothing was changed")]
    Refused(view::Plan),
    /// One runs and one waits already.
    #[error("a reconfiguration runs and another waits already; that one will see what you changed")]
    Busy,
    /// The master is going down.
    #[error("the master is shutting down")]
    ShuttingDown,
    /// The store did not take it.
    #[error("the new generation could not be stored; nothing was changed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ReconfigError {
    /// Each thing that is wrong, rendered for a terminal without colours; empty: the message says all.
    #[must_use]
    pub fn details(&self) -> Vec<String> {
        unimplemented!("landing soon")
    }

    /// The same for machines, as JSON; null: the message says all.
    #[must_use]
    pub fn diagnostics(&self) -> serde_json::Value {
        unimplemented!("landing soon")
    }
}

fn plugins(count: usize) -> String {
    if count == 1 { "a plugin".to_owned() } else { format!("{count} plugins") }
}
