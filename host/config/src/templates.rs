//! Templates in arguments, and the tables that stand for a value, checked when the file is.

use serde_json::Value as Json;
use windlass_core::policy::HookKind;
use windlass_core::render::document::{Stand, stand, stand_of};
use windlass_core::render::{Problem, RenderError, Template};

use crate::args::{self, Templates};
use crate::catalog::Hooks;
use crate::diagnostic::Report;
use crate::node::{Node, Tree};

/// Reports what is wrong with the templates below `node`, and with the components that it asks.
pub(crate) fn check(node: &Node, hooks: &Hooks<'_>, report: &mut Report) {
    match &node.value {
        Tree::Text(text) => check_text(node, text, &|_| false, report),
        Tree::List(items) => items.iter().for_each(|item| check(item, hooks, report)),
        Tree::Table(entries) => match of(node) {
            Some(Stand::Renderer(hook, args)) => {
                let named = node.child("renderer").unwrap_or(node);
                check_renderer(hook, named, args, hooks, report);
            }
            Some(Stand::Interpolate(text, kw)) => {
                let known = |name: &str| kw.is_some_and(|kw| kw.child(name).is_some());
                check_text(node.child("interpolate").unwrap_or(node), text, &known, report);
                kw.iter().flat_map(|kw| kw.entries()).for_each(|entry| check(&entry.node, hooks, report));
            }
            None => entries.iter().for_each(|entry| check(&entry.node, hooks, report)),
        },
        Tree::Null | Tree::Boolean(_) | Tree::Integer(_) | Tree::Float(_) | Tree::Moment(_) => {}
    }
}

/// Checks a component that is asked for a value. Its qualified name and its arguments (JSON text); none: there
/// is no such hook.
pub(crate) fn check_renderer(
    hook: &str,
    named: &Node,
    args: Option<&Node>,
    hooks: &Hooks<'_>,
    report: &mut Report,
) -> Option<(String, String)> {
    match hooks.find(HookKind::Renderer, hook) {
        Ok(found) => {
            let qualified = found.facts.qualified.clone();
            let args = args::read(hook, &named.span, &found.schema, args, Templates::Rendered(hooks), report);
            Some((qualified, args))
        }
        Err(message) => {
            report.error("unknown-hook", &named.span, message);
            None
        }
    }
}

fn check_text(node: &Node, text: &str, known: &dyn Fn(&str) -> bool, report: &mut Report) {
    let parsed = Template::parse(text);
    if let Err(RenderError { problem, span, .. }) =
        parsed.and_then(|template| template.check_keywords(text, known))
    {
        let message = problem.to_string();
        let finding = report.error("bad-template", &node.span, message).within(text, &span);
        if let Problem::Unclosed(_) | Problem::Selector(_) = problem {
            finding.help("`%%(` stands for the two characters themselves");
        }
    }
}

/// Whether a table stands for a value.
pub(crate) fn of(node: &Node) -> Option<Stand<'_, Node>> {
    let is_table = |node: &Node| matches!(node.value, Tree::Table(_));
    stand(|key| node.child(key), node.entries().len(), Node::as_text, is_table)
}

/// Arguments as a schema can look at them: each table that stands for a value is a template like others.
pub(crate) fn masked(json: Json) -> Json {
    match json {
        Json::Object(entries) if stand_of(&entries).is_some() => "%(table)s".into(),
        Json::Object(entries) => entries.into_iter().map(|(key, value)| (key, masked(value))).collect(),
        Json::Array(items) => items.into_iter().map(masked).collect(),
        plain @ (Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_)) => plain,
    }
}
