//! Estimates, and recorded decisions asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use windlass_core::builder::{Builder, Merge, OnError, PolicyUse};
use windlass_core::change::SourceStamp;
use windlass_core::decision::replay::Verified;
use windlass_core::persist::Persist;
use windlass_core::record::Component;
use windlass_core::request::Buildset;
use windlass_core::schedule::{Reply, Rules, WorkerRule};
use windlass_core::simulate::{self, Job, Shift, World};
use windlass_core::time::Timestamp;
use windlass_runtime::plugin::Source;
use windlass_runtime::registry::Generation;
use windlass_runtime::{Options, Runtime};

use super::*;

#[test]
fn an_estimate_is_the_median_for_each_turn_over_the_slots_and_none_without_history() {
    let of = |ahead, slots, free, took: &[u64]| estimate(ahead, slots, free, took.to_vec()).map(|e| e.ms);
    assert_eq!(of(8, 2, 0, &[60_000, 180_000, 900_000]), Some(810_000));
    assert_eq!(of(0, 1, 0, &[1_000]), Some(1_000));
    assert_eq!(of(3, 4, 2, &[1_000]), Some(500), "two of the four ahead of it begin at once");
    assert_eq!(of(3, 4, 0, &[]), None, "nothing was built yet");
    assert_eq!(of(3, 0, 0, &[1_000]), None, "no worker is connected");
    assert_eq!(of(1, 4, 4, &[1_000]), None, "there is room: it is not slots that it waits for");
}

/// A day of 1,200 requests for six builders, in bursts, with the bundled policies, on four workers.
fn busy_day(components: BTreeMap<(HookKind, String), Component>) -> World {
    let policy = |hook: &str, args: &str| PolicyUse {
        hook: format!("windlass:{hook}"),
        args: args.to_owned(),
        on_error: OnError::Default,
    };
    let workers = ["w1", "w2", "w3", "w4"];
    let builders = (0..6).map(|n| {
        let name = format!("b{n}");
        let builder = Builder {
            next_slave: Some(policy(if n % 2 == 0 { "least-loaded" } else { "sticky" }, "{}")),
            merge_requests: if n % 3 == 1 {
                Merge::Policy(policy("same-branch", "{}"))
            } else {
                Merge::Never
            },
            can_start_build: (n == 5)
                .then(|| policy("working-hours", r#"{"from":"00:00","to":"23:30","days":["thu"]}"#)),
            ..Builder::bare(&name, &workers[n % 2..])
        };
        (name, Arc::new(builder))
    });
    let jobs = (1..=1_200).map(|id| {
        let mut job = Job::of(id, &format!("b{}", id % 6), Timestamp(id / 24 * 1_704_000 + id))
            .built_in(180_000 + id * 300);
        job.request.priority = i32::try_from(id % 4).expect("it is small");
        let branch = Some(format!("branch-{}", id % 5));
        let stamp = SourceStamp { branch, repository: "r".to_owned(), ..SourceStamp::default() };
        let buildset = Arc::make_mut(&mut job.buildset);
        (buildset.stamps, buildset.reason) = (vec![stamp], format!("wish {id}"));
        job
    });
    let rule =
        |name: &&str| WorkerRule { name: (*name).to_owned(), max_builds: Some(2), ..WorkerRule::default() };
    World {
        rules: Rules {
            builders: builders.collect(),
            workers: workers.iter().map(rule).collect(),
            prioritize_builders: Some(policy("oldest-first", "{}")),
            components,
            ..Rules::default()
        },
        shifts: workers.iter().map(|worker| Shift::always(worker)).collect(),
        jobs: jobs.collect(),
        claim_ms: 3,
        records: true,
        until: Timestamp(86_400_000),
        ..World::default()
    }
}

/// With what the store has of them, and components out of it: nothing else of the day is there any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_decision_of_a_busy_day_comes_out_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new(Options::new(folder.path().join("cache"))).unwrap();
    let store = Store::open(folder.path(), windlass_store::Options::default()).unwrap();
    let policies = ["least-loaded", "sticky", "oldest-first", "same-branch", "working-hours"];
    let (mut plugins, mut components) = (Vec::new(), BTreeMap::new());
    for bundled in windlass_plugins::bundled().iter().filter(|bundled| policies.contains(&bundled.name)) {
        let bytes = bytes::Bytes::from_static(bundled.bytes);
        store.cas().put(&bytes).unwrap();
        plugins.push(runtime.load(bundled.name, Source::Bundled, bytes).unwrap());
    }
    let generation = Generation::new(1, plugins);
    for (kind, hook) in [
        (HookKind::NextSlave, "least-loaded"),
        (HookKind::NextSlave, "sticky"),
        (HookKind::PrioritizeBuilders, "oldest-first"),
        (HookKind::MergeRequests, "same-branch"),
        (HookKind::CanStartBuild, "working-hours"),
    ] {
        let hook = format!("windlass:{hook}");
        let digest = generation.resolve(kind, &hook).unwrap().plugin.digest;
        let component = Component { kind: kind.as_str().to_owned(), hook: hook.clone(), digest };
        components.insert((kind, hook), component);
    }
    let world = busy_day(components);
    let here = tokio::runtime::Handle::current();
    let report = tokio::task::block_in_place(|| {
        simulate::run(&world, |ask| {
            let found = generation.resolve(ask.question.kind(), &ask.policy.hook).unwrap();
            let (question, lookups) = (ask.question.clone(), ask.lookups.clone());
            let asked = runtime.ask(&found.plugin, &found.hook, &ask.policy.args, question, lookups);
            let reply = here.block_on(asked);
            (Reply { answer: reply.answer, lookups: reply.lookups, usage: reply.usage }, 1)
        })
    })
    .unwrap();

    let submit = |job: &Job| {
        let (buildset, requests) = (Buildset::clone(&job.buildset), vec![job.request.clone()]);
        Persist::AddBuildset { buildset, requests }
    };
    store.commit(world.jobs.iter().map(submit).collect()).await.unwrap();
    let records = report.decisions.into_iter().map(|record| Persist::AddDecision(Arc::new(record)));
    store.commit(records.collect()).await.unwrap();

    let nothing_loaded = Generation::new(2, Vec::new());
    let mut verifier = Verifier::new(&runtime, &store, &nothing_loaded);
    let (mut same, mut kinds, mut nothing) = (0, BTreeSet::new(), Vec::new());
    for record in store.decisions_before(None, usize::MAX).unwrap() {
        match verifier.verify(&record).await {
            Verified::Same => {
                same += 1;
                kinds.insert(record.policy.hook.clone());
            }
            Verified::Nothing(why) => nothing.push(why),
            Verified::Differs(what) => panic!("{what}: {record:?}"),
        }
    }
    // A machine that is busy with other things may be too slow for an answer now and then.
    assert!(nothing.iter().all(|why| why.contains("CPU") || why.contains("within")), "{nothing:?}");
    assert!(same > 1_000 && nothing.len() < same / 20, "{same} the same, {} without", nothing.len());
    assert_eq!(kinds.len(), policies.len(), "{kinds:?}");
}
