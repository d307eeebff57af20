//! One command, from the call of its component to the end of all that it started.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use windlass_core::policy::{Fault, FaultKind, HookKind, Usage};
use windlass_core::value::{Failure, Origin};
use windlass_protocol::message::{CommandUid, Start};
use windlass_runtime::plugin::Plugin;
use windlass_runtime::{Gauge, Runtime};

use super::Ended;
use crate::port::{Context, Durable, GRACE, Port, Story};

/// How long a guest may go on after an interrupt, once its children were killed: those that lived at that moment.
const INTERRUPTED: Duration = Duration::from_secs(5);

/// What a guest has left to answer once its command is over.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long the end of a command waits for its children and for its operations on files: both were
/// stopped, and only the kernel can hold them longer.
const STOPPED: Duration = Duration::from_secs(30);

/// One command, to its end. Children that it left end with it.
pub(super) async fn run(
    runtime: Runtime,
    plugin: Arc<Plugin>,
    start: Start,
    context: Arc<Context>,
    story: Story,
) -> Ended {
    let port = Durable::new(Port::new(Arc::clone(&context)), story);
    let over_time = {
        let (mut interrupt, living) = (context.interrupt.clone(), Arc::clone(&context.living));
        let broken = context.over.clone();
        async move {
            let interrupted = async {
                let interrupted = interrupt.wait_for(Option::is_some).await.is_ok();
                if interrupted {
                    // Each as its ladder says, and no sooner than a guest may expect that has a child without one.
                    tokio::time::sleep(living.stopping().max(GRACE) + INTERRUPTED).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = interrupted => {}
                () = broken.cancelled() => {}
            }
        }
    };
    context.machine.orphans.begin(&start.command.0);
    // However this ends, by being dropped too, its children end.
    let over = context.over.clone().drop_guard();
    let ended = {
        let used = format!("{}:{}", start.plugin, start.hook);
        let gauge = Gauge::default();
        let running = runtime.run_command(&plugin, &start.hook, &start.args, &used, Box::new(port), &gauge);
        tokio::pin!(running);
        let end = tokio::select! {
            end = &mut running => Some(end),
            () = over_time => {
                context.over.cancel();
                tokio::time::timeout(LAST_WORDS, &mut running).await.ok()
            }
        };
        match end {
            Some(end) => (end.result.map_err(|fault| failure_of(fault, &start)), Some(end.usage)),
            None => {
                let (digest, call) = (start.digest.short(), HookKind::SlaveCommand.function());
                let message = format!(
                    "the command `{used}` ({digest}) broke off in `{call}`: it was interrupted and did not end"
                );
                let usage = Usage { trapped: true, ..gauge.usage() };
                (Err(Failure::new("interrupted", message)), Some(usage))
            }
        }
    };
    drop(over);
    // What they wrote is in the spool before the end is.
    context.children.close();
    if tokio::time::timeout(STOPPED, context.children.wait()).await.is_err() {
        tracing::warn!(command = start.command.0, "a child or an operation on files does not end");
    }
    end_orphans(&context, &start.command).await;
    let (how, usage) = ended;
    let broken = context.broken.lock().unwrap_or_else(PoisonError::into_inner).take();
    let how = broken.map_or(how, |why| Err(Failure::new("diverged", why)));
    let how = match &context.secrets {
        Some(secrets) => secrets.mask_end(how),
        None => how,
    };
    let denials = context.denials.load(Ordering::Relaxed);
    (how, usage.map(|usage| Usage { denials: usage.denials.max(denials), ..usage }))
}

/// Ends what left the groups of the command's children, and names it in the command's log.
pub(crate) async fn end_orphans(context: &Arc<Context>, uid: &CommandUid) {
    let (machine, command) = (Arc::clone(&context.machine), uid.0.clone());
    let ended = if machine.orphans.has_left(&command) {
        tokio::task::spawn_blocking(move || machine.orphans.end(&command)).await.unwrap_or_default()
    } else {
        machine.orphans.forget(&command);
        return;
    };
    let report = ended.report();
    if !report.is_empty() {
        let log = context.log.lock().unwrap_or_else(PoisonError::into_inner).clone();
        context.spool.log(log.as_deref().unwrap_or("stdio"), Origin::Header, context.masked(report.into()));
    }
}

fn failure_of(fault: Fault, start: &Start) -> Failure {
    match fault.kind {
        FaultKind::Failed(failure) => failure,
        kind @ (FaultKind::Trap(_)
        | FaultKind::Cpu(_)
        | FaultKind::Wall(_)
        | FaultKind::Memory(_)
        | FaultKind::BadAnswer(_)) => {
            let (digest, call) = (fault.digest.short(), fault.call);
            let (plugin, hook) = (&start.plugin, &start.hook);
            let message = format!("the command `{plugin}:{hook}` ({digest}) broke off in `{call}`: {kind}");
            Failure::new("plugin-fault", message)
        }
    }
}
