//! `{ from_env = "NAME" }`: a value that stands in the environment of whoever reads the file.

use crate::diagnostic::Report;
use crate::node::{Node, Tree};

/// Puts the values of variables where the tables stand that name them.
pub(crate) fn fill_in(node: &mut Node, variable: &dyn Fn(&str) -> Option<String>, report: &mut Report) {
    if let Some(name) = named(node) {
        let (name, default) = (name.to_owned(), node.child("default").cloned());
        match (variable(&name), default) {
            (Some(text), _) => {
                let span = node.span.clone();
                *node = Node { is_loose: true, ..Node::new(span, Tree::Text(text)) };
            }
            (None, Some(default)) => *node = default,
            (None, None) => {
                report
                    .error("unset-variable", &node.span, format!("the variable `{name}` is not set here"))
                    .help("set it for whoever reads this file, or write `default` beside `from_env`");
                // As if the setting were not there.
                node.value = Tree::Null;
            }
        }
        return;
    }
    match &mut node.value {
        Tree::List(items) => {
            items.iter_mut().for_each(|item| fill_in(item, variable, report));
            items.retain(|item| !matches!(item.value, Tree::Null));
        }
        Tree::Table(entries) => {
            entries.iter_mut().for_each(|entry| fill_in(&mut entry.node, variable, report));
        }
        Tree::Null
        | Tree::Boolean(_)
        | Tree::Integer(_)
        | Tree::Float(_)
        | Tree::Text(_)
        | Tree::Moment(_) => {}
    }
}

/// Says where a variable is named by what has none: an answer of a component.
pub(crate) fn refuse(node: &Node, report: &mut Report) {
    if named(node).is_some() {
        let message = "a configurator reads no variables: what it says follows from its arguments";
        report
            .error("misplaced-setting", &node.span, message)
            .help("give it the value: `args = { of = { from_env = \"NAME\" } }` in the file");
        return;
    }
    match &node.value {
        Tree::List(items) => items.iter().for_each(|item| refuse(item, report)),
        Tree::Table(entries) => entries.iter().for_each(|entry| refuse(&entry.node, report)),
        Tree::Null
        | Tree::Boolean(_)
        | Tree::Integer(_)
        | Tree::Float(_)
        | Tree::Text(_)
        | Tree::Moment(_) => {}
    }
}

/// The variable that a table names: one with `from_env`, and at most `default` beside it.
fn named(node: &Node) -> Option<&str> {
    let known = |key: &str| ["from_env", "default"].contains(&key);
    let name = node.child("from_env")?.as_text()?;
    node.entries().iter().all(|entry| known(&entry.key)).then_some(name)
}
