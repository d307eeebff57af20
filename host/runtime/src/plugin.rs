//! A loaded plugin: compiled, linked, probed, and described by itself.

use std::path::PathBuf;

use windlass_core::digest::Digest;
use windlass_core::policy::HookKind;
use windlass_core::value::Pair;

use crate::bounds;
use crate::load::Prepared;

/// Where a plugin's bytes came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Part of this binary.
    Bundled,
    /// A file of the plugins folder.
    File(PathBuf),
    /// Received over the link from the master.
    Master,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Bundled => f.write_str("bundled"),
            // A file's name may hold what acts on a terminal.
            Source::File(path) => f.write_str(&bounds::visible(&path.to_string_lossy())),
            Source::Master => f.write_str("from the master"),
        }
    }
}

/// A plugin that passed all checks. Made by [`crate::Runtime::load`] alone.
pub struct Plugin {
    /// The stem of its file.
    pub name: String,
    /// The hash of its bytes.
    pub digest: Digest,
    /// How many bytes it has.
    pub bytes_len: u64,
    /// Where they came from.
    pub source: Source,
    /// What it implements, as it says itself.
    pub hooks: Vec<Hook>,
    /// What it asks for.
    pub capabilities: Vec<CapabilityRequest>,
    pub(crate) prepared: Prepared,
}

impl Plugin {
    /// The hook of this kind and name.
    #[must_use]
    pub fn hook(&self, kind: HookKind, name: &str) -> Option<&Hook> {
        self.hooks.iter().find(|hook| hook.kind == kind && hook.name == name)
    }

    /// What stands before the colon in the qualified names of its hooks: `windlass` for a bundled one.
    #[must_use]
    pub fn qualifier(&self) -> &str {
        match self.source {
            Source::Bundled => BUNDLED,
            Source::File(_) | Source::Master => &self.name,
        }
    }
}

/// The qualifier of all bundled hooks.
pub const BUNDLED: &str = "windlass";

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.name)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// One thing that a plugin implements.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// The interface.
    pub kind: HookKind,
    /// The name that configurations use.
    pub name: String,
    /// One line for lists.
    pub summary: String,
    /// The JSON Schema of its arguments; none: it takes no arguments.
    pub args_schema: Option<serde_json::Value>,
    /// Facts about the hook.
    pub options: Vec<Pair>,
}

/// A capability that a plugin asks for. Effective only where the operator grants it too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapabilityRequest {
    /// One of [`windlass_core::capability::ALL`].
    pub capability: String,
    /// Programs, hosts, names ... as the capability defines.
    pub scope: Vec<String>,
    /// Why, for the person who grants.
    pub reason: String,
}
