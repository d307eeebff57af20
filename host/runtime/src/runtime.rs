//! The engine with its threads, cache and meters, as one handle.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use windlass_core::digest::Digest;
use windlass_core::policy::{Lookups, Question};

use crate::call::{CommandEnd, Reply, StepEnd};
use crate::engine::EngineError;
use crate::load::LoadError;
use crate::meter::Meter;
use crate::options::Options;
use crate::plugin::{Plugin, Source};
use crate::port::{CommandPort, StepPort};

/// Runs components. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Options>,
}

#[allow(unused_variables, clippy::missing_panics_doc)]
impl Runtime {
    /// Starts the engine and the threads of the guests.
    pub fn new(options: Options) -> Result<Runtime, EngineError> {
        unimplemented!("landing soon")
    }
    /// Loads a component.
    pub fn load(&self, name: &str, origin: Source, bytes: Bytes) -> Result<Arc<Plugin>, LoadError> {
        unimplemented!("landing soon")
    }
    /// Asks a policy.
    pub async fn ask(
        &self,
        plugin: &Arc<Plugin>,
        hook: &str,
        args: &str,
        question: Question,
        lookups: Lookups,
    ) -> Reply {
        unimplemented!("landing soon")
    }
    /// Runs a step.
    pub async fn run_step(
        &self,
        plugin: &Arc<Plugin>,
        hook: &str,
        args: &str,
        port: Box<dyn StepPort>,
    ) -> StepEnd {
        unimplemented!("landing soon")
    }
    /// Runs a command.
    pub async fn run_command(
        &self,
        plugin: &Arc<Plugin>,
        hook: &str,
        args: &str,
        port: Box<dyn CommandPort>,
    ) -> CommandEnd {
        unimplemented!("landing soon")
    }
    /// What each component cost, by digest.
    pub fn usage(&self) -> BTreeMap<Digest, Meter> {
        unimplemented!("landing soon")
    }
    /// Counts a decision that was taken without the component's answer.
    pub fn count_fallback(&self, digest: Digest) {
        unimplemented!("landing soon")
    }
}
