//! What a start, a reconfiguration and a check read, each in the same way: the plugins, and the configuration
//! against those that load. All faults of both are found at once.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use windlass_config::{Checked, Diagnostics, MasterText, Read};
use windlass_runtime::Runtime;
use windlass_runtime::registry::Generation;

use crate::answers::{Answered, Answers};
use crate::plugins::{self, BadPlugin, Found};
use crate::surroundings::Surroundings;

/// What is to be read.
pub(crate) struct Reading<'a> {
    pub runtime: &'a Runtime,
    /// Plugins that are loaded already.
    pub old: Option<&'a Generation>,
    pub bundled: &'a [(String, Bytes)],
    /// Of the plugins.
    pub folder: &'a Path,
    /// The configuration file.
    pub path: &'a Path,
    /// What stands in it.
    pub text: Text,
    /// Whether this process has the environment that the master has.
    pub is_master: bool,
    /// What configurators wrote before, where that may stand in for what they do not write now.
    pub before: Option<&'a Answers>,
}

/// What stands in a configuration file.
pub(crate) enum Text {
    Parsed(Box<MasterText>),
    /// The same as when it was read before.
    Same(Arc<Read>),
}

/// What was read, and is good.
#[derive(Debug)]
pub(crate) struct Good {
    pub read: Arc<Read>,
    pub generation: Generation,
    /// Components that the old generation had not.
    pub bytes: Vec<Bytes>,
    /// What configurators wrote, or what stands in for it.
    pub answered: Vec<Answered>,
}

/// All that is wrong with a configuration and its plugins.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Plugins that cannot be loaded.
    pub plugins: Vec<BadPlugin>,
    /// What is wrong in the configuration.
    pub config: Option<Diagnostics>,
}

impl Reading<'_> {
    /// Reads it. The warnings come apart, as they do not depend on whether it is good. Blocks.
    pub fn read(self) -> (Result<Good, Faults>, Option<Diagnostics>) {
        let Reading { runtime, old, bundled, folder, path, text, is_master, before } = self;
        let Found { generation, bytes, bad } = plugins::find(runtime, old, bundled, folder);
        let answered = RefCell::default();
        let around = Surroundings {
            runtime,
            generation: &generation,
            bad: &bad,
            file: path,
            is_master,
            before,
            answered,
        };
        let Checked { config, warnings } = text.read(&around);
        let answered = around.answered.into_inner();
        let result = match config {
            Ok(read) if bad.is_empty() => Ok(Good { read, generation, bytes, answered }),
            other => Err(Faults { plugins: bad, config: other.err() }),
        };
        (result, warnings)
    }
}

impl Text {
    fn read(self, around: &Surroundings<'_>) -> Checked<Arc<Read>> {
        match self {
            Text::Same(last) => last.again(around),
            Text::Parsed(parsed) => {
                let Checked { config, warnings } = parsed.read(around);
                Checked { config: config.map(Arc::new), warnings }
            }
        }
    }
}

impl From<Diagnostics> for Faults {
    fn from(config: Diagnostics) -> Faults {
        Faults { plugins: Vec::new(), config: Some(config) }
    }
}

impl Faults {
    /// Each as text for a terminal without colours, those of plugins first.
    #[must_use]
    pub fn details(&self) -> Vec<String> {
        let plugins = self.plugins.iter().map(|bad| bad.message.clone());
        plugins.chain(self.config.iter().map(Diagnostics::render)).collect()
    }

    /// The same for machines: a list of `{code, severity, message, ...}`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let plugin = |bad: &BadPlugin| {
            serde_json::json!({
                "code": "bad-plugin", "severity": "error", "plugin": bad.name, "message": bad.message,
            })
        };
        let config = self.config.iter().flat_map(|d| d.to_json().as_array().cloned().unwrap_or_default());
        self.plugins.iter().map(plugin).chain(config).collect()
    }
}

/// Of what kinds they are; the details say which.
impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.plugins.len() {
            0 => {}
            1 => f.write_str("a plugin cannot be loaded")?,
            several => write!(f, "{several} plugins cannot be loaded")?,
        }
        match (&self.config, self.plugins.is_empty()) {
            (Some(_), true) => f.write_str("the configuration has errors"),
            (Some(_), false) => f.write_str(", and the configuration has errors"),
            (None, _) => Ok(()),
        }
    }
}

impl std::error::Error for Faults {}
