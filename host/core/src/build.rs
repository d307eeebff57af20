//! One build from its first step to its last: a state machine without IO.
//!
//! [`Build::on`] takes what happened and answers what to persist, then what to do. The driver in the
//! master does both, in that order. The last event's persist list is one transaction: the step, the
//! build, and its requests, completed or (after *retry*) given back.

mod resume;
mod told;

use std::collections::{BTreeSet, VecDeque};

use crate::builder::StepSpec;
use crate::digest::Digest;
use crate::id::{RequestId, StepId};
use crate::outcome::Outcome;
use crate::persist::Persist;
use crate::properties::Properties;
use crate::record::{BuildRow, Component, Computed, StepRow};
use crate::request::Completed;
use crate::step::{Flags, SummaryPolicy, judge};
use crate::test_result::TestCounts;
use crate::time::Timestamp;

pub use self::resume::{Durable, ResumeError, Stands};
use self::told::Told;

/// The most steps of a build, added ones among them: steps that add steps would go on for ever.
pub const MAX_STEPS: usize = 1_000;

/// A build that ends as *retry* is followed by so many more at most, unless its builder says otherwise. One that
/// brings down each worker that it runs on would go on for ever, and take the workers with it.
pub const MAX_RETRIES: u32 = 5;

/// What happened to a build.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Its claim and its row are durable: it begins, or goes on after the steps that have ended.
    Started,
    /// Its claim and its row are durable, and nothing of it is to run: it ends as skipped.
    Skipped {
        /// Why, for people.
        reason: String,
    },
    /// The step of the last [`Action::RunStep`] begins to run.
    StepBegan {
        /// Its number, just allocated.
        id: StepId,
        /// The qualified hook.
        hook: String,
        /// The component's bytes.
        digest: Digest,
    },
    /// The running step ended.
    StepEnded(StepEnded),
    /// Somebody wants the build stopped.
    Interrupted {
        /// Why, for people.
        reason: String,
    },
    /// Somebody wants the running step stopped: it ends as cancelled, and what follows is up to its flags.
    StepInterrupted {
        /// Why, for people.
        reason: String,
    },
    /// The worker, or what it ran for this build, is gone for good.
    WorkerLost {
        /// How that showed, for people.
        reason: String,
    },
    /// The machinery failed: nothing of the build runs any more, not even steps with `always_run`.
    Broke {
        /// What happened, for people.
        reason: String,
    },
}

/// How a step ended, and what it leaves to its build.
#[derive(Clone, Debug, PartialEq)]
pub struct StepEnded {
    /// How it says it ended.
    pub outcome: Outcome,
    /// One line about it.
    pub summary: String,
    /// Lists leave it out.
    pub hidden: bool,
    /// What components computed for it.
    pub computed: Vec<Computed>,
    /// Named links.
    pub urls: Vec<(String, String)>,
    /// The test results that it reported, counted.
    pub tests: TestCounts,
    /// What the user must read when a plugin or the machinery failed.
    pub fault: Option<String>,
    /// Steps that join the build behind this one, in this order.
    pub added: Vec<StepSpec>,
    /// The build's properties as the step left them.
    pub properties: Properties,
    /// The components that acted on the build, as the step left the list.
    pub components: Vec<Component>,
}

/// What the driver does once the persist list is durable (or on its way, for a step that begins).
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one for each step of a build, handed over once")]
pub enum Action {
    /// Run this step: allocate its id, find its component, report [`Event::StepBegan`].
    RunStep(StepSpec),
    /// Ask the running step to stop.
    InterruptStep {
        /// Why.
        reason: String,
    },
    /// The build is over.
    End {
        /// How it ended.
        outcome: Outcome,
    },
}

/// What follows from an event.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct Effects {
    /// First this, in one commit.
    pub persist: Vec<Persist>,
    /// Then that, in order.
    pub send: Vec<Action>,
}

/// A build in progress.
#[derive(Clone, Debug)]
pub struct Build {
    row: BuildRow,
    waiting: VecDeque<StepSpec>,
    names: BTreeSet<String>,
    state: State,
    position: u32,
    overall: Outcome,
    halted: bool,
    stopped: Option<String>,
    worker_lost: Option<String>,
    /// A step of it ended while its worker was there.
    got_somewhere: bool,
    /// What its steps had to say.
    told: Told,
    /// Requests that ended while it ran: it completes the others.
    detached: BTreeSet<RequestId>,
    /// This is so many builds in a row for its requests, and the last: it does not end as *retry*.
    last_try: Option<u32>,
}

#[derive(Clone, Debug)]
enum State {
    /// Not begun.
    New,
    /// `RunStep` was answered, `StepBegan` not yet reported.
    Chosen(StepSpec),
    /// A step runs.
    Running { step: StepRow, flags: Flags, policy: SummaryPolicy, interrupted: bool },
    /// Nothing more will come.
    Over,
}

impl Build {
    /// A build that is claimed and recorded, with the steps of its builder.
    #[must_use]
    pub fn new(row: BuildRow, steps: &[StepSpec]) -> Build {
        let mut build = Build {
            row,
            waiting: VecDeque::new(),
            names: BTreeSet::new(),
            state: State::New,
            position: 0,
            overall: Outcome::Success,
            halted: false,
            stopped: None,
            worker_lost: None,
            got_somewhere: false,
            told: Told::default(),
            detached: BTreeSet::new(),
            last_try: None,
        };
        for step in steps {
            let step = build.renamed(step.clone());
            build.waiting.push_back(step);
        }
        build
    }

    /// The build's row as it stands.
    #[must_use]
    pub fn row(&self) -> &BuildRow {
        &self.row
    }

    /// Says whether this is the last build for its requests, and how many in a row that makes: one that
    /// would be built again ends as an exception then.
    pub fn set_last_try(&mut self, tries: Option<u32>) {
        self.last_try = tries;
    }

    /// Takes requests out of it that have ended for themselves: it completes the others, or gives them back.
    pub fn detach(&mut self, requests: impl IntoIterator<Item = RequestId>) {
        self.detached.extend(requests);
    }

    /// The requests that end with it.
    #[must_use]
    pub fn served(&self) -> Vec<RequestId> {
        self.row.requests.iter().copied().filter(|request| !self.detached.contains(request)).collect()
    }

    /// How it stands so far.
    #[must_use]
    pub fn overall(&self) -> Outcome {
        self.overall
    }

    /// Notes a component that acted on it.
    pub fn acted(&mut self, component: Component) {
        record(&mut self.row.components, component);
    }

    /// How many steps it has so far, those that wait among them.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.names.len()
    }

    /// What the steps that wait take up, roughly.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.iter().map(StepSpec::bytes).sum()
    }

    /// The row of the step that runs.
    #[must_use]
    pub fn step(&self) -> Option<&StepRow> {
        match &self.state {
            State::Running { step, .. } => Some(step),
            State::New | State::Chosen(_) | State::Over => None,
        }
    }

    /// Whether a step runs that is to stop.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        matches!(self.state, State::Running { interrupted: true, .. })
    }

    /// What the end of the running step counts as: who was interrupted or lost the worker cannot know how it would
    /// have ended, whatever it says.
    #[must_use]
    pub fn outcome_of(&self, said: Outcome) -> Outcome {
        match (said, self.is_interrupted(), &self.worker_lost) {
            (Outcome::Retry, _, _) => Outcome::Retry,
            (_, true, _) => Outcome::Cancelled,
            (said, false, Some(_)) => said.worst(Outcome::Retry),
            (said, false, None) => said,
        }
    }

    /// Whether its worker was lost before any of its steps had come to an end.
    #[must_use]
    pub fn lost_at_once(&self) -> bool {
        self.worker_lost.is_some() && !self.got_somewhere
    }

    /// Takes in what happened.
    pub fn on(&mut self, event: Event, now: Timestamp) -> Effects {
        match event {
            Event::Started => {
                assert!(matches!(self.state, State::New), "BUG: a build that was started twice");
                self.next(Vec::new(), now)
            }
            Event::Skipped { reason } => {
                assert!(matches!(self.state, State::New), "BUG: a build that has begun was skipped");
                self.overall = Outcome::Skipped;
                self.told.tell(Outcome::Skipped, reason);
                self.end(Vec::new(), now)
            }
            Event::StepBegan { id, hook, digest } => self.step_began(id, hook, digest, now),
            Event::StepEnded(ended) => self.step_ended(ended, now),
            Event::Interrupted { reason } => self.interrupted(reason),
            Event::StepInterrupted { reason } => self.interrupt_step(reason),
            Event::WorkerLost { reason } => {
                self.worker_lost.get_or_insert(reason);
                Effects::default()
            }
            Event::Broke { reason } => self.broke(reason, now),
        }
    }

    fn step_began(&mut self, id: StepId, hook: String, digest: Digest, now: Timestamp) -> Effects {
        let State::Chosen(spec) = std::mem::replace(&mut self.state, State::Over) else {
            panic!("BUG: a step that was not chosen began");
        };
        let step = StepRow::begun(id, self.row.id, self.position, spec.name, hook.clone(), digest, now);
        self.position += 1;
        record(&mut self.row.components, Component { kind: "build-step".to_owned(), hook, digest });
        let persist = vec![
            Persist::PutStep { fence: self.row.fence, step: step.clone() },
            Persist::PutBuild(self.row.clone()),
        ];
        let (flags, policy) = (spec.flags, spec.summary_policy);
        self.state = State::Running { step, flags, policy, interrupted: false };
        Effects { persist, send: Vec::new() }
    }

    fn step_ended(&mut self, ended: StepEnded, now: Timestamp) -> Effects {
        let outcome = self.outcome_of(ended.outcome);
        let State::Running { mut step, flags, policy, .. } = std::mem::replace(&mut self.state, State::Over)
        else {
            panic!("BUG: a step that did not run ended");
        };
        step.complete = Some(Completed { outcome, at: now });
        step.summary = ended.summary;
        step.hidden = ended.hidden;
        step.computed = ended.computed;
        step.urls = ended.urls;
        step.tests = ended.tests;
        step.fault = ended.fault;
        let same = self.row.properties == ended.properties && self.row.components == ended.components;
        (self.row.properties, self.row.components) = (ended.properties, ended.components);

        self.count(&step, outcome, flags, &policy);
        let added: Vec<StepSpec> = ended.added.into_iter().map(|spec| self.renamed(spec)).collect();
        let (fence, build, id) = (self.row.fence, self.row.id, step.id);
        let mut persist = vec![Persist::PutStep { fence, step }];
        if !added.is_empty() {
            persist.push(Persist::AddSteps { fence, build, step: id, specs: added.clone() });
        }
        self.join(added);
        let mut effects = self.next(persist, now);
        if !same && self.row.complete.is_none() {
            // What the next step goes by must not be lost with a master that is killed before that one begins.
            effects.persist.push(Persist::PutBuild(self.row.clone()));
        }
        effects
    }

    /// Counts a step that has ended like this.
    fn count(&mut self, step: &StepRow, outcome: Outcome, flags: Flags, policy: &SummaryPolicy) {
        self.got_somewhere |= self.worker_lost.is_none() && outcome != Outcome::Retry;
        let judged = judge(flags, outcome, self.overall);
        self.overall = judged.overall;
        self.halted |= judged.halt;
        if policy.tells(flags, outcome) {
            let about = step.fault.as_deref().unwrap_or(&step.summary);
            self.told.tell(outcome, told::line(&step.name, outcome, about));
        }
    }

    /// Puts steps in front of those that wait.
    fn join(&mut self, added: Vec<StepSpec>) {
        added.into_iter().rev().for_each(|spec| self.waiting.push_front(spec));
    }

    fn interrupted(&mut self, reason: String) -> Effects {
        if self.stopped.is_none() && !matches!(self.state, State::Over) {
            self.overall = self.overall.worst(Outcome::Cancelled);
            self.stopped = Some(reason.clone());
        }
        // Once more stops the step that always runs, too.
        self.interrupt_step(reason)
    }

    fn interrupt_step(&mut self, reason: String) -> Effects {
        match &mut self.state {
            State::Running { interrupted, .. } if !*interrupted => {
                *interrupted = true;
                Effects { persist: Vec::new(), send: vec![Action::InterruptStep { reason }] }
            }
            State::New | State::Chosen(_) | State::Running { .. } | State::Over => Effects::default(),
        }
    }

    fn broke(&mut self, reason: String, now: Timestamp) -> Effects {
        let mut persist = Vec::new();
        match std::mem::replace(&mut self.state, State::Over) {
            State::Running { mut step, .. } => {
                step.complete = Some(Completed { outcome: Outcome::Exception, at: now });
                step.fault = Some(reason.clone());
                persist.push(Persist::PutStep { fence: self.row.fence, step });
            }
            State::New | State::Chosen(_) => {}
            State::Over => return Effects::default(),
        }
        self.overall = self.overall.worst(Outcome::Exception);
        self.told = Told::default();
        self.told.tell(Outcome::Exception, reason);
        self.end(persist, now)
    }

    /// Chooses the next step, or ends the build.
    fn next(&mut self, persist: Vec<Persist>, now: Timestamp) -> Effects {
        if self.worker_lost.is_some() {
            self.overall = self.overall.worst(Outcome::Retry);
            return self.end(persist, now);
        }
        let only_always = self.halted || self.stopped.is_some();
        while let Some(spec) = self.waiting.pop_front() {
            if spec.flags.always_run || !only_always {
                self.state = State::Chosen(spec.clone());
                return Effects { persist, send: vec![Action::RunStep(spec)] };
            }
        }
        self.end(persist, now)
    }

    fn end(&mut self, mut persist: Vec<Persist>, now: Timestamp) -> Effects {
        self.state = State::Over;
        let given_up = self.last_try.filter(|_| self.overall == Outcome::Retry);
        if given_up.is_some() {
            self.overall = Outcome::Exception;
        }
        let (outcome, fence, requests) = (self.overall, self.row.fence, self.served());
        self.row.complete = Some(Completed { outcome, at: now });
        self.row.summary = match given_up {
            Some(tries) => format!("given up after {tries} builds in a row; the last was {}", self.summary()),
            None => self.summary(),
        };
        persist.push(Persist::PutBuild(self.row.clone()));
        persist.push(match outcome {
            Outcome::Retry => Persist::Unclaim { requests, fence },
            Outcome::Success
            | Outcome::Warnings
            | Outcome::Failure
            | Outcome::Skipped
            | Outcome::Exception
            | Outcome::Cancelled => Persist::Complete { requests, fence, outcome, at: now },
        });
        Effects { persist, send: vec![Action::End { outcome }] }
    }

    fn summary(&self) -> String {
        match (&self.stopped, &self.worker_lost) {
            (Some(reason), _) => format!("stopped: {reason}"),
            (None, Some(reason)) => format!("to be built again: {reason}"),
            (None, None) => self.told.lines().unwrap_or_else(|| match self.overall {
                Outcome::Success => "all steps went well".to_owned(),
                other => other.to_string(),
            }),
        }
    }

    /// Gives a step a name that no other of this build has: `test`, `test_1`, `test_2`.
    fn renamed(&mut self, mut step: StepSpec) -> StepSpec {
        if !self.names.insert(step.name.clone()) {
            let name = (1..)
                .map(|n| format!("{}_{n}", step.name))
                .find(|name| !self.names.contains(name))
                .expect("there is always a larger number");
            self.names.insert(name.clone());
            step.name = name;
        }
        step
    }
}

/// Adds a component to a build's list, once.
pub fn record(components: &mut Vec<Component>, component: Component) {
    if !components.contains(&component) {
        components.push(component);
    }
}

#[cfg(test)]
mod tests;
