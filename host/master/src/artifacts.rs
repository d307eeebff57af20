//! The artifacts of builds, for those who ask: listed, opened, and dropped when they are not kept any longer.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Weak;
use std::time::Duration;

use windlass_core::id::BuildId;
use windlass_store::{ReadError, Store};

use crate::running::Running;
use crate::transfer::keep::{self, Opened};
use crate::view;

/// How often old ones are looked for; beside that, whenever one was stored.
const LOOK: Duration = Duration::from_secs(30);

/// The most entries of a tree that are listed.
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
    /// What stands in a tree.
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

/// An artifact of a build, or a file in one that is a tree. Blocks.
pub(crate) fn open(
    store: &Store,
    build: u64,
    name: &str,
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
            let mut entries = Vec::new();
            walk(&store.artifact_files().path(row.build, row.id), "", &mut entries)?;
            ArtifactContent::Tree(entries)
        }
    };
    Ok((view::Artifact::of(row), content))
}

/// All below a directory of ours, each directory before what it holds, by name.
fn walk(directory: &Path, prefix: &str, entries: &mut Vec<view::TreeEntry>) -> io::Result<()> {
    let mut children = std::fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    children.sort_by_key(std::fs::DirEntry::file_name);
    for child in children {
        if entries.len() == MAX_LISTED {
            return Ok(());
        }
        let path = format!("{prefix}{}", child.file_name().to_string_lossy());
        let found = std::fs::symlink_metadata(child.path())?;
        let mode = found.permissions().mode() & 0o777;
        let entry = |kind: &str, size, target| view::TreeEntry {
            path: path.clone(),
            kind: kind.to_owned(),
            size,
            mode,
            target,
        };
        if found.is_symlink() {
            let target = std::fs::read_link(child.path())?.to_string_lossy().into_owned();
            entries.push(entry("link", 0, Some(target)));
        } else if found.is_dir() {
            entries.push(entry("directory", 0, None));
            walk(&child.path(), &format!("{path}/"), entries)?;
        } else {
            entries.push(entry("file", found.len(), None));
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
    keep::sweep(store).await;
    loop {
        // Either is a reason to look.
        drop(tokio::time::timeout(LOOK, stored.notified()).await);
        let Some(running) = running.upgrade() else { return };
        let (keep, now) = (running.world.load().config.artifacts, running.clock.now());
        if keep.max_bytes.is_none() && keep.max_age_ms.is_none() {
            continue;
        }
        let store = running.store.clone();
        drop(running);
        match keep::drop_overdue(&store, keep, now).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "dropped artifacts that are not kept any longer"),
            Err(error) => tracing::error!(error, "artifacts that are not kept any longer cannot be dropped"),
        }
    }
}
