//! Tells a reporter of an event.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;
use windlass_core::policy::{Fault, FaultKind, HookKind, Usage};

use super::{Call, Called, Stop, within};
use crate::charge::{Budget, Counters};
use crate::port::ServicePort;
use crate::runtime::Inner;
use crate::state::{Role, State};

/// An event, as a reporter gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The same at each repetition.
    pub id: String,
    /// `build-finished`.
    pub kind: String,
    /// JSON text.
    pub event: String,
}

/// What came of telling a reporter.
#[derive(Debug)]
pub struct Reported {
    /// Whether it has the event, or why not. A guest's own `Err` is [`FaultKind::Failed`].
    pub result: Result<(), Fault>,
    /// What it cost.
    pub usage: Usage,
}

/// Tells a reporter, on a guest thread.
pub(crate) async fn report(
    inner: Arc<Inner>,
    counters: Arc<Counters>,
    mut called: Called,
    told: Told,
    port: Box<dyn ServicePort>,
) -> Reported {
    let limits = inner.limits;
    let call = Call::begin(inner, counters, called.guest(), HookKind::Reporter.function());
    let mut store = call.store(
        &[&called.hook, &called.args, &told.id],
        Role::Service(port),
        limits.service_memory,
        Budget::whole(limits.service_cpu_ms),
    );
    let wall = Duration::from_millis(limits.service_wall_ms);
    let result = within(wall, reported(&mut store, &called, &told)).await;
    let (result, usage) = call.end(result, store.data_mut());
    Reported { result, usage }
}

async fn reported(
    store: &mut Store<State>,
    Called { plugin, hook, args, .. }: &Called,
    told: &Told,
) -> Result<(), Stop> {
    let Some(indices) = &plugin.prepared.indices.reporter else {
        return Err(Stop::Kind(FaultKind::BadAnswer("it has no hook of kind reporter".to_owned())));
    };
    let instance = plugin.prepared.pre.instantiate_async(&mut *store).await?;
    let guest = indices.load(&mut *store, &instance)?;
    Ok(guest.call_report(store, hook, args, &told.id, &told.kind, &told.event).await??)
}
