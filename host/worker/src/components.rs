//! The components that commands run in: those of this binary, those received before, and those that
//! must be asked for. Owned by `commands`; reading, compiling and writing happen on blocking threads.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;
use windlass_core::digest::Digest;
pub use windlass_core::text::chain;
use windlass_core::value::Failure;
use windlass_runtime::Runtime;
use windlass_runtime::plugin::{Plugin, Source};

use crate::home::replace;

/// The largest component that is taken over the link.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// What the folder keeps: whatever was used least recently is asked for again.
const MOST_KEPT: u64 = 1024 * 1024 * 1024;

/// How long a component stays in memory after its last use. Whoever comes next looks what is to go: a worker that
/// has nothing to do keeps what it has.
const UNUSED: Duration = Duration::from_hours(1);

/// Components by digest.
pub struct Components {
    runtime: Runtime,
    folder: PathBuf,
    bundled: HashMap<Digest, &'static windlass_plugins::Bundled>,
    states: HashMap<Digest, State>,
    work: JoinSet<(Digest, Worked)>,
}

enum State {
    /// On a blocking thread.
    Working {
        name: String,
    },
    /// Asked for; what came so far.
    Wanted {
        name: String,
        partial: Vec<u8>,
    },
    Ready {
        plugin: Arc<Plugin>,
        used: Instant,
    },
}

/// What a blocking thread found.
enum Worked {
    Loaded(Arc<Plugin>),
    NotHere,
    Failed(Failure),
}

/// What is known of a component.
pub enum Look {
    /// It can be run.
    Ready(Arc<Plugin>),
    /// It comes, or it does not: a [`Change`] will tell.
    Later,
}

/// What came of the work on a component.
pub enum Change {
    /// It can be run.
    Ready(Arc<Plugin>),
    /// The master has to send it.
    Need,
    /// It can't be had; the next command asks anew.
    Failed(Failure),
}

impl Components {
    /// Those of this binary, and those in `folder`.
    pub fn new(runtime: Runtime, folder: &Path) -> Components {
        let bundled = windlass_plugins::bundled().iter().map(|one| (Digest::of(one.bytes), one)).collect();
        Components {
            runtime,
            folder: folder.to_owned(),
            bundled,
            states: HashMap::new(),
            work: JoinSet::new(),
        }
    }

    /// Whether this binary brings it.
    pub fn is_bundled(&self, digest: &Digest) -> bool {
        self.bundled.contains_key(digest)
    }

    /// Looks for a component, and begins to fetch it if it is not there. `name` is for messages.
    pub fn look(&mut self, digest: Digest, name: &str) -> Look {
        self.look_at(digest, name, Instant::now())
    }

    fn look_at(&mut self, digest: Digest, name: &str, now: Instant) -> Look {
        self.forget_unused(digest, now);
        match self.states.get_mut(&digest) {
            Some(State::Ready { plugin, used }) => {
                *used = now;
                return Look::Ready(Arc::clone(plugin));
            }
            Some(State::Working { .. } | State::Wanted { .. }) => return Look::Later,
            None => {}
        }
        self.states.insert(digest, State::Working { name: name.to_owned() });
        let runtime = self.runtime.clone();
        if let Some(one) = self.bundled.get(&digest).copied() {
            self.spawn(digest, one.name, move || {
                load(&runtime, one.name, Source::Bundled, Bytes::from_static(one.bytes))
            });
        } else {
            let (path, owned) = (self.path(&digest), name.to_owned());
            self.spawn(digest, name, move || load_file(&runtime, &owned, &path, digest));
        }
        Look::Later
    }

    /// The components that the master has to send. Asked again on every new link: parts do not survive one.
    pub fn wanted_anew(&mut self) -> Vec<Digest> {
        let wanted = self.states.iter_mut().filter_map(|(digest, state)| match state {
            State::Wanted { partial, .. } => {
                partial.clear();
                Some(*digest)
            }
            State::Working { .. } | State::Ready { .. } => None,
        });
        wanted.collect()
    }

    /// A part from the master. One that was not asked for is dropped.
    pub fn part(&mut self, digest: Digest, offset: u64, total: u64, data: &[u8]) -> Option<Change> {
        let Some(State::Wanted { name, partial }) = self.states.get_mut(&digest) else { return None };
        if offset == 0 {
            partial.clear();
        }
        let len = partial.len() as u64;
        if total > MAX_BYTES {
            let message = format!(
                "component {} of plugin `{name}` has {total} bytes; {MAX_BYTES} are the most that a worker takes",
                digest.short()
            );
            self.states.remove(&digest);
            // Another try would bring the same bytes.
            return Some(Change::Failed(Failure::new("component", message)));
        }
        if offset != len || len + data.len() as u64 > total {
            let message = format!(
                "the master sent {} bytes at {offset} of {total} of component {}, where {len} were received",
                data.len(),
                digest.short()
            );
            self.states.remove(&digest);
            return Some(Change::Failed(Failure::retryable("component", message)));
        }
        partial.extend_from_slice(data);
        if (partial.len() as u64) < total {
            return None;
        }
        let bytes = Bytes::from(std::mem::take(partial));
        let name = std::mem::take(name);
        self.states.insert(digest, State::Working { name: name.clone() });
        let (runtime, path, folder) = (self.runtime.clone(), self.path(&digest), self.folder.clone());
        let owned = name.clone();
        self.spawn(digest, &name, move || {
            if Digest::of(&bytes) != digest {
                let message = format!("what the master sent as component {} is not that", digest.short());
                return Worked::Failed(Failure::retryable("component", message));
            }
            let kept = replace(&path, &bytes).and_then(|()| windlass_runtime::make_room(&folder, MOST_KEPT));
            if let Err(error) = kept {
                // It runs all the same; only the next start has to ask again.
                tracing::warn!(path = %path.display(), %error, "failed to keep a component");
            }
            load(&runtime, &owned, Source::Master, bytes)
        });
        None
    }

    /// The master has it neither.
    pub fn none(&mut self, digest: Digest) -> Option<Change> {
        let Some(State::Wanted { name, .. }) = self.states.get(&digest) else { return None };
        let message = format!("the master no longer has component {} of plugin `{name}`", digest.short());
        self.states.remove(&digest);
        Some(Change::Failed(Failure::retryable("component", message)))
    }

    /// Waits for a blocking thread; for ever, if none is at work. Loses nothing when dropped.
    pub async fn changed(&mut self) -> (Digest, Change) {
        let (digest, worked) = loop {
            match self.work.join_next().await {
                None => std::future::pending().await,
                Some(Ok(done)) => break done,
                // Only at shutdown, when the runtime gives up its blocking threads: a panic is a failure.
                Some(Err(error)) => tracing::error!(%error, "loading a component broke off"),
            }
        };
        let change = match worked {
            Worked::Loaded(plugin) => {
                let used = Instant::now();
                self.states.insert(digest, State::Ready { plugin: Arc::clone(&plugin), used });
                Change::Ready(plugin)
            }
            Worked::NotHere => {
                let name = match self.states.remove(&digest) {
                    Some(State::Working { name } | State::Wanted { name, .. }) => name,
                    Some(State::Ready { .. }) | None => String::new(),
                };
                self.states.insert(digest, State::Wanted { name, partial: Vec::new() });
                Change::Need
            }
            Worked::Failed(failure) => {
                self.states.remove(&digest);
                Change::Failed(failure)
            }
        };
        (digest, change)
    }

    /// Lets go of what no command has used for long, save the one that is wanted now. Those that run have their own.
    fn forget_unused(&mut self, wanted: Digest, now: Instant) {
        self.states.retain(|digest, state| match state {
            State::Ready { used, .. } => *digest == wanted || now.saturating_duration_since(*used) < UNUSED,
            State::Working { .. } | State::Wanted { .. } => true,
        });
    }

    /// Works on a blocking thread. Whatever happens there, something is told of the component.
    fn spawn(&mut self, digest: Digest, name: &str, work: impl FnOnce() -> Worked + Send + 'static) {
        let name = name.to_owned();
        self.work.spawn_blocking(move || (digest, guarded(&name, work)));
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }
}

/// A panic while a component is loaded is that load's failure. It is not worth a retry: the bytes stay
/// the same.
fn guarded(name: &str, work: impl FnOnce() -> Worked) -> Worked {
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str);
        let what = what.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        let mut failure = Failure::new("component", format!("this worker can't load plugin `{name}`"));
        failure.detail = Some(format!("BUG: loading it panicked: {what}"));
        Worked::Failed(failure)
    })
}

fn load(runtime: &Runtime, name: &str, source: Source, bytes: Bytes) -> Worked {
    match runtime.load(name, source, bytes) {
        Ok(plugin) => Worked::Loaded(plugin),
        Err(error) => {
            let mut failure = Failure::new("component", format!("this worker can't load plugin `{name}`"));
            failure.detail = Some(chain(&error));
            Worked::Failed(failure)
        }
    }
}

fn load_file(runtime: &Runtime, name: &str, path: &Path, digest: Digest) -> Worked {
    match std::fs::read(path) {
        Ok(bytes) if Digest::of(&bytes) == digest => {
            windlass_runtime::touch(path);
            load(runtime, name, Source::Master, bytes.into())
        }
        Ok(_) => {
            tracing::warn!(path = %path.display(), "a component was damaged on disk; it is asked for again");
            Worked::NotHere
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Worked::NotHere,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "failed to read a component; it is asked for again");
            Worked::NotHere
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn components(folder: &Path) -> Components {
        Components::new(Runtime::new(windlass_runtime::Options::new(folder.join("cache"))).unwrap(), folder)
    }

    #[tokio::test]
    async fn component_whose_load_panics_has_failed_for_good_and_can_be_asked_for_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (mut components, digest) = (components(folder.path()), Digest::of(b"odd"));
        components.states.insert(digest, State::Working { name: "odd".to_owned() });
        components.spawn(digest, "odd", || panic!("at byte {}", 7));
        let (of, Change::Failed(failure)) = components.changed().await else { panic!("a failure is due") };
        assert_eq!((of, failure.retryable), (digest, false));
        assert!(failure.detail.unwrap().contains("panicked: at byte 7"));
        assert!(components.states.is_empty());
    }

    #[tokio::test]
    async fn component_that_was_not_used_for_an_hour_is_loaded_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut components = components(folder.path());
        let digest = Digest::of(windlass_plugins::bundled()[0].bytes);
        assert!(matches!(components.look(digest, "one"), Look::Later));
        assert!(matches!(components.changed().await, (_, Change::Ready(_))));
        let began = Instant::now();
        assert!(matches!(components.look_at(digest, "one", began + UNUSED / 2), Look::Ready(_)));
        assert!(matches!(components.look_at(digest, "one", began + UNUSED), Look::Ready(_)));
        let later = began + 3 * UNUSED;
        assert!(matches!(components.look_at(digest, "one", later), Look::Ready(_)), "it is still there");
        // A look for another one is enough.
        let other = Digest::of(b"other");
        assert!(matches!(components.look_at(other, "other", later + UNUSED), Look::Later));
        assert!(!components.states.contains_key(&digest));
    }

    #[tokio::test]
    async fn component_over_the_limit_has_failed_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let (mut components, digest) = (components(folder.path()), Digest::of(b"large"));
        assert!(matches!(components.look(digest, "large"), Look::Later));
        assert!(matches!(components.changed().await, (_, Change::Need)));
        let Some(Change::Failed(failure)) = components.part(digest, 0, MAX_BYTES + 1, b"start") else {
            panic!("a failure is due")
        };
        assert!(!failure.retryable && failure.message.contains("`large`"), "{failure:?}");
    }
}
