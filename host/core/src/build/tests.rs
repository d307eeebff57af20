//! Builds that are played through, as lines of what they persist and do.

use std::collections::BTreeMap;

use super::*;
use crate::id::{BuildId, Fence};

mod resume;
mod rule;

fn row() -> BuildRow {
    BuildRow {
        id: BuildId(7),
        number: 1,
        builder: "unit".to_owned(),
        requests: vec![RequestId(3), RequestId(4)],
        fence: Fence(5),
        worker: "w1".to_owned(),
        stamps: Vec::new(),
        reason: "force".to_owned(),
        generation: 1,
        plugins: BTreeMap::new(),
        components: Vec::new(),
        properties: Properties::default(),
        started: Timestamp(1),
        complete: None,
        summary: String::new(),
        plan: None,
    }
}

fn spec(name: &str) -> StepSpec {
    StepSpec::new(name, "windlass:shell-command")
}

fn halting(name: &str) -> StepSpec {
    StepSpec { flags: Flags { halt_on_failure: true, ..Flags::default() }, ..spec(name) }
}

fn always(name: &str) -> StepSpec {
    StepSpec { flags: Flags { always_run: true, ..Flags::default() }, ..spec(name) }
}

/// Plays a build whose steps end as told; the lines name what was done.
struct Play {
    build: Build,
    next_step: u64,
    lines: Vec<String>,
}

impl Play {
    fn new(steps: &[StepSpec]) -> Play {
        let mut play = Play { build: Build::new(row(), steps), next_step: 1, lines: Vec::new() };
        play.on(Event::Started);
        play
    }

    fn on(&mut self, event: Event) -> &mut Play {
        let effects = self.build.on(event, Timestamp(9));
        for persist in &effects.persist {
            let line = match persist {
                Persist::PutStep { step, .. } => match step.complete {
                    Some(done) => format!("put {} {}", step.name, done.outcome),
                    None => format!("put {} running", step.name),
                },
                Persist::PutBuild(row) => match row.complete {
                    Some(done) => format!("put build {}: {}", done.outcome, row.summary),
                    None => "put build".to_owned(),
                },
                Persist::Complete { requests, fence, outcome, .. } => {
                    format!("complete {} requests {outcome} under {fence}", requests.len())
                }
                Persist::AddSteps { specs, .. } => format!("add {} steps", specs.len()),
                Persist::Unclaim { requests, .. } => format!("unclaim {} requests", requests.len()),
                other => panic!("a build persists no {other:?}"),
            };
            self.lines.push(line);
        }
        for action in effects.send {
            match action {
                Action::RunStep(spec) => {
                    self.lines.push(format!("run {}", spec.name));
                    let id = StepId(self.next_step);
                    self.next_step += 1;
                    self.on(Event::StepBegan { id, hook: spec.hook, digest: Digest::of(b"step") });
                }
                Action::InterruptStep { reason } => self.lines.push(format!("interrupt step: {reason}")),
                Action::End { outcome } => self.lines.push(format!("end {outcome}")),
            }
        }
        self
    }

    fn ends(&mut self, outcome: Outcome) -> &mut Play {
        self.ends_adding(outcome, Vec::new())
    }

    fn ends_adding(&mut self, outcome: Outcome, added: Vec<StepSpec>) -> &mut Play {
        let components = self.build.row().components.clone();
        self.on(Event::StepEnded(StepEnded {
            outcome,
            summary: String::new(),
            hidden: false,
            computed: Vec::new(),
            urls: Vec::new(),
            tests: TestCounts::default(),
            fault: None,
            added,
            properties: Properties::default(),
            components,
        }))
    }

    #[track_caller]
    fn check(&self, expected: &[&str]) {
        assert_eq!(self.lines, expected);
    }
}

#[test]
fn a_request_that_was_detached_does_not_end_with_the_build() {
    let mut play = Play::new(&[spec("true")]);
    play.build.detach([RequestId(3)]);
    assert_eq!(play.build.served(), [RequestId(4)]);
    assert_eq!(play.build.row().requests.len(), 2, "it was built for both");
    play.ends(Outcome::Success);
    assert!(play.lines.contains(&"complete 1 requests success under fence-5".to_owned()), "{:?}", play.lines);
    let mut play = Play::new(&[spec("true")]);
    play.build.detach([RequestId(3)]);
    play.ends(Outcome::Retry);
    assert!(play.lines.contains(&"unclaim 1 requests".to_owned()), "{:?}", play.lines);
}

#[test]
fn trivial_build_ends_in_one_commit_with_its_requests() {
    Play::new(&[spec("true")]).ends(Outcome::Success).check(&[
        "run true",
        "put true running",
        "put build",
        "put true success",
        "put build success: all steps went well",
        "complete 2 requests success under fence-5",
        "end success",
    ]);
}

#[test]
fn build_without_steps_is_a_success() {
    Play::new(&[]).check(&[
        "put build success: all steps went well",
        "complete 2 requests success under fence-5",
        "end success",
    ]);
}

#[test]
fn halting_failure_leaves_only_steps_that_always_run() {
    Play::new(&[halting("compile"), spec("test"), always("clean")])
        .ends(Outcome::Failure)
        .ends(Outcome::Success)
        .check(&[
            "run compile",
            "put compile running",
            "put build",
            "put compile failure",
            "run clean",
            "put clean running",
            "put build",
            "put clean success",
            "put build failure: compile: failure",
            "complete 2 requests failure under fence-5",
            "end failure",
        ]);
}

#[test]
fn lost_worker_gives_the_requests_back_and_runs_nothing_more() {
    Play::new(&[spec("test"), always("clean")])
        .on(Event::WorkerLost { reason: "the link was cut".to_owned() })
        .ends(Outcome::Failure)
        .check(&[
            "run test",
            "put test running",
            "put build",
            "put test retry",
            "put build retry: to be built again: the link was cut",
            "unclaim 2 requests",
            "end retry",
        ]);
}

#[test]
fn stopped_build_is_cancelled_once_and_still_cleans_up_until_it_is_stopped_again() {
    Play::new(&[spec("test"), spec("more"), always("clean")])
        .on(Event::Interrupted { reason: "by ana".to_owned() })
        .on(Event::Interrupted { reason: "by ben".to_owned() })
        .ends(Outcome::Failure)
        .on(Event::Interrupted { reason: "by cyd".to_owned() })
        .ends(Outcome::Success)
        .check(&[
            "run test",
            "put test running",
            "put build",
            "interrupt step: by ana",
            "put test cancelled",
            "run clean",
            "put clean running",
            "put build",
            "interrupt step: by cyd",
            "put clean cancelled",
            "put build cancelled: stopped: by ana",
            "complete 2 requests cancelled under fence-5",
            "end cancelled",
        ]);
}

#[test]
fn stop_wins_over_a_lost_worker_so_that_a_cancelled_request_is_not_built_again() {
    let mut play = Play::new(&[spec("test")]);
    play.on(Event::Interrupted { reason: "by ana".to_owned() })
        .on(Event::WorkerLost { reason: "gone".to_owned() })
        .ends(Outcome::Retry);
    assert_eq!(play.lines.last().unwrap(), "end cancelled");
}

#[test]
fn added_steps_run_next_in_their_order_under_names_of_their_own() {
    let mut play = Play::new(&[spec("a"), spec("z")]);
    play.ends_adding(Outcome::Success, vec![spec("a"), spec("a")])
        .ends(Outcome::Success)
        .ends(Outcome::Success)
        .ends(Outcome::Success);
    let run: Vec<_> = play.lines.iter().filter(|line| line.starts_with("run")).collect();
    assert_eq!(run, ["run a", "run a_1", "run a_2", "run z"]);
}

#[test]
fn broken_machinery_ends_the_build_at_once_as_an_exception() {
    let mut play = Play::new(&[spec("test"), always("clean")]);
    play.on(Event::Broke { reason: "the driver panicked".to_owned() });
    play.check(&[
        "run test",
        "put test running",
        "put build",
        "put test exception",
        "put build exception: the driver panicked",
        "complete 2 requests exception under fence-5",
        "end exception",
    ]);
}

#[test]
fn duplicate_names_of_the_configuration_get_numbers() {
    let build = Build::new(row(), &[spec("test"), spec("test"), spec("test_1")]);
    let names: Vec<_> = build.waiting.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["test", "test_1", "test_1_1"]);
}

#[test]
fn each_component_is_recorded_once() {
    let mut components = Vec::new();
    let used = Component { kind: "build-step".to_owned(), hook: "a:b".to_owned(), digest: Digest::of(b"x") };
    record(&mut components, used.clone());
    record(&mut components, used.clone());
    assert_eq!(components, [used]);
}

#[test]
fn last_try_ends_as_an_exception_that_says_so() {
    let mut build = Build::new(row(), &[spec("test")]);
    build.set_last_try(Some(6));
    let _run = build.on(Event::Started, Timestamp(1));
    let began = Event::StepBegan { id: StepId(1), hook: "p:h".to_owned(), digest: Digest::of(b"") };
    let _rows = build.on(began, Timestamp(2));
    let _lost = build.on(Event::WorkerLost { reason: "it went".to_owned() }, Timestamp(3));
    let ended = StepEnded {
        outcome: Outcome::Success,
        summary: String::new(),
        hidden: false,
        computed: Vec::new(),
        urls: Vec::new(),
        tests: TestCounts::default(),
        fault: None,
        added: Vec::new(),
        properties: build.row().properties.clone(),
        components: Vec::new(),
    };
    let effects = build.on(Event::StepEnded(ended), Timestamp(4));
    assert_eq!(effects.send, [Action::End { outcome: Outcome::Exception }]);
    assert!(matches!(effects.persist.last(), Some(Persist::Complete { outcome: Outcome::Exception, .. })));
    assert_eq!(
        build.row().summary,
        "given up after 6 builds in a row; the last was to be built again: it went"
    );
}
