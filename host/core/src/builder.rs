//! Builders as the configuration settles them: who builds, with which steps, under which policies.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::build::MAX_RETRIES;
use crate::condition::Condition;
use crate::digest::Digest;
use crate::lock::Access;
use crate::policy::HookKind;
use crate::properties::Properties;
use crate::render::secrets_of_json;
use crate::step::{Flags, SummaryPolicy};

/// A builder: steps, and the workers that may run them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Builder {
    /// Unique.
    pub name: String,
    /// One line for lists.
    pub description: Option<String>,
    /// Labels for filters (Buildbot's `category` is one tag).
    pub tags: Vec<String>,
    /// The workers that may build it, in the order of the configuration.
    pub workers: Vec<String>,
    /// The directory below the worker's base; the builder's name, made safe, unless set.
    pub builddir: String,
    /// Where its steps work that say nothing of it, below that directory; none: where each is used to.
    #[serde(default)]
    pub workdir: Option<String>,
    /// Properties that its builds get.
    pub properties: Properties,
    /// Properties that its builds get where nobody sets them.
    #[serde(default)]
    pub default_properties: Properties,
    /// Added to the environment of its commands: texts, or tables that stand for one (see
    /// [`crate::render::document`]).
    pub env: BTreeMap<String, serde_json::Value>,
    /// Its builds are skipped where this is false.
    #[serde(default)]
    pub do_build_if: Option<Condition>,
    /// The secrets that its builds may use, by name; no build of another builder may.
    pub secrets: Vec<String>,
    /// What each of its builds holds from its start to its end.
    pub locks: Vec<Access>,
    /// The steps, in order.
    pub steps: Vec<StepSpec>,
    /// So many builds in a row of a request may end as *retry*; the next one ends as *exception* instead.
    pub max_retries: u32,
    /// How requests are joined when a build starts.
    pub merge_requests: Merge,
    /// The policy that picks the worker; none: least-loaded.
    pub next_slave: Option<PolicyUse>,
    /// The policy that picks the request; none: priority, then age, then id.
    pub next_build: Option<PolicyUse>,
    /// The policy that may hold a build back; none: every free worker may start it.
    pub can_start_build: Option<PolicyUse>,
}

impl Builder {
    /// A builder without steps, locks and policies that never merges.
    #[must_use]
    pub fn bare(name: &str, workers: &[&str]) -> Builder {
        Builder {
            name: name.to_owned(),
            description: None,
            tags: Vec::new(),
            workers: workers.iter().map(|&worker| worker.to_owned()).collect(),
            builddir: name.to_owned(),
            workdir: None,
            properties: Properties::default(),
            default_properties: Properties::default(),
            env: BTreeMap::new(),
            do_build_if: None,
            secrets: Vec::new(),
            locks: Vec::new(),
            steps: Vec::new(),
            max_retries: MAX_RETRIES,
            merge_requests: Merge::Never,
            next_slave: None,
            next_build: None,
            can_start_build: None,
        }
    }

    /// The hash of all that it says: builders with one digest build alike.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).expect("a builder is plain data with text for keys"))
    }

    /// Gives a step the builder's `workdir`, if it takes one and has none of its own. `schema` is that of its
    /// arguments.
    #[must_use]
    pub fn give_workdir(&self, args: &str, schema: Option<&serde_json::Value>) -> Option<String> {
        let workdir = self.workdir.as_deref()?;
        schema?.get("properties")?.get("workdir")?;
        let mut args: serde_json::Map<String, serde_json::Value> = serde_json::from_str(args).ok()?;
        if args.contains_key("workdir") {
            return None;
        }
        args.insert("workdir".to_owned(), workdir.into());
        Some(serde_json::Value::Object(args).to_string())
    }

    /// Its own policies, by the kind of their hook.
    pub fn policies(&self) -> impl Iterator<Item = (HookKind, &PolicyUse)> {
        let merge = match &self.merge_requests {
            Merge::Policy(policy) => Some(policy),
            Merge::Never | Merge::Compatible => None,
        };
        let uses = [
            (HookKind::NextBuild, self.next_build.as_ref()),
            (HookKind::CanStartBuild, self.can_start_build.as_ref()),
            (HookKind::NextSlave, self.next_slave.as_ref()),
            (HookKind::MergeRequests, merge),
        ];
        uses.into_iter().filter_map(|(kind, policy)| Some((kind, policy?)))
    }
}

/// Whether requests are joined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Merge {
    /// Each request gets its own build.
    Never,
    /// The default rule: [`crate::merge::compatible`].
    Compatible,
    /// A policy says.
    Policy(PolicyUse),
}

/// A hook of a plugin with its arguments, as the configuration uses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyUse {
    /// `plugin:hook`, or the hook's name where one plugin alone offers it.
    pub hook: String,
    /// JSON text, checked against the hook's schema.
    pub args: String,
    /// What happens when the policy fails.
    pub on_error: OnError,
}

/// What happens when a policy fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// The default rule decides (`can-start-build` refuses, `merge-requests` does not merge).
    #[default]
    Default,
    /// Nothing is decided; the request waits for another time.
    Hold,
}

/// A step as the configuration writes it. The same shape joins a build by `add-steps`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepSpec {
    /// Shown, and unique in its build (a number is added where needed).
    pub name: String,
    /// `plugin:hook` or the hook's name, of kind `build-step`.
    pub hook: String,
    /// JSON text; leaves with `%(…)s` in them are rendered before the step runs.
    pub args: String,
    /// What its outcome does to the build.
    pub flags: Flags,
    /// Which of its endings the build's summary tells.
    #[serde(default)]
    pub summary_policy: SummaryPolicy,
    /// How long it may run, its waits for locks apart, in milliseconds; none: as long as the master says.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
    /// What it holds while it runs.
    pub locks: Vec<Access>,
    /// It is skipped where this is false.
    #[serde(default)]
    pub do_step_if: Option<Condition>,
    /// It is hidden where this is true.
    #[serde(default)]
    pub hide_step_if: Option<Condition>,
}

impl StepSpec {
    /// A step that takes no arguments and has the usual flags.
    #[must_use]
    pub fn new(name: &str, hook: &str) -> StepSpec {
        StepSpec {
            name: name.to_owned(),
            hook: hook.to_owned(),
            args: "{}".to_owned(),
            flags: Flags::default(),
            summary_policy: SummaryPolicy::default(),
            deadline_ms: None,
            locks: Vec::new(),
            do_step_if: None,
            hide_step_if: None,
        }
    }

    /// The secrets that its arguments name. Nothing else of a step may name one.
    #[must_use]
    pub fn secrets(&self) -> BTreeSet<String> {
        // They were written as JSON.
        serde_json::from_str(&self.args).map_or_else(|_| BTreeSet::new(), |args| secrets_of_json(&args))
    }

    /// What it takes up, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let locks: usize = self.locks.iter().map(|access| access.lock.len()).sum();
        let conditions =
            self.do_step_if.iter().chain(&self.hide_step_if).map(Condition::bytes).sum::<usize>();
        self.name.len() + self.hook.len() + self.args.len() + locks + conditions
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_secrets_of_a_step_are_those_of_its_arguments() {
        let args = r#"{"env":{"A":{"renderer":"m:h","args":{"x":"%(secret:inner)s"}}}}"#.to_owned();
        let step = StepSpec { args, ..StepSpec::new("a", "m:a") };
        assert_eq!(step.secrets().into_iter().collect::<Vec<_>>(), ["inner"]);
    }

    #[test]
    fn a_step_works_where_it_says_or_else_where_its_builder_says() {
        let plain = Builder::bare("b", &["w"]);
        let builder = Builder { workdir: Some("src".to_owned()), ..plain.clone() };
        let schema = json!({ "properties": { "workdir": {}, "command": {} } });
        let give = |builder: &Builder, args: &str| builder.give_workdir(args, Some(&schema));
        assert_eq!(
            give(&builder, r#"{"command":"x"}"#).as_deref(),
            Some(r#"{"command":"x","workdir":"src"}"#)
        );
        assert_eq!(give(&builder, r#"{"workdir":"own"}"#), None);
        assert_eq!(give(&plain, "{}"), None);
        assert_eq!(builder.give_workdir("{}", Some(&json!({ "properties": { "dir": {} } }))), None);
        assert_eq!(builder.give_workdir("{}", None), None);
    }
}
