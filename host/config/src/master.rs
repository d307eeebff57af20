//! Reads `master.toml`: every section once, in the order in which they build on each other.

use std::collections::BTreeMap;

use windlass_core::build::MAX_RETRIES;
use windlass_core::policy::HookKind;
use windlass_core::properties::Properties;
use windlass_core::validation::{self, Validation};

use crate::attributes::{
    BUILDER, CONFIGURATION, DATABASE, DEBUG, POLLER, REPORTER, SCHEDULER, Table, VALIDATION, WORKER,
};
use crate::builder::{self, Policies, Surroundings, read_properties};
use crate::catalog::Hooks;
use crate::config::{Configurator, Console, Master, Worker, usual_grace};
use crate::diagnostic::Report;
use crate::fixed;
use crate::grants::{self, Grants};
use crate::keeping::{read_artifacts, read_decisions, read_horizons, read_logs};
use crate::locks::{self, Locks, Use};
use crate::names::Names;
use crate::node::Node;
use crate::password;
use crate::reporter;
use crate::schedule::{read_interval, read_poller, read_schedulers};
use crate::secrets;
use crate::section::{Field, Section, canonical, either};
use crate::token;
use crate::triggers::Triggers;
use crate::users;

/// How long a step may run unless the file says otherwise.
const DAY_MS: u64 = 24 * 3_600_000;

/// Reads the whole file; `lost` are names of builders that could not be made. What is returned is worth something only if
/// the report has no error.
pub(crate) fn read(
    root: &Node,
    lost: Vec<String>,
    configurators: Vec<Configurator>,
    users: users::Found,
    hooks: &Hooks<'_>,
    report: &mut Report,
) -> Master {
    let mut section = Section::new(&CONFIGURATION, &(0..0), root);
    // What they say has been done to the tree.
    section.take("include", report).map(|field| field.texts(report));
    section.take("templates", report).map(|field| field.table(report));
    // They were asked.
    section.take("configurators", report);
    // They and what they name are read.
    section.take("user_managers", report);
    let title = section.take("title", report);
    let title_url = section.take("title_url", report).and_then(|f| read_url(f, report));
    let url = section.take("url", report).and_then(|f| read_url(f, report));
    // What is appended to it begins with no `/`, as in Buildbot.
    let url = url.map(|url| if url.ends_with('/') { url } else { url + "/" });
    let fixed = fixed::read(&mut section, report);
    let is_one_of_several = section.take("multi_master", report).and_then(|f| f.boolean(report));
    let validation =
        section.take("validation", report).map(|f| read_validation(f, report)).unwrap_or_default();
    let properties = section
        .take("properties", report)
        .map_or_else(Properties::default, |f| read_properties(f, "Config", report));

    let mut locks = Locks::read(section.take("locks", report), report);
    let mut worker_names = Names::new("worker");
    let mut workers = Vec::new();
    let mut worker_locks = BTreeMap::new();
    for worker in list(&mut section, "workers", &WORKER, report) {
        let (worker, uses) = read_worker(worker, &mut worker_names, &mut locks, report);
        locks.check_counts(&uses, [worker.name.as_str()], report);
        worker_locks.insert(worker.name.clone(), uses);
        workers.push(worker);
    }
    locks.check_workers(&worker_names, report);

    // Before the secrets: some of them run programs.
    let grants =
        section.take("grants", report).map_or_else(grants::bundled, |f| read_grants(f, hooks, report));
    let programs = grants.get(secrets::HOOK).and_then(|scopes| scopes.get(secrets::MASTER_PROCESS));
    let programs = programs.map_or(&[][..], Vec::as_slice);
    let mut secret_names = Names::new("secret");
    let secrets = section
        .take("secrets", report)
        .map(|f| secrets::read(f, &mut secret_names, programs, hooks, report))
        .unwrap_or_default();

    let max_retries = builder::read_max_retries(&mut section, report).unwrap_or(MAX_RETRIES);
    let policies = Policies::read(&mut section, hooks, report);

    let mut builder_names = Names::new("builder");
    builder_names.excuse(lost);
    let mut builddirs = Names::new("builder's directory");
    let mut triggers = Triggers::default();
    let mut around = Surroundings {
        hooks,
        policies: &policies,
        max_retries,
        locks: &mut locks,
        workers: &mut worker_names,
        worker_locks: &worker_locks,
        builders: &mut builder_names,
        builddirs: &mut builddirs,
        secrets: &mut secret_names,
        triggers: &mut triggers,
    };
    let mut builders = Vec::new();
    for section in list(&mut section, "builders", &BUILDER, report) {
        builders.push(builder::read(section, &mut around, report));
    }

    let mut names = Names::new("git poller");
    let mut git_pollers = Vec::new();
    let sections = section.take("git_pollers", report);
    for section in sections.map(|f| f.section_or_sections(&POLLER, report)).unwrap_or_default() {
        git_pollers.push(read_poller(section, &mut names, report));
    }
    let sections = list(&mut section, "schedulers", &SCHEDULER, report);
    let schedulers = read_schedulers(sections, &mut builder_names, report);
    triggers.check(&schedulers, report);
    let sections = list(&mut section, "reporters", &REPORTER, report);
    let mut around = reporter::Surroundings {
        hooks,
        builder_names: &mut builder_names,
        builders: &builders,
        schedulers: &schedulers,
        secrets: &mut secret_names,
    };
    let reporters = reporter::read(sections, &mut around, report);

    let db_poll_interval_ms = read_db_poll_interval(&mut section, report).unwrap_or(60_000);
    let step_deadline_ms = section.take("step_deadline", report);
    let step_deadline_ms = step_deadline_ms.and_then(|f| builder::read_deadline(f, report)).unwrap_or(DAY_MS);
    let worker_grace_ms = section.take("worker_grace", report);
    let worker_grace_ms = worker_grace_ms.and_then(|field| read_grace(field, report));
    let debug = section.take("debug", report).and_then(|field| read_debug(field, report));
    let mut logs = read_logs(&mut section, report);
    logs.keeping.horizons = read_horizons(&mut section, report);
    let decisions = read_decisions(section.take("decisions", report), report);
    let artifacts = read_artifacts(section.take("artifacts", report), report);
    check_caches(root, report);
    section.finish(report);
    secrets::check_elsewhere(root, report);

    // A wrong name elsewhere would make good ones look unused.
    if !report.failed() {
        if !is_one_of_several.unwrap_or(false) {
            warn(root, &worker_names, &builder_names, report);
        }
        for (name, span) in secret_names.unused() {
            report.warning("unused-secret", span, format!("nobody lists the secret `{name}`"));
        }
        for (name, span) in locks.unused() {
            report.warning("unused-lock", span, format!("nothing uses the lock `{name}`"));
        }
    }
    Master {
        title: title.and_then(|f| f.text(report)).unwrap_or("Windlass").to_owned(),
        title_url,
        url,
        fixed,
        validation,
        properties,
        locks: locks.locks,
        workers,
        builders,
        prioritize_builders: policies.prioritize_builders,
        codebase_generator: policies.codebase_generator,
        git_pollers,
        schedulers,
        configurators,
        reporters,
        user_managers: users.managers,
        users: users.users,
        grants,
        secrets,
        db_poll_interval_ms,
        step_deadline_ms,
        worker_grace_ms: worker_grace_ms.unwrap_or_else(usual_grace),
        debug,
        logs,
        decisions,
        artifacts,
    }
}

fn read_debug(field: Field<'_>, report: &mut Report) -> Option<Console> {
    let mut section = field.section(&DEBUG, report)?;
    let hash = section.take("password_hash", report);
    let allow_changes = section.take("allow_changes", report).and_then(|field| field.boolean(report));
    section.finish(report);
    let hash = hash?;
    let password_hash = hash.name(report)?.to_owned();
    if let Err(why) = password::check(&password_hash) {
        let help = "`windlass password` asks for one and prints its hash; never write the password itself";
        return hash.refuse(&why, help, report);
    }
    Some(Console { password_hash, allow_changes: allow_changes.unwrap_or(false) })
}

fn read_grace(field: Field<'_>, report: &mut Report) -> Option<u64> {
    match field.duration_ms(report)? {
        0 => field.refuse("must not be 0", "each cut link would end the builds of its worker", report),
        ms => Some(ms.min(DAY_MS)),
    }
}

fn list<'a>(
    section: &mut Section<'a>,
    name: &'static str,
    table: &'static Table,
    report: &mut Report,
) -> Vec<Section<'a>> {
    section.take(name, report).map(|field| field.sections(table, report)).unwrap_or_default()
}

/// Reads one of `[[workers]]`.
fn read_worker(
    mut section: Section<'_>,
    names: &mut Names,
    locks: &mut Locks,
    report: &mut Report,
) -> (Worker, Vec<Use>) {
    let name = section.take("name", report);
    let token_hash = section.take("token_hash", report);
    let max_builds = section.take("max_builds", report);
    let properties = section.take("properties", report);
    let default_properties = section.take("default_properties", report);
    let uses = section.take("locks", report).map(|f| locks.read_uses(f, report)).unwrap_or_default();
    section.finish(report);
    if let Some((field, text)) = name.and_then(|f| Some((f, f.text(report)?))) {
        check_worker_name(field, text, report);
        names.give(text, &field.node.span, report);
    }
    let token_hash = token_hash.and_then(|field| {
        let text = field.text(report)?;
        if token::parse_hash(text).is_none() {
            return field.refuse(
                "is not the hash of a token",
                "it is `blake3:` and 64 hexadecimal digits, as `windlass init` prints it; never the token itself",
                report,
            );
        }
        Some(text.to_owned())
    });
    let max_builds = max_builds.and_then(|f| f.integer(1, u32::MAX.into(), report));
    let worker = Worker {
        name: name.and_then(|f| f.node.as_text()).unwrap_or_default().to_owned(),
        token_hash,
        max_builds: max_builds.map(|n| u32::try_from(n).expect("its range was checked")),
        properties: properties.map_or_else(Properties::default, |f| read_properties(f, "Worker", report)),
        default_properties: default_properties
            .map_or_else(Properties::default, |f| read_properties(f, "Worker", report)),
        locks: locks::accesses(uses.clone()),
    };
    (worker, uses)
}

/// Buildbot's rule: an identifier of at most 50 characters, and none of three reserved ones.
fn check_worker_name(field: Field<'_>, name: &str, report: &mut Report) {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let other = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !name.starts_with(first) || !name.chars().all(other) || name.len() > 50 {
        field.refuse::<()>(
            "is not possible for a worker",
            "at most 50 letters, digits, `.`, `_` and `-`, a letter or `_` first",
            report,
        );
    } else if ["debug", "change", "status"].contains(&name) {
        field.refuse::<()>("is a reserved name", "", report);
    }
}

fn read_grants(field: Field<'_>, hooks: &Hooks<'_>, report: &mut Report) -> Grants {
    let (own, granted) = grants::read(field, "[grants]", report);
    let mut grants = grants::bundled();
    grants.extend(own);
    for hook in granted {
        let known = hook.name == secrets::HOOK
            || HookKind::ALL.iter().any(|kind| hooks.find(*kind, hook.name).is_ok());
        if !known {
            report
                .warning("unused-grant", hook.key, format!("no loaded plugin offers `{}`", hook.name))
                .help("the grant does nothing until one does");
        }
    }
    grants
}

/// An address that browsers know.
fn read_url(field: Field<'_>, report: &mut Report) -> Option<String> {
    let text = field.name(report)?;
    match text.split_once("://") {
        Some(("http" | "https", rest)) if !rest.is_empty() => Some(text.to_owned()),
        Some(_) | None => field.refuse("is not a URL", "write `https://HOST/`", report),
    }
}

fn read_validation(field: Field<'_>, report: &mut Report) -> Validation {
    let usual = Validation::default();
    let Some(mut section) = field.section(&VALIDATION, report) else { return usual };
    let mut pattern = |name, report: &mut Report| {
        let field = section.take(name, report)?;
        let text = field.text(report)?;
        match validation::check(text) {
            Ok(()) => Some(text.to_owned()),
            Err(why) => field.refuse(&format!("is not a regular expression: {why}"), "", report),
        }
    };
    let validation = Validation {
        branch: pattern("branch", report).unwrap_or(usual.branch),
        revision: pattern("revision", report).unwrap_or(usual.revision),
        property_name: pattern("property_name", report).unwrap_or(usual.property_name),
        property_value: pattern("property_value", report),
    };
    section.finish(report);
    validation
}

/// `db_poll_interval`, which Buildbot has in `db`, too.
fn read_db_poll_interval(top: &mut Section<'_>, report: &mut Report) -> Option<u64> {
    let at_top = top.take("db_poll_interval", report);
    let database = top.take("db", report).and_then(|f| f.section(&DATABASE, report));
    let inside = database.and_then(|mut section| {
        let inside = section.take("db_poll_interval", report);
        section.finish(report);
        inside
    });
    read_interval(either(at_top, inside, report)?, report)
}

/// Buildbot refuses a cache that is given two sizes, and so do we, though neither has an effect.
fn check_caches(root: &Node, report: &mut Report) {
    let find = |name: &str| root.entries().iter().find(|entry| canonical(&entry.key) == name);
    for (old, new) in [("build_cache_size", "Builds"), ("change_cache_size", "Changes")] {
        if let (Some(old), Some(all)) = (find(old), find("caches"))
            && let Some(new) = all.node.entries().iter().find(|entry| entry.key == new)
        {
            report
                .error("two-spellings", &old.key_span, "this setting is there twice, by two names")
                .label(format!("the same as `caches.{}`", new.key))
                .also(&new.key_span, "first here");
        }
    }
}

/// What is allowed and probably not meant.
fn warn(root: &Node, workers: &Names, builders: &Names, report: &mut Report) {
    let nowhere = root.span.start..root.span.start;
    if workers.is_empty() {
        report.warning("no-workers", &nowhere, "there are no workers: nothing can be built");
    }
    if builders.is_empty() {
        report.warning("no-builders", &nowhere, "there are no builders: there is nothing to build");
        return;
    }
    for (name, span) in workers.unused() {
        report.warning("unused-worker", span, format!("no builder uses the worker `{name}`"));
    }
    for (name, span) in builders.unused() {
        report
            .warning("unscheduled-builder", span, format!("no scheduler asks for the builder `{name}`"))
            .help("only `windlass force` starts it; a scheduler of type \"force\" says that this is meant");
    }
}
