//! Bytes of components by their content: `cas/<2 hex>/<64 hex>`.
//!
//! A file appears whole or not at all (written beside, synced, renamed), and what is read back is
//! hashed again: a damaged file is an error that names it, never a component.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use windlass_core::digest::Digest;

/// Content-addressed files below one directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cas {
    folder: PathBuf,
    /// Tells apart what several threads write at once.
    temporary: Arc<AtomicU64>,
}

/// Why bytes could not be kept or read back.
#[derive(Debug, thiserror::Error)]
pub enum CasError {
    /// The system refused.
    #[error("failed to {action} `{path}`")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file's bytes are not the ones that its name says.
    #[error("`{path}` is damaged: its content hashes to {found}; remove it, and it is fetched or built anew")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What it holds instead.
        found: Digest,
    },
}

impl Cas {
    pub(crate) fn open(folder: PathBuf) -> Result<Cas, CasError> {
        fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        let cas = Cas { folder, temporary: Arc::default() };
        for path in cas.entries()?.into_iter().filter(|path| path.is_file()) {
            // What a crash left between the write and the rename.
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
        Ok(cas)
    }

    /// Keeps `bytes` and returns their digest. Returns once they are durable.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, CasError> {
        let digest = Digest::of(bytes);
        let path = self.path(&digest);
        if matches!(self.get(&digest), Ok(Some(_))) {
            return Ok(digest);
        }
        let shelf = path.parent().expect("a path of the cas has a shelf").to_owned();
        fs::create_dir_all(&shelf).map_err(failed("create", &shelf))?;
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.folder.join(format!("{digest}.{number}.tmp"));
        let written = write_synced(&temporary, bytes)
            .and_then(|()| fs::rename(&temporary, &path).map_err(failed("rename to", &path)));
        if let Err(error) = written {
            match fs::remove_file(&temporary) {
                Err(left) if left.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %temporary.display(), error = %left, "a temporary file stays behind");
                }
                Err(_) | Ok(()) => {}
            }
            return Err(error);
        }
        sync_folder(&shelf)?;
        sync_folder(&self.folder)?;
        Ok(digest)
    }

    /// Returns the bytes with this digest, if they are here.
    pub fn get(&self, digest: &Digest) -> Result<Option<Bytes>, CasError> {
        let path = self.path(digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CasError::Io { action: "read", path, source }),
        };
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(CasError::Corrupt { path, found });
        }
        Ok(Some(bytes))
    }

    /// Returns whether there are bytes with this digest. They are not looked at.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Removes the bytes with this digest; returns whether they were there.
    pub fn remove(&self, digest: &Digest) -> Result<bool, CasError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(CasError::Io { action: "remove", path, source }),
        }
    }

    /// Returns every digest here, sorted: what a collection compares with the digests still in use.
    pub fn list(&self) -> Result<Vec<Digest>, CasError> {
        let mut digests = Vec::new();
        for shelf in self.entries()?.into_iter().filter(|path| path.is_dir()) {
            for path in entries(&shelf)? {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                digests.extend(name.parse::<Digest>().ok());
            }
        }
        digests.sort_unstable();
        Ok(digests)
    }

    fn entries(&self) -> Result<Vec<PathBuf>, CasError> {
        entries(&self.folder)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.folder.join(&name[..2]).join(&name)
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, CasError> {
    let listed = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    listed().map_err(failed("list", folder))
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), CasError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(failed("write", path))
}

fn sync_folder(folder: &Path) -> Result<(), CasError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> CasError + 'a {
    move |source| CasError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cas() -> (tempfile::TempDir, Cas) {
        let folder = tempfile::tempdir().unwrap();
        let cas = Cas::open(folder.path().join("cas")).unwrap();
        (folder, cas)
    }

    #[test]
    fn what_was_put_is_there_until_it_is_removed() {
        let (_folder, cas) = cas();
        let digest = cas.put(b"a component").unwrap();
        assert_eq!(digest, Digest::of(b"a component"));
        assert_eq!(cas.put(b"a component").unwrap(), digest);
        assert!(cas.contains(&digest));
        assert_eq!(cas.get(&digest).unwrap().unwrap(), "a component");
        assert_eq!(cas.list().unwrap(), [digest]);
        assert!(cas.remove(&digest).unwrap());
        assert!(!cas.remove(&digest).unwrap());
        assert_eq!(cas.get(&digest).unwrap(), None);
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        let (_folder, cas) = cas();
        let digest = cas.put(b"a component").unwrap();
        fs::write(cas.path(&digest), b"a somponent").unwrap();
        let error = cas.get(&digest).unwrap_err();
        assert!(error.to_string().contains(&digest.to_string()), "{error}");
        cas.put(b"a component").unwrap();
        assert_eq!(cas.get(&digest).unwrap().unwrap(), "a component", "putting it again mends it");
    }

    #[test]
    fn what_a_crash_left_half_written_is_cleared_at_open() {
        let (folder, cas) = cas();
        let digest = cas.put(b"whole").unwrap();
        let half = folder.path().join("cas/half.0.tmp");
        fs::write(&half, b"hal").unwrap();
        let cas = Cas::open(folder.path().join("cas")).unwrap();
        assert!(!half.exists());
        assert_eq!(cas.list().unwrap(), [digest]);
    }
}
