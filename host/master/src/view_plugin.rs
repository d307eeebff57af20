//! The part of [`crate::view`] that shows plugins and policies.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use windlass_core::builder::OnError;
use windlass_core::digest::Digest;
use windlass_core::policy::HookKind;
use windlass_core::time::Timestamp;
use windlass_runtime::Meter;
use windlass_runtime::plugin::{self, Source};

/// A plugin: `windlass plugin list`, `windlass plugin inspect`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plugin {
    /// Its name: the stem of its file, or `windlass`.
    pub name: String,
    /// The bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// The file it came from; none: it is bundled with the program.
    pub file: Option<PathBuf>,
    /// Whether it belongs to the current generation; else running builds still hold it.
    pub current: bool,
    /// What it offers.
    pub hooks: Vec<Hook>,
    /// The capabilities that it asks for.
    pub capabilities: Vec<Capability>,
    /// What its calls cost on this master.
    pub usage: PluginUsage,
    /// Where the configuration uses it: `builder ci, step 1 (compile)`.
    pub used_by: Vec<String>,
    /// Running builds that keep exactly these bytes.
    pub builds_holding: Vec<u64>,
}

/// A hook of a plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hook {
    /// Its kind.
    pub kind: HookKind,
    /// Its name within the plugin.
    pub name: String,
    /// One line about it.
    pub summary: String,
    /// The JSON schema of its arguments; none: it takes any.
    pub schema: Option<serde_json::Value>,
}

/// A capability that a plugin asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// Its name.
    pub capability: String,
    /// What it is limited to.
    pub scope: Vec<String>,
    /// Why the plugin wants it.
    pub reason: String,
}

/// What the calls of a component cost, since the start of the master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginUsage {
    /// Calls.
    pub calls: u64,
    /// Microseconds of CPU.
    pub cpu_us: u64,
    /// Microseconds from start to end, summed.
    pub wall_us: u64,
    /// The most memory that one call had, in bytes.
    pub peak_memory: u64,
    /// Calls of host functions.
    pub host_calls: u64,
    /// Calls that trapped.
    pub traps: u64,
    /// Host calls that were denied for want of a capability.
    pub denials: u64,
    /// Decisions that the default rule took instead.
    pub fallbacks: u64,
}

/// What a component cost: `windlass plugin stats`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginStats {
    /// Its name: the stem of its file, or `windlass:name`.
    pub plugin: String,
    /// The bytes.
    pub digest: Digest,
    /// Whether it belongs to the current generation; else it was replaced, or running builds still hold it.
    pub current: bool,
    /// All its calls, those of its commands on the workers among them.
    pub total: PluginUsage,
    /// The same apart, by use. Uses by builders that are gone are in the total alone.
    pub uses: Vec<UseStats>,
}

/// What one use of a component cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseStats {
    /// Who used it: `builder ci: next-slave`, `builder ci, step 2 (compile)`, and, of a command that this
    /// step started, `builder ci, step 2 (compile): shell`.
    pub used_by: String,
    /// What that cost.
    pub usage: PluginUsage,
}

/// A configured use of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// Where it is used: `builder ci`, `master`.
    pub used_by: String,
    /// The kind of its hook.
    pub kind: HookKind,
    /// The qualified hook.
    pub hook: String,
    /// The component.
    pub digest: Option<Digest>,
    /// What one call may use.
    pub budget: PolicyBudget,
    /// What its failure does.
    pub on_error: OnError,
    /// How often it was asked.
    pub calls: u64,
    /// Calls with an answer that made sense.
    pub answers: u64,
    /// Calls that trapped, passed a limit, answered with an error, or made no sense.
    pub faults: u64,
    /// Decisions without its answer: those after a fault, and the skipped ones.
    pub fallbacks: u64,
    /// Decisions for which it was not asked, as it was suspended.
    pub skipped: u64,
    /// Until when it is not asked any more, after errors in a row. A reconfig lifts it.
    pub suspended_until: Option<Timestamp>,
    /// The last thing that went wrong in it: the plugin with its digest, the call, and what.
    pub last_fault: Option<String>,
    /// What happens in place of an answer that does not come.
    pub instead: String,
}

/// What one call of a policy may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyBudget {
    /// Milliseconds of CPU: the verdict on a policy that computes for too long.
    pub cpu_ms: u64,
    /// Milliseconds in all: the backstop for one that does not come back for whatever reason.
    pub wall_ms: u64,
    /// Bytes of memory.
    pub memory: u64,
}

/// What a reconfig does to the plugins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginChanges {
    /// New ones.
    pub added: Vec<PluginChange>,
    /// Those whose bytes differ.
    pub replaced: Vec<Replaced>,
    /// Those that are gone.
    pub removed: Vec<PluginChange>,
    /// Those that stay as they are.
    pub unchanged: Vec<String>,
}

/// A plugin that came or went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginChange {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub digest: Digest,
}

/// A plugin whose bytes were replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Its name.
    pub name: String,
    /// The old bytes.
    pub old: Digest,
    /// The new bytes.
    pub new: Digest,
}

impl PluginChanges {
    /// Whether all stay as they are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.replaced.is_empty() && self.removed.is_empty()
    }
}

impl Plugin {
    /// A loaded plugin, without what others know of it: its usage, its users.
    #[must_use]
    pub fn of(plugin: &plugin::Plugin) -> Plugin {
        let hook = |hook: &plugin::Hook| Hook {
            kind: hook.kind,
            name: hook.name.clone(),
            summary: hook.summary.clone(),
            schema: hook.args_schema.clone(),
        };
        let capability = |asked: &plugin::CapabilityRequest| Capability {
            capability: asked.capability.clone(),
            scope: asked.scope.clone(),
            reason: asked.reason.clone(),
        };
        Plugin {
            name: crate::plugins::full_name(plugin),
            digest: plugin.digest,
            size: plugin.bytes_len,
            file: match &plugin.source {
                Source::File(path) => Some(path.clone()),
                Source::Bundled | Source::Master => None,
            },
            current: true,
            hooks: plugin.hooks.iter().map(hook).collect(),
            capabilities: plugin.capabilities.iter().map(capability).collect(),
            usage: PluginUsage::default(),
            used_by: Vec::new(),
            builds_holding: Vec::new(),
        }
    }

    /// A plugin of an older generation that only running builds hold.
    #[must_use]
    pub(crate) fn old(
        name: &str,
        digest: Digest,
        size: u64,
        usage: PluginUsage,
        builds_holding: Vec<u64>,
    ) -> Plugin {
        Plugin {
            name: name.to_owned(),
            digest,
            size,
            file: None,
            current: false,
            hooks: Vec::new(),
            capabilities: Vec::new(),
            usage,
            used_by: Vec::new(),
            builds_holding,
        }
    }
}

impl From<&Meter> for PluginUsage {
    fn from(meter: &Meter) -> PluginUsage {
        PluginUsage {
            calls: meter.calls,
            cpu_us: meter.cpu_us,
            wall_us: meter.wall_us,
            peak_memory: meter.peak_memory,
            host_calls: meter.host_calls,
            traps: meter.traps,
            denials: meter.denials,
            fallbacks: meter.fallbacks,
        }
    }
}
