//! Policies that decide, and policies that do not.

use std::sync::Arc;
use std::time::Instant;

use windlass_core::policy::{Answer, FaultKind, Lookup, Lookups};
use windlass_core::time::Timestamp;
use windlass_core::value::{Pair, Value};
use windlass_runtime::plugin::Source;

use crate::fixtures::{bundled, host, host_with, question};

fn slave(name: &str) -> Answer {
    Answer::Slave(Some(name.to_owned()))
}

#[tokio::test]
async fn a_bundled_policy_answers() {
    let host = host();
    let plugin = host.runtime.load("least-loaded", Source::Bundled, bundled("least-loaded")).unwrap();
    let reply = host.choose(&plugin, "least-loaded").await;
    assert_eq!(reply.answer, Ok(slave("w0")));
    assert!(reply.usage.peak_memory > 0 && reply.usage.wall_us > 0, "{:?}", reply.usage);
}

#[tokio::test]
async fn each_call_gets_an_instance_that_remembers_nothing() {
    let host = host();
    let plugin = host.misbehaving();
    for _ in 0..3 {
        assert_eq!(host.choose(&plugin, "remember").await.answer, Ok(slave("0")));
    }
}

#[tokio::test]
async fn every_look_up_is_recorded_with_its_answer() {
    let host = host();
    let plugin = host.misbehaving();
    let pair = |name: &str, value: &str| Pair { name: name.to_owned(), value: value.into() };
    let lookups = Lookups {
        now: Timestamp(42),
        requests: [(12, vec![pair("branch", "main")])].into(),
        slaves: Arc::new([("w1".to_owned(), Arc::new(vec![pair("os", "linux")]))].into()),
    };
    let reply = host.runtime.ask(&plugin, "property", "{}", question(3), lookups).await;
    let Ok(Answer::Slave(Some(text))) = reply.answer else { panic!("{:?}", reply.answer) };
    assert!(text.starts_with("42 ") && text.contains("main") && text.ends_with("None"), "{text}");
    let lookup = |question: &str, answer: Option<&str>| Lookup {
        question: question.to_owned(),
        answer: answer.map(Value::from),
    };
    let expected = [
        lookup("request-property 12 branch", Some("main")),
        lookup("slave-property w1 os", Some("linux")),
        lookup("slave-property w2 os", None),
    ];
    assert_eq!(reply.lookups, expected);
}

#[tokio::test]
async fn a_loop_costs_its_cpu_budget_and_no_more() {
    let host = host_with(|options| {
        (options.limits.policy_cpu_ms, options.limits.policy_wall_ms) = (20, 250);
    });
    let plugin = host.misbehaving();
    let began = Instant::now();
    let reply = host.choose(&plugin, "spin").await;
    let took = began.elapsed();
    // On a machine under load the CPU may take as long to come by as the backstop.
    let kind = reply.answer.unwrap_err().kind;
    assert!(matches!(kind, FaultKind::Cpu(20) | FaultKind::Wall(250)), "{kind:?}");
    assert!(took.as_millis() < 5_000, "{took:?}");
    assert!(reply.usage.cpu_us >= 10_000, "{:?}", reply.usage);
    // The host goes on; where it is too slow for an answer now and then, it is asked again.
    let answer = loop {
        match host.choose(&plugin, "first").await.answer {
            Err(fault) if began.elapsed().as_secs() < 60 => {
                assert!(matches!(fault.kind, FaultKind::Cpu(_) | FaultKind::Wall(_)), "{fault:?}");
            }
            answer => break answer,
        }
    };
    assert_eq!(answer, Ok(slave("w0")));
}

#[tokio::test]
async fn the_wall_is_the_backstop() {
    let host = host_with(|options| options.limits.policy_wall_ms = 50);
    let plugin = host.misbehaving();
    assert_eq!(host.fault(&plugin, "spin").await, FaultKind::Wall(50));
}

#[tokio::test]
async fn traps_and_limits_are_named_and_the_host_goes_on() {
    const MEMORY: u64 = 64 << 20;
    let host = host_with(|options| options.limits.policy_memory = MEMORY);
    let plugin = host.misbehaving();
    assert_eq!(host.fault(&plugin, "hog").await, FaultKind::Memory(MEMORY));
    let trap = |kind: FaultKind| match kind {
        FaultKind::Trap(text) => text,
        other => panic!("{other:?}"),
    };
    let text = trap(host.fault(&plugin, "trap").await);
    assert!(text.contains("a panic") && text.contains("src/policies.rs"), "{text}");
    assert!(text.ends_with("on purpose"), "{text}");
    let text = trap(host.fault(&plugin, "deep").await);
    assert!(text.contains("stack"), "{text}");
    let text = trap(host.fault(&plugin, "clock").await);
    assert_eq!(text, "a policy may not call `windlass:base/clock`");
    let text = trap(host.fault(&plugin, "step").await);
    assert_eq!(text, "a policy may not call `windlass:master/step-host`");
    match host.fault(&plugin, "refuse").await {
        FaultKind::Failed(failure) => {
            assert_eq!((failure.code.as_str(), failure.retryable), ("no-mood", true))
        }
        other => panic!("{other:?}"),
    }
    let refused = host.fault(&plugin, "flood").await;
    assert_eq!(refused, FaultKind::BadAnswer("a name of 1048576 bytes; at most 1024 are taken".to_owned()));
    match host.fault(&plugin, "no-such-hook").await {
        FaultKind::Failed(failure) => assert!(failure.message.contains("no-such-hook"), "{failure}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(host.choose(&plugin, "first").await.answer, Ok(slave("w0")));
}

#[tokio::test]
async fn a_hundred_policies_answer_while_one_loops() {
    let host = host_with(|options| {
        options.limits.policy_cpu_ms = 500;
        options.guest_threads = 2;
    });
    let plugin = host.misbehaving();
    let mut asked = tokio::task::JoinSet::new();
    for n in 0..101 {
        let (runtime, plugin) = (host.runtime.clone(), plugin.clone());
        let hook = if n == 0 { "spin" } else { "first" };
        asked.spawn(async move {
            (hook, runtime.ask(&plugin, hook, "{}", question(100), Lookups::default()).await)
        });
    }
    while let Some(ended) = asked.join_next().await {
        match ended.unwrap() {
            ("spin", reply) => assert_eq!(reply.answer.unwrap_err().kind, FaultKind::Cpu(500)),
            (_, reply) => assert_eq!(reply.answer, Ok(slave("w0"))),
        }
    }
}

#[tokio::test]
async fn what_a_plugin_costs_is_counted_by_its_digest() {
    let host = host();
    let plugin = host.misbehaving();
    // The trial at load is a call as well.
    let before = host.runtime.usage()[&plugin.digest];
    assert_eq!((before.calls, before.traps), (1, 0));
    host.choose(&plugin, "first").await.answer.unwrap();
    host.choose(&plugin, "trap").await.answer.unwrap_err();
    host.runtime.count_fallback(plugin.digest, "builder linux: next-slave");
    let after = host.runtime.usage()[&plugin.digest];
    assert_eq!((after.calls, after.traps, after.fallbacks), (3, 1, 1));
    assert!(after.cpu_us > before.cpu_us && after.peak_memory > 0, "{after:?}");
}

#[tokio::test]
async fn a_question_of_a_kind_that_a_plugin_has_not_is_a_bad_answer() {
    let host = host();
    let plugin = host.misbehaving();
    let question = windlass_core::policy::Question::PrioritizeBuilders { builders: Vec::new() };
    let reply = host.runtime.ask(&plugin, "first", "{}", question, Lookups::default()).await;
    let fault = reply.answer.unwrap_err();
    assert_eq!(fault.call, "prioritize-builders.order");
    assert_eq!(fault.kind, FaultKind::BadAnswer("it has no hook of kind prioritize-builders".to_owned()));
}
