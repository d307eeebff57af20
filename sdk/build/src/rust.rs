//! Builds a cargo project of Rust guests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::{BuildError, Component, TARGET, Toolchain, environment, neutral, run};

/// Builds every package of the project that has a `cdylib`, and answers their components by name.
pub fn build(
    project: &Path,
    target_dir: &Path,
    locked: bool,
    examples: bool,
    toolchain: &Toolchain,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<Component>, BuildError> {
    let metadata = metadata(project, locked, toolchain, progress)?;
    let local = metadata.packages.iter().filter(|package| package.source.is_none());
    let wrapper = neutral::wrapper(target_dir, local.filter_map(|package| package.manifest_path.parent()))
        .map_err(|source| BuildError::Write { path: target_dir.to_owned(), source })?;
    let mut command = base(toolchain, "build", project, locked);
    command
        .args(["--release", "--color", "never", "--message-format", "json-render-diagnostics"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&metadata, toolchain).join("\x1f"))
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &toolchain.linker.component)
        .env("RUSTC_WRAPPER", &wrapper);
    if examples {
        command.args(["--lib", "--examples"]);
    }
    let answer = run::run(command, progress)?;

    let mut components = Vec::new();
    // Lines that are not messages of cargo's come from build scripts and are none of ours.
    for artifact in answer.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok()) {
        if artifact.reason != "compiler-artifact"
            || !artifact.target.crate_types.iter().any(|kind| kind == "cdylib")
        {
            continue;
        }
        let made = artifact.filenames.iter().find(|file| file.extension().is_some_and(|end| end == "wasm"));
        let name = metadata.packages.iter().find(|package| package.id == artifact.package_id);
        if let (Some(made), Some(package)) = (made, name) {
            let is_example = artifact.target.kind.iter().any(|kind| kind == "example");
            let name = if is_example { &artifact.target.name } else { &package.name };
            components.push(Component::place(name, made, target_dir)?);
        }
    }
    if components.is_empty() {
        return Err(BuildError::NoComponent { path: project.to_owned() });
    }
    components.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(components)
}

#[derive(Deserialize)]
struct Artifact {
    reason: String,
    package_id: String,
    target: ArtifactTarget,
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct ArtifactTarget {
    name: String,
    kind: Vec<String>,
    crate_types: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    /// None: a package in a folder, not from a registry.
    source: Option<String>,
    manifest_path: PathBuf,
}

fn metadata(
    project: &Path,
    locked: bool,
    toolchain: &Toolchain,
    progress: &mut dyn FnMut(&str),
) -> Result<Metadata, BuildError> {
    let mut command = base(toolchain, "metadata", project, locked);
    command.args(["--format-version", "1", "--color", "never", "--filter-platform", TARGET]);
    let answer = run::run(command, progress)?;
    serde_json::from_str(&answer)
        .map_err(|source| BuildError::Answer { command: "cargo metadata".to_owned(), source })
}

/// The compiler's flags. None of them may hold a path that ends up in the bytes.
fn flags(metadata: &Metadata, toolchain: &Toolchain) -> Vec<String> {
    let mut flags = vec![format!("-Clink-arg=--wasm-ld-path={}", toolchain.linker.core.display())];
    if let Some(sysroot) = &toolchain.sysroot {
        flags.push(format!("--sysroot={}", sysroot.display()));
    }
    let mut prefixes = BTreeSet::new();
    for package in &metadata.packages {
        let Some(folder) = package.manifest_path.parent() else { continue };
        match &package.source {
            // Cargo names the files of a workspace relative to it; a package beside it has its whole path.
            None if folder.starts_with(&metadata.workspace_root) => {}
            None => drop(prefixes.insert((folder.to_owned(), format!("/{}", package.name)))),
            // The folder above a package is named after its registry.
            Some(_) => {
                if let Some(registry) = folder.parent() {
                    prefixes.insert((registry.to_owned(), "/cargo".to_owned()));
                }
            }
        }
    }
    flags.extend(prefixes.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())));
    flags
}

fn base(toolchain: &Toolchain, subcommand: &str, project: &Path, locked: bool) -> Command {
    let mut command = Command::new(&toolchain.cargo);
    environment::clean(&mut command);
    command.current_dir(project).arg(subcommand).arg("--manifest-path").arg(project.join("Cargo.toml"));
    if locked {
        command.arg("--locked");
    }
    command.env("RUSTC", &toolchain.rustc);
    command
}
