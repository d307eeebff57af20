//! Asks a renderer: a value of a step's arguments, or a condition. As pure as a policy, and as bounded.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;
use windlass_core::policy::{Fault, FaultKind, HookKind, Lookups, Usage};
use windlass_core::value::{Pair, Value};

use super::{Call, Called, Stop, within};
use crate::bounds;
use crate::charge::{Budget, Counters};
use crate::convert::list;
use crate::runtime::Inner;
use crate::state::{Decision, Role, State};

/// What came of asking a renderer.
#[derive(Debug)]
pub struct Computed {
    /// Its answer, or why there is none.
    pub value: Result<Value, Fault>,
    /// What it cost.
    pub usage: Usage,
}

/// Asks a renderer, on a guest thread.
pub(crate) async fn render(
    inner: Arc<Inner>,
    counters: Arc<Counters>,
    mut called: Called,
    properties: Vec<Pair>,
    lookups: Lookups,
) -> Computed {
    let limits = inner.limits;
    let call = Call::begin(inner, counters, called.guest(), HookKind::Renderer.function());
    let mut store = call.store(
        &[&called.hook, &called.args],
        Role::Policy(Decision { lookups, ..Decision::default() }),
        limits.policy_memory,
        Budget::whole(limits.policy_cpu_ms),
    );
    let wall = Duration::from_millis(limits.policy_wall_ms);
    let value = within(wall, computed(&mut store, &called, properties)).await;
    let (value, usage) = call.end(value, store.data_mut());
    Computed { value, usage }
}

async fn computed(
    store: &mut Store<State>,
    Called { plugin, hook, args, .. }: &Called,
    properties: Vec<Pair>,
) -> Result<Value, Stop> {
    let Some(indices) = &plugin.prepared.indices.renderer else {
        return Err(Stop::Kind(FaultKind::BadAnswer("it has no hook of kind renderer".to_owned())));
    };
    let instance = plugin.prepared.pre.instantiate_async(&mut *store).await?;
    let guest = indices.load(&mut *store, &instance)?;
    let value = Value::from(guest.call_render(store, hook, args, &list(properties)).await??);
    match bounds::value("the answer", &value) {
        Ok(()) => Ok(value),
        Err(failure) => Err(Stop::Kind(FaultKind::BadAnswer(failure.message))),
    }
}
