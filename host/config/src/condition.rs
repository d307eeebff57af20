//! Conditions, `do_step_if` and its like: true, false, an expression in CEL, or a component.

use windlass_core::cel::Expression;
use windlass_core::condition::Condition;
use windlass_core::render::document::Stand;

use crate::catalog::Hooks;
use crate::diagnostic::Report;
use crate::node::Tree;
use crate::section::{Field, Section};
use crate::templates;

/// Takes a condition that may use these variables.
pub(crate) fn take(
    section: &mut Section<'_>,
    name: &'static str,
    variables: &[&str],
    hooks: &Hooks<'_>,
    report: &mut Report,
) -> Option<Condition> {
    let field = section.take(name, report)?;
    read(field, variables, hooks, report)
}

fn read(field: Field<'_>, variables: &[&str], hooks: &Hooks<'_>, report: &mut Report) -> Option<Condition> {
    const EXPECTED: &str =
        "true, false, an expression like \"props.branch == 'main'\", or { renderer = \"PLUGIN:HOOK\" }";
    let text = match &field.node.value {
        Tree::Boolean(true) => "true",
        Tree::Boolean(false) => "false",
        Tree::Text(text) => text,
        Tree::Table(_) => {
            let Some(Stand::Renderer(hook, args)) = templates::of(field.node) else {
                return field.wrong(EXPECTED, report);
            };
            let named = field.node.child("renderer").unwrap_or(field.node);
            let (hook, args) = templates::check_renderer(hook, named, args, hooks, report)?;
            return Some(Condition::Renderer { hook, args });
        }
        _ => return field.wrong(EXPECTED, report),
    };
    match Expression::parse(text, variables) {
        Ok(expression) => Some(Condition::Cel(expression)),
        Err(error) => {
            let message = format!("`{}`: {}", field.name, error.message);
            report.error("bad-condition", &field.node.span, message).within(text, &error.span);
            None
        }
    }
}
