//! The worker's directory: who it is, and where things lie.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use windlass_protocol::message::Loss;

use crate::holder::Holder;
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
    /// What is not acknowledged yet. Emptied where a worker starts: the commands ended with the earlier one.
    pub spool: PathBuf,
    /// Compiled components.
    pub cache: PathBuf,
    /// Another agent began, under the holder of the one before it, which has its children still: so it is the same start
    /// of the same worker, and its commands run.
    pub is_same_start: bool,
    /// What ended the start before this one, and its commands with it, if that was not in good order.
    pub lost: Option<Loss>,
    _lock: OwnedFd,
}

/// The name under which the holder keeps the lock, for no command.
const LOCK: &str = "lock";

/// Between two attempts to get the lock.
const ATTEMPTS: Duration = Duration::from_millis(50);

impl Home {
    /// Makes what is missing, removes what an earlier process left, and counts this start. Blocks, at most `patience` for
    /// a lock that another process has.
    pub fn prepare(base: &Path, holder: &Holder, patience: Duration) -> Result<Home, WorkerError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| WorkerError::Directory { path, source }
        };
        std::fs::create_dir_all(base).map_err(failed(base))?;
        let base = &base.canonicalize().map_err(failed(base))?;
        let lock_path = base.join(LOCK);
        let lock = File::options().create(true).append(true).open(&lock_path).map_err(failed(&lock_path))?;
        let kept = kept_lock(holder, &lock).map_err(|source| WorkerError::Holder { source })?;
        let is_same_start = kept.is_some();
        let lock = match kept {
            Some(kept) => kept,
            None => {
                take(&lock, base, patience)
                    .map_err(failed(&lock_path))?
                    .then_some(())
                    .ok_or_else(|| WorkerError::Locked { path: base.clone() })?;
                OwnedFd::from(lock)
            }
        };
        let folder = |name: &str| {
            let path = base.join(name);
            std::fs::create_dir_all(&path).map_err(failed(&path)).map(|()| path)
        };
        let (builds, components, spool) = (folder("builds")?, folder("components")?, folder("spool")?);
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
        let mut epoch = last.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let runs_path = base.join(RUNS);
        let runs = read(&runs_path).map_err(failed(&runs_path))?;
        let lost = if is_same_start {
            runs.as_deref().and_then(lost_before)
        } else {
            remove_files(&spool, |_| true).map_err(failed(&spool))?;
            let boot = boot();
            let lost = runs.as_deref().map(|runs| lost_with(runs, &boot));
            replace(&runs_path, running(&boot, lost).as_bytes()).map_err(failed(&runs_path))?;
            epoch += 1;
            replace(&epoch_path, epoch.to_string().as_bytes()).map_err(failed(&epoch_path))?;
            lost
        };
        let (base, cache) = (base.clone(), base.join("cache"));
        Ok(Home { instance, epoch, base, builds, components, spool, cache, is_same_start, lost, _lock: lock })
    }

    /// The start is counted, and nothing is left of the one before: the lock outlives this process, as the children do.
    pub fn hold(&self, holder: &Holder) -> io::Result<()> {
        if holder.is_process() && !self.is_same_start {
            holder.keep("", LOCK, self._lock.as_fd())
        } else {
            Ok(())
        }
    }

    /// The worker ends in good order: no command is lost with it.
    pub fn leave(self) {
        let runs = self.base.join(RUNS);
        std::fs::remove_file(&runs)
            .unwrap_or_else(|error| tracing::warn!(%error, "failed to remove `{}`", runs.display()));
    }
}

/// Stands there while a worker runs: during which start of the machine, and what had ended the worker before it.
const RUNS: &str = "runs";

const MACHINE: &str = "machine-restarted";
const WORKER: &str = "worker-killed";

fn running(boot: &str, lost: Option<Loss>) -> String {
    let lost = match lost {
        Some(Loss::MachineRestarted) => MACHINE,
        Some(Loss::WorkerKilled) => WORKER,
        None => "",
    };
    format!("{boot}\n{lost}\n")
}

/// What ended a worker that left this behind.
fn lost_with(runs: &str, boot: &str) -> Loss {
    if runs.lines().next() == Some(boot) { Loss::WorkerKilled } else { Loss::MachineRestarted }
}

/// What had ended the one before it.
fn lost_before(runs: &str) -> Option<Loss> {
    match runs.lines().nth(1) {
        Some(MACHINE) => Some(Loss::MachineRestarted),
        Some(WORKER) => Some(Loss::WorkerKilled),
        Some(_) | None => None,
    }
}

/// Another one after each start of the machine.
fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// The lock that the holder has, if it is the one of this file: another directory is another worker.
fn kept_lock(holder: &Holder, file: &File) -> io::Result<Option<OwnedFd>> {
    let found = holder.kept()?.into_iter().find(|kept| kept.command.is_empty() && kept.name == LOCK);
    let Some(kept) = found else { return Ok(None) };
    let (theirs, ours) = (rustix::fs::fstat(&kept.descriptor)?, rustix::fs::fstat(file)?);
    let is_same = (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino);
    Ok(is_same.then_some(kept.descriptor))
}

/// Gets the lock; false: somebody has it, for longer than there is patience.
fn take(lock: &File, base: &Path, patience: Duration) -> io::Result<bool> {
    let began = Instant::now();
    let mut is_told = false;
    loop {
        match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) if began.elapsed() >= patience => return Ok(false),
            Err(Errno::WOULDBLOCK) => {}
            Err(error) => return Err(error.into()),
        }
        if !std::mem::replace(&mut is_told, true) {
            // That of a worker whose holder was killed tidies up for a few seconds.
            let base = base.display();
            tracing::warn!("another worker runs in `{base}`; waiting {patience:.0?} at most for its end");
        }
        std::thread::sleep(ATTEMPTS);
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
        let holder = Holder::local().unwrap();
        let prepare = || Home::prepare(&base, &holder, Duration::ZERO);
        let first = prepare().unwrap();
        assert!(matches!(prepare(), Err(WorkerError::Locked { .. })));
        let (instance, epoch) = (first.instance.clone(), first.epoch);
        std::fs::write(first.spool.join("stale"), "x").unwrap();
        std::fs::write(first.components.join("half.new"), "x").unwrap();
        std::fs::write(first.components.join("whole"), "x").unwrap();
        assert_eq!((first.is_same_start, first.lost), (false, None));
        first.leave();
        let second = prepare().unwrap();
        assert_eq!((second.is_same_start, second.lost), (false, None));
        assert_eq!((second.instance.as_str(), second.epoch), (instance.as_str(), epoch + 1));
        assert_eq!(std::fs::read_dir(&second.spool).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(&second.components).unwrap().count(), 1);
    }
    #[test]
    fn an_agent_that_finds_the_lock_with_its_holder_goes_on_where_the_last_one_stood() {
        let folder = tempfile::tempdir().unwrap();
        let (base, holder) = (folder.path().join("w"), Holder::local().unwrap());
        let prepare = |base: &Path| Home::prepare(base, &holder, Duration::ZERO).unwrap();
        let first = prepare(&base);
        holder.keep("", LOCK, first._lock.as_fd()).unwrap();
        let epoch = first.epoch;
        std::fs::write(first.spool.join("c1"), "x").unwrap();
        drop(first);
        let second = prepare(&base);
        assert_eq!((second.is_same_start, second.epoch, second.lost), (true, epoch, None));
        assert!(second.spool.join("c1").exists());
        // The configuration leads elsewhere by now.
        assert!(!prepare(&folder.path().join("other")).is_same_start);
    }

    #[test]
    fn a_start_knows_whether_the_last_worker_was_killed_or_its_machine_restarted() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join(RUNS);
        let prepare = |holder: &Holder| Home::prepare(folder.path(), holder, Duration::ZERO).unwrap();
        let holder = Holder::local().unwrap();
        drop(prepare(&holder));
        let second = prepare(&holder);
        assert_eq!(second.lost, Some(Loss::WorkerKilled));
        let now = std::fs::read_to_string(&runs).unwrap();
        std::fs::write(&runs, now.replace(&boot(), "the boot before")).unwrap();
        drop(second);
        let third = prepare(&holder);
        assert_eq!(third.lost, Some(Loss::MachineRestarted));
        // Another agent of the same start says the same.
        holder.keep("", LOCK, third._lock.as_fd()).unwrap();
        assert_eq!(prepare(&holder).lost, Some(Loss::MachineRestarted));
        third.leave();
        holder.forget("", LOCK).unwrap();
        assert_eq!(prepare(&holder).lost, None);
    }
}
