//! Asks a configurator for a part of the configuration. As pure as a policy; nobody waits for it but whoever reads the
//! configuration, so that it has more time: an interpreter may start and make a large text.

use std::sync::Arc;

use wasmtime::Store;
use windlass_core::policy::{Fault, FaultKind, HookKind};

use super::{Call, Called, PURE_WALL, Stop, host_gone, within};
use crate::charge::{Budget, Counters};
use crate::runtime::Inner;
use crate::state::{Decision, Role, State};

/// The most bytes of an answer: some ten thousand builders. It is less than what any answer may have.
const MOST: usize = 4 << 20;

/// Asks a configurator. Blocks until a guest thread has done it.
pub(crate) fn configure(inner: &Arc<Inner>, mut called: Called) -> Result<String, Box<Fault>> {
    let counters = Arc::new(Counters::default());
    let function = HookKind::Configurator.function();
    let call = Call::begin(Arc::clone(inner), Arc::clone(&counters), called.guest(), function);
    let plugin = Arc::clone(&called.plugin);
    let (answer, answered) = std::sync::mpsc::sync_channel(1);
    let running = inner.guests.run(counters, async move {
        // The receiver waits below; it is gone only with this whole process.
        drop(answer.send(asked(call, &called).await));
    });
    let text = answered.recv();
    drop(running);
    text.unwrap_or_else(|_| Err(Box::new(host_gone(&plugin, function))))
}

async fn asked(call: Call, called: &Called) -> Result<String, Box<Fault>> {
    let limits = call.inner.limits;
    let role = Role::Policy(Decision::default());
    let budget = Budget::whole(limits.configurator_cpu_ms);
    let mut store = call.store(&[&called.hook, &called.args], role, limits.policy_memory, budget);
    let text = within(PURE_WALL, configured(&mut store, called)).await;
    call.end(text, store.data_mut()).0.map_err(Box::new)
}

async fn configured(
    store: &mut Store<State>,
    Called { plugin, hook, args, .. }: &Called,
) -> Result<String, Stop> {
    let Some(indices) = &plugin.prepared.indices.configurator else {
        return Err(Stop::Kind(FaultKind::BadAnswer("it has no hook of kind configurator".to_owned())));
    };
    let instance = plugin.prepared.pre.instantiate_async(&mut *store).await?;
    let guest = indices.load(&mut *store, &instance)?;
    let text = guest.call_configure(store, hook, args).await??;
    match text.len() {
        bytes if bytes > MOST => {
            let why = format!("a text of {bytes} bytes; at most {MOST} are taken");
            Err(Stop::Kind(FaultKind::BadAnswer(why)))
        }
        _ => Ok(text),
    }
}
