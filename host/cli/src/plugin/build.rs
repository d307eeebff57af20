//! `plugin build`: a project in any of the four languages becomes a component in its place.

use std::path::{Path, PathBuf};

use anstream::{eprintln, println};
use anyhow::Context as _;
use windlass_build::{BuildError, Builder, Component};

use super::{File, Loader};
use crate::exit::{Exit, Failed};
use crate::output::{FAINT, GOOD, WARN, paint, tame, tame_lines};
use crate::query::print_json;

/// `windlass plugin build`.
pub fn build(project: &Path, out: &Path, target_dir: Option<&Path>, json: bool) -> Result<Exit, Failed> {
    if out.is_file() || out.extension().is_some_and(|ending| ending == "wasm") {
        let why = format!("`{}` is to be a folder; the file in it is called as the plugin", out.display());
        return Err(Failed { exit: Exit::Refused, error: anyhow::Error::msg(why) });
    }
    let components = compile(project, target_dir)?;
    if !out.is_dir() {
        std::fs::create_dir_all(out).with_context(|| format!("failed to make `{}`", out.display()))?;
        eprintln!("{}", paint(WARN, format_args!("made the folder {}", out.display())));
    }
    let loader = Loader::start()?;
    let mut built = Vec::new();
    for component in components {
        // What no master would load does not get into a plugins folder.
        let mut file = File::read(&component.path)?;
        file.name.clone_from(&component.name);
        let plugin = loader.load(file).map_err(Failed::invalid)?;
        let target = place(&component, out)?;
        let hooks: Vec<String> = plugin.hooks.iter().map(|h| format!("{} {}", h.kind, h.name)).collect();
        if !json {
            println!(
                "{} {}: {}",
                paint(GOOD, target.display()),
                plugin.digest.short(),
                tame(&hooks.join(", "))
            );
        }
        built.push(serde_json::json!({ "file": target, "digest": plugin.digest, "hooks": hooks }));
    }
    if json {
        print_json(&built);
    }
    Ok(Exit::Success)
}

/// Builds a project, with its progress on standard error.
pub fn compile(project: &Path, target_dir: Option<&Path>) -> Result<Vec<Component>, Failed> {
    let mut said = Vec::new();
    let mut builder = Builder::new(project).progress(|line| {
        eprintln!("{}", paint(FAINT, tame(line)));
        said.push(line.to_owned());
    });
    if let Some(folder) = target_dir {
        builder = builder.target_dir(folder);
    }
    builder.build().map_err(|error| failed(error, &said))
}

/// The author's mistakes have another exit code than a missing tool, and are shown once.
fn failed(error: BuildError, said: &[String]) -> Failed {
    match error {
        BuildError::Failed { command, output } => {
            for line in output.lines().filter(|line| !said.iter().any(|s| s == line)) {
                eprintln!("{}", tame_lines(line));
            }
            let program = command.split(' ').take(2).map(|word| word.rsplit('/').next().unwrap_or(word));
            let program = program.collect::<Vec<_>>().join(" ");
            Failed::invalid(anyhow::anyhow!("`{program}` failed; what it said stands above"))
        }
        BuildError::Refused { .. }
        | BuildError::Manifest(_)
        | BuildError::NoSource { .. }
        | BuildError::UnknownLanguage { .. }
        | BuildError::NoComponent { .. } => Failed::invalid(error),
        other => Failed { exit: Exit::Outside, error: other.into() },
    }
}

/// Beside its place first: a master that reloads just now sees the old file or the new one.
fn place(component: &Component, out: &Path) -> Result<PathBuf, Failed> {
    let target = out.join(format!("{}.wasm", component.name));
    let unfinished = out.join(format!(".{}.wasm.new", component.name));
    std::fs::copy(&component.path, &unfinished)
        .and_then(|_| std::fs::rename(&unfinished, &target))
        .with_context(|| format!("failed to write `{}`", target.display()))?;
    Ok(target)
}
