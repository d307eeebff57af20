//! What commands said and the master has not made durable yet: one outbox for each command, in memory
//! up to a size, in a file of its own beyond.
//!
//! Writers are the commands, the reader is the link; both only hold a lock for a few copies. A file is
//! read and written through the page cache while that lock is held: at most 32 KiB at a time, which
//! costs less than a hop to a blocking thread.
//!
//! Bounded for each command and for all together, in bytes and in number: whoever is over a bound waits
//! for the master. What can't be read back from a file is replaced by a record of the loss, so that one
//! bad file costs one command and not the link.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::Notify;
use windlass_core::digest::Digest;
use windlass_core::journal::{begin, chain};
use windlass_core::policy::Usage;
use windlass_core::value::{Completion, Failure, Origin};
use windlass_protocol::codec::{self, Frames};
use windlass_protocol::message::{CommandUid, ToMaster, Update};
use windlass_protocol::session::{NeverSent, Outbox};

/// The most data in one `Log` update.
pub const MAX_LOG_DATA: usize = 32 * 1024;

/// How much commands may leave behind here.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one command in memory; what comes after goes to a file.
    pub memory: usize,
    /// Bytes of all commands in memory; what comes after goes to files.
    pub all_memory: usize,
    /// Bytes of one command in all; then it waits for the master.
    pub total: usize,
    /// Bytes of all commands in all; then those with more than [`SMALL`] of it wait for the master.
    pub all: usize,
    /// Updates of one command: each costs some memory, however small it is.
    pub updates: u64,
}

/// What a command may always say: others that fill the spool do not silence it.
const SMALL: usize = 1024 * 1024;

impl Default for Limits {
    /// A log of a few MiB never touches the disk; an hour without a master costs some gigabytes at most.
    fn default() -> Limits {
        const MIB: usize = 1024 * 1024;
        Limits {
            memory: 8 * MIB,
            all_memory: 64 * MIB,
            total: 1024 * MIB,
            all: 8 * 1024 * MIB,
            updates: 100_000,
        }
    }
}

/// The outboxes of all commands, and which of them have something to send.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    limits: Limits,
    commands: Mutex<HashMap<CommandUid, Arc<CommandSpool>>>,
    /// Commands with unsent updates, each once: taking one from each in turn is fair.
    ready: Mutex<VecDeque<Arc<CommandSpool>>>,
    wake: Notify,
    /// Bytes of all commands: in memory, and in all.
    memory: AtomicUsize,
    total: AtomicUsize,
}

impl Spool {
    /// A spool that spills into `folder`, which exists.
    #[must_use]
    pub fn new(folder: &Path, limits: Limits) -> Arc<Spool> {
        Arc::new(Spool {
            folder: folder.to_owned(),
            limits,
            commands: Mutex::default(),
            ready: Mutex::default(),
            wake: Notify::new(),
            memory: AtomicUsize::new(0),
            total: AtomicUsize::new(0),
        })
    }

    /// Opens the outbox of a new command; `None` if that command is known.
    pub fn open(self: &Arc<Self>, uid: &CommandUid) -> Option<Arc<CommandSpool>> {
        let mut commands = lock(&self.commands);
        if commands.contains_key(uid) {
            return None;
        }
        let command = Arc::new(CommandSpool {
            uid: uid.clone(),
            spool: Arc::clone(self),
            room: Notify::new(),
            inner: Mutex::new(Inner::new()),
        });
        commands.insert(uid.clone(), Arc::clone(&command));
        Some(command)
    }

    /// Forgets a command and what it said.
    pub fn forget(&self, uid: &CommandUid) {
        if let Some(command) = lock(&self.commands).remove(uid) {
            let mut inner = lock(&command.inner);
            inner.forgotten = true;
            self.memory.fetch_sub(std::mem::take(&mut inner.memory), Ordering::Relaxed);
            self.total.fetch_sub(inner.outbox.bytes(), Ordering::Relaxed);
            inner.outbox = Outbox::default();
            command.room.notify_waiters();
            if inner.spill.take().is_some()
                && let Err(error) = std::fs::remove_file(command.path())
            {
                tracing::warn!(%error, "failed to remove a spool file");
            }
        }
    }

    /// Every known command with its last number, for the hello.
    pub fn known(&self) -> Vec<(CommandUid, u64)> {
        let commands: Vec<_> = lock(&self.commands).values().cloned().collect();
        let mut known: Vec<_> =
            commands.iter().map(|c| (c.uid.clone(), lock(&c.inner).outbox.last())).collect();
        known.sort();
        known
    }

    /// The next update to send; commands take turns.
    pub fn next(&self) -> Option<Frames> {
        loop {
            let command = lock(&self.ready).pop_front()?;
            let mut inner = lock(&command.inner);
            inner.queued = false;
            let frames = match inner.next() {
                None => None,
                Some((_, Ok(frames))) => Some(frames),
                Some((number, Err(error))) => command.lost(&mut inner, number, &error),
            };
            command.queue(&mut inner);
            if frames.is_some() {
                return frames;
            }
        }
    }

    /// Waits until [`Spool::next`] may have something new.
    pub async fn wait(&self) {
        self.wake.notified().await;
    }
}

/// The outbox of one command.
#[derive(Debug)]
pub struct CommandSpool {
    uid: CommandUid,
    spool: Arc<Spool>,
    room: Notify,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    outbox: Outbox<Stored>,
    /// Over the log data so far.
    hash: Digest,
    memory: usize,
    spill: Option<Spill>,
    /// Whether it stands in `Spool::ready`.
    queued: bool,
    forgotten: bool,
    done: bool,
}

impl Inner {
    fn new() -> Inner {
        let (outbox, hash, memory, spill) = (Outbox::default(), begin(), 0, None);
        Inner { outbox, hash, memory, spill, queued: false, forgotten: false, done: false }
    }
}

#[derive(Debug)]
enum Stored {
    Memory(Frames),
    File { offset: u64, len: usize },
}

#[derive(Debug)]
struct Spill {
    file: File,
    end: u64,
    /// Updates that stand in the file; at none it starts anew.
    held: usize,
    /// Something could not be read back: nothing more is written to it.
    bad: bool,
}

impl CommandSpool {
    /// The command.
    pub fn uid(&self) -> &CommandUid {
        &self.uid
    }

    /// Appends bytes to a log. Never waits: ask [`CommandSpool::has_room`] before.
    pub fn log(self: &Arc<Self>, log: &str, origin: Origin, mut data: Bytes) {
        while !data.is_empty() {
            let part = data.split_to(data.len().min(MAX_LOG_DATA));
            self.append(Update::Log { log: log.to_owned(), origin, data: part });
        }
    }

    /// Appends any other update but the last.
    pub fn append(self: &Arc<Self>, update: Update) {
        let mut inner = lock(&self.inner);
        if inner.done || inner.forgotten {
            return;
        }
        if let Update::Log { origin: Origin::Stdout | Origin::Stderr, data, .. } = &update {
            inner.hash = chain(inner.hash, data);
        }
        self.push(&mut inner, update);
    }

    /// Appends the last update. Later ones are dropped: a child that was killed may still have output.
    pub fn done(self: &Arc<Self>, how: Result<Completion, Failure>, usage: Option<Usage>) {
        let mut inner = lock(&self.inner);
        assert!(!inner.done, "BUG: command {} ended twice", self.uid.0);
        let log_hash = inner.hash;
        self.push(&mut inner, Update::Done { how, log_hash, usage });
        inner.done = true;
    }

    /// Whether the command may say more now.
    pub fn has_room(&self) -> bool {
        let inner = lock(&self.inner);
        // Memory is over its limit only while the disk is full: then the command waits for the master.
        let (limits, bytes) = (&self.spool.limits, inner.outbox.bytes());
        let shared = bytes < SMALL || self.spool.total.load(Ordering::Relaxed) < limits.all;
        let few = inner.outbox.last() - inner.outbox.acked() < limits.updates;
        (bytes < limits.total && inner.memory <= limits.memory && shared && few) || inner.forgotten
    }

    /// Waits until the command may say more.
    pub async fn room(&self) {
        loop {
            let notified = self.room.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.has_room() {
                return;
            }
            notified.await;
        }
    }

    /// The master has everything up to `received`: offers the rest to the new connection.
    pub fn resume(self: &Arc<Self>, received: u64) -> Result<(), NeverSent> {
        let mut inner = lock(&self.inner);
        inner.outbox.resume(received)?;
        self.queue(&mut inner);
        Ok(())
    }

    /// Forgets what is durable at the master. True once it has the very last update.
    pub fn ack(&self, number: u64) -> Result<bool, NeverSent> {
        let mut inner = lock(&self.inner);
        let (memory, bytes) = (inner.memory, inner.outbox.bytes());
        inner.ack(number)?;
        self.spool.memory.fetch_sub(memory - inner.memory, Ordering::Relaxed);
        self.spool.total.fetch_sub(bytes - inner.outbox.bytes(), Ordering::Relaxed);
        self.room.notify_waiters();
        Ok(inner.done && inner.outbox.acked() == inner.outbox.last())
    }

    fn push(self: &Arc<Self>, inner: &mut Inner, update: Update) {
        if inner.forgotten {
            return;
        }
        let number = inner.outbox.next_number();
        let message = ToMaster::Update { command: self.uid.clone(), number, update };
        let frames = match codec::encode(&message) {
            Ok(frames) => frames,
            Err(error) => {
                // Nothing that a guest may hand over comes near the limit of a message.
                tracing::error!(command = self.uid.0, %error, "BUG: an update can't be sent");
                return;
            }
        };
        let len = frames.bytes();
        let stored = self.store(inner, frames);
        inner.outbox.push(stored, len);
        self.spool.total.fetch_add(len, Ordering::Relaxed);
        self.queue(inner);
    }

    fn store(&self, inner: &mut Inner, frames: Frames) -> Stored {
        let len = frames.bytes();
        let all = self.spool.memory.load(Ordering::Relaxed) + len;
        let full = inner.memory + len > self.spool.limits.memory || all > self.spool.limits.all_memory;
        if full && inner.spill.as_ref().is_none_or(|spill| !spill.bad) {
            match self.spill(inner, frames.as_bytes()) {
                Ok(stored) => return stored,
                // A full disk: from here on there is no room until the master took what is in memory.
                Err(error) => tracing::warn!(command = self.uid.0, %error, "failed to write the spool file"),
            }
        }
        inner.memory += len;
        self.spool.memory.fetch_add(len, Ordering::Relaxed);
        Stored::Memory(frames)
    }

    fn spill(&self, inner: &mut Inner, bytes: &Bytes) -> io::Result<Stored> {
        let spill = match &mut inner.spill {
            Some(spill) => spill,
            none => {
                let mut options = File::options();
                let file = options.read(true).write(true).create(true).truncate(true).open(self.path())?;
                none.insert(Spill { file, end: 0, held: 0, bad: false })
            }
        };
        spill.file.write_all_at(bytes, spill.end)?;
        let stored = Stored::File { offset: spill.end, len: bytes.len() };
        spill.end += bytes.len() as u64;
        spill.held += 1;
        Ok(stored)
    }

    fn queue(self: &Arc<Self>, inner: &mut Inner) {
        if inner.outbox.has_unsent() && !inner.queued {
            inner.queued = true;
            lock(&self.spool.ready).push_back(Arc::clone(self));
            self.spool.wake.notify_one();
        }
    }

    /// What goes to the master in the place of an update that can't be read back. The hash of the logs
    /// will not fit, so that the command ends as lost, and may be tried again.
    fn lost(&self, inner: &mut Inner, number: u64, error: &io::Error) -> Option<Frames> {
        let path = self.path();
        let message = format!("update {number} of this command was lost on the worker's disk: {error}");
        if let Some(spill) = inner.spill.as_mut().filter(|spill| !spill.bad) {
            spill.bad = true;
            let aside = path.with_extension("unreadable");
            tracing::error!(command = self.uid.0, "{message}; the file is set aside as {}", aside.display());
            if let Err(error) = std::fs::rename(&path, &aside) {
                tracing::warn!(%error, "failed to set a spool file aside");
            }
        }
        let update = if inner.done && number == inner.outbox.last() {
            let how = Err(Failure::retryable("io", message));
            Update::Done { how, log_hash: Digest::of(b""), usage: None }
        } else {
            Update::Diagnostic { level: "error".to_owned(), message }
        };
        codec::encode(&ToMaster::Update { command: self.uid.clone(), number, update }).ok()
    }

    fn path(&self) -> PathBuf {
        self.spool.folder.join(&self.uid.0)
    }
}

impl Inner {
    /// The next unsent update and its number, read back if it was spilled.
    fn next(&mut self) -> Option<(u64, io::Result<Frames>)> {
        let Inner { outbox, spill, .. } = self;
        let (number, stored) = outbox.next_unsent()?;
        let frames = match stored {
            Stored::Memory(frames) => Ok(frames.clone()),
            Stored::File { offset, len } => {
                let spill = spill.as_ref().expect("the file stays while it holds an update");
                read_back(&spill.file, *offset, *len)
            }
        };
        Some((number, frames))
    }

    fn ack(&mut self, number: u64) -> Result<(), NeverSent> {
        let going = number.saturating_sub(self.outbox.acked());
        for stored in self.outbox.held().take(usize::try_from(going).unwrap_or(usize::MAX)) {
            match stored {
                Stored::Memory(frames) => self.memory -= frames.bytes(),
                Stored::File { .. } => {
                    let spill = self.spill.as_mut().expect("the file stays while it holds an update");
                    spill.held -= 1;
                }
            }
        }
        self.outbox.ack(number)?;
        if let Some(spill) = self.spill.as_mut().filter(|spill| spill.held == 0 && spill.end > 0) {
            spill.end = 0;
            if let Err(error) = spill.file.set_len(0) {
                tracing::warn!(%error, "failed to shorten a spool file");
            }
        }
        Ok(())
    }
}

fn read_back(file: &File, offset: u64, len: usize) -> io::Result<Frames> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset)?;
    let changed = || io::Error::other("a spool file was changed by somebody else");
    Frames::from_bytes(bytes.into()).ok_or_else(changed)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding a lock of the spool")
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::Decoder;

    fn uid(n: u32) -> CommandUid {
        CommandUid(format!("{n:032x}"))
    }

    fn small() -> (tempfile::TempDir, Arc<Spool>) {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(
            folder.path(),
            Limits { memory: 4_000, total: 40_000, updates: 1_000, ..Limits::default() },
        );
        (folder, spool)
    }

    /// What the link would send now: command and number.
    fn sent(spool: &Spool) -> Vec<(CommandUid, u64, Update)> {
        std::iter::from_fn(|| spool.next())
            .map(|frames| {
                let mut decoder = Decoder::default();
                match frames.filter_map(|f| decoder.push(&f).unwrap()).last() {
                    Some(ToMaster::Update { command, number, update }) => (command, number, update),
                    other => panic!("{other:?}"),
                }
            })
            .collect()
    }

    fn numbers(spool: &Spool) -> Vec<u64> {
        sent(spool).into_iter().map(|(_, number, _)| number).collect()
    }

    #[test]
    fn what_was_spilled_comes_back_in_order_and_the_hash_covers_all_of_it() {
        let (folder, spool) = small();
        let command = spool.open(&uid(1)).unwrap();
        assert!(spool.open(&uid(1)).is_none(), "a known command is not opened twice");
        let (mut all, mut of_all) = (Vec::new(), begin());
        for n in 0..20u8 {
            let data = vec![n; 1_000];
            all.extend_from_slice(&data);
            of_all = chain(of_all, &data);
            command.log("stdio", Origin::Stdout, data.into());
        }
        command.done(Ok(Completion::default()), None);
        assert!(folder.path().join(&uid(1).0).metadata().unwrap().len() > 10_000);

        let mut received = Vec::new();
        let mut hash = None;
        for (_, _, update) in sent(&spool) {
            match update {
                Update::Log { data, .. } => received.extend_from_slice(&data),
                Update::Done { log_hash, .. } => hash = Some(log_hash),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(received, all);
        assert_eq!(hash, Some(of_all));
        assert!(!command.ack(20).unwrap());
        assert_eq!(folder.path().join(&uid(1).0).metadata().unwrap().len(), 0, "nothing spilled is held");
        assert!(command.ack(21).unwrap(), "the master has the last update");
        spool.forget(&uid(1));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(spool.known(), []);
    }

    #[test]
    fn a_new_connection_gets_what_the_master_lacks() {
        let (_folder, spool) = small();
        let command = spool.open(&uid(1)).unwrap();
        for _ in 0..10 {
            command.log("stdio", Origin::Stdout, vec![0; 1_000].into());
        }
        assert_eq!(numbers(&spool).len(), 10);
        command.ack(2).unwrap();
        command.resume(7).unwrap();
        assert_eq!(numbers(&spool), [8, 9, 10]);
        command.resume(2).unwrap();
        assert_eq!(numbers(&spool), [3, 4, 5, 6, 7, 8, 9, 10]);
        assert!(command.resume(11).is_err());
    }

    #[test]
    fn commands_take_turns() {
        let (_folder, spool) = small();
        let (a, b) = (spool.open(&uid(1)).unwrap(), spool.open(&uid(2)).unwrap());
        for _ in 0..2 {
            a.log("stdio", Origin::Stdout, "a".into());
        }
        b.log("stdio", Origin::Stdout, "b".into());
        let order: Vec<_> = sent(&spool).into_iter().map(|(uid, number, _)| (uid, number)).collect();
        assert_eq!(order, [(uid(1), 1), (uid(2), 1), (uid(1), 2)]);
        assert_eq!(spool.known(), [(uid(1), 2), (uid(2), 1)]);
    }

    #[tokio::test]
    async fn a_full_spool_holds_the_command_back_until_the_master_acknowledges() {
        let (_folder, spool) = small();
        let command = spool.open(&uid(1)).unwrap();
        while command.has_room() {
            command.log("stdio", Origin::Stdout, vec![0; 8_000].into());
        }
        let waiting = tokio::spawn({
            let command = Arc::clone(&command);
            async move { command.room().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        command.ack(3).unwrap();
        waiting.await.unwrap();
    }

    /// Symptom: a worker connected, sent a little, and lost its link, again and again. Cause: a spool file
    /// that could not be read back ended the link each time. Cure: a record of the loss is sent instead.
    #[test]
    fn what_can_not_be_read_back_is_told_as_lost_and_others_are_not_disturbed() {
        let (folder, spool) = small();
        let (bad, good) = (spool.open(&uid(1)).unwrap(), spool.open(&uid(2)).unwrap());
        for _ in 0..10 {
            bad.log("stdio", Origin::Stdout, vec![0; 1_000].into());
        }
        bad.done(Ok(Completion::default()), None);
        good.log("stdio", Origin::Stdout, "fine".into());
        File::options().write(true).open(folder.path().join(&uid(1).0)).unwrap().set_len(10).unwrap();
        let sent = sent(&spool);
        let of_bad: Vec<_> = sent.iter().filter(|(of, ..)| *of == uid(1)).collect();
        assert_eq!(
            of_bad.iter().map(|(_, number, _)| *number).collect::<Vec<_>>(),
            (1..=11).collect::<Vec<_>>()
        );
        let is_lost = |update: &Update| matches!(update, Update::Diagnostic { message, .. } if message.contains("lost"));
        assert_eq!(
            of_bad.iter().filter(|(.., update)| is_lost(update)).count(),
            7,
            "three fitted into memory"
        );
        // The hash is that of all that was said: the master sees that something is missing.
        let all = (0..10).fold(begin(), |before, _| chain(before, &[0; 1_000]));
        assert!(matches!(&of_bad[10].2, Update::Done { log_hash, .. } if *log_hash == all));
        assert_eq!(sent.len(), 12);
        assert!(folder.path().join(format!("{}.unreadable", uid(1).0)).exists());
        assert!(bad.ack(11).unwrap());
    }

    #[test]
    fn all_commands_together_are_bounded_and_one_that_says_little_is_heard() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { all_memory: 4_000, all: 3 * SMALL, ..Limits::default() };
        let spool = Spool::new(folder.path(), limits);
        let loud: Vec<_> = (0..2).map(|n| spool.open(&uid(n)).unwrap()).collect();
        while loud.iter().any(|command| command.has_room()) {
            loud.iter().for_each(|command| command.log("stdio", Origin::Stdout, vec![0; 20_000].into()));
        }
        assert!(spool.memory.load(Ordering::Relaxed) <= 4_000);
        let quiet = spool.open(&uid(9)).unwrap();
        quiet.log("stdio", Origin::Stdout, "fine".into());
        assert!(quiet.has_room());
        loud.iter().for_each(|command| assert!(!command.ack(50).unwrap()));
        assert!(loud.iter().all(|command| command.has_room()));
        (0..2).for_each(|n| spool.forget(&uid(n)));
        spool.forget(&uid(9));
        assert_eq!((spool.memory.load(Ordering::Relaxed), spool.total.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn very_many_small_updates_are_too_many() {
        let (_folder, spool) = small();
        let command = spool.open(&uid(1)).unwrap();
        let mut said = 0;
        while command.has_room() {
            command.append(Update::Values { values: Vec::new() });
            said += 1;
        }
        assert!(said <= 1_000, "{said}");
    }

    #[test]
    fn nothing_follows_the_last_update_and_large_data_is_cut() {
        let (_folder, spool) = small();
        let command = spool.open(&uid(1)).unwrap();
        command.log("stdio", Origin::Stdout, vec![0; MAX_LOG_DATA + 1].into());
        command.done(Err(Failure::new("x", "y")), None);
        command.log("stdio", Origin::Stdout, "late".into());
        assert_eq!(numbers(&spool), [1, 2, 3]);
    }
}
