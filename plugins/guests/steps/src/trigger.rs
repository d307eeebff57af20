//! `trigger`: has triggerable schedulers build, and waits for what comes of it if it is told to.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;
use windlass_sdk::model::{SourceStamp, Submission};
use windlass_sdk::step::{self, Event, StepResult};
use windlass_sdk::{BuildStep, Failure, Hook, Outcome, Pair, Value, bad_argument};

use crate::judge::worst;
use crate::set_property::value_of;

/// The hook.
pub struct Trigger;

impl Hook for Trigger {
    const NAME: &'static str = "trigger";
    const SUMMARY: &'static str = "has triggerable schedulers build, and waits for the outcome if told to";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("trigger.schema.json"));
    const OPTIONS: &'static [(&'static str, bool)] = &[("flunk-on-failure", true)];
    type Args = Args;
}

/// As the schema says.
#[derive(Deserialize)]
pub struct Args {
    schedulers: Vec<String>,
    #[serde(default)]
    unimportant_schedulers: Vec<String>,
    #[serde(default)]
    wait_for_finish: bool,
    #[serde(default = "yes")]
    update_source_stamp: bool,
    #[serde(default)]
    always_use_latest: bool,
    #[serde(default)]
    source_stamps: Vec<Stamp>,
    #[serde(default)]
    copy_properties: Vec<String>,
    #[serde(default)]
    set_properties: BTreeMap<String, Json>,
}

fn yes() -> bool {
    true
}

/// A source stamp of the configuration.
#[derive(Deserialize)]
struct Stamp {
    repository: String,
    #[serde(default)]
    codebase: String,
    #[serde(default)]
    project: String,
    branch: Option<String>,
    revision: Option<String>,
}

impl BuildStep for Trigger {
    fn run(args: Args) -> Result<StepResult, Failure> {
        args.check()?;
        let submission = Submission {
            builders: Vec::new(),
            schedulers: Vec::new(),
            stamps: args.stamps(),
            reason: String::new(),
            priority: 0,
            properties: args.properties()?,
        };
        let mut children = Vec::with_capacity(args.schedulers.len());
        for scheduler in &args.schedulers {
            let submission = Submission { schedulers: vec![scheduler.clone()], ..submission.clone() };
            let submitted = step::submit(&submission, args.wait_for_finish);
            let id = submitted.map_err(|failure| beside(failure, &children))?;
            let counts = !args.unimportant_schedulers.contains(scheduler);
            children.push(Child { scheduler: scheduler.clone(), id, counts, outcome: None });
            step::summary(&told(&children));
        }
        if !args.wait_for_finish {
            return Ok(StepResult::new(Outcome::Success, told(&children)));
        }
        while children.iter().any(|child| child.outcome.is_none()) {
            match step::next_event(None) {
                Event::BuildsetDone(end) => {
                    if let Some(child) = children.iter_mut().find(|child| child.id == end.id) {
                        child.outcome = Some(end.outcome);
                    }
                    step::summary(&told(&children));
                }
                // The host cancels what the step no longer waits for.
                Event::Interrupt(reason) => {
                    let why = format!("{}; stopped: {reason}", told(&children));
                    return Ok(StepResult::new(Outcome::Cancelled, why));
                }
                _ => {}
            }
        }
        Ok(StepResult::new(worst_of(&children), told(&children)))
    }
}

impl Args {
    /// What the schema cannot say.
    fn check(&self) -> Result<(), Failure> {
        if let Some(name) = self.unimportant_schedulers.iter().find(|name| !self.schedulers.contains(name)) {
            return Err(bad_argument(format!(
                "`unimportant_schedulers`: `{name}` is not one of `schedulers`"
            )));
        }
        if self.always_use_latest && !self.source_stamps.is_empty() {
            return Err(bad_argument("`always_use_latest` and `source_stamps` exclude each other"));
        }
        Ok(())
    }

    fn stamps(&self) -> Vec<SourceStamp> {
        if self.source_stamps.is_empty() {
            let got = self.update_source_stamp.then(|| step::get_property("got_revision")).flatten();
            let own = step::source_stamps();
            own.into_iter().map(|own| handed_on(own, self.always_use_latest, got.as_ref())).collect()
        } else {
            self.source_stamps.iter().map(SourceStamp::from).collect()
        }
    }

    /// Those that are copied first: those that are set win.
    fn properties(&self) -> Result<Vec<Pair>, Failure> {
        let mut all = BTreeMap::new();
        for name in &self.copy_properties {
            let missing = || bad_argument(format!("`copy_properties`: this build has no property `{name}`"));
            all.insert(name.clone(), step::get_property(name).ok_or_else(missing)?);
        }
        all.extend(self.set_properties.iter().map(|(name, value)| (name.clone(), value_of(value))));
        Ok(all.into_iter().map(|(name, value)| Pair { name, value }).collect())
    }
}

/// A buildset that was submitted.
struct Child {
    scheduler: String,
    id: u64,
    counts: bool,
    outcome: Option<Outcome>,
}

/// The stamp of this build, as others are to build it: at the revision that was got, or at the newest one.
fn handed_on(own: SourceStamp, latest: bool, got: Option<&Value>) -> SourceStamp {
    if latest {
        return SourceStamp { revision: None, changes: Vec::new(), has_patch: false, ..own };
    }
    let revision = got.and_then(|got| got_revision(got, &own.codebase)).or(own.revision);
    SourceStamp { revision, ..own }
}

/// `got_revision` is one revision, or an object of one for each codebase.
fn got_revision(got: &Value, codebase: &str) -> Option<String> {
    match got {
        Value::Text(revision) if codebase.is_empty() => Some(revision.clone()),
        Value::Json(json) => {
            let all: Json = serde_json::from_str(json).ok()?;
            all.get(codebase)?.as_str().map(str::to_owned)
        }
        _ => None,
    }
}

impl From<&Stamp> for SourceStamp {
    fn from(stamp: &Stamp) -> SourceStamp {
        SourceStamp {
            codebase: stamp.codebase.clone(),
            project: stamp.project.clone(),
            repository: stamp.repository.clone(),
            branch: stamp.branch.clone(),
            revision: stamp.revision.clone(),
            changes: Vec::new(),
            has_patch: false,
        }
    }
}

/// The worst of those that count.
fn worst_of(children: &[Child]) -> Outcome {
    let counted = children.iter().filter(|child| child.counts).filter_map(|child| child.outcome);
    counted.reduce(worst).unwrap_or(Outcome::Success)
}

/// A scheduler whose buildset could not be submitted; those before it were.
fn beside(failure: Failure, children: &[Child]) -> Failure {
    match children {
        [] => failure,
        children => {
            let message = format!("{}; submitted before that: {}", failure.message, told(children));
            Failure { message, ..failure }
        }
    }
}

/// `docs: buildset 7 success, packages: buildset 8`.
fn told(children: &[Child]) -> String {
    let one = |child: &Child| {
        let outcome = child.outcome.map(|outcome| format!(" {}", word(outcome))).unwrap_or_default();
        format!("{}: buildset {}{outcome}", child.scheduler, child.id)
    };
    children.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Warnings => "warnings",
        Outcome::Failure => "failure",
        Outcome::Skipped => "skipped",
        Outcome::Exception => "exception",
        Outcome::Retry => "retry",
        Outcome::Cancelled => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(scheduler: &str, counts: bool, outcome: Option<Outcome>) -> Child {
        Child { scheduler: scheduler.to_owned(), id: 7, counts, outcome }
    }

    fn stamp(codebase: &str) -> SourceStamp {
        SourceStamp {
            codebase: codebase.to_owned(),
            project: String::new(),
            repository: "r".to_owned(),
            branch: Some("main".to_owned()),
            revision: Some("old".to_owned()),
            changes: vec![1],
            has_patch: true,
        }
    }

    #[test]
    fn the_worst_counts_but_for_those_that_do_not_count() {
        let all = |important| {
            worst_of(&[
                child("a", true, Some(Outcome::Success)),
                child("b", important, Some(Outcome::Failure)),
                child("c", true, Some(Outcome::Warnings)),
            ])
        };
        assert_eq!(all(true), Outcome::Failure);
        assert_eq!(all(false), Outcome::Warnings);
        assert_eq!(worst_of(&[child("a", false, Some(Outcome::Failure))]), Outcome::Success);
    }

    #[test]
    fn others_build_what_this_build_got() {
        let one = Value::Text("new".to_owned());
        let each = Value::Json(r#"{"lib": "newer"}"#.to_owned());
        let revision = |own, latest, got| handed_on(own, latest, got).revision;
        assert_eq!(revision(stamp(""), false, Some(&one)).as_deref(), Some("new"));
        assert_eq!(revision(stamp("lib"), false, Some(&one)).as_deref(), Some("old"));
        assert_eq!(revision(stamp("lib"), false, Some(&each)).as_deref(), Some("newer"));
        assert_eq!(revision(stamp("app"), false, Some(&each)).as_deref(), Some("old"));
        assert_eq!(revision(stamp(""), false, None).as_deref(), Some("old"));
        let latest = handed_on(stamp(""), true, Some(&one));
        assert_eq!((latest.revision, latest.changes, latest.has_patch), (None, vec![], false));
    }

    #[test]
    fn a_failure_names_what_was_submitted_before_it() {
        let failure = || Failure::new("not-found", "there is no `typo`");
        assert_eq!(beside(failure(), &[]), failure());
        let told = beside(failure(), &[child("docs", true, None)]).message;
        assert_eq!(told, "there is no `typo`; submitted before that: docs: buildset 7");
    }

    #[test]
    fn the_summary_names_each_buildset() {
        let children = [child("docs", true, Some(Outcome::Success)), child("apt", true, None)];
        assert_eq!(told(&children), "docs: buildset 7 success, apt: buildset 7");
    }
}
