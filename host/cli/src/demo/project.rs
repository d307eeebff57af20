//! What the demo builds: a git repository, its revision, and the commands that suit it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::exit::Failed;

/// A repository and what to run in it.
#[derive(Debug)]
pub struct Project {
    /// A path or URL that git can clone.
    pub repository: String,
    /// The exact commit of its HEAD.
    pub revision: String,
    /// The builders, quick ones first.
    pub builders: Vec<Builder>,
}

/// A builder of the demo: `git`, then one command.
#[derive(Debug)]
pub struct Builder {
    /// Its name.
    pub name: &'static str,
    /// The kind of its second step: `compile`, `test` or `shell-command`.
    pub step: &'static str,
    /// What the step runs.
    pub command: &'static [&'static str],
}

impl Project {
    /// The repository at a path or URL, or the one around the current directory.
    pub fn find(repo: Option<&str>) -> Result<Project, Failed> {
        let repository = match repo {
            Some(repo) if Path::new(repo).exists() => git(&["-C", repo, "rev-parse", "--show-toplevel"])
                .or_else(|_| git(&["-C", repo, "rev-parse", "--absolute-git-dir"]))
                .with_context(|| format!("`{repo}` is no git repository"))?,
            Some(url) => url.to_owned(),
            None => git(&["rev-parse", "--show-toplevel"])
                .context("there is no git repository around this directory; name one with `--repo`")?,
        };
        let heads = git(&["ls-remote", &repository, "HEAD"])
            .with_context(|| format!("failed to look at `{repository}`"))?;
        let Some(revision) = heads.split_whitespace().next() else {
            return Err(anyhow::anyhow!("`{repository}` has no commit at its HEAD").into());
        };
        let builders = builders(Path::new(&repository), revision);
        Ok(Project { revision: revision.to_owned(), repository, builders })
    }
}

/// Commands that suit what lies in the repository: our own, another Rust project, or anything.
fn builders(repository: &Path, revision: &str) -> Vec<Builder> {
    let has = |file: &str| {
        let object = format!("{revision}:{file}");
        git(&["-C", &repository.to_string_lossy(), "cat-file", "-e", &object]).is_ok()
    };
    let format =
        Builder { name: "format", step: "shell-command", command: &["cargo", "fmt", "--all", "--check"] };
    if has("host/core/Cargo.toml") && has("Cargo.lock") {
        let command = &["cargo", "test", "--locked", "--package", "windlass-core"];
        return vec![format, Builder { name: "core-tests", step: "test", command }];
    }
    if has("Cargo.toml") {
        return vec![format, Builder { name: "tests", step: "test", command: &["cargo", "test"] }];
    }
    let history = &["git", "log", "--max-count=20", "--stat"];
    vec![
        Builder { name: "history", step: "shell-command", command: history },
        Builder { name: "integrity", step: "test", command: &["git", "fsck", "--full"] },
    ]
}

/// Runs git and answers what it printed, or what it complained about.
fn git(args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git").args(args).output().context("failed to run git; is it installed?")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
