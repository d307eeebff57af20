//! Schedulers that steps name in their arguments: each must be there, and of type `triggerable`.
//!
//! A schema says by the keyword `x-triggers` which arguments name some. What a template becomes is known at run time
//! only, and the step says it then.

use serde_json::Value as Json;
use windlass_core::render;

use crate::config::{Scheduler, SchedulerKind};
use crate::diagnostic::Report;
use crate::node::{Node, Span, Tree};

/// The keyword by which a schema says that an argument names schedulers.
const NAMES: &str = "x-triggers";

/// The schedulers that steps name, with their places.
#[derive(Default)]
pub(crate) struct Triggers(Vec<(String, Span)>);

impl Triggers {
    /// Notes the schedulers that texts below `node` name. `schema` is of what stands at `node`.
    pub(crate) fn note(&mut self, node: &Node, schema: Option<&Json>) {
        let Some(schema) = schema else { return };
        if schema.get(NAMES) == Some(&Json::Bool(true)) {
            return self.name(node);
        }
        match &node.value {
            Tree::Table(entries) => {
                for entry in entries {
                    self.note(&entry.node, schema.get("properties").and_then(|all| all.get(&entry.key)));
                }
            }
            Tree::List(items) => items.iter().for_each(|item| self.note(item, schema.get("items"))),
            _ => {}
        }
    }

    fn name(&mut self, node: &Node) {
        match &node.value {
            Tree::Text(text) if !render::is_template(text) => self.0.push((text.clone(), node.span.clone())),
            Tree::List(items) => items.iter().for_each(|item| self.name(item)),
            _ => {}
        }
    }

    /// Reports those that nobody can trigger.
    pub(crate) fn check(&self, schedulers: &[Scheduler], report: &mut Report) {
        let triggerable = |scheduler: &&Scheduler| scheduler.kind == SchedulerKind::Triggerable;
        for (name, span) in &self.0 {
            match schedulers.iter().find(|scheduler| scheduler.name == *name) {
                Some(scheduler) if triggerable(&scheduler) => {}
                Some(scheduler) => {
                    let kind = scheduler.kind.as_str();
                    report
                        .error("unknown-name", span, format!("the scheduler `{name}` is of type `{kind}`"))
                        .help("a step triggers those of type `triggerable`");
                }
                None => {
                    let names =
                        schedulers.iter().filter(triggerable).map(|scheduler| scheduler.name.as_str());
                    report
                        .error("unknown-name", span, format!("there is no triggerable scheduler `{name}`"))
                        .near(name, names, "there is none at all");
                }
            }
        }
    }
}
