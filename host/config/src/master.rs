//! Reads `master.toml`: every section once, in the order in which they build on each other.

use std::collections::BTreeMap;
use std::path::PathBuf;

use windlass_core::artifact::Keep;
use windlass_core::build::MAX_RETRIES;
use windlass_core::decision::Budget;
use windlass_core::keeping::Method;
use windlass_core::policy::HookKind;
use windlass_core::properties::Properties;

use crate::builder::{self, Policies, Surroundings, read_properties};
use crate::catalog::Hooks;
use crate::config::{Fixed, Logs, Master, Worker};
use crate::diagnostic::Report;
use crate::grants::{self, Grants};
use crate::locks::{self, Locks, Use};
use crate::names::Names;
use crate::node::Node;
use crate::schedule::{read_interval, read_poller, read_schedulers};
use crate::secrets;
use crate::section::{Field, Section};
use crate::token;
use crate::triggers::Triggers;

/// How long a step may run unless the file says otherwise.
const DAY_MS: u64 = 24 * 3_600_000;

const MASTER: &[&str] = &["master"];

/// Reads the whole file. What is returned is worth something only if the report has no error.
pub(crate) fn read(root: &Node, hooks: &Hooks<'_>, report: &mut Report) -> Master {
    let mut section = Section::new("the configuration", &(0..0), root);
    let title = section.take(&["title"], report);
    let fixed = read_fixed(section.take(MASTER, report), report);
    let properties = section
        .take(&["properties"], report)
        .map_or_else(Properties::default, |f| read_properties(f, "Config", report));

    let mut locks = Locks::read(section.take(&["locks"], report), report);
    let mut worker_names = Names::new("worker");
    let mut workers = Vec::new();
    let mut worker_locks = BTreeMap::new();
    for worker in list(&mut section, &["workers", "slaves"], "a worker", report) {
        let (worker, uses) = read_worker(worker, &mut worker_names, &mut locks, report);
        locks.check_counts(&uses, [worker.name.as_str()], report);
        worker_locks.insert(worker.name.clone(), uses);
        workers.push(worker);
    }
    locks.check_workers(&worker_names, report);

    // Before the secrets: some of them run programs.
    let grants =
        section.take(&["grants"], report).map_or_else(grants::bundled, |f| read_grants(f, hooks, report));
    let programs = grants.get(secrets::HOOK).and_then(|scopes| scopes.get(secrets::MASTER_PROCESS));
    let programs = programs.map_or(&[][..], Vec::as_slice);
    let mut secret_names = Names::new("secret");
    let secrets = section
        .take(&["secrets"], report)
        .map(|f| secrets::read(f, &mut secret_names, programs, hooks, report))
        .unwrap_or_default();

    let max_retries = builder::read_max_retries(&mut section, report).unwrap_or(MAX_RETRIES);
    let policies = section
        .take(&["policies"], report)
        .map_or_else(Policies::default, |f| Policies::read(f, hooks, report));

    let mut builder_names = Names::new("builder");
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
    for section in list(&mut section, &["builders"], "a builder", report) {
        builders.push(builder::read(section, &mut around, report));
    }

    let mut names = Names::new("git poller");
    let mut git_pollers = Vec::new();
    for section in list(&mut section, &["git_pollers"], "a git poller", report) {
        git_pollers.push(read_poller(section, &mut names, report));
    }
    let sections = list(&mut section, &["schedulers"], "a scheduler", report);
    let schedulers = read_schedulers(sections, &mut builder_names, report);
    triggers.check(&schedulers, report);

    let db_poll_interval_ms =
        section.take(&["db_poll_interval"], report).and_then(|f| read_interval(f, report)).unwrap_or(60_000);
    let step_deadline_ms = section.take(&["step_deadline"], report);
    let step_deadline_ms = step_deadline_ms.and_then(|f| builder::read_deadline(f, report)).unwrap_or(DAY_MS);
    let logs = read_logs(section.take(&["logs"], report), report);
    let decisions = read_decisions(section.take(&["decisions"], report), report);
    let artifacts = read_artifacts(section.take(&["artifacts"], report), report);
    section.finish(report);
    secrets::check_elsewhere(root, report);

    // A wrong name elsewhere would make good ones look unused.
    if !report.failed() {
        warn(root, &worker_names, &builder_names, report);
        for (name, span) in secret_names.unused() {
            report.warning("unused-secret", span, format!("no builder lists the secret `{name}`"));
        }
        for (name, span) in locks.unused() {
            report.warning("unused-lock", span, format!("nothing uses the lock `{name}`"));
        }
    }
    Master {
        title: title.and_then(|f| f.text(report)).unwrap_or("Windlass").to_owned(),
        fixed,
        properties,
        locks: locks.locks,
        workers,
        builders,
        prioritize_builders: policies.prioritize_builders,
        codebase_generator: policies.codebase_generator,
        git_pollers,
        schedulers,
        grants,
        secrets,
        db_poll_interval_ms,
        step_deadline_ms,
        logs,
        decisions,
        artifacts,
    }
}

/// Reads `[master]` and nothing else.
pub(crate) fn peek(root: &Node, report: &mut Report) -> Fixed {
    let master = Section::new("the configuration", &(0..0), root).take(MASTER, report);
    read_fixed(master, report)
}

fn list<'a>(
    section: &mut Section<'a>,
    names: &'static [&'static str],
    what: &'static str,
    report: &mut Report,
) -> Vec<Section<'a>> {
    section.take(names, report).map(|field| field.sections(what, report)).unwrap_or_default()
}

/// `[master]`: settings that need a restart to change.
fn read_fixed(field: Option<Field<'_>>, report: &mut Report) -> Fixed {
    let mut section = field.and_then(|f| f.section("[master]", report));
    let mut take = |names, report: &mut Report| section.as_mut().and_then(|s| s.take(names, report));
    let listen = take(&["listen"], report);
    let state_dir = take(&["state_dir"], report);
    let plugins_dir = take(&["plugins_dir"], report);
    let public_dir = take(&["public_dir"], report);
    if let Some(section) = section {
        section.finish(report);
    }
    let mut path = |field: Option<Field<'_>>, usual: &str| {
        PathBuf::from(field.and_then(|f| f.name(report)).unwrap_or(usual))
    };
    let (state_dir, plugins_dir) = (path(state_dir, "state"), path(plugins_dir, "plugins"));
    let public_dir = path(public_dir, "public");
    let listen = listen.and_then(|f| read_address(f, report)).unwrap_or("127.0.0.1:9989").to_owned();
    Fixed { listen, state_dir, plugins_dir, public_dir }
}

/// `host:port`. Only its form is checked: a name is looked up when the master listens.
fn read_address<'a>(field: Field<'a>, report: &mut Report) -> Option<&'a str> {
    let text = field.text(report)?;
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Some(text),
        Some(_) | None => {
            field.refuse("is not an address", "write `HOST:PORT`, like `127.0.0.1:9989`", report)
        }
    }
}

/// Reads one of `[[workers]]`.
fn read_worker(
    mut section: Section<'_>,
    names: &mut Names,
    locks: &mut Locks,
    report: &mut Report,
) -> (Worker, Vec<Use>) {
    let name = section.need(&["name"], report);
    let token_hash = section.need(&["token_hash"], report);
    let max_builds = section.take(&["max_builds"], report);
    let properties = section.take(&["properties"], report);
    let default_properties = section.take(&["default_properties"], report);
    let uses = section.take(&["locks"], report).map(|f| locks.read_uses(f, report)).unwrap_or_default();
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
        token_hash: token_hash.unwrap_or_default(),
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

/// The most of the end of a log that is kept: it lies in memory while its step runs.
const MAX_TAIL: u64 = 16 << 20;

fn read_logs(field: Option<Field<'_>>, report: &mut Report) -> Logs {
    let mut section = field.and_then(|f| f.section("[logs]", report));
    let mut logs = Logs::default();
    let mut take = |names, report: &mut Report| section.as_mut().and_then(|s| s.take(names, report));
    logs.max_bytes = take(&["max_bytes"], report).and_then(|f| f.size(report));
    if let Some(size) = take(&["max_log_bytes", "log_max_size"], report).and_then(|f| f.size(report)) {
        logs.max_log_bytes = size;
    }
    if let Some(field) = take(&["log_max_tail_size"], report) {
        let span = field.node.span.clone();
        match field.size(report) {
            Some(size) if size > MAX_TAIL => {
                let message = "`log_max_tail_size` may be 16 MiB at the most: it is memory of the master";
                report.error("bad-value", &span, message).help("raise `max_log_bytes` to keep more of a log");
            }
            size => logs.max_log_tail_bytes = size.unwrap_or(logs.max_log_tail_bytes),
        }
    }
    if let Some(field) = take(&["log_compression_method"], report) {
        let span = field.node.span.clone();
        if let Some(name) = field.text(report) {
            match Method::named(name) {
                Some(method) => logs.keeping.method = method,
                None => {
                    let message = format!("logs cannot be compressed by `{name}`");
                    report.error("bad-value", &span, message).help("use `zstd`, `gzip` or `none`");
                }
            }
        }
    }
    if let Some(limit) = take(&["log_compression_limit"], report).and_then(|f| f.size(report)) {
        logs.keeping.limit = limit;
    }
    logs.keeping.horizon_ms = take(&["log_horizon"], report).and_then(|f| match f.duration_ms(report)? {
        0 => f.refuse("must not be 0", "leave it out to keep logs for ever", report),
        ms => Some(ms),
    });
    if let Some(section) = section {
        section.finish(report);
    }
    logs
}

/// `[decisions]`: how many records of decisions are kept.
fn read_decisions(field: Option<Field<'_>>, report: &mut Report) -> Budget {
    let mut section = field.and_then(|f| f.section("[decisions]", report));
    let mut take = |names, report: &mut Report| section.as_mut().and_then(|s| s.take(names, report));
    let max_bytes = take(&["max_bytes"], report).and_then(|f| f.size(report));
    let max_age_ms = take(&["max_age"], report).and_then(|f| f.duration_ms(report));
    if let Some(section) = section {
        section.finish(report);
    }
    let usual = Budget::default();
    Budget {
        max_bytes: max_bytes.unwrap_or(usual.max_bytes),
        max_age_ms: max_age_ms.unwrap_or(usual.max_age_ms),
    }
}

/// What artifacts leave free of the disk, unless the file says otherwise: for rows and logs.
const KEEP_FREE: u64 = 256 * 1024 * 1024;

/// `[artifacts]`: how large they may be, and how long they are kept.
fn read_artifacts(field: Option<Field<'_>>, report: &mut Report) -> Keep {
    let mut section = field.and_then(|f| f.section("[artifacts]", report));
    let mut take = |names, report: &mut Report| section.as_mut().and_then(|s| s.take(names, report));
    let max_bytes = take(&["max_bytes"], report).and_then(|f| f.size(report));
    let max_artifact_bytes = take(&["max_artifact_bytes"], report).and_then(|f| f.size(report));
    let keep_free = take(&["keep_free"], report).and_then(|f| f.size(report));
    let max_age_ms = take(&["max_age"], report).and_then(|f| f.duration_ms(report));
    if let Some(section) = section {
        section.finish(report);
    }
    Keep { max_bytes, max_artifact_bytes, max_age_ms, keep_free: keep_free.unwrap_or(KEEP_FREE) }
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
