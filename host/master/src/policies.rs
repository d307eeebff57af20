//! How the configured policies are doing, for people: each use with what it may cost, what came of it, and,
//! where it fails, what happens in its stead and how that ends.

use std::borrow::Cow;

use windlass_config::config;
use windlass_config::uses::{Use, policies as used};
use windlass_core::builder::OnError;
use windlass_core::policy::HookKind;
use windlass_core::schedule;
use windlass_core::time::Timestamp;

use crate::running::Running;
use crate::view;
use crate::world::World;

/// So many characters of a fault are shown where other words stand beside it.
const MOST_SHOWN: usize = 300;

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
            hook: used.hook.to_string(),
            digest: world.generation.resolve(used.kind, &used.hook).ok().map(|found| found.plugin.digest),
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
    used(&world.config).iter().map(one).collect()
}

/// What a person should know of a policy that is suspended: which, why, until when, what happens meanwhile,
/// and what to do about it.
pub(crate) fn trouble(policy: &view::PolicyStatus, now: Timestamp) -> Option<String> {
    let seconds = policy.suspended_until?.ms_since(now).div_ceil(1_000);
    let fault = policy.last_fault.as_deref().unwrap_or("it failed");
    Some(format!(
        "{}, the {} of {}, is suspended for {seconds} s more: {}. Meanwhile {} ({} decisions so far). Mend it, then \
         `windlass reconfig` lifts this at once",
        policy.hook,
        policy.kind,
        policy.used_by,
        shortened(fault),
        policy.instead,
        policy.skipped,
    ))
}

/// A fault in a sentence: the words are the plugin's own, and may be many; what there is to do comes behind them.
pub(crate) fn shortened(fault: &str) -> Cow<'_, str> {
    match fault.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{} …", &fault[..end]).into(),
        None => fault.into(),
    }
}

/// The policies that are suspended: `next-slave mine:nearest of builder ci`.
pub(crate) fn suspended(running: &Running, world: &World) -> Vec<String> {
    let policies = status(running, world, running.clock.now());
    let suspended = policies.iter().filter(|policy| policy.suspended_until.is_some());
    suspended.map(|policy| name(policy.kind, &policy.hook, &policy.used_by)).collect()
}

/// Whether a configuration uses the policy that is called so here.
pub(crate) fn uses(config: &config::Master, called: &str) -> bool {
    used(config).iter().any(|used| name(used.kind, &used.hook, &used.place) == called)
}

fn name(kind: HookKind, hook: &str, place: &str) -> String {
    format!("{kind} {hook} of {place}")
}

/// The policies that began to fail between two looks, or were suspended: one use of each.
pub(crate) fn news<'a>(
    before: &[schedule::PolicyStatus],
    after: &'a [schedule::PolicyStatus],
) -> Vec<&'a schedule::PolicyStatus> {
    let count = |all: &[schedule::PolicyStatus], one: &schedule::PolicyStatus| {
        let same = all.iter().filter(|p| p.kind == one.kind && p.hook == one.hook && p.digest == one.digest);
        same.fold((0, None), |(faults, until), p| (faults + p.faults, until.max(p.suspended_until)))
    };
    let mut news: Vec<&schedule::PolicyStatus> = Vec::new();
    for policy in after.iter().filter(|policy| policy.faults > 0) {
        // One hook that serves many builders fails once.
        if news.iter().any(|known| known.kind == policy.kind && known.hook == policy.hook) {
            continue;
        }
        let (known_faults, known_until) = count(before, policy);
        let is_suspended_anew = policy.suspended_until.is_some() && policy.suspended_until != known_until;
        if known_faults == 0 || is_suspended_anew {
            news.push(policy);
        }
    }
    news
}

/// Says them in the log: not each fault, which could be many, but the first, and each suspension.
pub(crate) fn log(news: &[&schedule::PolicyStatus], world: &World, now: Timestamp) {
    for policy in news {
        let used = used(&world.config).into_iter();
        let mut used = used.filter(|used| used.kind == policy.kind && used.hook == policy.hook);
        // A reconfig came between: nothing uses it any more.
        let Some(used) = used.find(|used| used.builder == policy.builder.as_deref()) else { continue };
        let (kind, hook, place) = (used.kind, used.hook, &used.place);
        let instead = instead(kind, used.on_error.unwrap_or_default());
        let fault = policy.last_fault.as_deref().unwrap_or("it failed");
        match policy.suspended_until {
            Some(until) => tracing::warn!(
                "{kind} {hook} is suspended for {} s: {fault}. Meanwhile {instead}; `windlass reconfig` lifts this",
                until.ms_since(now).div_ceil(1_000)
            ),
            None => tracing::warn!("{kind} {hook} of {place} failed: {fault}. In its stead, {instead}"),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(builder: &str, faults: u64, suspended_until: Option<u64>) -> schedule::PolicyStatus {
        schedule::PolicyStatus {
            kind: HookKind::NextSlave,
            hook: "mine:mine".to_owned(),
            builder: Some(builder.to_owned()),
            digest: None,
            answers: 0,
            faults,
            skipped: 0,
            fallbacks: faults,
            suspended_until: suspended_until.map(Timestamp),
            last_fault: None,
        }
    }

    #[test]
    fn the_first_fault_and_each_suspension_are_news_once() {
        let looks = [
            (policy("a", 0, None), 0),
            (policy("a", 1, None), 1),
            (policy("a", 2, None), 0),
            (policy("a", 3, Some(10)), 1),
            (policy("a", 3, Some(10)), 0),
            (policy("a", 3, None), 0),
            (policy("a", 4, Some(30)), 1),
        ];
        for pair in looks.windows(2) {
            let ((before, _), (after, expected)) = (&pair[0], &pair[1]);
            let (before, after) = ([before.clone()], [after.clone()]);
            assert_eq!(news(&before, &after).len(), *expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_hook_that_fails_for_many_builders_is_news_once() {
        let after = [policy("a", 1, None), policy("b", 1, None)];
        assert_eq!(news(&[], &after).len(), 1);
        assert_eq!(news(&[policy("a", 1, None), policy("b", 0, None)], &after).len(), 0);
    }
}
