//! Asks recorded components the recorded questions again, and compares.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use windlass_core::decision::Decision;
use windlass_core::decision::replay::{Replay, Verified, compare, nothing_to_compare};
use windlass_core::digest::Digest;
use windlass_core::id::RequestId;
use windlass_core::policy::{FaultKind, RequestInfo};
use windlass_core::text::chain;
use windlass_runtime::plugin::{BUNDLED, Plugin, Source};
use windlass_runtime::registry::Generation;
use windlass_runtime::{Reply, Runtime};
use windlass_store::{ReadError, Store};

use crate::start::blocking;

/// So often a component is asked that does not answer in time.
const TRIES: usize = 3;

/// Who asks again. It keeps what it loaded for the next decision.
pub(crate) struct Verifier<'a> {
    runtime: &'a Runtime,
    store: &'a Store,
    generation: &'a Generation,
    loaded: BTreeMap<Digest, Result<Arc<Plugin>, String>>,
}

impl<'a> Verifier<'a> {
    /// Components of `generation` are loaded already; the bytes of others are in the store.
    pub(crate) fn new(runtime: &'a Runtime, store: &'a Store, generation: &'a Generation) -> Verifier<'a> {
        Verifier { runtime, store, generation, loaded: BTreeMap::new() }
    }

    /// Asks the component of a decision again. The call is metered as that of the policy's own use.
    pub(crate) async fn verify(&mut self, decision: &Decision) -> Verified {
        if let Some(why) = nothing_to_compare(decision) {
            return Verified::Nothing(why);
        }
        let plugin = match self.plugin(decision).await {
            Ok(plugin) => plugin,
            Err(why) => return Verified::Nothing(why),
        };
        let rows = match self.rows(decision) {
            Ok(rows) => rows,
            Err(error) => return Verified::Nothing(chain(&error)),
        };
        let Replay { question, lookups } = match Replay::of(decision, |id| rows.get(&id).cloned()) {
            Ok(replay) => replay,
            Err(lost) => return Verified::Nothing(lost.to_string()),
        };
        let hook = decision.policy.hook.split_once(':').map_or("", |(_, hook)| hook);
        let ask = || self.runtime.ask(&plugin, hook, &decision.args, question.clone(), lookups.clone());
        let mut reply = ask().await;
        for _ in 1..TRIES {
            if !is_late(&reply) {
                break;
            }
            reply = ask().await;
        }
        match &reply.answer {
            // What the machine does besides is not the component's fault.
            Err(fault) if is_late(&reply) => Verified::Nothing(format!("it was too slow this time: {fault}")),
            answer => compare(decision, answer.as_ref().map_err(ToString::to_string), &reply.lookups),
        }
    }

    /// The component with the recorded bytes.
    async fn plugin(&mut self, decision: &Decision) -> Result<Arc<Plugin>, String> {
        let digest = decision.policy.digest;
        if let Some(plugin) = self.generation.by_digest(&digest) {
            return Ok(Arc::clone(plugin));
        }
        match self.loaded.entry(digest) {
            Entry::Occupied(loaded) => loaded.get().clone(),
            Entry::Vacant(new) => {
                // A bundled one may be another version's.
                let (name, origin) = match decision.policy.hook.split_once(':') {
                    Some((BUNDLED, hook)) => (hook.to_owned(), Source::Bundled),
                    Some((plugin, _)) => (plugin.to_owned(), Source::File("the store".into())),
                    None => return Err(format!("`{}` names no plugin", decision.policy.hook)),
                };
                let (runtime, cas) = (self.runtime.clone(), self.store.cas().clone());
                let load = move || match cas.get(&digest) {
                    Ok(Some(bytes)) => runtime.load(&name, origin, bytes).map_err(|error| chain(&error)),
                    Ok(None) => Err(format!("the component with digest {} is gone", digest.short())),
                    Err(error) => Err(chain(&error)),
                };
                new.insert(blocking(load).await).clone()
            }
        }
    }

    /// What never changes of the requests that the decision saw.
    fn rows(&self, decision: &Decision) -> Result<BTreeMap<RequestId, RequestInfo>, ReadError> {
        let ids: Vec<RequestId> = decision.requests.iter().map(|seen| seen.id).collect();
        let mut buildsets = BTreeMap::new();
        let mut rows = BTreeMap::new();
        for request in self.store.requests(&ids)? {
            let buildset = match buildsets.entry(request.buildset) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(self.store.buildset(request.buildset)?),
            };
            if let Some(buildset) = buildset {
                rows.insert(request.id, RequestInfo::of(&request, buildset));
            }
        }
        Ok(rows)
    }
}

/// Whether there was too little time for an answer.
fn is_late(reply: &Reply) -> bool {
    let kind = reply.answer.as_ref().err().map(|fault| &fault.kind);
    matches!(kind, Some(FaultKind::Cpu(_) | FaultKind::Wall(_)))
}
