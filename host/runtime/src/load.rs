//! From bytes to a plugin that was checked whole.

use crate::plugin::Source;

/// A plugin that was not loaded.
#[derive(Debug, thiserror::Error)]
#[error("failed to load plugin `{plugin}` ({origin})")]
pub struct LoadError {
    /// The plugin's name.
    pub plugin: String,
    /// Where its bytes came from.
    pub origin: Source,
    /// What is wrong with it.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a plugin.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Another plugin has its name.
    #[error("another plugin has the same name")]
    SameName,
}

/// What calls need of a plugin.
pub(crate) struct Prepared;
