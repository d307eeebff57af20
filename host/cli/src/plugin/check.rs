//! `plugin check`: all that a master would say of components, before any master sees them.

use std::path::{Path, PathBuf};

use anstream::println;
use serde::Serialize;
use windlass_core::digest::Digest;
use windlass_core::policy::HookKind;
use windlass_core::text::chain;
use windlass_runtime::plugin::{Hook, Plugin, Source};
use windlass_runtime::{Verdict, compat, registry};

use super::{File, Loader, build};
use crate::exit::{Exit, Failed};
use crate::output::{BAD, FAINT, GOOD, WARN, paint, size, tame, tame_lines};
use crate::query::print_json;

/// What is known of one file, or of a path at which none was found.
#[derive(Debug, Serialize)]
struct Report {
    file: PathBuf,
    size: Option<u64>,
    digest: Option<Digest>,
    /// `next-slave alphabetical`.
    hooks: Vec<String>,
    errors: Vec<String>,
    warnings: Vec<String>,
    /// What this host and others say of the contract that it was made for.
    hosts: Vec<HostSays>,
}

/// [`Verdict`], for machines.
#[derive(Debug, Serialize)]
struct HostSays {
    host: String,
    loads: bool,
    says: String,
}

impl From<Verdict> for HostSays {
    fn from(verdict: Verdict) -> HostSays {
        let Verdict { host, loads, says } = verdict;
        HostSays { host, loads, says }
    }
}

/// `windlass plugin check`: of files, of folders with components, and of projects, which are built first.
pub fn check(paths: &[PathBuf], target_dir: Option<&Path>, json: bool) -> Result<Exit, Failed> {
    let (loader, mut reports, mut loaded) = (Loader::start()?, Vec::new(), Vec::new());
    let mut exit = Exit::Success;
    for found in paths.iter().flat_map(|path| find(path, target_dir)) {
        let file = match found {
            Ok(file) => file,
            Err((path, failed)) => {
                exit = exit.max(failed.exit);
                reports.push(Report::of_nothing(path, &failed));
                continue;
            }
        };
        let path = match &file.source {
            Source::File(path) => path.clone(),
            Source::Bundled | Source::Master => PathBuf::from(&file.name),
        };
        let (size, digest) = (Some(file.bytes.len() as u64), Some(Digest::of(&file.bytes)));
        // What is no component has no contract; loading says what it is.
        let hosts = compat(&file.bytes).unwrap_or_default().into_iter().map(HostSays::from).collect();
        let (mut hooks, mut errors) = (Vec::new(), Vec::new());
        match loader.load(file) {
            Ok(plugin) => {
                hooks.extend(plugin.hooks.iter().map(|hook| format!("{} {}", hook.kind, hook.name)));
                loaded.push((reports.len(), plugin));
            }
            Err(error) => {
                exit = exit.max(Exit::Invalid);
                errors.push(chain(&error.problem));
            }
        }
        reports.push(Report { file: path, size, digest, hooks, errors, warnings: Vec::new(), hosts });
    }
    let bundled = bundled(&loader, !loaded.is_empty());
    for (n, (place, plugin)) in loaded.iter().enumerate() {
        let others =
            loaded.iter().enumerate().filter(|(other, _)| *other != n).map(|(_, (_, plugin))| &**plugin);
        reports[*place].warnings = warnings(plugin, &bundled, &others.collect::<Vec<_>>());
    }
    if json {
        print_json(&reports)
    } else {
        reports.iter().for_each(show)
    }
    Ok(exit)
}

impl Report {
    /// Nothing that could be loaded.
    fn of_nothing(file: PathBuf, failed: &Failed) -> Report {
        let errors = vec![format!("{:#}", failed.error)];
        let (hooks, warnings, hosts) = (Vec::new(), Vec::new(), Vec::new());
        Report { file, size: None, digest: None, hooks, errors, warnings, hosts }
    }
}

/// The components at a path: of a file, of a project, of a folder. What cannot be had comes with its own path.
fn find(path: &Path, target_dir: Option<&Path>) -> Vec<Result<File, (PathBuf, Failed)>> {
    let at = |failed| (path.to_owned(), failed);
    if !path.is_dir() {
        return vec![File::read(path).map_err(at)];
    }
    if is_project(path) {
        return match build::compile(path, target_dir) {
            Ok(built) => built.into_iter().map(|component| of_project(component).map_err(at)).collect(),
            Err(failed) => vec![Err(at(failed))],
        };
    }
    let (found, errors) = registry::look_through(path);
    if found.is_empty() && errors.is_empty() {
        let why = "it holds neither components nor a plugin project";
        return vec![Err(at(Failed::invalid(anyhow::Error::msg(why))))];
    }
    let file = |(name, path, bytes): (String, PathBuf, _)| File {
        name,
        source: Source::File(path),
        bytes: Vec::from(bytes),
    };
    let unread = |error: registry::ScanError| (error.path, anyhow::Error::new(error.cause).into());
    found.into_iter().map(|found| Ok(file(found))).chain(errors.into_iter().map(|e| Err(unread(e)))).collect()
}

fn of_project(component: windlass_build::Component) -> Result<File, Failed> {
    Ok(File { name: component.name, ..File::read(&component.path)? })
}

fn is_project(folder: &Path) -> bool {
    ["Cargo.toml", "plugin.toml"].iter().any(|manifest| folder.join(manifest).is_file())
}

/// The hooks that every master has.
fn bundled(loader: &Loader, wanted: bool) -> Vec<(HookKind, String)> {
    let components = windlass_plugins::bundled().iter().filter(|_| wanted);
    let loaded = components.filter_map(|bundled| loader.load(File::bundled(bundled)).ok());
    loaded.flat_map(|p| p.hooks.iter().map(|h| (h.kind, h.name.clone())).collect::<Vec<_>>()).collect()
}

/// What loads, and is probably not meant.
fn warnings(plugin: &Plugin, bundled: &[(HookKind, String)], others: &[&Plugin]) -> Vec<String> {
    let mut warnings = Vec::new();
    for hook in &plugin.hooks {
        let Hook { kind, name, .. } = hook;
        let qualified = format!("{}:{name}", plugin.name);
        if bundled.iter().any(|(k, n)| k == kind && n == name) {
            warnings.push(format!(
                "a bundled {kind} is called `{name}` too, and stays what a bare `{name}` means: \
                 configurations have to say `{qualified}`"
            ));
        }
        if let Some(other) = others.iter().find(|other| other.hook(*kind, name).is_some()) {
            warnings.push(format!(
                "`{}` has a {kind} `{name}` too: in one plugins folder, configurations have to say which, \
                 `{qualified}` or `{}:{name}`",
                other.name, other.name
            ));
        }
        warnings.extend(schema_warning(hook));
    }
    for asked in plugin.capabilities.iter().filter(|asked| asked.reason.trim().is_empty()) {
        warnings.push(format!(
            "it asks for `{}` without a reason; whoever grants it wants to read one",
            asked.capability
        ));
    }
    warnings
}

fn schema_warning(hook: &Hook) -> Option<String> {
    let name = &hook.name;
    match &hook.args_schema {
        Some(schema)
            if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() =>
        {
            Some(format!(
                "the schema of `{name}` lacks `\"additionalProperties\": false`: a misspelt argument goes unnoticed"
            ))
        }
        None if matches!(hook.kind, HookKind::BuildStep | HookKind::SlaveCommand) => Some(format!(
            "`{name}` has no schema, so it takes no arguments; a {} without any is rare",
            hook.kind
        )),
        Some(_) | None => None,
    }
}

fn show(report: &Report) {
    let file = tame(&report.file.display().to_string());
    if report.errors.is_empty() {
        let digest = report.digest.map(|digest| digest.short()).unwrap_or_default();
        let size = report.size.map(size).unwrap_or_default();
        let what = format!("{digest}, {size}: {}", report.hooks.join(", "));
        println!("{} {file} {}", paint(GOOD, "good:"), paint(FAINT, tame(&what)));
    }
    for error in &report.errors {
        println!("{} {file}: {}", paint(BAD, "error:"), tame_lines(error));
    }
    for warning in &report.warnings {
        println!("{} {file}: {}", paint(WARN, "warning:"), tame_lines(warning));
    }
    for HostSays { host, loads, says } in &report.hosts {
        let word = if *loads { "takes it" } else { "refuses it" };
        println!("  {}", paint(FAINT, tame(&format!("{host} {word}: {says}"))));
    }
}
