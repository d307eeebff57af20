//! `[secrets]`: where values come from, and who may name them where.
//!
//! A value is never read here; the catalog looks whether it can be had. A template may name a secret
//! only where it can become one: in a builder that lists it, in arguments of its steps (but for those
//! that their schema closes with `x-no-secrets`) and in its `env`; and in arguments of a reporter that lists it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value as Json;
use windlass_core::render;
use windlass_core::secret::is_name;

use crate::args::{of_entry, of_items};
use crate::attributes::SECRET;
use crate::catalog::{Hooks, Unusable};
use crate::config::{Secret, SecretSource};
use crate::diagnostic::{Report, Severity};
use crate::names::Names;
use crate::node::{Node, Span, Tree};
use crate::section::{Field, canonical};

/// The keyword by which a schema closes an argument to secrets; its text says what to do instead.
const CLOSED: &str = "x-no-secrets";

/// Under this name, `[grants]` say which programs the master may run for secrets.
pub(crate) const HOOK: &str = "secrets";

/// The capability for that.
pub(crate) const MASTER_PROCESS: &str = "master-process";

/// The names of the list of reporters.
const REPORTERS: [&str; 3] = ["reporters", "status", "services"];

/// How long such a program may take unless the file says so, and at the most.
const COMMAND_TIMEOUT_MS: u64 = 10_000;
const MAX_COMMAND_TIMEOUT_MS: u64 = 60_000;

/// Reads `[secrets]`.
pub(crate) fn read(
    field: Field<'_>,
    names: &mut Names,
    programs: &[String],
    hooks: &Hooks<'_>,
    report: &mut Report,
) -> BTreeMap<String, Secret> {
    let mut secrets = BTreeMap::new();
    for entry in field.table(report) {
        names.give(entry.name, entry.key, report);
        if !is_name(entry.name) {
            report
                .error("bad-value", entry.key, "this cannot be the name of a secret")
                .help("at most 64 letters, digits, `_`, `-` and `.`");
        }
        let Some(secret) = read_one(entry, programs, report) else { continue };
        match hooks.secret(secret) {
            Ok(secret) => drop(secrets.insert(entry.name.to_owned(), secret)),
            Err(Unusable { message, help, severity }) => {
                let message = format!("the secret `{}` {message}", entry.name);
                let finding = match severity {
                    Severity::Error => report.error("unusable-secret", &entry.node.span, message),
                    Severity::Warning => report.warning("unusable-secret", &entry.node.span, message),
                };
                finding.help(help);
            }
        }
    }
    secrets
}

/// `{ file = "…" }`, `{ env = "…" }` or `{ command = […] }`. `programs` are those that are granted.
fn read_one(entry: Field<'_>, programs: &[String], report: &mut Report) -> Option<Secret> {
    const EXPECTED: &str = "a table: { file = \"PATH\" }, { env = \"NAME\" } or { command = [\"PROGRAM\", …] }, never the value itself";
    if !matches!(entry.node.value, Tree::Table(_)) {
        return entry.wrong(EXPECTED, report);
    }
    let mut section = entry.section(&SECRET, report)?;
    let file = section.take("file", report);
    let env = section.take("env", report);
    let command = section.take("command", report);
    let timeout = section.take("timeout", report);
    let strip = section.take("strip", report).and_then(|f| f.boolean(report));
    section.finish(report);
    if let (Some(timeout), None) = (timeout, command) {
        return timeout.refuse("is of a `command` only", "", report);
    }
    let source = match (file, env, command) {
        (Some(file), None, None) => SecretSource::File(PathBuf::from(file.name(report)?)),
        (None, None, Some(command)) => read_command(command, timeout, programs, report)?,
        (None, Some(env), None) => {
            let name = env.name(report)?;
            if name.contains(['=', '\0']) {
                return env.refuse("cannot be the name of an environment variable", "", report);
            }
            SecretSource::Env(name.to_owned())
        }
        _ => return entry.refuse("needs one of `file`, `env` and `command`", "", report),
    };
    Some(Secret { source, strip: strip.unwrap_or(true) })
}

fn read_command(
    field: Field<'_>,
    timeout: Option<Field<'_>>,
    programs: &[String],
    report: &mut Report,
) -> Option<SecretSource> {
    let argv = match &field.node.value {
        Tree::List(items) if !items.is_empty() => field.strings(report),
        _ => return field.wrong("a list: the program and its arguments; there is no shell", report),
    };
    let timeout_ms = match timeout {
        None => COMMAND_TIMEOUT_MS,
        Some(timeout) => match timeout.duration_ms(report)? {
            ms @ 1..=MAX_COMMAND_TIMEOUT_MS => ms,
            _ => return timeout.refuse("must be more than nothing and at most a minute", "", report),
        },
    };
    let program = argv.first().filter(|program| !program.is_empty())?;
    if !programs.iter().any(|granted| granted == "*" || granted == program) {
        return field.refuse(
            &format!("runs `{program}` on the master, which nothing grants"),
            &format!("add `{MASTER_PROCESS} = [\"{program}\"]` to [grants.{HOOK}]"),
            report,
        );
    }
    Some(SecretSource::Command { argv, timeout_ms })
}

/// The secrets that the templates of one builder or reporter may name.
pub(crate) struct Listed<'a> {
    /// `builder` or `reporter`.
    pub(crate) what: &'static str,
    pub(crate) name: &'a str,
    pub(crate) names: &'a mut Names,
    pub(crate) listed: &'a [String],
}

impl Listed<'_> {
    fn check(&mut self, name: &str, span: &Span, report: &mut Report) {
        if self.listed.iter().any(|listed| listed == name) {
            return;
        }
        // One that is not there at all is the better news.
        if self.names.is_given(name) {
            let (what, of) = (self.what, self.name);
            let who = if what == "builder" { "its builds" } else { "it" };
            report
                .error(
                    "secret-not-listed",
                    span,
                    format!("the {what} `{of}` does not list the secret `{name}`"),
                )
                .help(format!("{who} may use it with `secrets = [\"{name}\"]` in the {what}"));
        } else {
            self.names.mean(name, span, report);
        }
    }
}

/// Checks the secrets that texts below `node` name. `schema` is of what stands at `node`; without a
/// list, as in steps that join a build, only the places are checked.
pub(crate) fn check(
    node: &Node,
    schema: Option<&Json>,
    mut listed: Option<&mut Listed<'_>>,
    report: &mut Report,
) {
    walk(node, schema, None, &mut |name, span, closed| {
        if let Some(instead) = closed {
            report
                .error(
                    "misplaced-secret",
                    span,
                    format!("the secret `{name}` cannot be used in this argument"),
                )
                .help(instead);
        }
        if let Some(listed) = &mut listed {
            listed.check(name, span, report);
        }
    });
}

fn walk<'a>(
    node: &'a Node,
    schema: Option<&'a Json>,
    closed: Option<&'a str>,
    found: &mut impl FnMut(&str, &Span, Option<&'a str>),
) {
    let closed = schema.and_then(|schema| schema.get(CLOSED)).and_then(Json::as_str).or(closed);
    match &node.value {
        Tree::Text(text) => {
            render::secrets_of(text).iter().for_each(|name| found(name, &node.span, closed));
        }
        Tree::List(items) => {
            items.iter().for_each(|item| walk(item, of_items(schema), closed, found));
        }
        Tree::Table(entries) => {
            for entry in entries {
                walk(&entry.node, of_entry(schema, &entry.key), closed, found);
            }
        }
        Tree::Null | Tree::Boolean(_) | Tree::Integer(_) | Tree::Float(_) | Tree::Moment(_) => {}
    }
}

/// Reports secrets in a step outside of its `args`: what reads those, a condition's renderer among them, would see a
/// placeholder.
pub(crate) fn check_step(step: &Node, report: &mut Report) {
    around_args(step, &mut misplaced(report));
}

fn around_args(step: &Node, found: &mut impl FnMut(&str, &Span, Option<&str>)) {
    let settings = entries(step).filter(|(key, _)| key != "args");
    settings.for_each(|(_, setting)| walk(setting, None, None, found));
}

fn misplaced(report: &mut Report) -> impl FnMut(&str, &Span, Option<&str>) {
    |name, span, _| {
        report
            .error("misplaced-secret", span, format!("the secret `{name}` cannot be used here"))
            .help("templates are filled in in `args` of steps and reporters and in `env` of builders");
    }
}

/// Reports secrets in all texts of the file that are no templates.
pub(crate) fn check_elsewhere(root: &Node, report: &mut Report) {
    let mut found = misplaced(report);
    for (key, section) in entries(root) {
        match (&*key, &section.value) {
            ("builders", Tree::List(builders)) => {
                builders.iter().for_each(|builder| in_builder(builder, &mut found));
            }
            ("templates", Tree::Table(_)) => {
                entries(section).for_each(|(_, template)| in_builder(template, &mut found));
            }
            (key, Tree::List(reporters)) if REPORTERS.contains(&key) => {
                reporters.iter().for_each(|reporter| around_args(reporter, &mut found));
            }
            _ => walk(section, None, None, &mut found),
        }
    }
}

/// What a builder, its `factory` or a template says outside of `env` and of `args`.
fn in_builder(builder: &Node, found: &mut impl FnMut(&str, &Span, Option<&str>)) {
    for (key, setting) in entries(builder) {
        match (&*key, &setting.value) {
            ("env", _) => {}
            ("factory", Tree::Table(_)) => in_builder(setting, found),
            ("steps", Tree::List(steps)) => steps.iter().for_each(|step| around_args(step, found)),
            _ => walk(setting, None, None, found),
        }
    }
}

fn entries(node: &Node) -> impl Iterator<Item = (Cow<'_, str>, &Node)> {
    node.entries().iter().map(|entry| (canonical(&entry.key), &entry.node))
}
