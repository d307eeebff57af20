//! Artifacts: their rows, and the folder with their bytes, `artifacts/<build>/<number>`.
//!
//! A file is made in `artifacts/unfinished`, synced, moved to its place, and then its row is committed: so a
//! row never speaks of half a file, and what has no row is nobody's. What a crash left of such is removed at
//! open, as far as builds ran then. The commit that takes a row away says which file has to go with it; whoever
//! committed removes it, and what a crash left of those is found by [`Store::sweep_artifacts`], which looks at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{ReadOnlyTable, ReadableTable};
use windlass_core::artifact::{ArtifactRow, Keep};
use windlass_core::id::{ArtifactId, BuildId};
use windlass_core::time::Timestamp;

use crate::Store;
use crate::batch::Group;
use crate::encode::{self, unpack};
use crate::fault::{ReadError, missing};
use crate::tables::Snapshot;

/// The row of `sums` with the bytes of all artifacts.
pub(crate) const BYTES: &str = "artifacts";

/// Where files lie that are being made.
const UNFINISHED: &str = "unfinished";

/// The artifacts of builds.
type Running = BTreeMap<u64, BTreeSet<u64>>;

/// What is known of artifacts whose rows are damaged. They stay, and no commit changes their part of the sum.
#[derive(Debug, Default)]
pub(crate) struct Damaged {
    /// Those that were told of.
    told: BTreeSet<ArtifactId>,
    /// What the sum has of them; none: nobody looked since the last one was found.
    bytes: Option<u64>,
}

/// The folder with the bytes of artifacts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ArtifactFiles {
    folder: PathBuf,
    /// Nobody takes a build's folder away, since it is empty, while something is put into it.
    shelves: Arc<Mutex<()>>,
}

impl ArtifactFiles {
    /// Takes over the folder. Of the builds that ran, with the artifacts of each, what is not named is what a crash
    /// left; the others may be many.
    pub(crate) fn open(folder: PathBuf, running: &Running) -> io::Result<ArtifactFiles> {
        let unfinished = folder.join(UNFINISHED);
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        fs::create_dir_all(&unfinished)?;
        let files = ArtifactFiles { folder, shelves: Arc::default() };
        for (build, known) in running {
            files.clear(*build, |id| known.contains(&id))?;
        }
        Ok(files)
    }

    /// Removes what is not kept of a build; says how much that was.
    fn clear(&self, build: u64, keeps: impl Fn(u64) -> bool) -> io::Result<u64> {
        let shelf = self.folder.join(build.to_string());
        let found = match fs::read_dir(&shelf) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            found => found?,
        };
        let mut removed = 0;
        for file in found {
            let path = file?.path();
            if number_of(&path).is_none_or(|id| !keeps(id)) {
                tracing::info!(path = %path.display(), "removed an artifact that nobody speaks of");
                remove(&path)?;
                removed += 1;
            }
        }
        if removed > 0 {
            self.remove_if_empty(&shelf)?;
        }
        Ok(removed)
    }

    fn remove_if_empty(&self, shelf: &Path) -> io::Result<()> {
        let _guard = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::remove_dir(shelf) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) =>
            {
                Ok(())
            }
            other => other,
        }
    }

    /// Where a file or tree is made that is to be an artifact. Nothing is there.
    #[must_use]
    pub fn unfinished(&self, id: ArtifactId) -> PathBuf {
        self.folder.join(UNFINISHED).join(id.0.to_string())
    }

    /// Where the bytes of an artifact lie.
    #[must_use]
    pub fn path(&self, build: BuildId, id: ArtifactId) -> PathBuf {
        self.folder.join(build.0.to_string()).join(id.0.to_string())
    }

    /// Puts what was made, and synced, into its place: durable when this returns. Its row is to follow.
    pub fn put(&self, build: BuildId, id: ArtifactId) -> io::Result<()> {
        let shelf = self.folder.join(build.0.to_string());
        {
            let _guard = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
            fs::create_dir_all(&shelf)?;
            fs::rename(self.unfinished(id), self.path(build, id))?;
        }
        File::open(&shelf)?.sync_all()?;
        // Whoever made the shelf may not have come so far yet.
        File::open(&self.folder)?.sync_all()
    }

    /// Removes what was being made; nothing there is no error.
    pub fn discard(&self, id: ArtifactId) -> io::Result<()> {
        remove(&self.unfinished(id))
    }

    /// Removes the bytes of an artifact whose row is gone; nothing there is no error.
    pub fn remove(&self, build: BuildId, id: ArtifactId) -> io::Result<()> {
        remove(&self.path(build, id))?;
        self.remove_if_empty(&self.folder.join(build.0.to_string()))
    }
}

fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.parse().ok()
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Why bytes of artifacts that nobody speaks of stay.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The rows could not be read.
    #[error("failed to read which artifacts there are")]
    Read(#[from] ReadError),
    /// The folder could not be read or changed.
    #[error("failed to tidy the artifacts in `{folder}`")]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Store {
    /// Returns the folder with the bytes of artifacts.
    #[must_use]
    pub fn artifact_files(&self) -> &ArtifactFiles {
        &self.0.artifacts
    }

    /// Removes bytes of artifacts that had a row before the store was opened and have none any more; says how many.
    /// Blocking, and long where there are many builds: once after a start, in the background. It ends early with the
    /// store.
    pub fn sweep_artifacts(&self) -> Result<u64, SweepError> {
        let (files, mut removed) = (&self.0.artifacts, 0);
        let failed = |source| SweepError::Io { folder: files.folder.clone(), source };
        for shelf in fs::read_dir(&files.folder).map_err(failed)? {
            if self.0.queue.is_closed() {
                break;
            }
            let Some(build) = number_of(&shelf.map_err(failed)?.path()) else { continue };
            // What has a number from later is just being put.
            let (known, last) = match of_build(&self.snapshot()?, build) {
                Err(error) if error.is_damage() => {
                    tracing::error!(build, %error, "nothing is removed of what lies with the artifacts of a build");
                    continue;
                }
                known => (known?, self.0.last_artifact),
            };
            removed += files.clear(build, |id| id > last.0 || known.contains(&id)).map_err(failed)?;
        }
        Ok(removed)
    }

    /// Returns the artifacts of a build, by name.
    pub fn artifacts(&self, build: BuildId) -> Result<Vec<ArtifactRow>, ReadError> {
        let mut rows = Vec::new();
        for row in self.snapshot()?.artifacts()?.range((build.0, "")..)? {
            let (key, row) = row?;
            if key.value().0 != build.0 {
                break;
            }
            rows.push(unpack("artifacts", key.value(), row.value())?);
        }
        Ok(rows)
    }

    /// Returns an artifact.
    pub fn artifact(&self, build: BuildId, name: &str) -> Result<Option<ArtifactRow>, ReadError> {
        let row = self.snapshot()?.artifacts()?.get((build.0, name))?;
        row.map(|row| unpack("artifacts", (build.0, name), row.value())).transpose()
    }

    /// Returns the bytes of all artifacts.
    pub fn artifact_bytes(&self) -> Result<u64, ReadError> {
        Ok(self.snapshot()?.sums()?.get(BYTES)?.map_or(0, |sum| sum.value()))
    }

    /// Returns the artifacts that are not kept any longer, oldest first, at most `limit`. Those of builds that
    /// run are not among them, nor those with a damaged row, which is told of once: they stay, and their bytes do not count.
    pub fn overdue_artifacts(
        &self,
        keep: Keep,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<ArtifactRow>, ReadError> {
        let snapshot = self.snapshot()?;
        let (artifacts, live) = (snapshot.artifacts()?, snapshot.live()?);
        let sum = snapshot.sums()?.get(BYTES)?.map_or(0, |sum| sum.value());
        let (mut overdue, mut dropped) = (Vec::new(), 0);
        for row in snapshot.artifacts_by_id()?.iter()? {
            let (id, key) = row?;
            let Some(row) = self.readable(&artifacts, id.value(), key.value())? else { continue };
            // One of those before it may just have been found damaged.
            let damaged = match keep.max_bytes {
                Some(most) if sum > most => self.damaged_bytes(&snapshot, sum)?,
                Some(_) | None => 0,
            };
            let held = sum.saturating_sub(damaged).saturating_sub(dropped);
            if !keep.is_over(held, row.stored, now) || overdue.len() == limit {
                break;
            }
            if live.get(row.build.0)?.is_none() {
                dropped += row.size;
                overdue.push(row);
            }
        }
        Ok(overdue)
    }

    /// What the sum has of artifacts with a damaged row. To know that, all are gone through once, and again when another one
    /// was found.
    fn damaged_bytes(&self, snapshot: &Snapshot, sum: u64) -> Result<u64, ReadError> {
        if let Some(bytes) = self.damaged().bytes {
            return Ok(bytes);
        }
        let (artifacts, mut readable) = (snapshot.artifacts()?, 0);
        for row in snapshot.artifacts_by_id()?.iter()? {
            let (id, key) = row?;
            readable += self.readable(&artifacts, id.value(), key.value())?.map_or(0, |row| row.size);
        }
        Ok(*self.damaged().bytes.insert(sum.saturating_sub(readable)))
    }

    /// An artifact; none: its row is damaged, which is told of once.
    fn readable(
        &self,
        artifacts: &ReadOnlyTable<(u64, &'static str), &'static [u8]>,
        id: u64,
        key: (u64, &str),
    ) -> Result<Option<ArtifactRow>, ReadError> {
        let row = artifacts.get(key)?.ok_or_else(|| missing("artifacts", id));
        match row.and_then(|row| unpack("artifacts", key, row.value())) {
            Ok(row) => Ok(Some(row)),
            Err(error) if error.is_damage() => {
                let (artifact, mut damaged) = (ArtifactId(id), self.damaged());
                if damaged.told.insert(artifact) {
                    damaged.bytes = None;
                    tracing::error!(%artifact, %error, "an artifact stays: it cannot be told how long it is kept");
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn damaged(&self) -> MutexGuard<'_, Damaged> {
        self.0.damaged_artifacts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group<'_> {
    /// Puts an artifact's row; returns the one whose place it takes.
    pub(crate) fn put_artifact(
        &mut self,
        row: &ArtifactRow,
    ) -> Result<Option<(BuildId, ArtifactId)>, ReadError> {
        self.marks.artifact(row.id);
        self.builds.insert(row.build);
        let before = self.take_artifact((row.build.0, &row.name))?;
        let key = (row.build.0, row.name.as_str());
        self.tables.artifacts.write()?.insert(key, encode::pack(row).as_slice())?;
        self.tables.artifacts_by_id.write()?.insert(row.id.0, key)?;
        self.add_artifact_bytes(|held| held + row.size)?;
        // The same row once more has the same file.
        Ok(before.filter(|before| *before != (row.build, row.id)))
    }

    /// Takes artifacts away, as far as they are there.
    pub(crate) fn drop_artifacts(
        &mut self,
        ids: &[ArtifactId],
    ) -> Result<Vec<(BuildId, ArtifactId)>, ReadError> {
        let mut dropped = Vec::new();
        for id in ids {
            let key = self.tables.artifacts_by_id.read()?.get(id.0)?.map(|key| {
                let (build, name) = key.value();
                (build, name.to_owned())
            });
            if let Some((build, name)) = key {
                self.builds.insert(BuildId(build));
                dropped.extend(self.take_artifact((build, &name))?);
            }
        }
        Ok(dropped)
    }

    fn take_artifact(&mut self, key: (u64, &str)) -> Result<Option<(BuildId, ArtifactId)>, ReadError> {
        let Some(row) = self.tables.artifacts.write()?.remove(key)?.map(|row| row.value().to_owned()) else {
            return Ok(None);
        };
        let row: ArtifactRow = unpack("artifacts", key, &row)?;
        self.tables.artifacts_by_id.write()?.remove(row.id.0)?;
        self.add_artifact_bytes(|held| held.saturating_sub(row.size))?;
        Ok(Some((row.build, row.id)))
    }

    fn add_artifact_bytes(&mut self, change: impl FnOnce(u64) -> u64) -> Result<(), ReadError> {
        let held = self.tables.sums.read()?.get(BYTES)?.map_or(0, |sum| sum.value());
        self.tables.sums.write()?.insert(BYTES, change(held))?;
        Ok(())
    }
}

/// Running builds with the numbers of their artifacts, but for those with a damaged one: what lies there may be that.
pub(crate) fn running(snapshot: &Snapshot) -> Result<Running, ReadError> {
    let mut running = Running::new();
    for row in snapshot.live()?.iter()? {
        let build = row?.0.value();
        match of_build(snapshot, build) {
            Err(error) if error.is_damage() => {
                tracing::error!(build, %error, "nothing is removed of what lies with the artifacts of a build");
            }
            known => drop(running.insert(build, known?)),
        }
    }
    Ok(running)
}

fn of_build(snapshot: &Snapshot, build: u64) -> Result<BTreeSet<u64>, ReadError> {
    let mut known = BTreeSet::new();
    for row in snapshot.artifacts()?.range((build, "")..)? {
        let (key, row) = row?;
        if key.value().0 != build {
            break;
        }
        let row: ArtifactRow = unpack("artifacts", key.value(), row.value())?;
        known.insert(row.id.0);
    }
    Ok(known)
}
