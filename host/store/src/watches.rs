//! Who follows a log, a build or a buildset, and their wake-up after a commit.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;

use tokio::sync::{Notify, broadcast, watch};
use windlass_core::id::{BuildId, BuildsetId, LogId};
use windlass_core::outcome::Outcome;

/// Buildsets that ended and that a listener has not heard of yet; one that is farther behind is told so.
const ENDS: usize = 1024;

/// How far a log is, for those that follow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogProgress {
    /// Its length in bytes.
    pub length: u64,
    /// No more will come.
    pub finished: bool,
}

/// What is followed. What nobody follows has no entry.
#[derive(Debug)]
pub(crate) struct Watches {
    pub(crate) logs: Followed<LogId, LogProgress>,
    pub(crate) builds: Followed<BuildId, u64>,
    /// The archive has something to do.
    pub(crate) to_tend: Notify,
    /// How they ended, once they have.
    pub(crate) buildsets: Followed<BuildsetId, Option<Outcome>>,
    /// Changes when events joined the lines of reporters.
    pub(crate) events: watch::Sender<u64>,
    /// The ends of all of them.
    pub(crate) ends: broadcast::Sender<(BuildsetId, Outcome)>,
}

impl Default for Watches {
    fn default() -> Watches {
        Watches {
            logs: Followed::default(),
            builds: Followed::default(),
            to_tend: Notify::new(),
            buildsets: Followed::default(),
            events: watch::Sender::default(),
            ends: broadcast::channel(ENDS).0,
        }
    }
}

impl Watches {
    /// A buildset ended.
    pub(crate) fn ended(&self, id: BuildsetId, outcome: Outcome) {
        self.buildsets.change(&id, |end| *end = Some(outcome));
        // An error says that nobody listens.
        self.ends.send((id, outcome)).ok();
    }
}

#[derive(Debug)]
pub(crate) struct Followed<K, V>(Mutex<HashMap<K, watch::Sender<V>>>);

impl<K, V> Default for Followed<K, V> {
    fn default() -> Followed<K, V> {
        Followed(Mutex::new(HashMap::new()))
    }
}

impl<K: Eq + Hash, V: Default + Copy + PartialEq> Followed<K, V> {
    /// Follows `key`. What the caller reads after this is no older than what the receiver misses.
    pub(crate) fn follow(&self, key: K) -> watch::Receiver<V> {
        let mut entries = self.0.lock().expect("nothing panics in here");
        // Those whose followers are gone go when somebody comes; so entries stay as few as followers.
        entries.retain(|_, sender| sender.receiver_count() > 0);
        entries.entry(key).or_insert_with(|| watch::channel(V::default()).0).subscribe()
    }

    /// Changes the value of `key`, if somebody follows it.
    pub(crate) fn change(&self, key: &K, change: impl FnOnce(&mut V)) {
        let entries = self.0.lock().expect("nothing panics in here");
        if let Some(sender) = entries.get(key) {
            sender.send_if_modified(|value| {
                let before = *value;
                change(value);
                *value != before
            });
        }
    }

    /// Forgets all; the receivers see the end.
    pub(crate) fn close(&self) {
        self.0.lock().expect("nothing panics in here").clear();
    }
}
