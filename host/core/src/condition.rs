//! Conditions: when a step runs, when it is hidden, and when a build runs at all.
//!
//! Most are expressions ([`crate::cel`]) over a few variables; the rest is a component's to say, by the hook
//! `renderer`, whose answer is true or false.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::cel::Expression;
use crate::outcome::Outcome;
use crate::properties::Properties;
use crate::record::{BuildRow, StepRow};
use crate::value::Value;

/// The variables of `do_build_if`.
pub const OF_BUILDS: [&str; 4] = ["props", "build", "worker", "source"];

/// The variables of `do_step_if` and `hide_step_if`.
pub const OF_STEPS: [&str; 6] = ["props", "build", "worker", "source", "results", "step"];

/// The most bytes of an expression that a message repeats.
const MAX_SHOWN: usize = 200;

/// A condition, checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Condition {
    /// An expression.
    Cel(Expression),
    /// A component's answer.
    Renderer {
        /// `plugin:hook`.
        hook: String,
        /// JSON text; leaves with `%(…)s` in them are rendered.
        args: String,
    },
}

/// A condition as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Written {
    Cel(String),
    Renderer { hook: String, args: String },
}

impl From<Condition> for Written {
    fn from(condition: Condition) -> Written {
        match condition {
            Condition::Cel(expression) => Written::Cel(expression.text().to_owned()),
            Condition::Renderer { hook, args } => Written::Renderer { hook, args },
        }
    }
}

impl TryFrom<Written> for Condition {
    type Error = crate::cel::Error;

    fn try_from(written: Written) -> Result<Condition, crate::cel::Error> {
        Ok(match written {
            Written::Cel(text) => Condition::Cel(Expression::parse(&text, &OF_STEPS)?),
            Written::Renderer { hook, args } => Condition::Renderer { hook, args },
        })
    }
}

impl Condition {
    /// What it takes up, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Condition::Cel(expression) => expression.text().len(),
            Condition::Renderer { hook, args } => hook.len() + args.len(),
        }
    }
}

/// What a condition may look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The build; its properties are `props`, its stamps `source`, by codebase.
    pub build: &'a BuildRow,
    /// The tags of its builder.
    pub tags: &'a [String],
    /// What templates know of the worker.
    pub worker: &'a Properties,
    /// How the step ended; before it ran, how its build stands so far.
    pub results: Option<Outcome>,
    /// The step.
    pub step: Option<&'a StepRow>,
}

impl Facts<'_> {
    fn variables(&self) -> Map<String, Json> {
        let build = self.build;
        let flat = |properties: &Properties| -> Map<String, Json> {
            properties.iter().map(|(name, value, _)| (name.to_owned(), value.to_json())).collect()
        };
        let stamp = |stamp: &crate::change::SourceStamp| {
            let fields = json!({
                "branch": stamp.branch, "revision": stamp.revision, "repository": stamp.repository,
                "project": stamp.project, "codebase": stamp.codebase, "changes": stamp.changes.len(),
                "patched": stamp.patch.is_some(),
            });
            (stamp.codebase.clone(), fields)
        };
        let source: Map<String, Json> = build.stamps.iter().map(stamp).collect();
        let mut variables = Map::new();
        let mut set = |name: &str, value: Json| drop(variables.insert(name.to_owned(), value));
        set("props", Json::Object(flat(&build.properties)));
        set("worker", Json::Object(flat(self.worker)));
        set("source", Json::Object(source));
        let requests: Vec<u64> = build.requests.iter().map(|request| request.0).collect();
        set(
            "build",
            json!({
                "id": build.id.0, "number": build.number, "builder": build.builder, "tags": self.tags,
                "worker": build.worker, "reason": build.reason, "requests": requests,
                "started_ms": build.started.0,
            }),
        );
        if let Some(results) = self.results {
            set("results", results.as_str().into());
        }
        if let Some(step) = self.step {
            set(
                "step",
                json!({ "name": step.name, "hook": step.hook, "position": step.position, "summary": step.summary }),
            );
        }
        variables
    }
}

/// What an expression says of these facts. The error is a sentence for people, with the place.
pub fn decide(expression: &Expression, facts: &Facts<'_>) -> Result<bool, String> {
    expression.decide(&facts.variables()).map_err(|error| {
        let text = expression.text();
        let character = text.get(..error.span.start).map_or(0, |before| before.chars().count()) + 1;
        let shown = &text[..text.floor_char_boundary(MAX_SHOWN)];
        let more = if shown.len() < text.len() { "…" } else { "" };
        format!("{}, at character {character} of `{shown}{more}`", error.message)
    })
}

/// What a component's answer says.
pub fn truth(answer: &Value) -> Result<bool, String> {
    match answer {
        Value::Boolean(truth) => Ok(*truth),
        other => Err(format!("its answer is neither true nor false but `{}`", brief(other))),
    }
}

fn brief(value: &Value) -> String {
    let text = value.to_json().to_string();
    text[..text.floor_char_boundary(40)].to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::change::SourceStamp;
    use crate::digest::Digest;
    use crate::id::{BuildId, Fence, RequestId, StepId};
    use crate::time::Timestamp;

    fn build() -> BuildRow {
        let mut properties = Properties::default();
        properties.set("branch", "main".into(), "Build");
        properties.set("files", Value::Json(r#"["docs/a.md"]"#.to_owned()), "Change");
        BuildRow {
            id: BuildId(7),
            number: 3,
            builder: "ci".to_owned(),
            requests: vec![RequestId(1), RequestId(2)],
            fence: Fence(1),
            worker: "w1".to_owned(),
            stamps: vec![
                SourceStamp { branch: Some("dev".to_owned()), ..SourceStamp::default() },
                SourceStamp {
                    codebase: "lib".to_owned(),
                    revision: Some("abc".to_owned()),
                    ..SourceStamp::default()
                },
            ],
            reason: "a change".to_owned(),
            generation: 1,
            plugins: BTreeMap::new(),
            components: Vec::new(),
            properties,
            started: Timestamp(5),
            complete: None,
            summary: String::new(),
            plan: None,
        }
    }

    fn decided(text: &str) -> Result<bool, String> {
        let (build, mut worker) = (build(), Properties::default());
        worker.set("os", "linux".into(), "Worker");
        let mut step = StepRow::begun(
            StepId(1),
            build.id,
            2,
            "test".to_owned(),
            "windlass:test".to_owned(),
            Digest::of(b""),
            Timestamp(6),
        );
        step.summary = "all went well".to_owned();
        let facts = Facts {
            build: &build,
            tags: &["nightly".to_owned()],
            worker: &worker,
            results: Some(Outcome::Warnings),
            step: Some(&step),
        };
        decide(&Expression::parse(text, &OF_STEPS).unwrap(), &facts)
    }

    #[test]
    fn conditions_see_the_build_its_worker_its_source_and_the_step() {
        for text in [
            "props.branch == 'main' && props['files'].exists(f, f.startsWith('docs/'))",
            "build.builder == 'ci' && build.number == 3 && 'nightly' in build.tags && size(build.requests) == 2",
            "worker.os == 'linux' && build.worker == 'w1'",
            "source[''].branch == 'dev' && source.lib.revision == 'abc' && source.lib.branch == null",
            "step.name == 'test' && step.position == 2 && step.summary.contains('well')",
            "results in ['warnings', 'failure'] && !has(props.force)",
        ] {
            assert_eq!(decided(text), Ok(true), "{text}");
        }
    }

    #[test]
    fn a_condition_that_cannot_be_decided_says_where() {
        assert_eq!(
            decided("true && props.release"),
            Err("there is no `release` in `props`; `has(props.release)` asks whether there is, at character 9 of \
                 `true && props.release`"
                .to_owned())
        );
        assert_eq!(truth(&Value::Boolean(true)), Ok(true));
        assert_eq!(
            truth(&Value::from("yes")),
            Err("its answer is neither true nor false but `\"yes\"`".to_owned())
        );
    }

    #[test]
    fn conditions_are_kept_as_they_are_written() {
        let cel = Condition::Cel(Expression::parse("results == 'success'", &OF_STEPS).unwrap());
        let renderer = Condition::Renderer { hook: "m:fresh".to_owned(), args: "{}".to_owned() };
        for (condition, kept) in [
            (cel, r#"{"cel":"results == 'success'"}"#),
            (renderer, r#"{"renderer":{"hook":"m:fresh","args":"{}"}}"#),
        ] {
            assert_eq!(serde_json::to_string(&condition).unwrap(), kept);
            assert_eq!(serde_json::from_str::<Condition>(kept).unwrap(), condition);
        }
        assert!(serde_json::from_str::<Condition>(r#"{"cel":"=="}"#).is_err());
    }
}
