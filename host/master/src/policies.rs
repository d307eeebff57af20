//! How the configured policies are doing, for people: each use with what it may cost, what came of it, and,
//! where it fails, what happens in its stead and how that ends.

use windlass_core::builder::OnError;
use windlass_core::policy::HookKind;
use windlass_core::schedule;
use windlass_core::time::Timestamp;

use crate::plugins::{self, Use};
use crate::running::Running;
use crate::view;
use crate::world::World;

/// Each policy that the configuration uses, at each place of its use.
pub(crate) fn status(running: &Running, world: &World, now: Timestamp) -> Vec<view::PolicyStatus> {
    let (board, generator) = (running.dispatcher.snapshot(), running.intake.policy());
    let limits = running.runtime.limits();
    let budget = view::PolicyBudget {
        cpu_ms: limits.policy_cpu_ms,
        wall_ms: limits.policy_wall_ms,
        memory: limits.policy_memory,
    };
    let one = |used: &Use<'_>| {
        let is = |shown: &&schedule::PolicyStatus| {
            shown.kind == used.kind && shown.hook == used.hook && shown.builder.as_deref() == used.builder
        };
        let shown = board.policies.iter().chain(&generator).find(is);
        let count = |of: fn(&schedule::PolicyStatus) -> u64| shown.map_or(0, of);
        let (answers, faults) = (count(|p| p.answers), count(|p| p.faults));
        let on_error = used.on_error.unwrap_or_default();
        view::PolicyStatus {
            used_by: used.place.clone(),
            kind: used.kind,
            hook: used.hook.to_owned(),
            digest: world.generation.resolve(used.kind, used.hook).ok().map(|found| found.plugin.digest),
            budget,
            on_error,
            calls: answers + faults,
            answers,
            faults,
            fallbacks: count(|p| p.fallbacks),
            skipped: count(|p| p.skipped),
            // The snapshot may be older than the end of the suspension.
            suspended_until: shown.and_then(|p| p.suspended_until).filter(|until| now < *until),
            last_fault: shown.and_then(|p| p.last_fault.clone()),
            instead: instead(used.kind, on_error).to_owned(),
        }
    };
    plugins::policies(&world.config).iter().map(one).collect()
}

/// What a person should know of a policy that is suspended: which, why, until when, what happens meanwhile,
/// and what to do about it.
pub(crate) fn trouble(policy: &view::PolicyStatus, now: Timestamp) -> Option<String> {
    let seconds = policy.suspended_until?.ms_since(now).div_ceil(1_000);
    Some(format!(
        "{}, the {} of {}, is suspended for {seconds} s more: {}. Meanwhile {} ({} decisions so far). Mend it, then \
         `windlass reconfig` lifts this at once",
        policy.hook,
        policy.kind,
        policy.used_by,
        policy.last_fault.as_deref().unwrap_or("it failed"),
        policy.instead,
        policy.skipped,
    ))
}

/// The policies that are suspended: `next-slave mine:nearest of builder ci`.
pub(crate) fn suspended(running: &Running, world: &World) -> Vec<String> {
    let policies = status(running, world, running.clock.now());
    let suspended = policies.iter().filter(|policy| policy.suspended_until.is_some());
    suspended.map(|policy| format!("{} {} of {}", policy.kind, policy.hook, policy.used_by)).collect()
}

/// What happens in place of a policy's answer.
fn instead(kind: HookKind, on_error: OnError) -> &'static str {
    match (kind, on_error) {
        (HookKind::CanStartBuild, _) => "nothing that it would have to allow starts",
        (HookKind::PrioritizeBuilders, OnError::Hold) => "no builder starts anything",
        (HookKind::CodebaseGenerator, OnError::Hold) => "changes wait with their source",
        (_, OnError::Hold) => "its requests wait",
        (HookKind::PrioritizeBuilders, OnError::Default) => "builders come by their first requests",
        (HookKind::NextBuild, OnError::Default) => "the first request by priority and age is taken",
        (HookKind::MergeRequests, OnError::Default) => "requests are not merged",
        (HookKind::CodebaseGenerator, OnError::Default) => "changes get the empty codebase",
        (_, OnError::Default) => "the least-loaded worker is taken",
    }
}
