//! The board's rules, taken from the configuration and the plugins.

use std::sync::Arc;

use windlass_core::schedule::{Board, Rules, WorkerRule};

use super::policies::Policies;
use crate::world::World;

/// What the board goes by in this world. A hook that nothing offers is left out: its uses fall back.
pub(super) fn rules(world: &World, policies: &dyn Policies) -> Rules {
    let config = &world.config;
    let worker = |w: &windlass_config::config::Worker| WorkerRule {
        name: w.name.clone(),
        max_builds: w.max_builds,
        properties: w.properties.clone(),
        locks: w.locks.clone(),
    };
    let mut rules = Rules {
        builders: config.builders.iter().map(|b| (b.name.clone(), Arc::new(b.clone()))).collect(),
        workers: config.workers.iter().map(worker).collect(),
        prioritize_builders: config.prioritize_builders.clone(),
        properties: config.properties.clone(),
        locks: config.locks.clone(),
        ..Rules::default()
    };
    for (kind, hook) in Board::uses(&rules) {
        match policies.find(&world.generation, kind, &hook) {
            Ok(component) => {
                rules.components.insert((kind, hook), component);
            }
            Err(error) => tracing::error!(%kind, hook, error, "a configured policy is in no plugin"),
        }
    }
    rules
}
