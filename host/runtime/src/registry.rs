//! Generations of plugins: an immutable set behind an atomic swap, and how the next one is made.

mod revive;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use windlass_core::digest::Digest;
use windlass_core::policy::HookKind;

pub use self::revive::{ReviveError, revive};
use crate::load::{LoadError, Problem};
use crate::options::MAX_COMPONENT;
use crate::plugin::{BUNDLED, Plugin, Source};
use crate::runtime::Runtime;

/// An immutable set of plugins. A build keeps the one it began with.
#[derive(Debug)]
pub struct Generation {
    /// Counts up with each swap.
    pub number: u64,
    plugins: BTreeMap<String, Arc<Plugin>>,
}

/// A hook that a name stands for.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// The hook's name within the plugin.
    pub hook: String,
}

impl Resolved {
    /// `plugin:hook`.
    #[must_use]
    pub fn qualified(&self) -> String {
        format!("{}:{}", self.plugin.qualifier(), self.hook)
    }
}

/// Why a name stands for no hook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Nothing offers it.
    #[error("no plugin offers a {kind} called `{name}`{}", did_you_mean(.near, .other))]
    Unknown {
        /// The kind asked for.
        kind: HookKind,
        /// The name asked for.
        name: String,
        /// Qualified names that look like it.
        near: Vec<String>,
        /// The kind of a hook that is called so.
        other: Option<HookKind>,
    },
    /// The plugin exists and has no such hook.
    #[error("plugin `{plugin}` has no {kind} called `{name}`{}", did_you_mean(.near, .other))]
    NotInPlugin {
        /// The plugin.
        plugin: String,
        /// The kind asked for.
        kind: HookKind,
        /// The name asked for.
        name: String,
        /// Qualified names that look like it.
        near: Vec<String>,
        /// The kind of a hook of it that is called so.
        other: Option<HookKind>,
    },
    /// No plugin has that name.
    #[error("there is no plugin `{plugin}`{}", did_you_mean(.near, &None))]
    NoPlugin {
        /// The name asked for.
        plugin: String,
        /// Names of plugins that look like it.
        near: Vec<String>,
    },
    /// Several do.
    #[error("more than one plugin offers a {kind} called `{name}`: say which, {}", one_of(.candidates))]
    Ambiguous {
        /// The kind asked for.
        kind: HookKind,
        /// The name asked for.
        name: String,
        /// The qualified names.
        candidates: Vec<String>,
    },
}

fn did_you_mean(near: &[String], other: &Option<HookKind>) -> String {
    match (near, other) {
        ([], None) => String::new(),
        ([], Some(kind)) => format!("; what is called so is a {kind}"),
        (near, _) => format!("; did you mean {}?", one_of(near)),
    }
}

fn one_of(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}

impl Generation {
    /// A generation of these plugins. Of two with one name the later stays; [`prepare`] refuses such.
    #[must_use]
    pub fn new(number: u64, plugins: Vec<Arc<Plugin>>) -> Generation {
        let plugins = plugins.into_iter().map(|plugin| (key(&plugin.source, &plugin.name), plugin)).collect();
        Generation { number, plugins }
    }

    /// All of them, the bundled ones first, each group sorted by name.
    pub fn plugins(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.plugins.values()
    }

    /// The plugin with these bytes.
    #[must_use]
    pub fn by_digest(&self, digest: &Digest) -> Option<&Arc<Plugin>> {
        self.plugins.values().find(|plugin| plugin.digest == *digest)
    }

    /// Plugin name to digest, as a build keeps it. A bundled one is `windlass:<name>`.
    #[must_use]
    pub fn digests(&self) -> BTreeMap<String, Digest> {
        let name = |plugin: &Plugin| match plugin.source {
            Source::Bundled => format!("{BUNDLED}:{}", plugin.name),
            Source::File(_) | Source::Master => plugin.name.clone(),
        };
        self.plugins.values().map(|plugin| (name(plugin), plugin.digest)).collect()
    }

    /// The hook that `name` stands for.
    ///
    /// - `plugin:hook` is that hook of that plugin; all bundled plugins go by the one name `windlass`.
    /// - A bare `hook` is the bundled hook of that kind, if there is one, whatever files offer it too:
    ///   nothing that somebody drops into the folder replaces a bundled hook, only a configuration
    ///   that names it (`mine:shell`) does.
    /// - Otherwise it is the one hook of that name among the files; if several offer it, the error
    ///   lists them.
    pub fn resolve(&self, kind: HookKind, name: &str) -> Result<Resolved, ResolveError> {
        let (qualifier, hook) = match name.split_once(':') {
            Some((qualifier, hook)) => (Some(qualifier), hook),
            None => (None, name),
        };
        let offers: Vec<&Arc<Plugin>> = self
            .plugins
            .values()
            .filter(|plugin| qualifier.is_none_or(|qualifier| plugin.qualifier() == qualifier))
            .filter(|plugin| plugin.hook(kind, hook).is_some())
            .collect();
        let bundled = offers.iter().find(|plugin| plugin.source == Source::Bundled);
        match (bundled, offers.as_slice()) {
            (Some(plugin), _) | (None, [plugin]) => {
                Ok(Resolved { plugin: Arc::clone(plugin), hook: hook.to_owned() })
            }
            (None, []) => Err(self.not_found(kind, qualifier, hook)),
            (None, several) => Err(ResolveError::Ambiguous {
                kind,
                name: hook.to_owned(),
                candidates: several.iter().map(|plugin| format!("{}:{hook}", plugin.qualifier())).collect(),
            }),
        }
    }

    fn not_found(&self, kind: HookKind, qualifier: Option<&str>, hook: &str) -> ResolveError {
        let Some(qualifier) = qualifier else {
            let (near, other) = (self.near(kind, None, hook), self.other(None, hook));
            return ResolveError::Unknown { kind, name: hook.to_owned(), near, other };
        };
        if self.plugins.values().any(|plugin| plugin.qualifier() == qualifier) {
            let (near, other) = (self.near(kind, Some(qualifier), hook), self.other(Some(qualifier), hook));
            let (plugin, name) = (qualifier.to_owned(), hook.to_owned());
            return ResolveError::NotInPlugin { plugin, kind, name, near, other };
        }
        let mut near: Vec<String> = self
            .plugins
            .values()
            .map(|plugin| plugin.qualifier().to_owned())
            .filter(|name| looks_like(name, qualifier))
            .collect();
        near.dedup();
        ResolveError::NoPlugin { plugin: qualifier.to_owned(), near }
    }

    /// The kind of the first hook with this name, whatever it is.
    fn other(&self, qualifier: Option<&str>, hook: &str) -> Option<HookKind> {
        let mut plugins =
            self.plugins.values().filter(|p| qualifier.is_none_or(|qualifier| p.qualifier() == qualifier));
        plugins
            .find_map(|plugin| plugin.hooks.iter().find(|found| found.name == hook))
            .map(|found| found.kind)
    }

    /// Names as a configuration would write them, at most three.
    fn near(&self, kind: HookKind, qualifier: Option<&str>, hook: &str) -> Vec<String> {
        let mut near: Vec<(usize, String)> = Vec::new();
        for plugin in self.plugins.values() {
            if qualifier.is_some_and(|qualifier| plugin.qualifier() != qualifier) {
                continue;
            }
            for candidate in plugin.hooks.iter().filter(|candidate| candidate.kind == kind) {
                if looks_like(&candidate.name, hook) {
                    let distance = strsim::damerau_levenshtein(&candidate.name, hook);
                    near.push((distance, format!("{}:{}", plugin.qualifier(), candidate.name)));
                }
            }
        }
        near.sort();
        near.truncate(3);
        near.into_iter().map(|(_, name)| name).collect()
    }
}

fn looks_like(candidate: &str, given: &str) -> bool {
    strsim::damerau_levenshtein(candidate, given) <= 1 + given.len() / 4
        || (given.len() >= 3 && (candidate.contains(given) || given.contains(candidate)))
}

/// Bundled plugins and files are apart: a file called like a bundled component replaces nothing.
fn key(source: &Source, name: &str) -> String {
    match source {
        Source::Bundled => format!("{BUNDLED}:{name}"),
        Source::File(_) | Source::Master => format!("~{name}"),
    }
}

/// The current generation. Readers never wait.
#[derive(Debug)]
pub struct Registry(ArcSwap<Generation>);

impl Registry {
    /// A registry that begins with `generation`.
    #[must_use]
    pub fn new(generation: Generation) -> Registry {
        Registry(ArcSwap::from_pointee(generation))
    }

    /// The generation of this moment.
    #[must_use]
    pub fn current(&self) -> Arc<Generation> {
        self.0.load_full()
    }

    /// Puts `next` in its place; returns the one before.
    pub fn swap(&self, next: Arc<Generation>) -> Arc<Generation> {
        self.0.swap(next)
    }
}

/// A file or folder that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read `{path}`", path = path.display())]
pub struct ScanError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub cause: std::io::Error,
}

/// The `*.wasm` files of a plugins folder, sorted by stem, each with its bytes; or the errors of all that
/// cannot be read. Files whose names begin with a dot are passed over: they are being written.
pub fn scan(folder: &Path) -> Result<Vec<(String, PathBuf, Bytes)>, Vec<ScanError>> {
    let (found, errors) = look_through(folder);
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// As [`scan`]; those that can be read, and the errors of the others.
#[must_use]
pub fn look_through(folder: &Path) -> (Vec<(String, PathBuf, Bytes)>, Vec<ScanError>) {
    let failed = |path: &Path, cause| ScanError { path: path.to_owned(), cause };
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) => return (found, vec![failed(folder, cause)]),
    };
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(cause) => {
                errors.push(failed(folder, cause));
                continue;
            }
        };
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(stem) = name.strip_suffix(".wasm").filter(|stem| !stem.is_empty() && !stem.starts_with('.'))
        else {
            continue;
        };
        match read(&path) {
            Ok(bytes) => found.push((stem.to_owned(), path, Bytes::from(bytes))),
            Err(cause) => errors.push(failed(&path, cause)),
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    (found, errors)
}

/// A pipe would never end, and a huge file would fill the memory before anybody looks at its size.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let found = std::fs::metadata(path)?;
    if !found.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    if found.len() > MAX_COMPONENT {
        let message = format!("it has {} bytes, and at most {MAX_COMPONENT} are taken", found.len());
        return Err(std::io::Error::other(message));
    }
    std::fs::read(path)
}

/// A component that is to be part of the next generation.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The stem of its file.
    pub name: String,
    /// Where its bytes came from.
    pub source: Source,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Builds the next generation. A candidate whose bytes, name and source `old` has already is taken
/// over as it is. All errors are collected; with any, there is no generation. Blocks: call it off the
/// async threads.
pub fn prepare(
    runtime: &Runtime,
    old: Option<&Generation>,
    candidates: Vec<Candidate>,
) -> Result<Generation, Vec<LoadError>> {
    let (generation, errors) = load_all(runtime, old, candidates);
    if errors.is_empty() { Ok(generation) } else { Err(errors) }
}

/// As [`prepare`]; a generation of those that load, and the errors of the others. With any error it is good for
/// one thing alone: to see what else is wrong.
pub fn load_all(
    runtime: &Runtime,
    old: Option<&Generation>,
    candidates: Vec<Candidate>,
) -> (Generation, Vec<LoadError>) {
    let (mut plugins, mut errors) = (BTreeMap::new(), Vec::new());
    for Candidate { name, source, bytes } in candidates {
        let (key, digest) = (key(&source, &name), Digest::of(&bytes));
        let same = old.and_then(|old| old.plugins.get(&key)).filter(|plugin| plugin.source == source);
        let loaded = match same {
            Some(plugin) if plugin.digest == digest => Ok(Arc::clone(plugin)),
            _ => runtime.load(&name, source.clone(), bytes),
        };
        match loaded {
            Ok(plugin) => {
                if plugins.insert(key, plugin).is_some() {
                    let problem = Box::new(Problem::SameName);
                    errors.push(LoadError { plugin: name, digest, origin: source, problem });
                }
            }
            Err(error) => errors.push(error),
        }
    }
    (Generation { number: old.map_or(1, |old| old.number + 1), plugins }, errors)
}
