//! The artifacts of builds, for those who ask: listed, opened, and dropped when they are not kept any longer.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Weak;
use std::time::Duration;

use windlass_core::artifact::Keep;
use windlass_core::id::BuildId;
use windlass_core::time::Timestamp;
use windlass_store::{ReadError, Store};

use crate::running::Running;
use crate::transfer::keep::{self, Opened};
use crate::view;

/// How often old ones are looked for; beside that, whenever one was stored.
const LOOK: Duration = Duration::from_secs(30);

/// The most entries of a tree that are listed in one answer.
const MAX_LISTED: usize = 100_000;

/// Why an artifact cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// There is no such build or artifact; the text lists those that there are.
    #[error("{0}")]
    NotFound(String),
    /// The store did not answer.
    #[error("failed to read the store")]
    Store(#[from] ReadError),
    /// Its bytes cannot be read.
    #[error("failed to read an artifact from the master's disk")]
    Io(#[from] io::Error),
}

/// What an artifact holds.
#[derive(Debug)]
pub enum ArtifactContent {
    /// The bytes of a file, and how many there are. What is open stays readable, also when it is dropped.
    File(File, u64),
    /// What stands in a tree, or its next part.
    Tree(Vec<view::TreeEntry>),
}

/// The artifacts of a build.
pub(crate) fn list(store: &Store, build: u64) -> Result<Vec<view::Artifact>, ArtifactError> {
    let rows = store.artifacts(BuildId(build))?;
    if rows.is_empty() && store.build(BuildId(build))?.is_none() {
        return Err(ArtifactError::NotFound(format!("there is no build {build}")));
    }
    Ok(rows.into_iter().map(view::Artifact::of).collect())
}

/// An artifact of a build, or a file in one that is a tree; of a tree, what comes behind `after`. Blocks.
pub(crate) fn open(
    store: &Store,
    build: u64,
    name: &str,
    after: Option<&str>,
) -> Result<(view::Artifact, ArtifactContent), ArtifactError> {
    let opened = keep::open(store, BuildId(build), name).map_err(|error| match error {
        keep::OpenFailed::Store(error) => ArtifactError::Store(error),
        keep::OpenFailed::Io(error) => ArtifactError::Io(error),
    })?;
    let Some(Opened { row, file }) = opened else {
        let there = list(store, build)?;
        let names: Vec<String> =
            there.iter().take(20).map(|artifact| format!("`{}`", artifact.name)).collect();
        let there =
            if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
        return Err(ArtifactError::NotFound(format!("build {build} has no artifact `{name}`; {there}")));
    };
    let content = match file {
        Some(file) => {
            let length = file.metadata()?.len();
            ArtifactContent::File(file, length)
        }
        None => {
            let folder = store.artifact_files().path(row.build, row.id);
            ArtifactContent::Tree(entries(&folder, after, MAX_LISTED)?)
        }
    };
    Ok((view::Artifact::of(row), content))
}

/// What stands in a tree behind a path, at most so much: each directory before what it holds, by name.
fn entries(tree: &Path, after: Option<&str>, most: usize) -> io::Result<Vec<view::TreeEntry>> {
    let mut entries = Vec::new();
    let after: Vec<&str> = after.map(|path| path.split('/').collect()).unwrap_or_default();
    walk(tree, "", &after, most, &mut entries)?;
    Ok(entries)
}

fn walk(
    directory: &Path,
    prefix: &str,
    after: &[&str],
    most: usize,
    entries: &mut Vec<view::TreeEntry>,
) -> io::Result<()> {
    let mut children = Vec::new();
    for child in std::fs::read_dir(directory)? {
        let child = child?;
        // As it is shown: what comes behind a path is the same in each answer.
        children.push((child.file_name().to_string_lossy().into_owned(), child.path()));
    }
    children.sort();
    let (first, rest) = after.split_first().unzip();
    for (name, place) in children {
        if entries.len() == most {
            return Ok(());
        }
        let is_first = first.is_some_and(|first| *first == name);
        if first.is_some_and(|first| *name < **first) {
            continue;
        }
        let path = format!("{prefix}{name}");
        let found = std::fs::symlink_metadata(&place)?;
        let mode = found.permissions().mode() & 0o777;
        let entry = |kind: &str, size, target| view::TreeEntry {
            path: path.clone(),
            kind: kind.to_owned(),
            size,
            mode,
            target,
        };
        let told = if found.is_symlink() {
            let target = std::fs::read_link(&place)?.to_string_lossy().into_owned();
            entry("link", 0, Some(target))
        } else if found.is_dir() {
            entry("directory", 0, None)
        } else {
            entry("file", found.len(), None)
        };
        let is_directory = told.kind == "directory";
        if !is_first {
            entries.push(told);
        }
        if is_directory {
            let rest = rest.filter(|_| is_first).unwrap_or_default();
            walk(&place, &format!("{path}/"), rest, most, entries)?;
        }
    }
    Ok(())
}

/// Drops what is not kept any longer, as long as the master runs.
pub(crate) async fn mind(running: Weak<Running>) {
    let Some((stored, store)) =
        running.upgrade().map(|running| (running.links.transfers().stored(), running.store.clone()))
    else {
        return;
    };
    keep::sweep(store.clone()).await;
    loop {
        // Either is a reason to look.
        drop(tokio::time::timeout(LOOK, stored.notified()).await);
        let Some(running) = running.upgrade() else { return };
        let (keep, now) = (running.world.load().config.artifacts, running.clock.now());
        drop(running);
        drop_overdue(&store, keep, now).await;
    }
}

/// Drops what is not kept any longer, and says so.
pub(crate) async fn drop_overdue(store: &Store, keep: Keep, now: Timestamp) {
    if keep.max_bytes.is_none() && keep.max_age_ms.is_none() {
        return;
    }
    match keep::drop_overdue(store, keep, now).await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "dropped artifacts that are not kept any longer"),
        Err(error) => tracing::error!(error, "artifacts that are not kept any longer cannot be dropped"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symptom: a copy of a tree with more than 100,000 entries had a tenth of it, and was a success. Cause: the list was
    /// cut, and nothing said so. Cure: it goes on behind its last entry.
    #[test]
    fn a_tree_is_listed_whole_however_it_is_cut() {
        let tree = tempfile::tempdir().unwrap();
        for path in ["a/b/c", "a/b-", "a.d", "a/z/y", "b", "z/a"] {
            let path = tree.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        std::os::unix::fs::symlink("b", tree.path().join("link")).unwrap();
        std::fs::create_dir(tree.path().join("empty")).unwrap();
        let list = |after: Option<&str>, most| -> Vec<String> {
            let entries = entries(tree.path(), after, most).unwrap();
            entries.into_iter().map(|entry| entry.path).collect()
        };
        let whole = list(None, 1_000);
        assert_eq!(
            whole,
            ["a", "a/b", "a/b/c", "a/b-", "a/z", "a/z/y", "a.d", "b", "empty", "link", "z", "z/a"]
        );
        for most in 1..=whole.len() {
            let mut got: Vec<String> = Vec::new();
            loop {
                let more = list(got.last().map(String::as_str), most);
                if more.is_empty() {
                    break;
                }
                got.extend(more);
            }
            assert_eq!(got, whole, "{most} at a time");
        }
    }
}
