//! The worker's directory: who it is, and where things lie.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::options::WorkerError;

/// A prepared directory, locked while this lives.
#[derive(Debug)]
pub struct Home {
    /// Random, kept for ever: what the master knows this directory by.
    pub instance: String,
    /// Counts starts.
    pub epoch: u64,
    /// The directory itself, its real path.
    pub base: PathBuf,
    /// One directory for each builder.
    pub builds: PathBuf,
    /// Components by digest.
    pub components: PathBuf,
    /// What is not acknowledged yet. Emptied at each start: the commands ended with the old process.
    pub spool: PathBuf,
    /// Compiled components.
    pub cache: PathBuf,
    _lock: File,
}

impl Home {
    /// Makes what is missing, removes what an earlier process left, and counts this start. Blocks.
    pub fn prepare(base: &Path) -> Result<Home, WorkerError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| WorkerError::Directory { path, source }
        };
        std::fs::create_dir_all(base).map_err(failed(base))?;
        let base = &base.canonicalize().map_err(failed(base))?;
        let lock_path = base.join("lock");
        let lock = File::options().create(true).append(true).open(&lock_path).map_err(failed(&lock_path))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(WorkerError::Locked { path: base.clone() }),
            Err(error) => return Err(failed(&lock_path)(error.into())),
        }
        let folder = |name: &str| {
            let path = base.join(name);
            std::fs::create_dir_all(&path).map_err(failed(&path)).map(|()| path)
        };
        let (builds, components, spool) = (folder("builds")?, folder("components")?, folder("spool")?);
        remove_files(&spool, |_| true).map_err(failed(&spool))?;
        remove_files(&components, |name| name.ends_with(TEMPORARY)).map_err(failed(&components))?;

        let instance_path = base.join("instance");
        let instance = match read(&instance_path).map_err(failed(&instance_path))? {
            Some(instance) if !instance.is_empty() => instance,
            Some(_) | None => {
                let instance = random().map_err(failed(&instance_path))?;
                replace(&instance_path, instance.as_bytes()).map_err(failed(&instance_path))?;
                instance
            }
        };
        let epoch_path = base.join("epoch");
        let last = read(&epoch_path).map_err(failed(&epoch_path))?;
        let epoch = last.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) + 1;
        replace(&epoch_path, epoch.to_string().as_bytes()).map_err(failed(&epoch_path))?;
        let (base, cache) = (base.clone(), base.join("cache"));
        Ok(Home { instance, epoch, base, builds, components, spool, cache, _lock: lock })
    }
}

/// Ends the names of files that are being written.
const TEMPORARY: &str = ".new";

/// Puts a file in place whole, or not at all.
pub fn replace(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY);
    std::fs::write(&temporary, data)?;
    std::fs::rename(&temporary, path)
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn random() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn remove_files(folder: &Path, which: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if which(&entry.file_name().to_string_lossy()) && entry.file_type()?.is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_instance_and_counts_its_starts() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().join("new");
        let first = Home::prepare(&base).unwrap();
        assert!(matches!(Home::prepare(&base), Err(WorkerError::Locked { .. })));
        let (instance, epoch) = (first.instance.clone(), first.epoch);
        std::fs::write(first.spool.join("stale"), "x").unwrap();
        std::fs::write(first.components.join("half.new"), "x").unwrap();
        std::fs::write(first.components.join("whole"), "x").unwrap();
        drop(first);
        let second = Home::prepare(&base).unwrap();
        assert_eq!((second.instance.as_str(), second.epoch), (instance.as_str(), epoch + 1));
        assert_eq!(std::fs::read_dir(&second.spool).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(&second.components).unwrap().count(), 1);
    }
}
