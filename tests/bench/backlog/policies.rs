//! A policy of every kind in Rust, `tests/guests/wayward`, which takes the first of what it is offered; and the
//! runtime that asks it, as the master's dispatcher does.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use windlass_core::builder::{Builder, Merge, OnError, PolicyUse};
use windlass_core::digest::Digest;
use windlass_core::policy::HookKind;
use windlass_core::record::Component;
use windlass_core::schedule::{Ask, Reply, Rules};
use windlass_runtime::plugin::Source;
use windlass_runtime::registry::Generation;
use windlass_runtime::{Options, Runtime};
use windlass_tests::fixtures::component;

use super::Failed;

const HOOK: &str = "wayward:wayward";

pub struct Policies {
    runtime: Runtime,
    generation: Arc<Generation>,
    _cache: tempfile::TempDir,
}

impl Policies {
    pub fn load() -> Result<Policies, Failed> {
        let cache = tempfile::tempdir()?;
        let runtime = Runtime::new(Options::new(cache.path().join("cache")))?;
        let plugin = runtime.load("wayward", Source::Master, Bytes::from(component("wayward")))?;
        Ok(Policies { runtime, generation: Arc::new(Generation::new(1, vec![plugin])), _cache: cache })
    }

    /// Has these builders, or the master, ask a policy of this kind.
    pub fn put_into(&self, rules: &mut Rules, kind: HookKind, is_asked: impl Fn(&str) -> bool) {
        let policy = PolicyUse { hook: HOOK.to_owned(), args: "{}".to_owned(), on_error: OnError::Default };
        let digest = self.generation.plugins().next().map_or(Digest::of(b""), |plugin| plugin.digest);
        let component = Component { kind: kind.as_str().to_owned(), hook: HOOK.to_owned(), digest };
        rules.components.insert((kind, HOOK.to_owned()), component);
        if kind == HookKind::PrioritizeBuilders {
            rules.prioritize_builders = Some(policy);
            return;
        }
        for builder in rules.builders.values_mut().filter(|builder| is_asked(&builder.name)) {
            use_policy(Arc::make_mut(builder), kind, policy.clone());
        }
    }

    pub fn digests(&self) -> BTreeMap<String, Digest> {
        self.generation.digests()
    }

    pub fn threads(&self) -> tokio::runtime::Handle {
        self.runtime.policy_threads().clone()
    }

    pub fn ask(&self, ask: Ask) -> impl Future<Output = Reply> + Send + 'static {
        let (runtime, generation) = (self.runtime.clone(), Arc::clone(&self.generation));
        async move {
            let found = generation.resolve(ask.question.kind(), &ask.policy.hook).expect("it has all kinds");
            let reply = runtime.ask(&found.plugin, &found.hook, &ask.policy.args, ask.question, ask.lookups);
            let reply = reply.await;
            Reply { answer: reply.answer, lookups: reply.lookups, usage: reply.usage }
        }
    }
}

fn use_policy(builder: &mut Builder, kind: HookKind, policy: PolicyUse) {
    match kind {
        HookKind::NextSlave => builder.next_slave = Some(policy),
        HookKind::NextBuild => builder.next_build = Some(policy),
        HookKind::CanStartBuild => builder.can_start_build = Some(policy),
        HookKind::MergeRequests => builder.merge_requests = Merge::Policy(policy),
        other => panic!("{other:?} is no policy of a builder"),
    }
}
