//! The rule of Buildbot's steps, in whole builds: every setting of all flags, every ending, and what follows from it.

use super::*;
use Outcome::*;

/// All 64 settings of the flags.
fn all_flags() -> impl Iterator<Item = Flags> {
    (0..64u8).map(|bits| Flags {
        halt_on_failure: bits & 1 != 0,
        flunk_on_failure: bits & 2 != 0,
        flunk_on_warnings: bits & 4 != 0,
        warn_on_failure: bits & 8 != 0,
        warn_on_warnings: bits & 16 != 0,
        always_run: bits & 32 != 0,
    })
}

/// Ends each step that runs by what its name says first.
fn play(steps: &[StepSpec]) -> (Vec<String>, Play) {
    let mut play = Play::new(steps);
    let mut ran = Vec::new();
    while let Some(step) = play.build.step() {
        let name = step.name.clone();
        let outcome = Outcome::ALL.into_iter().find(|o| name.starts_with(o.as_str())).unwrap();
        ran.push(name);
        play.ends(outcome);
    }
    (ran, play)
}

/// What the table of flags says of a single step: what it counts as, and whether plain steps still run.
fn counts_as(flags: Flags, outcome: Outcome) -> (Outcome, bool) {
    match outcome {
        Success | Skipped => (Success, true),
        Warnings if flags.flunk_on_warnings => (Failure, true),
        Warnings if flags.warn_on_warnings => (Warnings, true),
        Warnings => (Success, true),
        Failure => {
            let counts = match (flags.flunk_on_failure, flags.warn_on_failure) {
                (true, _) => Failure,
                (false, true) => Warnings,
                (false, false) => Success,
            };
            (counts, !flags.halt_on_failure)
        }
        Exception | Retry | Cancelled => (outcome, false),
    }
}

#[test]
fn every_ending_under_every_setting_of_flags_makes_of_its_build_what_the_rule_says() {
    for flags in all_flags() {
        for outcome in Outcome::ALL {
            let first = StepSpec { flags, ..spec(outcome.as_str()) };
            let (ran, play) = play(&[first, spec("success-plain"), always("success-always")]);
            let (overall, goes_on) = counts_as(flags, outcome);
            let about = format!("{outcome} with {flags:?}");
            let mut expected = vec![outcome.as_str()];
            expected.extend(goes_on.then_some("success-plain"));
            expected.push("success-always");
            assert_eq!(ran, expected, "{about}");
            let ended = play.build.row().complete.expect("it is over").outcome;
            assert_eq!(ended, overall, "{about}");
            // What does not count is not told; what is told is told with its name.
            let told = play.build.row().summary.contains(&format!("{outcome}: {outcome}"));
            assert_eq!(told, SummaryPolicy::Usual.tells(flags, outcome), "{about}");
        }
    }
}

#[test]
fn of_two_steps_the_worse_counts_whatever_their_order() {
    for flags in all_flags() {
        for (first, second) in Outcome::ALL.into_iter().flat_map(|a| Outcome::ALL.map(|b| (a, b))) {
            let one = StepSpec { flags: Flags { always_run: true, ..flags }, ..spec(first.as_str()) };
            let two = StepSpec { name: second.to_string(), ..one.clone() };
            let (ran, play) = play(&[one, two]);
            assert_eq!(ran.len(), 2);
            let ended = play.build.row().complete.expect("it is over").outcome;
            let worst = counts_as(flags, first).0.worst(counts_as(flags, second).0);
            assert_eq!(ended, worst, "{first}, {second} with {flags:?}");
        }
    }
}

#[test]
fn a_step_that_always_runs_does_so_after_every_end_but_that_of_its_worker() {
    for always_run in [false, true] {
        let cleanup = StepSpec { flags: Flags { always_run, ..Flags::default() }, ..spec("success") };
        for event in [
            Event::Interrupted { reason: "enough".to_owned() },
            Event::StepInterrupted { reason: "enough".to_owned() },
            Event::WorkerLost { reason: "gone".to_owned() },
        ] {
            let lost = matches!(event, Event::WorkerLost { .. });
            let mut play = Play::new(&[spec("test"), cleanup.clone()]);
            play.on(event).ends(Success);
            assert_eq!(play.build.step().is_some(), always_run && !lost);
        }
    }
}

#[test]
fn a_step_that_is_stopped_is_cancelled_and_its_flags_do_not_excuse_it() {
    let lenient = Flags { flunk_on_failure: false, ..Flags::default() };
    let mut play = Play::new(&[StepSpec { flags: lenient, ..spec("test") }, spec("more")]);
    play.on(Event::StepInterrupted { reason: "by ana".to_owned() }).ends(Success).check(&[
        "run test",
        "put test running",
        "put build",
        "interrupt step: by ana",
        "put test cancelled",
        "put build cancelled: test: cancelled",
        "complete 2 requests cancelled under fence-5",
        "end cancelled",
    ]);
}

#[test]
fn a_build_that_is_skipped_runs_nothing_and_says_why() {
    let mut play =
        Play { build: Build::new(row(), &[spec("test"), always("clean")]), next_step: 1, lines: Vec::new() };
    play.on(Event::Skipped { reason: "only docs were changed".to_owned() }).check(&[
        "put build skipped: only docs were changed",
        "complete 2 requests skipped under fence-5",
        "end skipped",
    ]);
}

#[test]
fn a_summary_names_the_worst_first_and_what_the_policies_of_its_steps_let_through() {
    let summary = |steps: &[StepSpec]| play(steps).1.build.row().summary.clone();
    let warns = Flags { warn_on_warnings: true, ..Flags::default() };
    let warning = StepSpec { flags: warns, ..spec("warnings-lint") };
    assert_eq!(
        summary(&[warning.clone(), spec("failure-a"), spec("failure-b"), spec("success")]),
        "failure-a: failure; failure-b: failure; warnings-lint: warnings"
    );
    let silent = StepSpec { summary_policy: SummaryPolicy::Only(Vec::new()), ..spec("failure-a") };
    assert_eq!(summary(std::slice::from_ref(&silent)), "failure");
    assert_eq!(summary(&[silent, spec("failure-b")]), "failure-b: failure");
    let loud = StepSpec { summary_policy: SummaryPolicy::All, ..spec("success") };
    assert_eq!(summary(&[loud]), "success: success");
    assert_eq!(summary(&[spec("success")]), "all steps went well");
}

#[test]
fn each_build_has_steps_of_its_own() {
    let steps = vec![spec("a"), spec("z")];
    let (mut one, two) = (Play::new(&steps), Play::new(&steps));
    one.ends_adding(Success, vec![spec("a"), spec("b")]);
    assert_eq!((one.build.steps(), two.build.steps(), steps.len()), (4, 2, 2));
}
