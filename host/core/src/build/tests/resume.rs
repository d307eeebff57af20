//! Builds whose master is killed at any moment and that are taken up again: they answer as those that were left alone.

use proptest::prelude::*;

use super::*;
use crate::record::StopRow;

/// What the store has of a build.
#[derive(Clone, Default)]
struct Ledger {
    row: Option<BuildRow>,
    steps: BTreeMap<StepId, StepRow>,
    added: BTreeMap<StepId, Vec<StepSpec>>,
    stop: Option<StopRow>,
}

impl Ledger {
    fn write(&mut self, persist: &[Persist]) {
        for persist in persist {
            match persist {
                Persist::PutBuild(row) => self.row = Some(row.clone()),
                Persist::PutStep { step, .. } => drop(self.steps.insert(step.id, step.clone())),
                Persist::AddSteps { step, specs, .. } => drop(self.added.insert(*step, specs.clone())),
                Persist::Complete { .. } | Persist::Unclaim { .. } => {}
                other => panic!("a build persists no {other:?}"),
            }
        }
    }

    fn durable(&self) -> Durable {
        Durable {
            row: self.row.clone().unwrap(),
            steps: self.steps.values().cloned().collect(),
            added: self.added.clone(),
            stop: self.stop.clone(),
        }
    }
}

/// What happens while a step runs, before it ends.
#[derive(Clone, Debug)]
enum Word {
    Nothing,
    Stop(u8),
    StopStep,
    Lost,
}

#[derive(Clone, Debug)]
struct Turn {
    word: Word,
    outcome: Outcome,
    added: Vec<StepSpec>,
    /// It leaves another property.
    sets: bool,
    says: bool,
    fault: bool,
}

fn spec_of() -> impl Strategy<Value = StepSpec> {
    let policy = prop_oneof![
        Just(SummaryPolicy::Usual),
        Just(SummaryPolicy::All),
        Just(SummaryPolicy::Only(vec![Outcome::Success])),
    ];
    (0..3_usize, prop::bits::u8::masked(0b11_1111), policy).prop_map(|(name, bits, summary_policy)| {
        StepSpec {
            flags: Flags {
                halt_on_failure: bits & 1 != 0,
                flunk_on_failure: bits & 2 != 0,
                flunk_on_warnings: bits & 4 != 0,
                warn_on_failure: bits & 8 != 0,
                warn_on_warnings: bits & 16 != 0,
                always_run: bits & 32 != 0,
            },
            summary_policy,
            ..spec(["a", "b", "a_1"][name])
        }
    })
}

fn turn() -> impl Strategy<Value = Turn> {
    let word = prop_oneof![
        6 => Just(Word::Nothing),
        1 => (0..3_u8).prop_map(Word::Stop),
        1 => Just(Word::StopStep),
        1 => Just(Word::Lost),
    ];
    let outcome = prop_oneof![3 => Just(Outcome::Success), 2 => prop::sample::select(Outcome::ALL.to_vec())];
    let added = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(spec_of(), 1..3)];
    (word, outcome, added, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(word, outcome, added, sets, says, fault)| Turn { word, outcome, added, sets, says, fault },
    )
}

/// One or two builds, side by side, that are told the same.
struct Twins {
    builds: Vec<Build>,
    ledger: Ledger,
    clock: u64,
}

impl Twins {
    /// Tells all; their answers are the same, and durable.
    fn on(&mut self, event: &Event) -> Vec<Action> {
        self.clock += 1;
        let mut answers = self.builds.iter_mut().map(|build| build.on(event.clone(), Timestamp(self.clock)));
        let first = answers.next().unwrap();
        for other in answers {
            assert_eq!(other, first, "after {event:?}");
        }
        self.ledger.write(&first.persist);
        first.send
    }

    /// The master is killed: a build made from what is durable joins the others.
    fn kill(&mut self, plan: &[StepSpec], last_try: Option<u32>) -> Stands {
        let (mut build, stands) = Build::resume(self.ledger.durable(), plan).unwrap();
        build.set_last_try(last_try);
        let first = &self.builds[0];
        assert_eq!((build.row(), build.step()), (first.row(), first.step()));
        assert_eq!(build.steps(), first.steps());
        if matches!(stands, Stands::Running(_)) {
            assert_eq!(build.waiting, first.waiting);
        }
        assert_eq!(build.overall(), first.overall());
        self.builds.push(build);
        stands
    }
}

fn play(plan: &[StepSpec], turns: Vec<Turn>, kill_at: usize, between: bool, last_try: Option<u32>) {
    let mut build = Build::new(row(), plan);
    build.set_last_try(last_try);
    let ledger = Ledger { row: Some(row()), ..Ledger::default() };
    let mut twins = Twins { builds: vec![build], ledger, clock: 10 };
    let mut next = twins.on(&Event::Started);
    for (at, turn) in turns.into_iter().enumerate() {
        let [Action::RunStep(spec)] = next.as_slice() else { return };
        let spec = spec.clone();
        if at == kill_at && between {
            let stands = twins.kill(plan, last_try);
            assert_eq!(stands, if at == 0 { Stands::New } else { Stands::Between });
            let killed = twins.builds.last_mut().unwrap();
            assert_eq!(killed.on(Event::Started, Timestamp(twins.clock)).send, next);
        }
        let id = StepId(at as u64 + 1);
        let hook = spec.hook.clone();
        assert_eq!(twins.on(&Event::StepBegan { id, hook, digest: Digest::of(b"step") }), []);
        match turn.word {
            Word::Nothing => {}
            Word::Stop(who) => {
                let reason = format!("by {who}");
                let stop = StopRow { build: BuildId(7), whole: true, step: Some(id), reason: reason.clone() };
                let before = twins.ledger.stop.take();
                twins.ledger.stop = Some(before.map_or(stop.clone(), |before| stop.after(before)));
                twins.on(&Event::Interrupted { reason });
            }
            Word::StopStep => {
                let stop =
                    StopRow { build: BuildId(7), whole: false, step: Some(id), reason: "step".to_owned() };
                let before = twins.ledger.stop.take();
                twins.ledger.stop = Some(before.map_or(stop.clone(), |before| stop.after(before)));
                twins.on(&Event::StepInterrupted { reason: "step".to_owned() });
            }
            Word::Lost => {}
        }
        if at == kill_at && !between {
            assert_eq!(twins.kill(plan, last_try), Stands::Running(spec));
        }
        if matches!(turn.word, Word::Lost) {
            twins.on(&Event::WorkerLost { reason: "gone".to_owned() });
        }
        let mut properties = twins.builds[0].row().properties.clone();
        if turn.sets {
            properties.set("p", at.to_string().as_str().into(), "step");
        }
        next = twins.on(&Event::StepEnded(StepEnded {
            outcome: turn.outcome,
            summary: if turn.says { format!("said {at}") } else { String::new() },
            hidden: false,
            computed: Vec::new(),
            urls: Vec::new(),
            tests: TestCounts::default(),
            fault: turn.fault.then(|| "broke".to_owned()),
            added: turn.added,
            properties,
            components: twins.builds[0].row().components.clone(),
        }));
        assert_eq!(twins.ledger.row.as_ref(), Some(twins.builds[0].row()), "its row is not as durable");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_build_that_is_taken_up_at_any_moment_answers_as_one_that_was_left_alone(
        plan in prop::collection::vec(spec_of(), 0..5),
        turns in prop::collection::vec(turn(), 1..8),
        kill_at in 0..6_usize,
        between in any::<bool>(),
        last_try in prop::option::of(1..9_u32),
    ) {
        play(&plan, turns, kill_at, between, last_try);
    }
}

fn durable(steps: &[(&str, Option<Outcome>)]) -> Durable {
    let step = |(at, (name, outcome)): (usize, &(&str, Option<Outcome>))| {
        let at = at as u32;
        let (id, hook) = (StepId(at.into()), "windlass:shell-command".to_owned());
        let row = StepRow::begun(id, BuildId(7), at, (*name).to_owned(), hook, Digest::of(b""), Timestamp(1));
        StepRow { complete: outcome.map(|outcome| Completed { outcome, at: Timestamp(2) }), ..row }
    };
    let steps = steps.iter().enumerate().map(step).collect();
    Durable { row: row(), steps, added: BTreeMap::new(), stop: None }
}

#[test]
fn what_a_step_said_before_the_master_was_killed_is_not_said_for_it_again() {
    let mut durable = durable(&[("test", None)]);
    durable.steps[0].summary = "waits for lock `db`".to_owned();
    durable.steps[0].urls = vec![("a".to_owned(), "b".to_owned())];
    let (build, stands) = Build::resume(durable, &[spec("test")]).unwrap();
    assert_eq!(stands, Stands::Running(spec("test")));
    let step = build.step().unwrap();
    assert_eq!((step.summary.as_str(), step.urls.len()), ("", 0));
}

#[test]
fn rows_that_do_not_fit_the_plan_are_refused_with_the_step_that_shows_it() {
    let done = Some(Outcome::Success);
    let refused = |steps: &[(&str, Option<Outcome>)]| {
        Build::resume(durable(steps), &[spec("a"), spec("b")]).unwrap_err().to_string()
    };
    assert_eq!(refused(&[("c", None)]), "its plan has no step `c` at that place");
    assert_eq!(refused(&[("b", done), ("a", None)]), "its plan has no step `a` at that place");
    assert_eq!(
        refused(&[("a", None), ("b", None)]),
        "its step `a` has not ended, and another one follows it"
    );
    let mut over = durable(&[]);
    over.row.complete = Some(Completed { outcome: Outcome::Success, at: Timestamp(1) });
    assert_eq!(Build::resume(over, &[]).unwrap_err(), ResumeError::Over);
}

#[test]
fn a_build_whose_stop_came_between_two_steps_ends_when_it_is_taken_up() {
    let mut durable = durable(&[("a", Some(Outcome::Success))]);
    durable.stop = Some(StopRow { build: BuildId(7), whole: true, step: None, reason: "by ana".to_owned() });
    let (mut build, stands) = Build::resume(durable, &[spec("a"), spec("b")]).unwrap();
    assert_eq!(stands, Stands::Between);
    let effects = build.on(Event::Started, Timestamp(9));
    assert_eq!(effects.send, [Action::End { outcome: Outcome::Cancelled }]);
    assert_eq!(build.row().summary, "stopped: by ana");
}
