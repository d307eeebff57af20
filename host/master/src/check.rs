//! `windlass check`: what a start would read, read in the same way, with nothing changed.

use std::path::Path;

use bytes::Bytes;
use windlass_config::{Diagnostics, config, peek_master};
use windlass_core::capability;
use windlass_core::policy::HookKind;
use windlass_runtime::registry::Generation;
use windlass_runtime::{Compiler, Options, Runtime};

use crate::plugins;
use crate::secrets::Surroundings;
use crate::start::{Folders, StartError, blocking};

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    /// How many builders the configuration has; 0 if it has errors.
    pub builders: usize,
    /// How many plugins could be loaded.
    pub plugins: usize,
    /// What is wrong with the configuration. With plugins that cannot be loaded, it may also complain about
    /// hooks that they would have offered.
    pub errors: Option<Diagnostics>,
    /// What is allowed in the configuration, and probably not meant.
    pub warnings: Option<Diagnostics>,
    /// What is wrong with plugins; one text for each.
    pub plugin_errors: Vec<String>,
    /// What commands ask for, and what of it is granted. Empty if the configuration has errors.
    pub grants: Vec<Grant>,
}

/// A capability that a command asks for.
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
    /// False: nothing does anything for it in this version.
    pub implemented: bool,
}

/// A plugin asks for all its hooks together: what is granted to some of them is nothing that others lack.
fn grants(generation: &Generation, config: &config::Master) -> Vec<Grant> {
    let mut grants = Vec::new();
    for plugin in generation.plugins() {
        let commands = plugin.hooks.iter().filter(|hook| hook.kind == HookKind::SlaveCommand);
        let commands: Vec<String> =
            commands.map(|hook| format!("{}:{}", plugin.qualifier(), hook.name)).collect();
        for asked in &plugin.capabilities {
            let of = |hook: &str| config.grants.get(hook)?.get(&asked.capability).cloned();
            let is_granted = commands.iter().any(|hook| of(hook).is_some());
            let shown = commands.iter().map(|hook| (hook, of(hook)));
            let shown = shown.filter(|(_, granted)| granted.is_some() || !is_granted);
            grants.extend(shown.map(|(hook, granted)| Grant {
                hook: hook.clone(),
                capability: asked.capability.clone(),
                asked: asked.scope.clone(),
                granted,
                implemented: capability::is_implemented(&asked.capability),
            }));
        }
    }
    grants.sort_by(|a, b| (&a.hook, &a.capability).cmp(&(&b.hook, &b.capability)));
    grants
}

/// Checks a `master.toml` and the plugins beside it. Components are compiled into `cache`, a directory that only
/// its owner may enter, by `compiler`.
pub async fn check(config_path: &Path, cache: &Path, compiler: Compiler) -> Result<Checked, StartError> {
    let failed = |source| StartError::Read { path: config_path.to_owned(), source };
    let path = std::path::absolute(config_path).map_err(failed)?;
    let text = std::fs::read_to_string(&path).map_err(failed)?;
    let options = Options { compiler, ..Options::new(cache) };
    blocking(move || {
        // Where even the directories are unclear, the whole check below says what is wrong with them.
        let folder = peek_master(&path, &text).map(|fixed| Folders::of(&path, &fixed).plugins);
        let runtime = Runtime::new(options)?;
        let bundled: Vec<(String, Bytes)> = windlass_plugins::bundled()
            .iter()
            .map(|b| (b.name.to_owned(), Bytes::from_static(b.bytes)))
            .collect();
        let load = |folder: &Path| plugins::prepare(&runtime, None, &bundled, folder);
        let nowhere = path.join("none");
        let (generation, plugin_errors) = match load(folder.as_deref().unwrap_or(&nowhere)) {
            Ok((generation, _)) => (generation, Vec::new()),
            // The configuration is still checked, against what can be loaded without the folder.
            Err(errors) => {
                (load(&nowhere).map_or_else(|_| Generation::new(0, Vec::new()), |(g, _)| g), errors)
            }
        };
        let directory = path.parent().unwrap_or(&path);
        let around = Surroundings { generation: &generation, directory, is_master: false };
        let checked = windlass_config::check_master(&path, &text, &around);
        let (builders, grants, errors) = match checked.config {
            Ok(config) => (config.builders.len(), grants(&generation, &config), None),
            Err(errors) => (0, Vec::new(), Some(errors)),
        };
        let plugins = generation.plugins().count();
        Ok(Checked { builders, plugins, errors, warnings: checked.warnings, plugin_errors, grants })
    })
    .await
}
