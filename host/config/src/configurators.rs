//! `[[configurators]]`: components that write a part of the configuration. What they answer is read as a file that is
//! included would be, with its own name in messages, and checked with all the rest.
//!
//! They say what is built, and not what anybody may do: rights and secrets stand in files, which people write.

use windlass_core::policy::HookKind;

use crate::args::Templates;
use crate::attributes::{CONFIGURATION, CONFIGURATOR};
use crate::builder::{find_hook, read_args};
use crate::catalog::{Answer, Hooks};
use crate::config::Configurator;
use crate::diagnostic::Report;
use crate::include::Top;
use crate::node::{Entry, Node, Span, Tree};
use crate::section::{Field, Section, canonical};
use crate::sources::Sources;
use crate::variables;

/// So many at the most: each may take seconds.
const MOST: usize = 20;

/// What an answer may say. All else is for people, and so is what is added one day, until somebody decides otherwise.
const MAY_SAY: [&str; 8] =
    ["builders", "git_pollers", "locks", "policies", "properties", "schedulers", "templates", "workers"];

/// Asks them, in their order, and joins what they answer. None: one of them has no answer that could be joined, and what
/// is missing then would make good names elsewhere look wrong.
pub(crate) fn read(
    root: &mut Node,
    hooks: &Hooks<'_>,
    sources: &mut Sources,
    report: &mut Report,
) -> Option<Vec<Configurator>> {
    let (mut asked, mut answers, mut is_whole) = (Vec::new(), Vec::new(), true);
    let entry = root.entries().iter().find(|entry| canonical(&entry.key) == "configurators");
    let sections = entry.map(|entry| Field::of(entry).sections(&CONFIGURATOR, report)).unwrap_or_default();
    for (place, section) in sections.into_iter().enumerate() {
        let span = section.span.clone();
        let Some((field, mut configurator)) = read_one(section, hooks, report) else {
            is_whole = false;
            continue;
        };
        if place == MOST {
            report
                .error("too-many", &span, format!("there are more than {MOST} configurators"))
                .help("one may write many builders: give it a list to go through in its `args`");
        }
        if place >= MOST {
            continue;
        }
        match hooks.configure(&configurator.hook, &configurator.args) {
            Ok(Answer { text, fault }) => {
                configurator.fault = fault;
                let begin = sources.add(&format!("configurator {}", configurator.hook), &text);
                match Node::parse(&text, begin, report) {
                    Some(answer) => answers.push(answer),
                    None => is_whole = false,
                }
            }
            Err(why) => {
                let message =
                    format!("the configurator `{}` gives no configuration: {why}", configurator.hook);
                report.error("configurator", &field.node.span, message);
                is_whole = false;
            }
        }
        asked.push(configurator);
    }
    let mut top = Top::new(root)?;
    for answer in answers {
        let Tree::Table(entries) = answer.value else { continue };
        for entry in entries {
            if !is_for_people(&entry, report) {
                variables::refuse(&entry.node, report);
                top.join(entry, report);
            }
        }
    }
    is_whole.then_some(asked)
}

/// Whether a setting of an answer is for people to make, which is said.
fn is_for_people(entry: &Entry, report: &mut Report) -> bool {
    let before = report.errors();
    let mut refuse = |span: &Span, what: &str, help: &str| {
        report.error("misplaced-setting", span, format!("a configurator cannot say {what}")).help(help);
    };
    let key = canonical(&entry.key);
    match CONFIGURATION.find(&key).map(|attribute| attribute.name) {
        Some(name) if !MAY_SAY.contains(&name) => {
            let help = "write it in a file: a component decides what is built, and people who may do what";
            refuse(&entry.key_span, &format!("`{key}`"), help);
        }
        None => refuse(&entry.key_span, &format!("`{key}`, which is no setting"), "it may say what is built"),
        // Who has the token of a worker gets the secrets of its builds.
        Some("workers") => {
            let workers = match &entry.node.value {
                Tree::List(workers) => workers.as_slice(),
                _ => &[],
            };
            for token in workers.iter().flat_map(Node::entries) {
                if canonical(&token.key) == "token_hash" {
                    let help = "make a token with `windlass workers token NAME --file FILE`";
                    refuse(&token.key_span, "`token_hash`", help);
                }
            }
        }
        // Each builder takes it, also those that people wrote.
        Some("templates") => {
            for template in entry.node.entries().iter().filter(|template| template.key == "default") {
                refuse(
                    &template.key_span,
                    "the template `default`",
                    "give it another name, and builders `template`",
                );
            }
        }
        Some(_) => {}
    }
    report.errors() > before
}

fn read_one<'a>(
    mut section: Section<'a>,
    hooks: &Hooks<'_>,
    report: &mut Report,
) -> Option<(Field<'a>, Configurator)> {
    let before = report.errors();
    let used = section.take("use", report);
    let args = section.take("args", report);
    section.finish(report);
    let used = used?;
    let name = used.name(report)?;
    let found = find_hook(name, used, HookKind::Configurator, hooks, report)?;
    let args = read_args(name, used, &found, args, Templates::Plain, report);
    let configurator = Configurator { hook: found.facts.qualified.clone(), args, fault: None };
    (report.errors() == before).then_some((used, configurator))
}
