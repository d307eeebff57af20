//! The plugins of a master: read, loaded, kept by digest, and what the configuration makes of them.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use windlass_config::{Catalog, Components, HookFacts, Known, config, uses};
use windlass_core::digest::Digest;
use windlass_core::persist::Persist;
use windlass_core::policy::HookKind;
use windlass_core::record::BuildRow;
pub(crate) use windlass_core::text::chain;
use windlass_runtime::plugin::{BUNDLED, Plugin, Source};
use windlass_runtime::registry::{self, Candidate, Generation};
use windlass_runtime::{Meter, Runtime};
use windlass_store::Cas;

use crate::view;

/// The hooks of a generation, as the configuration is checked against them.
pub(crate) struct Hooks<'a>(pub &'a Generation);

impl Catalog for Hooks<'_> {
    fn hook(&self, kind: HookKind, name: &str) -> Result<HookFacts, String> {
        let found = self.0.resolve(kind, name).map_err(|error| error.to_string())?;
        let hook = found.plugin.hook(kind, &found.hook).expect("a resolved hook is in its plugin");
        Ok(HookFacts {
            qualified: found.qualified(),
            schema: hook.args_schema.clone(),
            options: hook.options.clone(),
        })
    }
}

impl Components for Hooks<'_> {
    fn component(&self, kind: HookKind, hook: &str) -> Option<Digest> {
        self.0.resolve(kind, hook).ok().map(|found| found.plugin.digest)
    }
}

/// The hooks of a build's own generation, for steps that it adds.
pub(crate) struct Pinned<'a> {
    pub(crate) generation: &'a Generation,
    /// What the build looked up already.
    pub(crate) known: &'a Known,
}

impl Catalog for Pinned<'_> {
    fn hook(&self, kind: HookKind, name: &str) -> Result<HookFacts, String> {
        Hooks(self.generation).hook(kind, name)
    }

    fn known(&self) -> Known {
        self.known.clone()
    }
}

/// A file of the plugins folder that cannot be read or loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadPlugin {
    /// The plugin that it would be.
    pub name: String,
    /// What is wrong, with plugin, digest and reason.
    pub message: String,
}

/// What stands in a plugins folder, beside the bundled plugins.
pub(crate) struct Found {
    /// All that load.
    pub generation: Generation,
    /// Components that the old generation had not.
    pub bytes: Vec<Bytes>,
    /// The others. With any of them the generation is no more than what a configuration is checked against.
    pub bad: Vec<BadPlugin>,
}

/// Reads the plugins folder and loads what is new in it, beside the bundled plugins. Blocks: call it off the
/// async threads.
pub(crate) fn find(
    runtime: &Runtime,
    old: Option<&Generation>,
    bundled: &[(String, Bytes)],
    folder: &Path,
) -> Found {
    let bundled = bundled.iter().map(|(name, bytes)| Candidate {
        name: name.clone(),
        source: Source::Bundled,
        bytes: bytes.clone(),
    });
    let (files, unreadable) = match folder.is_dir() {
        true => registry::look_through(folder),
        // A folder that is not there has no plugins in it.
        false => Default::default(),
    };
    let files =
        files.into_iter().map(|(name, path, bytes)| Candidate { name, source: Source::File(path), bytes });
    let candidates: Vec<Candidate> = bundled.chain(files).collect();
    let new = |c: &&Candidate| old.is_none_or(|old| old.by_digest(&Digest::of(&c.bytes)).is_none());
    let bytes = candidates.iter().filter(new).map(|c| c.bytes.clone()).collect();
    let (generation, refused) = registry::load_all(runtime, old, candidates);
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let unreadable = unreadable.iter().map(|e| BadPlugin { name: stem(&e.path), message: chain(e) });
    let refused = refused.iter().map(|e| BadPlugin { name: e.plugin.clone(), message: chain(e) });
    Found { generation, bytes, bad: unreadable.chain(refused).collect() }
}

/// Keeps the bytes of plugins for as long as a build names them. Blocks.
pub(crate) fn keep(cas: &Cas, bytes: &[Bytes]) -> Result<(), windlass_store::CasError> {
    bytes.iter().try_for_each(|bytes| cas.put(bytes).map(drop))
}

/// A generation's number and what it consists of: durable, so that a number means one set of plugins
/// for ever.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Numbered {
    pub number: u64,
    pub plugins: BTreeMap<String, Digest>,
}

/// The effect that keeps a generation's number.
pub(crate) fn remember(generation: &Generation) -> Persist {
    let numbered = Numbered { number: generation.number, plugins: generation.digests() };
    Persist::PutState {
        owner: "master".to_owned(),
        key: "generation".to_owned(),
        value: Some(serde_json::to_vec(&numbered).expect("names and digests are JSON")),
    }
}

/// What differs between two generations.
pub(crate) fn changes(old: &Generation, new: &Generation) -> view::PluginChanges {
    let (before, after) = (old.digests(), new.digests());
    let mut changes = view::PluginChanges::default();
    for (name, digest) in &after {
        match before.get(name) {
            None => changes.added.push(view::PluginChange { name: name.clone(), digest: *digest }),
            Some(same) if same == digest => changes.unchanged.push(name.clone()),
            Some(old) => {
                changes.replaced.push(view::Replaced { name: name.clone(), old: *old, new: *digest });
            }
        }
    }
    let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
    changes.removed = gone.map(|(n, d)| view::PluginChange { name: n.clone(), digest: *d }).collect();
    changes
}

/// Builds that keep a plugin that the current generation has not.
pub(crate) fn holding(builds: &[BuildRow], now: &Generation) -> Vec<u64> {
    let current = now.digests();
    let old = |row: &&BuildRow| row.plugins.iter().any(|(name, digest)| current.get(name) != Some(digest));
    builds.iter().filter(old).map(|row| row.id.0).collect()
}

/// All plugins, for people: the current ones, then those that only running builds still hold. Of the
/// latter no more is known than their names and bytes.
pub(crate) fn view(
    now: &Generation,
    config: &config::Master,
    usage: &BTreeMap<Digest, Meter>,
    running: &[BuildRow],
    cas: &Cas,
) -> Vec<view::Plugin> {
    // By name, not by digest: two files may have the same bytes.
    let mut used: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for each in uses::all(config) {
        // The configuration was checked against these plugins: what does not resolve is not in use.
        if let Ok(found) = now.resolve(each.kind, &each.hook) {
            let place = format!("{} ({} {})", each.place, each.kind, found.hook);
            used.entry(full_name(&found.plugin)).or_default().push(place);
        }
    }
    let mut holders: BTreeMap<(String, Digest), Vec<u64>> = BTreeMap::new();
    for row in running {
        for (name, digest) in &row.plugins {
            holders.entry((name.clone(), *digest)).or_default().push(row.id.0);
        }
    }
    let mut all = Vec::new();
    for plugin in now.plugins() {
        let mut shown = view::Plugin::of(plugin);
        shown.usage = usage.get(&plugin.digest).map(view::PluginUsage::from).unwrap_or_default();
        shown.used_by = used.remove(&full_name(plugin)).unwrap_or_default();
        shown.builds_holding = holders.remove(&(full_name(plugin), plugin.digest)).unwrap_or_default();
        all.push(shown);
    }
    for ((name, digest), builds) in holders {
        let size = cas.get(&digest).ok().flatten().map_or(0, |bytes| bytes.len() as u64);
        let usage = usage.get(&digest).map(view::PluginUsage::from).unwrap_or_default();
        all.push(view::Plugin::old(&name, digest, size, usage, builds));
    }
    all
}

/// The name under which a build keeps a plugin; see [`Generation::digests`].
pub(crate) fn full_name(plugin: &Plugin) -> String {
    match plugin.source {
        Source::Bundled => format!("{BUNDLED}:{}", plugin.name),
        Source::File(_) | Source::Master => plugin.name.clone(),
    }
}
