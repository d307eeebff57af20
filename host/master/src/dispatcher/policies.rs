//! Where policies are asked: a port, so that tests can script the answers as values.

use std::sync::Arc;

use async_trait::async_trait;
use windlass_core::digest::Digest;
use windlass_core::policy::{Fault, FaultKind, HookKind, Usage};
use windlass_core::record::Component;
use windlass_core::schedule::{Ask, Reply};
use windlass_runtime::Runtime;
use windlass_runtime::registry::Generation;

/// Finds and asks policies.
#[async_trait]
pub trait Policies: Send + Sync + 'static {
    /// What a configured hook stands for in a generation; `Err`: nothing, in words.
    fn find(&self, generation: &Generation, kind: HookKind, hook: &str) -> Result<Component, String>;
    /// Asks. However it goes wrong, there is a reply.
    async fn ask(&self, generation: Arc<Generation>, ask: Ask) -> Reply;
    /// Where [`Policies::ask`] is to run.
    fn threads(&self) -> tokio::runtime::Handle;
    /// A decision was made without this component's answer, in this use of it.
    fn fell_back(&self, digest: Digest, used: &str);
}

#[async_trait]
impl Policies for Runtime {
    fn find(&self, generation: &Generation, kind: HookKind, hook: &str) -> Result<Component, String> {
        let found = generation.resolve(kind, hook).map_err(|error| error.to_string())?;
        let digest = found.plugin.digest;
        Ok(Component { kind: kind.as_str().to_owned(), hook: found.qualified(), digest })
    }

    async fn ask(&self, generation: Arc<Generation>, ask: Ask) -> Reply {
        match generation.resolve(ask.question.kind(), &ask.policy.hook) {
            Ok(found) => {
                let args = &ask.policy.args;
                let reply =
                    Runtime::ask(self, &found.plugin, &found.hook, args, ask.question, ask.lookups).await;
                Reply { answer: reply.answer, lookups: reply.lookups, usage: reply.usage }
            }
            Err(error) => broken(&ask.component, error.to_string()),
        }
    }

    fn threads(&self) -> tokio::runtime::Handle {
        self.policy_threads().clone()
    }

    fn fell_back(&self, digest: Digest, used: &str) {
        self.count_fallback(digest, used);
    }
}

/// The reply of a call that never took place, or whose task died.
pub(super) fn broken(component: &Component, what: String) -> Reply {
    let plugin = component.hook.split(':').next().unwrap_or_default().to_owned();
    let kind = FaultKind::Trap(what);
    let fault = Fault { plugin, digest: component.digest, call: component.kind.clone(), kind };
    Reply { answer: Err(fault), lookups: Vec::new(), usage: Usage::default() }
}
