//! Text to checked configuration, with every diagnostic at once.
//!
//! A file is parsed into a tree that remembers where everything stands (`node`), walked
//! once by plain functions that collect all they find wrong, and becomes a value of [`config`] only
//! if nothing is. [`diff`] compares two such values. Nothing here reads a file, waits or logs.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod attributes;
pub mod catalog;
pub mod config;
pub mod diagnostic;
pub mod password;
pub mod plan;
pub mod schema;
pub mod template;
pub mod token;
pub mod uses;

mod args;
mod builder;
mod condition;
mod configurators;
mod expand;
mod fixed;
mod grants;
mod include;
mod keeping;
mod locks;
mod master;
mod names;
mod node;
mod reporter;
mod reread;
mod schedule;
mod secrets;
mod section;
mod sources;
mod templates;
mod triggers;
mod unit;
mod users;
mod variables;
mod whose;
mod worker;

use std::collections::BTreeMap;
use std::path::Path;

use windlass_core::builder::StepSpec;
use windlass_core::lock::Lock;

use catalog::Hooks;
use diagnostic::Report;
use locks::Locks;
use node::{Node, Tree};
use section::Section;
use sources::Sources;
use triggers::Triggers;

pub use args::check_args;
pub use catalog::{Answer, Catalog, HookFacts, Included, Known, Unusable};
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use password::{hash_password, verify_password};
pub use plan::{Components, Plan, Side, diff};
pub use reread::Read;
pub use token::{hash_token, is_token_of, token_digest, verify_token};

/// What came of a check: the configuration or all its errors, and the warnings apart.
#[derive(Debug)]
pub struct Checked<T> {
    /// The configuration, if nothing is wrong in it.
    pub config: Result<T, Diagnostics>,
    /// What is allowed, and probably not meant.
    pub warnings: Option<Diagnostics>,
}

/// Checks a `master.toml`: `text` is its content, `path` its name in messages.
pub fn check_master(path: &Path, text: &str, catalog: &dyn Catalog) -> Checked<config::Master> {
    MasterText::parse(path, text).check(catalog)
}

/// Returns the checked `master.toml`, or all its errors.
pub fn load_master(path: &Path, text: &str, catalog: &dyn Catalog) -> Result<config::Master, Diagnostics> {
    check_master(path, text, catalog).config
}

/// A `master.toml` that was parsed: for what has to be known before any plugin is loaded, and then for all of it.
#[derive(Debug)]
pub struct MasterText(Parsed);

impl MasterText {
    /// Parses `text`, the content of the file that messages call `path`.
    #[must_use]
    pub fn parse(path: &Path, text: &str) -> MasterText {
        MasterText(Parsed::new(path, text))
    }

    /// Returns the directories and the address. `variable` looks into the environment.
    pub fn peek(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<config::Fixed, Diagnostics> {
        let Parsed { name, root, sources, report } = &self.0;
        let (mut report, mut fixed) = (report.clone(), None);
        if let Some(root) = root.as_ref().filter(|root| !whose::refuse_of_worker(root, &mut report)) {
            fixed = Some(fixed::peek(root, variable, &mut report));
        }
        finished(name, sources, report, fixed).config
    }

    /// Checks it.
    pub fn check(self, catalog: &dyn Catalog) -> Checked<config::Master> {
        self.0.check(|mut root, sources, report| {
            if whose::refuse_of_worker(&root, report) {
                return None;
            }
            include::read(&mut root, catalog, sources, report)?;
            variables::fill_in(&mut root, &|name| catalog.variable(name), report);
            let hooks = Hooks::new(catalog);
            let configurators = configurators::read(&mut root, &hooks, sources, report)?;
            let lost = expand::builders(&mut root, report);
            let users = users::read(&root, catalog, sources, report);
            Some(master::read(&root, lost, configurators, users, &hooks, report))
        })
    }
}

/// Checks a `worker.toml`.
pub fn check_worker(path: &Path, text: &str) -> Checked<config::WorkerFile> {
    Parsed::new(path, text).check(|root, _, report| {
        (!whose::refuse_of_master(&root, report)).then(|| worker::read(&root, report))
    })
}

/// Whether a text is that of a `worker.toml`, whatever its file is called: it has settings of one, and none that only a
/// `master.toml` has.
#[must_use]
pub fn is_of_worker(text: &str) -> bool {
    Node::parse(text, 0, &mut Report::default()).is_some_and(|root| whose::is_of_worker(&root))
}

/// Returns the checked `worker.toml`, or all its errors.
pub fn load_worker(path: &Path, text: &str) -> Result<config::WorkerFile, Diagnostics> {
    check_worker(path, text).config
}

/// A file as a tree, with what is wrong so far.
#[derive(Debug)]
struct Parsed {
    name: String,
    /// None: it is no TOML.
    root: Option<Node>,
    sources: Sources,
    report: Report,
}

impl Parsed {
    fn new(path: &Path, text: &str) -> Parsed {
        let (mut report, mut sources) = (Report::default(), Sources::default());
        let name = path.display().to_string();
        let begin = sources.add(&name, text);
        let root = Node::parse(text, begin, &mut report);
        Parsed { name, root, sources, report }
    }

    fn check<T>(self, read: impl FnOnce(Node, &mut Sources, &mut Report) -> Option<T>) -> Checked<T> {
        let Parsed { name, root, mut sources, mut report } = self;
        let config = root.and_then(|root| read(root, &mut sources, &mut report));
        finished(&name, &sources, report, config)
    }
}

fn finished<T>(name: &str, sources: &Sources, report: Report, config: Option<T>) -> Checked<T> {
    let (errors, warnings) = report.finish(name, sources);
    let config = match (errors, config) {
        (Some(errors), _) => Err(errors),
        (None, config) => Ok(config.expect("what is not read has errors")),
    };
    Checked { config, warnings }
}

/// Returns the step of `add-steps`: JSON with the keys that a step has in `master.toml`; it may use these locks.
/// The error lists all that is wrong.
pub fn step_from_json(
    json: &str,
    catalog: &dyn Catalog,
    locks: &BTreeMap<String, Lock>,
) -> Result<StepSpec, String> {
    let json: serde_json::Value =
        serde_json::from_str(json).map_err(|e| format!("the step is not JSON: {e}"))?;
    let node = Node::from_json(json);
    if !matches!(node.value, Tree::Table(_)) {
        return Err("the step is not a JSON object".into());
    }
    let mut report = Report::default();
    let (hooks, mut locks) = (Hooks::new(catalog), Locks::known(locks));
    let section = Section::new(&attributes::STEP, &(0..0), &node);
    let mut triggers = Triggers::default();
    let step = builder::read_step(section, &hooks, &mut locks, None, &mut triggers, &mut report);
    secrets::check_step(&node, &mut report);
    match step {
        Some((step, _)) if !report.failed() => Ok(step),
        Some(_) | None => Err(report.messages().join("; ")),
    }
}
