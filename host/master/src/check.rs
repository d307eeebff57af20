//! `windlass check`: what a start would read, read in the same way, with nothing changed.

use std::path::Path;

use bytes::Bytes;
use windlass_config::{Diagnostics, MasterText, config};
use windlass_core::capability;
use windlass_core::policy::HookKind;
use windlass_runtime::plugin::Source;
use windlass_runtime::registry::Generation;
use windlass_runtime::{Compiler, Options, Runtime, files};

use crate::include;
use crate::reading::{Faults, Good, Reading, Text};
use crate::start::{Folders, StartError, blocking};

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    /// How many builders the configuration has; 0 if anything is wrong.
    pub builders: usize,
    /// How many plugins there are; 0 if anything is wrong.
    pub plugins: usize,
    /// What is wrong with the configuration and its plugins.
    pub faults: Option<Faults>,
    /// What is allowed in the configuration, and probably not meant.
    pub warnings: Option<Diagnostics>,
    /// What commands and steps ask for, and what of it is granted. Empty if anything is wrong.
    pub grants: Vec<Grant>,
}

/// A capability that a command or a step asks for.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Grant {
    /// `plugin:hook`.
    pub hook: String,
    /// Which.
    pub capability: String,
    /// For what.
    pub asked: Vec<String>,
    /// What the configuration grants of this capability. None: nothing at all.
    pub granted: Option<Vec<String>>,
}

/// A plugin asks for all its hooks together: what is granted to some of them is nothing that others lack.
fn grants(generation: &Generation, config: &config::Master) -> Vec<Grant> {
    let mut grants = Vec::new();
    for plugin in generation.plugins() {
        for asked in &plugin.capabilities {
            let of_steps = capability::is_of_steps(&asked.capability);
            let kind = if of_steps { HookKind::BuildStep } else { HookKind::SlaveCommand };
            let hooks = plugin.hooks.iter().filter(|hook| hook.kind == kind);
            let hooks: Vec<String> =
                hooks.map(|hook| format!("{}:{}", plugin.qualifier(), hook.name)).collect();
            let of = |hook: &str| config.grants.get(hook)?.get(&asked.capability).cloned();
            // Bundled steps come in one component: most of them have no use for what some ask for.
            let is_granted = hooks.iter().any(|hook| of(hook).is_some());
            let is_shown = is_granted || (of_steps && plugin.source == Source::Bundled);
            let shown = hooks.iter().map(|hook| (hook, of(hook)));
            let shown = shown.filter(|(_, granted)| granted.is_some() || !is_shown);
            grants.extend(shown.map(|(hook, granted)| Grant {
                hook: hook.clone(),
                capability: asked.capability.clone(),
                asked: asked.scope.clone(),
                granted,
            }));
        }
    }
    grants.sort_by(|a, b| (&a.hook, &a.capability).cmp(&(&b.hook, &b.capability)));
    // Hooks of one component may ask for the same, each with a reason of its own.
    grants.dedup();
    grants
}

/// Checks a `master.toml` and the plugins beside it. Components are compiled into `cache`, a directory that only
/// its owner may enter, by `compiler`.
pub async fn check(config_path: &Path, cache: &Path, compiler: Compiler) -> Result<Checked, StartError> {
    let failed = |source| StartError::Read { path: config_path.to_owned(), source };
    let path = std::path::absolute(config_path).map_err(failed)?;
    let text = files::text(&path, files::MOST).map_err(failed)?;
    let shown = config_path.to_owned();
    let options = Options { compiler, ..Options::new(cache) };
    blocking(move || {
        // Where even the directories are unclear, the whole check below says what is wrong with them.
        let text = MasterText::parse(&shown, &text);
        let folder = text.peek(&include::variable).map(|fixed| Folders::of(&path, &fixed).plugins);
        let runtime = Runtime::new(options)?;
        let bundled: Vec<(String, Bytes)> = windlass_plugins::bundled()
            .iter()
            .map(|b| (b.name.to_owned(), Bytes::from_static(b.bytes)))
            .collect();
        let nowhere = path.join("none");
        let reading = Reading {
            runtime: &runtime,
            old: None,
            bundled: &bundled,
            folder: folder.as_deref().unwrap_or(&nowhere),
            path: &path,
            text: Text::Parsed(Box::new(text)),
            is_master: false,
            before: None,
        };
        let (read, warnings) = reading.read();
        Ok(match read {
            Ok(Good { read, generation, .. }) => Checked {
                builders: read.config.builders.len(),
                plugins: generation.plugins().count(),
                faults: None,
                warnings,
                grants: grants(&generation, &read.config),
            },
            Err(faults) => {
                Checked { builders: 0, plugins: 0, faults: Some(faults), warnings, grants: Vec::new() }
            }
        })
    })
    .await
}
