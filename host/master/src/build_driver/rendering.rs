//! What a step is given and whether it runs: arguments and variables, rendered; conditions, decided.
//!
//! Both are [`windlass_core`]'s to compute. Here components are asked for what it cannot compute, one after
//! another; their answers are kept in the step's row, so that whoever runs the step again gives it the same.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use windlass_core::builder::StepSpec;
use windlass_core::condition::{self, Condition, Facts};
use windlass_core::journal::Given;
use windlass_core::outcome::Outcome;
use windlass_core::policy::{HookKind, Lookups};
use windlass_core::record::{BuildRow, Component, Computed, StepRow};
use windlass_core::render::{Ask, Rendered, Scope, render_document, render_value};
use windlass_core::value::Value;
use windlass_runtime::registry::Resolved;

use super::run::Driver;
use crate::plugins::Pinned;

/// The most bytes of what components compute for one step: its row holds it.
const MAX_COMPUTED: usize = 256 * 1024;

/// What is rendered.
#[derive(Clone, Copy)]
enum Shape {
    /// A table of arguments.
    Arguments,
    /// A value, which a table may stand for.
    Value,
}

impl Driver<'_> {
    /// What `do_build_if` says; true without one.
    pub(super) async fn do_build(&mut self) -> Result<bool, String> {
        let Some(condition) = self.builder.do_build_if.clone() else { return Ok(true) };
        let row = self.build.row().clone();
        let runs = self.decide("do_build_if", &condition, &row, None, None).await;
        // It has no step that could keep what components answered; who did is in the build's row.
        self.computed.clear();
        runs.map_err(|why| format!("the condition `do_build_if` failed: {why}"))
    }

    /// What `do_step_if` says of a step that has just begun; true without one.
    pub(super) async fn do_step(
        &mut self,
        condition: Option<&Condition>,
        step: &StepRow,
    ) -> Result<bool, String> {
        let Some(condition) = condition else { return Ok(true) };
        let (row, results) = (self.build.row().clone(), Some(self.build.overall()));
        let runs = self.decide("do_step_if", condition, &row, results, Some(step)).await;
        runs.map_err(|why| format!("the condition `do_step_if` of step `{}` failed: {why}", step.name))
    }

    /// What `hide_step_if` says of a step that has ended like this; false without one. `row` is the build's as the
    /// step left it.
    pub(super) async fn hide_step(
        &mut self,
        condition: Option<&Condition>,
        row: &BuildRow,
        step: &StepRow,
        outcome: Outcome,
    ) -> Result<bool, String> {
        let Some(condition) = condition else { return Ok(false) };
        let hides = self.decide("hide_step_if", condition, row, Some(outcome), Some(step)).await;
        hides.map_err(|why| format!("the condition `hide_step_if` of step `{}` failed: {why}", step.name))
    }

    async fn decide(
        &mut self,
        place: &str,
        condition: &Condition,
        row: &BuildRow,
        results: Option<Outcome>,
        step: Option<&StepRow>,
    ) -> Result<bool, String> {
        match condition {
            Condition::Cel(expression) => {
                let (tags, worker) = (self.builder.tags.as_slice(), &*self.worker);
                condition::decide(expression, &Facts { build: row, tags, worker, results, step })
            }
            Condition::Renderer { hook, args } => {
                let mut entries = serde_json::Map::new();
                entries.insert("renderer".to_owned(), hook.as_str().into());
                entries.insert("args".to_owned(), serde_json::from_str(args).unwrap_or_default());
                let document = Json::Object(entries).to_string();
                let answer = self.render(place, &document, row, Shape::Value).await?;
                let answer = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
                let from = self.computed.last().map_or(hook.as_str(), |computed| &computed.hook);
                condition::truth(&Value::from_json(&answer)).map_err(|why| format!("`{from}`: {why}"))
            }
        }
    }

    /// The arguments and variables as the step gets them: rendered, and the arguments then checked once more.
    pub(super) async fn give(&mut self, resolved: &Resolved, spec: &StepSpec) -> Result<Given, String> {
        let StepSpec { name, args, .. } = spec;
        let pinned = Pinned { generation: &self.generation, known: &self.hooks };
        let facts = windlass_config::Catalog::hook(&pinned, HookKind::BuildStep, &resolved.qualified());
        let at_home = facts.ok().and_then(|facts| self.builder.give_workdir(args, facts.schema.as_ref()));
        let args = at_home.as_ref().unwrap_or(args);
        let row = self.build.row().clone();
        let rendered = self.render("args", args, &row, Shape::Arguments).await;
        let rendered =
            rendered.map_err(|why| format!("failed to render the arguments of step `{name}`: {why}"))?;
        if rendered != *args {
            let pinned = Pinned { generation: &self.generation, known: &self.hooks };
            windlass_config::check_args(HookKind::BuildStep, &resolved.qualified(), &rendered, &pinned)
                .map_err(|why| format!("the arguments of step `{name}`, once rendered: {why}"))?;
        }
        let mut env = BTreeMap::new();
        let builder = std::sync::Arc::clone(&self.builder);
        for (variable, value) in builder.env.iter().filter(|(_, value)| !value.is_string()) {
            let place = format!("env.{variable}");
            let failed = |why: String| format!("failed to render the builder's `env`, `{variable}`: {why}");
            let text = self.render(&place, &value.to_string(), &row, Shape::Value).await.map_err(failed)?;
            let value = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
            env.insert(variable.clone(), Value::from_json(&value).to_text());
        }
        Ok(Given { args: rendered, env, worker: (*self.worker).clone() })
    }

    /// A document of the configuration, rendered for the build as `row` has it.
    async fn render(
        &mut self,
        place: &str,
        document: &str,
        row: &BuildRow,
        shape: Shape,
    ) -> Result<String, String> {
        let mut answers = Vec::new();
        loop {
            let scope = Scope {
                properties: &row.properties,
                stamps: &row.stamps,
                worker: &self.worker,
                secrets: &self.secrets.placeholders,
            };
            let rendered = match shape {
                Shape::Arguments => render_document(document, scope, &answers),
                Shape::Value => render_value(document, scope, &answers),
            };
            match rendered.map_err(|error| error.to_string())? {
                Rendered::Done(done) => return Ok(done),
                Rendered::Ask(ask) => answers.push(self.ask(place, ask, row).await?),
            }
        }
    }

    async fn ask(&mut self, place: &str, ask: Ask, row: &BuildRow) -> Result<Value, String> {
        let resolved = self.generation.resolve(HookKind::Renderer, &ask.hook).map_err(|e| e.to_string())?;
        let hook = resolved.qualified();
        let pinned = Pinned { generation: &self.generation, known: &self.hooks };
        windlass_config::check_args(HookKind::Renderer, &hook, &ask.args, &pinned)
            .map_err(|why| format!("the arguments of the renderer `{hook}`, once rendered: {why}"))?;
        if let Some(recorded) = self.recorded.pop_front_if(|r| r.hook == hook && r.args == ask.args) {
            let value = recorded.value.clone();
            self.computed.push(recorded);
            return Ok(value);
        }
        let parts = &self.builds.0.parts;
        let lookups = Lookups { now: parts.clock.now(), ..Lookups::default() };
        let used = format!("builder {}: renderer", self.builder.name);
        let (plugin, pairs) = (&resolved.plugin, row.properties.pairs());
        let asked = parts.runtime.render(plugin, &resolved.hook, &ask.args, &used, pairs, lookups).await;
        let value = asked.value.map_err(|fault| fault.brief())?;
        let divider = if ask.at.is_empty() || ask.at.starts_with('[') { "" } else { "." };
        let place = format!("{place}{divider}{}", ask.at);
        self.build.acted(Component {
            kind: HookKind::Renderer.as_str().to_owned(),
            hook: hook.clone(),
            digest: plugin.digest,
        });
        self.computed.push(Computed {
            place,
            hook,
            digest: plugin.digest,
            args: ask.args,
            value: value.clone(),
        });
        let bytes: usize = self.computed.iter().map(|c| c.value.bytes() + c.args.len()).sum();
        match bytes > MAX_COMPUTED {
            true => Err(format!("what components compute for a step may have {MAX_COMPUTED} bytes in all")),
            false => Ok(value),
        }
    }
}

/// Who computed it, as a build's list names it.
pub(super) fn component(computed: &Computed) -> Component {
    let kind = HookKind::Renderer.as_str().to_owned();
    Component { kind, hook: computed.hook.clone(), digest: computed.digest }
}
