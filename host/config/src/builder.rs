//! Builders, their steps, and the policies that they use.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_core::builder::{Builder, Merge, OnError, PolicyUse, StepSpec};
use windlass_core::condition::{OF_BUILDS, OF_STEPS};
use windlass_core::outcome::Outcome;
use windlass_core::policy::HookKind;
use windlass_core::properties::Properties;
use windlass_core::step::{Flags, SummaryPolicy};
use windlass_core::value::{MAX_INTEGER, Value};

use crate::args::{self, Templates};
use crate::attributes::{FACTORY, POLICIES, POLICY_USE, STEP};
use crate::catalog::{Hook, HookFacts, Hooks};
use crate::condition;
use crate::diagnostic::Report;
use crate::locks::{self, Locks, Use};
use crate::names::Names;
use crate::node::{Node, Tree};
use crate::secrets::{self, Listed};
use crate::section::{Field, Section, either};
use crate::templates;
use crate::triggers::Triggers;

/// Policies of the whole master, and those that builders have unless they say otherwise.
#[derive(Default)]
pub(crate) struct Policies {
    pub(crate) prioritize_builders: Option<PolicyUse>,
    pub(crate) codebase_generator: Option<PolicyUse>,
    merge_requests: Option<Merge>,
    next_slave: Option<PolicyUse>,
    next_build: Option<PolicyUse>,
    can_start_build: Option<PolicyUse>,
}

/// A hundred years.
const MAX_DEADLINE_MS: u64 = 100 * 366 * 24 * 3_600_000;

impl Policies {
    /// Reads `[policies]`, and what of it stands at the top.
    pub(crate) fn read(top: &mut Section<'_>, hooks: &Hooks<'_>, report: &mut Report) -> Policies {
        let field = top.take("policies", report);
        let mut section = field.and_then(|f| f.section(&POLICIES, report));
        let mut take = |name, report: &mut Report| section.as_mut().and_then(|s| s.take(name, report));
        let prioritize_builders = take("prioritize_builders", report);
        let codebase_generator = take("codebase_generator", report);
        let merge_requests = take("merge_requests", report);
        let next_slave = take("next_slave", report);
        let next_build = take("next_build", report);
        let can_start_build = take("can_start_build", report);
        if let Some(section) = section {
            section.finish(report);
        }
        let mut or_top = |own, name, report: &mut Report| {
            let at_top = top.take(name, report);
            either(own, at_top, report)
        };
        let prioritize_builders = or_top(prioritize_builders, "prioritize_builders", report);
        let codebase_generator = or_top(codebase_generator, "codebase_generator", report);
        let merge_requests = or_top(merge_requests, "merge_requests", report);
        let next_slave = or_top(next_slave, "select_next_worker", report);
        let one = |field: Option<Field<'_>>, kind, report: &mut Report| {
            read_policy(field?, kind, hooks, report).flatten()
        };
        Policies {
            prioritize_builders: one(prioritize_builders, HookKind::PrioritizeBuilders, report),
            codebase_generator: one(codebase_generator, HookKind::CodebaseGenerator, report),
            merge_requests: merge_requests.and_then(|f| read_merge(f, hooks, report)),
            next_slave: one(next_slave, HookKind::NextSlave, report),
            next_build: one(next_build, HookKind::NextBuild, report),
            can_start_build: one(can_start_build, HookKind::CanStartBuild, report),
        }
    }
}

/// What a builder is checked against.
pub(crate) struct Surroundings<'a> {
    pub(crate) hooks: &'a Hooks<'a>,
    pub(crate) policies: &'a Policies,
    /// What builders have that say nothing of it.
    pub(crate) max_retries: u32,
    pub(crate) locks: &'a mut Locks,
    pub(crate) workers: &'a mut Names,
    pub(crate) worker_locks: &'a BTreeMap<String, Vec<Use>>,
    pub(crate) builders: &'a mut Names,
    pub(crate) builddirs: &'a mut Names,
    pub(crate) secrets: &'a mut Names,
    pub(crate) triggers: &'a mut Triggers,
}

/// Reads one of `[[builders]]`.
pub(crate) fn read(mut section: Section<'_>, around: &mut Surroundings<'_>, report: &mut Report) -> Builder {
    let hooks = around.hooks;
    // `expand` has done what they say.
    for done in ["template", "matrix", "matrix_except"] {
        section.take(done, report);
    }
    let name_field = section.take("name", report);
    let name = name_field.and_then(|f| f.name(report)).unwrap_or_default().to_owned();
    if let (Some(field), false) = (name_field, name.is_empty()) {
        around.builders.give(&name, &field.node.span, report);
        if name.starts_with('_') {
            field.refuse::<()>(
                "must not begin with `_`",
                "such names are kept for the master itself",
                report,
            );
        }
    }

    let workers_field = section.take("workers", report);
    let mut workers = Vec::new();
    if let Some(field) = workers_field {
        for (worker, span) in field.texts(report) {
            around.workers.mean(worker, span, report);
            if workers.iter().any(|w| w == worker) {
                report.error("duplicate-name", span, format!("the worker `{worker}` is listed twice"));
            }
            workers.push(worker.to_owned());
        }
        if matches!(&field.node.value, Tree::List(items) if items.is_empty()) {
            field.refuse::<()>("is empty: nobody may build this", "name at least one worker", report);
        }
    }

    let builddir = read_builddir(&mut section, &name, name_field, around, report);
    let (steps_field, workdir) = read_factory(&mut section, report);
    let workdir = workdir.and_then(|field| Some(check_builddir(field.name(report)?, field, report)));
    let description = section.take("description", report).and_then(|f| f.text(report)).map(str::to_owned);
    let tags = section.take("tags", report).map(|f| read_tags(f, report)).unwrap_or_default();
    let properties =
        section.take("properties", report).map(|f| read_properties(f, "Builder", report)).unwrap_or_default();
    let default_properties = section
        .take("default_properties", report)
        .map(|f| read_properties(f, "Builder", report))
        .unwrap_or_default();
    let mut secrets: Vec<String> = Vec::new();
    if let Some(field) = section.take("secrets", report) {
        for (secret, span) in field.texts(report) {
            around.secrets.mean(secret, span, report);
            secrets.push(secret.to_owned());
        }
    }
    let mut listed = Listed { what: "builder", name: &name, names: &mut *around.secrets, listed: &secrets };
    let env =
        section.take("env", report).map(|f| read_env(f, hooks, &mut listed, report)).unwrap_or_default();
    let do_build_if = condition::take(&mut section, "do_build_if", &OF_BUILDS, hooks, report);

    let max_retries = read_max_retries(&mut section, report).unwrap_or(around.max_retries);
    let policies = around.policies;
    let merge_requests = section
        .take("merge_requests", report)
        .and_then(|field| read_merge(field, hooks, report))
        .or_else(|| policies.merge_requests.clone())
        .unwrap_or(Merge::Compatible);
    let mut policy = |name, kind, inherited: &Option<PolicyUse>, report: &mut Report| {
        let own = section.take(name, report).and_then(|field| read_policy(field, kind, hooks, report));
        own.unwrap_or_else(|| inherited.clone())
    };
    let next_slave = policy("next_slave", HookKind::NextSlave, &policies.next_slave, report);
    let next_build = policy("next_build", HookKind::NextBuild, &policies.next_build, report);
    let can_start_build =
        policy("can_start_build", HookKind::CanStartBuild, &policies.can_start_build, report);

    let on: Vec<&str> = workers.iter().map(String::as_str).collect();
    let uses = section.take("locks", report).map(|f| around.locks.read_uses(f, report));
    let uses = uses.unwrap_or_default();
    around.locks.check_counts(&uses, on.iter().copied(), report);

    let mut steps = Vec::new();
    for section in list_of(steps_field, report) {
        let read = read_step(section, hooks, around.locks, Some(&mut listed), around.triggers, report);
        let Some((step, step_uses)) = read else { continue };
        steps.push(step);
        if step_uses.is_empty() {
            continue;
        }
        around.locks.check_counts(&step_uses, on.iter().copied(), report);
        locks::check_held(&step_uses, &uses, "its builder", report);
        for (worker, held) in on.iter().filter_map(|w| Some((w, around.worker_locks.get(*w)?))) {
            locks::check_held(&step_uses, held, &format!("a build on worker `{worker}`"), report);
        }
    }
    section.finish(report);
    Builder {
        name,
        description,
        tags,
        workers,
        builddir,
        workdir,
        properties,
        default_properties,
        env,
        do_build_if,
        secrets,
        locks: locks::accesses(uses),
        steps,
        max_retries,
        merge_requests,
        next_slave,
        next_build,
        can_start_build,
    }
}

/// `max_retries`, of all builders or of one.
pub(crate) fn read_max_retries(section: &mut Section<'_>, report: &mut Report) -> Option<u32> {
    let most = section.take("max_retries", report)?.integer(0, u32::MAX.into(), report)?;
    Some(u32::try_from(most).expect("its range was checked"))
}

/// The directory of a builder below its worker's, which no other builder has.
fn read_builddir(
    section: &mut Section<'_>,
    name: &str,
    name_field: Option<Field<'_>>,
    around: &mut Surroundings<'_>,
    report: &mut Report,
) -> String {
    let on_worker = section.take("worker_builddir", report);
    let general = section.take("builddir", report);
    let mut checked = |field: Option<Field<'_>>, report: &mut Report| {
        let dir = field.map(|f| f.name(report).map(|dir| check_builddir(dir, f, report)).unwrap_or_default());
        // Two builders of one name were reported already.
        if let (Some(field), Some(dir)) = (field, dir.as_ref().filter(|dir| !dir.is_empty()))
            && !around.builders.is_repeated(name, &field.node.span)
        {
            around.builddirs.give(dir, &field.node.span, report);
        }
        dir
    };
    match (checked(on_worker, report), general) {
        (None, Some(general)) => checked(Some(general), report).unwrap_or_default(),
        (None, None) => {
            let dir = safe_name(name);
            if let Some(field) = name_field
                .filter(|field| !dir.is_empty() && !around.builders.is_repeated(name, &field.node.span))
            {
                around.builddirs.give(&dir, &field.node.span, report);
            }
            dir
        }
        // The other is the master's own, where it keeps nothing.
        (Some(dir), general) => {
            general.and_then(|f| Some(check_builddir(f.name(report)?, f, report)));
            dir
        }
    }
}

/// The steps and the `workdir` of a builder, or of its `factory`.
fn read_factory<'a>(
    section: &mut Section<'a>,
    report: &mut Report,
) -> (Option<Field<'a>>, Option<Field<'a>>) {
    let steps = section.take("steps", report);
    let workdir = section.take("workdir", report);
    let factory = section.take("factory", report).and_then(|f| f.section(&FACTORY, report));
    let Some(mut factory) = factory else { return (steps, workdir) };
    let own = factory.take("steps", report);
    let steps = either(steps, own, report);
    let own = factory.take("workdir", report);
    let workdir = either(workdir, own, report);
    factory.finish(report);
    (steps, workdir)
}

fn read_tags(field: Field<'_>, report: &mut Report) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    for (tag, span) in field.texts(report) {
        if tags.iter().any(|other| other == tag) {
            report.error("duplicate-name", span, format!("the tag `{tag}` is listed twice"));
        } else {
            tags.push(tag.to_owned());
        }
    }
    tags
}

fn check_builddir(dir: &str, field: Field<'_>, report: &mut Report) -> String {
    let inside = |part: &str| !part.is_empty() && part != "." && part != "..";
    if dir.starts_with('/') || !dir.trim_end_matches('/').split('/').all(inside) {
        field.refuse::<()>(
            "must stay below the worker's directory",
            "write a relative path without `..`",
            report,
        );
    }
    dir.trim_end_matches('/').to_owned()
}

/// A name as a directory: what is not a letter, digit, `-` or `_` becomes `_`.
fn safe_name(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

fn list_of<'a>(field: Option<Field<'a>>, report: &mut Report) -> Vec<Section<'a>> {
    field.map(|f| f.sections(&STEP, report)).unwrap_or_default()
}

/// Reads one of `[[builders.steps]]`; the uses of locks come with their places, and schedulers that it names are
/// noted.
pub(crate) fn read_step(
    mut section: Section<'_>,
    hooks: &Hooks<'_>,
    locks: &mut Locks,
    listed: Option<&mut Listed<'_>>,
    triggers: &mut Triggers,
    report: &mut Report,
) -> Option<(StepSpec, Vec<Use>)> {
    let named = section.take("use", report);
    let name = section.take("name", report).and_then(|f| f.name(report));
    let args = section.take("args", report);
    let mut flag = |name, report: &mut Report| section.take(name, report).and_then(|f| f.boolean(report));
    let halt_on_failure = flag("halt_on_failure", report);
    let flunk_on_failure = flag("flunk_on_failure", report);
    let flunk_on_warnings = flag("flunk_on_warnings", report);
    let warn_on_failure = flag("warn_on_failure", report);
    let warn_on_warnings = flag("warn_on_warnings", report);
    let always_run = flag("always_run", report);
    let summary_policy = section.take("update_build_summary_policy", report);
    let summary_policy = summary_policy.and_then(|f| read_summary_policy(f, report)).unwrap_or_default();
    let deadline_ms = section.take("deadline", report).and_then(|f| read_deadline(f, report));
    let uses = section.take("locks", report).map(|f| locks.read_uses(f, report)).unwrap_or_default();
    let do_step_if = condition::take(&mut section, "do_step_if", &OF_STEPS, hooks, report);
    let hide_step_if = condition::take(&mut section, "hide_step_if", &OF_STEPS, hooks, report);
    section.finish(report);

    let hook = named?.name(report)?;
    let found = find_hook(hook, named?, HookKind::BuildStep, hooks, report)?;
    let facts = &found.facts;
    if let Some(args) = args {
        secrets::check(args.node, facts.schema.as_ref(), listed, report);
        triggers.note(args.node, facts.schema.as_ref());
    }
    let args = read_args(hook, named?, &found, args, Templates::Rendered(hooks), report);
    let usual = default_flags(facts);
    let flags = Flags {
        halt_on_failure: halt_on_failure.unwrap_or(usual.halt_on_failure),
        flunk_on_failure: flunk_on_failure.unwrap_or(usual.flunk_on_failure),
        flunk_on_warnings: flunk_on_warnings.unwrap_or(usual.flunk_on_warnings),
        warn_on_failure: warn_on_failure.unwrap_or(usual.warn_on_failure),
        warn_on_warnings: warn_on_warnings.unwrap_or(usual.warn_on_warnings),
        always_run: always_run.unwrap_or(usual.always_run),
    };
    let own_name = facts.qualified.rsplit(':').next().unwrap_or(hook);
    let (name, hook) = (name.unwrap_or(own_name).to_owned(), facts.qualified.clone());
    let locks = locks::accesses(uses.clone());
    let spec = StepSpec::new(&name, &hook);
    let conditions = StepSpec { do_step_if, hide_step_if, ..spec };
    Some((StepSpec { args, flags, summary_policy, deadline_ms, locks, ..conditions }, uses))
}

/// `update_build_summary_policy`: true (all), false (none), or the outcomes.
fn read_summary_policy(field: Field<'_>, report: &mut Report) -> Option<SummaryPolicy> {
    match (field.is_boolean(), &field.node.value) {
        (Some(true), _) => return Some(SummaryPolicy::All),
        (Some(false), _) => return Some(SummaryPolicy::Only(Vec::new())),
        (None, Tree::List(_)) => {}
        (None, _) => return field.wrong("true, false or a list of outcomes", report),
    }
    let mut only = Vec::new();
    for (word, span) in field.texts(report) {
        match Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == word) {
            Some(outcome) => only.push(outcome),
            None => {
                report.error("bad-value", span, format!("there is no outcome `{word}`")).near(
                    word,
                    Outcome::ALL.iter().map(|o| o.as_str()),
                    "",
                );
            }
        }
    }
    Some(SummaryPolicy::Only(only))
}

/// `deadline`, of all steps or of one.
pub(crate) fn read_deadline(field: Field<'_>, report: &mut Report) -> Option<u64> {
    match field.duration_ms(report)? {
        0 => field.refuse("must not be 0", "a step that has no time cannot run", report),
        // Larger ones are never reached, and their ends could not be told.
        ms => Some(ms.min(MAX_DEADLINE_MS)),
    }
}

/// Buildbot's defaults, but for what the step says of itself.
fn default_flags(facts: &HookFacts) -> Flags {
    let usual = Flags::default();
    let say = |name: &str, usual: bool| match facts
        .options
        .iter()
        .find(|option| option.name == name)
        .map(|option| &option.value)
    {
        Some(Value::Boolean(flag)) => *flag,
        _ => usual,
    };
    Flags {
        halt_on_failure: say("halt-on-failure", usual.halt_on_failure),
        flunk_on_failure: say("flunk-on-failure", usual.flunk_on_failure),
        flunk_on_warnings: say("flunk-on-warnings", usual.flunk_on_warnings),
        warn_on_failure: say("warn-on-failure", usual.warn_on_failure),
        warn_on_warnings: say("warn-on-warnings", usual.warn_on_warnings),
        always_run: say("always-run", usual.always_run),
    }
}

/// `merge_requests`: also `true` (the default rule) and `false` (never).
fn read_merge(field: Field<'_>, hooks: &Hooks<'_>, report: &mut Report) -> Option<Merge> {
    if let Some(merge) = field.is_boolean() {
        return Some(if merge { Merge::Compatible } else { Merge::Never });
    }
    let policy = read_policy(field, HookKind::MergeRequests, hooks, report)?;
    Some(policy.map_or(Merge::Compatible, Merge::Policy))
}

/// A policy: its hook's name, `"default"` for none, or `{ use = …, args = …, on_error = … }`. The
/// outer option is none if something was wrong.
fn read_policy(
    field: Field<'_>,
    kind: HookKind,
    hooks: &Hooks<'_>,
    report: &mut Report,
) -> Option<Option<PolicyUse>> {
    let (named, args, on_error) = match &field.node.value {
        Tree::Text(name) if name == "default" => return Some(None),
        Tree::Text(_) => (field, None, OnError::Default),
        Tree::Table(_) => {
            let mut section = field.section(&POLICY_USE, report)?;
            let named = section.take("use", report);
            let args = section.take("args", report);
            let on_error = section.take("on_error", report).and_then(|f| read_on_error(f, report));
            section.finish(report);
            (named?, args, on_error.unwrap_or_default())
        }
        _ => return field.wrong("the name of a policy or a table with `use`", report),
    };
    let hook = named.name(report)?;
    let found = find_hook(hook, named, kind, hooks, report)?;
    let args = read_args(hook, named, &found, args, Templates::Plain, report);
    Some(Some(PolicyUse { hook: found.facts.qualified.clone(), args, on_error }))
}

fn read_on_error(field: Field<'_>, report: &mut Report) -> Option<OnError> {
    match field.text(report)? {
        "default" => Some(OnError::Default),
        "hold" => Some(OnError::Hold),
        _ => field.refuse("must be \"default\" (the default rule decides) or \"hold\" (wait)", "", report),
    }
}

pub(crate) fn find_hook(
    hook: &str,
    named: Field<'_>,
    kind: HookKind,
    hooks: &Hooks<'_>,
    report: &mut Report,
) -> Option<Arc<Hook>> {
    match hooks.find(kind, hook) {
        Ok(found) => Some(found),
        Err(message) => {
            report.error("unknown-hook", &named.node.span, message);
            None
        }
    }
}

pub(crate) fn read_args(
    hook: &str,
    named: Field<'_>,
    found: &Hook,
    args: Option<Field<'_>>,
    templates: Templates<'_>,
    report: &mut Report,
) -> String {
    let args: Option<&Node> = match args {
        Some(field) if !matches!(field.node.value, Tree::Table(_)) => {
            field.wrong::<()>("a table", report);
            return String::new();
        }
        Some(field) => Some(field.node),
        None => None,
    };
    args::read(hook, &named.node.span, &found.schema, args, templates, report)
}

/// Reads a table of properties; `source` is what set them.
pub(crate) fn read_properties(field: Field<'_>, source: &str, report: &mut Report) -> Properties {
    let mut properties = Properties::default();
    for entry in field.table(report) {
        if matches!(entry.node.value, Tree::Integer(i) if i.unsigned_abs() > MAX_INTEGER.unsigned_abs()) {
            entry.refuse::<()>("is too large for some languages of plugins", "write it as a text", report);
        }
        properties.set(entry.name, Value::from_json(&entry.node.to_json()), source);
    }
    properties
}

fn read_env(
    field: Field<'_>,
    hooks: &Hooks<'_>,
    listed: &mut Listed<'_>,
    report: &mut Report,
) -> BTreeMap<String, serde_json::Value> {
    let mut env = BTreeMap::new();
    for entry in field.table(report) {
        if entry.name.is_empty() || entry.name.contains(['=', '\0']) {
            report.error("bad-value", entry.key, "this cannot be the name of an environment variable");
        }
        templates::check(entry.node, hooks, report);
        secrets::check(entry.node, None, Some(listed), report);
        if templates::of(entry.node).is_some() || entry.text(report).is_some() {
            env.insert(entry.name.to_owned(), entry.node.to_json());
        }
    }
    env
}
