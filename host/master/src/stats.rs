//! What plugins cost, by their bytes and by their uses, and how long that is remembered.
//!
//! Figures are since the start of the master. A component that was replaced keeps its figures until the
//! reconfig after the one that replaced it, and for as long as a running build holds it: so its successor can be
//! compared with it. The same goes for the uses of a builder that is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use windlass_config::config;
use windlass_core::digest::Digest;
use windlass_core::record::BuildRow;
use windlass_runtime::Runtime;
use windlass_runtime::registry::Generation;

use crate::view;
use crate::world::World;

/// The names of the components that are remembered, beside their bytes. Files of other names may have the same.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<Named>);

type Named = BTreeSet<(Digest, String)>;

impl Names {
    /// A reconfig took effect: forgets what is in neither of these worlds and no running build.
    pub fn reconfigured(&self, old: &World, new: &World, running: &[BuildRow], runtime: &Runtime) {
        let mut names: Named = of_builds(running).collect();
        names.extend(of_generation(&old.generation));
        names.extend(of_generation(&new.generation));
        let digests: BTreeSet<Digest> = names.iter().map(|(digest, _)| *digest).collect();
        runtime.forget_usage(
            |digest| digests.contains(digest),
            |used| is_used(used, &old.config, running) || is_used(used, &new.config, running),
        );
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// What each component cost: those of the current generation, then the others, by name.
    pub fn stats(&self, now: &Generation, running: &[BuildRow], runtime: &Runtime) -> Vec<view::PluginStats> {
        let current: Named = of_generation(now).collect();
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        names.extend(of_builds(running));
        names.extend(current.clone());
        let (totals, mut uses) = (runtime.usage(), BTreeMap::<Digest, Vec<view::UseStats>>::new());
        for ((digest, used_by), meter) in runtime.usage_by_use() {
            uses.entry(digest).or_default().push(view::UseStats { used_by, usage: (&meter).into() });
        }
        // A component without a name was refused when it was loaded.
        let mut all: Vec<view::PluginStats> = names
            .into_iter()
            .map(|named| view::PluginStats {
                current: current.contains(&named),
                total: totals.get(&named.0).map(view::PluginUsage::from).unwrap_or_default(),
                uses: uses.get(&named.0).cloned().unwrap_or_default(),
                digest: named.0,
                plugin: named.1,
            })
            .collect();
        all.sort_by(|a, b| (!a.current, &a.plugin, a.digest).cmp(&(!b.current, &b.plugin, b.digest)));
        all
    }
}

fn of_generation(generation: &Generation) -> impl Iterator<Item = (Digest, String)> {
    generation.digests().into_iter().map(|(name, digest)| (digest, name))
}

fn of_builds(running: &[BuildRow]) -> impl Iterator<Item = (Digest, String)> {
    running.iter().flat_map(|row| &row.plugins).map(|(name, digest)| (*digest, name.clone()))
}

/// Whether somebody may still use a component in this way. Meters name a use `builder ci: next-slave`,
/// `builder ci, step 2 (compile)`, `master: prioritize-builders`, `reporter chat`, `loading`.
fn is_used(used: &str, config: &config::Master, running: &[BuildRow]) -> bool {
    if let Some(reporter) = used.strip_prefix("reporter ") {
        return config.reporters.iter().any(|configured| configured.name == reporter);
    }
    let Some(of_builder) = used.strip_prefix("builder ") else { return true };
    let configured = config.builders.iter().map(|builder| &builder.name);
    configured
        .chain(running.iter().map(|row| &row.builder))
        .any(|name| of_builder.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with([':', ','])))
}
