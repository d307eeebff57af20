//! A step that is driven through a scripted port.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;
use windlass_core::change::{Change, Patch, SourceStamp};
use windlass_core::outcome::Outcome;
use windlass_core::policy::FaultKind;
use windlass_core::time::Timestamp;
use windlass_core::value::{Completion, Failure, Origin, Pair, Value};
use windlass_runtime::StepResult;
use windlass_runtime::port::{BasePort, Level, StepEvent, StepPort, StepTransfer, Submission, TestResult};

use crate::fixtures::{host, host_with};

/// Answers from a script, and writes down what the step did.
#[derive(Default)]
struct Script {
    events: VecDeque<StepEvent>,
    commands: u32,
    did: Arc<Mutex<Vec<String>>>,
    /// On the one source stamp.
    patch: Option<&'static str>,
    /// Set: `next_event` never comes back, and says so here when it is dropped.
    stuck: Option<Arc<Notify>>,
}

impl Script {
    fn did(&self, what: impl Into<String>) {
        self.did.lock().unwrap().push(what.into());
    }
}

/// Says that it is gone.
struct Gone(Arc<Notify>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[async_trait]
impl BasePort for Script {
    fn diagnostic(&mut self, level: Level, message: &str) {
        self.did(format!("{level:?} {message}"));
    }
    fn now(&mut self) -> Timestamp {
        Timestamp(1)
    }
    fn interrupted(&mut self) -> Option<String> {
        None
    }
    async fn load_state(&mut self, _: &str) -> Option<Vec<u8>> {
        None
    }
    async fn store_state(&mut self, _: &str, _: Option<Vec<u8>>) -> Result<(), Failure> {
        Ok(())
    }
}

impl StepTransfer for Script {}

#[async_trait]
impl StepPort for Script {
    fn get_property(&mut self, _: &str) -> Option<Value> {
        None
    }
    fn properties(&mut self) -> Vec<Pair> {
        Vec::new()
    }
    fn set_property(&mut self, name: &str, value: Value) -> Result<(), Failure> {
        self.did(format!("set {name} {}", value.to_text()));
        Ok(())
    }
    fn render(&mut self, template: &str) -> Result<String, Failure> {
        Ok(template.to_owned())
    }
    fn source_stamps(&mut self) -> Vec<SourceStamp> {
        self.did("source stamps");
        let patch = |text: &str| Patch { body: text.into(), ..Patch::default() };
        let stamp = |text| SourceStamp { patch: Some(patch(text)), ..SourceStamp::default() };
        self.patch.map(stamp).into_iter().collect()
    }
    async fn changes(&mut self) -> Vec<Change> {
        Vec::new()
    }
    async fn add_steps(&mut self, _: Vec<String>) -> Result<(), Failure> {
        Ok(())
    }
    async fn submit(&mut self, _: Submission, _: bool) -> Result<u64, Failure> {
        Err(Failure::unsupported("submit"))
    }
    fn summary(&mut self, text: &str) {
        self.did(format!("summary {text}"));
    }
    fn add_url(&mut self, _: &str, _: &str) {}
    async fn log(&mut self, log: &str, origin: Origin, data: Bytes) -> Result<(), Failure> {
        // The guest waits on another thread's account meanwhile.
        tokio::task::yield_now().await;
        self.did(format!("log {log} {origin:?}\n{}", String::from_utf8_lossy(&data)));
        Ok(())
    }
    async fn report_tests(&mut self, _: Vec<TestResult>) -> Result<(), Failure> {
        Ok(())
    }
    fn set_statistic(&mut self, _: &str, _: f64) {}
    async fn read_log(&mut self, _: &str, _: &str, _: u64, _: u32) -> Result<String, Failure> {
        Ok(String::new())
    }
    async fn worker_supports(&mut self, _: &str) -> Option<String> {
        None
    }
    async fn start_command(
        &mut self,
        command: &str,
        args: &str,
        observe: Vec<String>,
    ) -> Result<u32, Failure> {
        self.did(format!("start {command} {args} {observe:?}"));
        self.commands += 1;
        Ok(self.commands - 1)
    }
    async fn interrupt_command(&mut self, _: u32, _: &str) -> Result<(), Failure> {
        Ok(())
    }
    async fn wait(&mut self, _: u32) -> Result<Completion, Failure> {
        Ok(Completion::default())
    }
    async fn next_event(&mut self, timeout_ms: Option<u32>) -> StepEvent {
        assert_eq!(timeout_ms, Some(1_000));
        if let Some(stuck) = &self.stuck {
            let _gone = Gone(Arc::clone(stuck));
            self.did("waits");
            std::future::pending::<()>().await;
        }
        self.events.pop_front().unwrap_or(StepEvent::Idle)
    }
    async fn sleep(&mut self, _: u32) -> Result<(), Failure> {
        Ok(())
    }
}

fn done(command: u32) -> StepEvent {
    StepEvent::Done { command, how: Ok(Completion { rc: Some(0), values: Vec::new() }) }
}

#[tokio::test]
async fn a_step_runs_two_commands_and_sees_events_in_the_order_of_the_host() {
    let host = host();
    let plugin = host.misbehaving();
    let lines = StepEvent::Lines {
        command: 0,
        log: "stdio".to_owned(),
        origin: Origin::Stdout,
        first_line: 0,
        text: "hello\n".to_owned(),
    };
    let lost = StepEvent::Done { command: 0, how: Err(Failure::retryable("worker-lost", "gone")) };
    let script = Script { events: [lines, StepEvent::Idle, done(1), lost].into(), ..Script::default() };
    let did = Arc::clone(&script.did);
    let end = host.runtime.run_step(&plugin, "script", "{}", "a test", Box::new(script)).await;
    let expected = StepResult { outcome: Outcome::Warnings, summary: Some("done".to_owned()) };
    assert_eq!(end.result, Ok(expected));
    assert_eq!(end.usage.host_calls, 10);
    let did = did.lock().unwrap();
    assert_eq!(did[0], "start shell {} [\"stdio\"]");
    assert_eq!(did[1], "start shell {\"n\":2} []");
    assert_eq!(did[2], "set got_revision abc");
    let log: Vec<&str> = did[3].lines().collect();
    assert_eq!(log[0], "log stdio Header");
    for (line, expected) in log[1..].iter().zip(["hello", "Idle", "command: 1", "worker-lost"]) {
        assert!(line.contains(expected), "{line} does not say {expected}");
    }
    assert_eq!(did[4], "summary about to end");
}

#[tokio::test]
async fn arguments_beyond_their_bounds_get_the_codes_of_the_contract() {
    let host = host();
    let plugin = host.misbehaving();
    let end = host.runtime.run_step(&plugin, "bounds", "{}", "a test", Box::<Script>::default()).await;
    let codes = "bad-argument bad-argument ok bad-argument bad-argument too-large bad-argument too-large";
    assert_eq!(end.result.unwrap().summary.as_deref(), Some(codes));
}

#[tokio::test]
async fn what_a_later_version_does_is_unsupported_until_then() {
    let host = host();
    let plugin = host.misbehaving();
    let end = host.runtime.run_step(&plugin, "later", "{}", "a test", Box::<Script>::default()).await;
    let summary = end.result.unwrap().summary;
    assert_eq!(summary.as_deref(), Some("unsupported unsupported unsupported"));
}

#[tokio::test]
async fn a_step_that_computes_without_end_is_stopped() {
    let host = host_with(|options| options.limits.step_cpu_ms = 30);
    let plugin = host.misbehaving();
    let end = host.runtime.run_step(&plugin, "spin-step", "{}", "a test", Box::<Script>::default()).await;
    let fault = end.result.unwrap_err();
    assert_eq!((fault.call.as_str(), fault.kind), ("build-step.run", FaultKind::Cpu(30)));
}

#[tokio::test]
async fn calls_that_wait_for_nothing_renew_no_budget() {
    let host = host_with(|options| options.limits.step_cpu_ms = 30);
    let plugin = host.misbehaving();
    for hook in ["watch", "chatter"] {
        let end = host.runtime.run_step(&plugin, hook, "{}", "a test", Box::<Script>::default()).await;
        assert_eq!(end.result.unwrap_err().kind, FaultKind::Cpu(30), "{hook}");
        assert!(end.usage.host_calls > 1_000, "{hook} made {} calls", end.usage.host_calls);
    }
}

/// Symptom: a step without any grant computed for a day. Cause: the body of a request that was refused counted as
/// data that was moved, and gave CPU back. Cure: only what went out counts.
#[tokio::test]
async fn a_request_that_was_refused_renews_no_budget() {
    let host = host_with(|options| options.limits.step_cpu_ms = 30);
    let plugin = host.misbehaving();
    let end = host.runtime.run_step(&plugin, "calls-home", "{}", "a test", Box::<Script>::default()).await;
    assert_eq!(end.result.unwrap_err().kind, FaultKind::Cpu(30));
}

/// Symptom: a step that read a patch of 10 MiB used seconds of CPU. Cause: each piece copied all stamps with all their
/// patches. Cure: they are looked at once.
#[tokio::test]
async fn a_patch_is_read_piece_by_piece_and_copied_once() {
    let host = host();
    let plugin = host.misbehaving();
    let script = Script { patch: Some("+one\n-two\n"), ..Script::default() };
    let did = Arc::clone(&script.did);
    let end = host.runtime.run_step(&plugin, "reads-patch", "{}", "a test", Box::new(script)).await;
    assert_eq!(end.result.unwrap().summary.as_deref(), Some("+one -two "));
    assert_eq!(*did.lock().unwrap(), ["source stamps"]);
}

#[tokio::test]
async fn eight_loops_hold_back_neither_policies_nor_steps_that_do_something() {
    let host = host_with(|options| {
        options.guest_threads = 2;
        // Each round of the measure has its share of what they take.
        options.limits.step_cpu_ms = 600_000;
    });
    let plugin = host.misbehaving();
    let mut loops = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (runtime, plugin) = (host.runtime.clone(), plugin.clone());
        loops.spawn(async move {
            runtime.run_step(&plugin, "spin-step", "{}", "a loop", Box::<Script>::default()).await
        });
    }
    // All of them have computed for longer than a moment.
    while host.runtime.computing() < 8 {
        tokio::task::yield_now().await;
    }
    // 2 ms each when nothing else runs; with a turn of each loop in between it would be 80 ms. Others may compile beside
    // this: then it is measured again.
    let since = std::time::Instant::now();
    loop {
        let mut took = Vec::new();
        for _ in 0..20 {
            let began = std::time::Instant::now();
            let script = Script { events: [done(0), done(1)].into(), ..Script::default() };
            let end = host.runtime.run_step(&plugin, "script", "{}", "a test", Box::new(script)).await;
            assert!(end.result.is_ok(), "{:?}", end.result);
            host.choose(&plugin, "first").await.answer.unwrap();
            took.push(began.elapsed());
        }
        took.sort();
        if took[10].as_millis() < 40 {
            break;
        }
        assert!(since.elapsed().as_secs() < 60, "{took:?}");
    }
    loops.shutdown().await;
    // They are dropped at their next turn, wherever they run.
    while host.runtime.computing() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn dropping_the_run_drops_the_port_in_the_middle_of_its_wait() {
    let host = host();
    let plugin = host.misbehaving();
    let gone = Arc::new(Notify::new());
    let script = Script { stuck: Some(Arc::clone(&gone)), ..Script::default() };
    let did = Arc::clone(&script.did);
    let runtime = host.runtime.clone();
    let run = tokio::spawn({
        let plugin = plugin.clone();
        async move { runtime.run_step(&plugin, "script", "{}", "a test", Box::new(script)).await }
    });
    while !did.lock().unwrap().iter().any(|what| what == "waits") {
        tokio::task::yield_now().await;
    }
    run.abort();
    gone.notified().await;
    assert!(run.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn a_waiting_step_uses_no_cpu_budget() {
    let host = host_with(|options| options.limits.step_cpu_ms = 2_000);
    let plugin = host.misbehaving();
    let events = std::iter::repeat_n(StepEvent::Idle, 500).chain([done(0), done(1)]).collect();
    let script = Script { events, ..Script::default() };
    let end = host.runtime.run_step(&plugin, "script", "{}", "a test", Box::new(script)).await;
    assert!(end.result.is_ok(), "{:?}", end.result);
}
