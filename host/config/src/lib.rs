//! Text to checked configuration, with every diagnostic at once.
//!
//! A file is parsed into a tree that remembers where everything stands ([`node`](self)), walked
//! once by plain functions that collect all they find wrong, and becomes a value of [`config`] only
//! if nothing is. [`diff`] compares two such values. Nothing here reads a file, waits or logs.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod catalog;
pub mod config;
pub mod diagnostic;
pub mod plan;
pub mod template;
pub mod token;

use std::path::Path;

use windlass_core::builder::StepSpec;

pub use catalog::{Catalog, HookFacts};
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use plan::{Plan, diff};
pub use token::{hash_token, verify_token};

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
    let _ = (path, text, catalog);
    unimplemented!("landing soon")
}

/// Returns the checked `master.toml`, or all its errors.
pub fn load_master(path: &Path, text: &str, catalog: &dyn Catalog) -> Result<config::Master, Diagnostics> {
    check_master(path, text, catalog).config
}

/// Returns the directories and the address of a `master.toml`, before any plugin is loaded.
pub fn peek_master(path: &Path, text: &str) -> Result<config::Fixed, Diagnostics> {
    let _ = (path, text);
    unimplemented!("landing soon")
}

/// Checks a `worker.toml`.
pub fn check_worker(path: &Path, text: &str) -> Checked<config::WorkerFile> {
    let _ = (path, text);
    unimplemented!("landing soon")
}

/// Returns the checked `worker.toml`, or all its errors.
pub fn load_worker(path: &Path, text: &str) -> Result<config::WorkerFile, Diagnostics> {
    check_worker(path, text).config
}

/// Returns the step of `add-steps`: JSON with the keys that a step has in `master.toml`.
pub fn step_from_json(json: &str, catalog: &dyn Catalog) -> Result<StepSpec, String> {
    let _ = (json, catalog);
    unimplemented!("landing soon")
}

/// Checks rendered arguments (JSON text) against their hook's schema once more, before a run.
pub fn check_args(schema: Option<&serde_json::Value>, args: &str) -> Result<(), String> {
    let _ = (schema, args);
    unimplemented!("landing soon")
}
