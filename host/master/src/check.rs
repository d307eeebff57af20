//! `windlass check`: what a start would read, read in the same way, with nothing changed.

use std::path::Path;

use bytes::Bytes;
use windlass_config::{Diagnostics, peek_master};
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
        let (builders, errors) = match checked.config {
            Ok(config) => (config.builders.len(), None),
            Err(errors) => (0, Some(errors)),
        };
        let plugins = generation.plugins().count();
        Ok(Checked { builders, plugins, errors, warnings: checked.warnings, plugin_errors })
    })
    .await
}
