//! A step that is taken up after a restart of the master: what there is of it, and how its calls are answered from
//! its journal.
//!
//! `core::journal` says what a journal is. Here is what its answers look like, and what of the run's state follows
//! from them: commands that may run still, logs that have what was said before, the moment that the step sees.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};
use windlass_core::id::{BuildId, StepId};
use windlass_core::journal::{After, Call, Entry, Journal, Kept, Mark, Recorded};
use windlass_core::persist::Persist;
use windlass_core::record::{BuildRow, LogRow, StepRow};
use windlass_core::value::Failure;
use windlass_protocol::message::CommandUid;
use windlass_store::{ReadError, Store};

use super::StepState;
use super::logs::Resumed as ResumedLog;
use crate::worker_link::{CommandFeed, Links, Session};

/// How much of a log is read at a time, for its hash.
const READ: usize = 1024 * 1024;

/// What there is of a step that ran when the master ended.
#[derive(Debug)]
pub(crate) struct Resumed {
    pub(super) kept: Kept,
    /// Its commands that may run still, by their numbers within the step.
    pub(super) feeds: BTreeMap<u32, CommandFeed>,
    pub(super) logs: Vec<ResumedLog>,
}

/// Why a step cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTakenUp {
    /// What it did cannot be done again, nor gone on with.
    #[error("step `{step}` cannot be taken up: {why}")]
    Volatile { step: String, why: String },
    /// What there is of it cannot be read.
    #[error("what step `{step}` left cannot be read")]
    Read {
        step: String,
        #[source]
        source: ReadError,
    },
}

/// The answer of `start-command`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Started {
    /// Under this number and name, in this session of its worker.
    Command {
        number: u32,
        uid: CommandUid,
        session: Session,
    },
    Refused(Failure),
}

/// Reads what there is of a running step. The build's row is rolled back to the step's beginning in `build`, and the
/// step's in `step`: the component does again what it did. It writes nothing. Blocks.
pub(crate) fn read(
    store: &Store,
    build: &mut BuildRow,
    step: &mut StepRow,
    logs: &[LogRow],
) -> Result<Resumed, NotTakenUp> {
    let unread = |source| NotTakenUp::Read { step: step.name.clone(), source };
    let kept = store.journal(build.id, step.id).map_err(unread)?;
    if let Some(why) = kept.refusal() {
        return Err(NotTakenUp::Volatile { step: step.name.clone(), why });
    }
    let mine = logs.iter().filter(|log| log.step == step.id);
    let logs = mine.map(|log| whole(store, log)).collect::<Result<_, _>>().map_err(unread)?;
    for (name, before) in kept.before() {
        match before {
            Some((value, source)) => build.properties.set(name, value.clone(), source),
            None => build.properties.remove(name),
        }
    }
    (step.summary, step.urls) = (String::new(), Vec::new());
    Ok(Resumed { kept, feeds: BTreeMap::new(), logs })
}

impl Resumed {
    /// What says, durably and before it happens, that the step is taken up once more.
    pub(crate) fn counted(&mut self, build: &BuildRow, step: StepId) -> Persist {
        let (piece, entries) = (self.kept.pieces, vec![Entry::Replayed].into());
        self.kept.pieces += 1;
        Persist::AppendJournal { fence: build.fence, build: build.id, step, piece, entries }
    }

    /// Whether the step did anything: it had its locks by then.
    pub(crate) fn has_begun(&self) -> bool {
        self.kept.entries.iter().any(|entry| *entry != Entry::Replayed)
    }

    /// Waits for the step's commands. To be called before workers can connect: what no step waits for is stopped.
    pub(crate) fn expect(&mut self, links: &Links, worker: &str) {
        for entry in &self.kept.entries {
            let Entry::Called { call: Call::StartCommand, answer, .. } = entry else { continue };
            let Ok(Started::Command { number, uid, session }) = decode(answer) else { continue };
            let seen = self.kept.marks.get(&number).map_or(0, |mark| mark.number);
            self.feeds.insert(number, links.expect(worker, &uid, session, seen));
        }
    }
}

/// A log with the hash of what it has.
fn whole(store: &Store, row: &LogRow) -> Result<ResumedLog, ReadError> {
    let (mut length, mut hash) = (0, blake3::Hasher::new());
    loop {
        let pieces = store.read_log(row.id, length, READ)?;
        if pieces.is_empty() {
            return Ok(ResumedLog { id: row.id, name: row.name.clone(), length, hash });
        }
        for piece in pieces {
            length += piece.data.len() as u64;
            if piece.origin != windlass_core::value::Origin::Header {
                hash.update(&piece.data);
            }
        }
    }
}

/// The hash of a call's arguments.
pub(super) fn args(parts: &[&[u8]]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The same of arguments that are values.
pub(super) fn args_of(arguments: &impl Serialize) -> u64 {
    args(&[&encode(arguments)])
}

pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec(value).expect("answers are plain data, and memory takes them")
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}

impl StepState {
    /// The answer that the journal has for a call; none: the call is live. An error: the component does something
    /// else than before.
    pub(super) fn replayed<T: DeserializeOwned>(
        &mut self,
        call: Call,
        args: u64,
    ) -> Result<Option<T>, Failure> {
        match self.journal.called(call, args) {
            Ok(None) => Ok(None),
            Ok(Some(Recorded { answer, after })) => {
                self.see(after);
                decode(&answer).map(Some).map_err(|error| {
                    self.diverged(&format!("the kept answer of `{}` cannot be read: {error}", call.as_str()))
                })
            }
            Err(diverged) => Err(self.diverged(&diverged.to_string())),
        }
    }

    /// Keeps the answer of a live call, with what the step sees after it.
    pub(super) fn record<T: Serialize>(&mut self, call: Call, args: u64, answer: &T) {
        self.seen.clone_from(&self.interrupted);
        self.behind = false;
        let after = After { now: self.now, interrupted: self.seen.clone() };
        self.journal.record(call, args, encode(answer), after);
    }

    /// The step stands where it stood after a call.
    pub(super) fn see(&mut self, After { now, interrupted }: After) {
        self.now = now;
        if interrupted.is_some() {
            self.interrupted.clone_from(&interrupted);
            self.seen = interrupted;
        }
    }

    /// Ends the step: it cannot be gone on with.
    pub(super) fn diverged(&mut self, why: &str) -> Failure {
        self.break_off(why);
        self.journal = Journal::default();
        self.journal.give_up(why);
        Failure::new("io", why)
    }

    /// When so many milliseconds after the step's present moment are over. For a step that is taken up, they began
    /// before the master's end.
    pub(super) fn after(&self, ms: u32) -> Instant {
        let gone = if self.behind { self.context.clock.now().ms_since(self.now) } else { 0 };
        Instant::now() + Duration::from_millis(u64::from(ms).saturating_sub(gone))
    }

    /// The step does what cannot be done again.
    pub(super) fn give_up_journal(&mut self, why: &str) {
        if !self.journal.is_volatile() {
            self.journal.give_up(why);
            self.flush_soon();
        }
    }

    /// Puts into a batch what the journal has new, and how far the commands are.
    pub(super) fn drain_journal(&mut self, batch: &mut Vec<Persist>) {
        let (fence, build, step) = (self.context.build.fence, self.context.build.id, self.context.step.id);
        batch.extend(self.drain_entries(build, step));
        if self.journal.is_volatile() {
            return;
        }
        for (command, state) in (0..).zip(&mut self.commands) {
            if let Some(mark) = state.progress() {
                batch.push(Persist::PutMark { fence, build, step, command, mark });
            }
        }
    }

    /// The journal's new piece, for a commit.
    pub(super) fn drain_entries(&mut self, build: BuildId, step: StepId) -> Option<Persist> {
        let (piece, entries) = self.journal.take()?;
        let fence = self.context.build.fence;
        Some(Persist::AppendJournal { fence, build, step, piece, entries: entries.into() })
    }

    /// How far a command was that the step started before.
    pub(super) fn mark_of(&self, number: u32) -> Mark {
        self.marks.get(&number).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_told_apart_wherever_one_ends() {
        assert_ne!(args(&[b"ab", b"c"]), args(&[b"a", b"bc"]));
        assert_eq!(args(&[b"ab", b"c"]), args(&[b"ab", b"c"]));
    }

    #[test]
    fn answers_read_back() {
        let refused = Started::Refused(Failure::new("quota", "too many"));
        assert_eq!(decode::<Started>(&encode(&refused)).unwrap(), refused);
        let session = Session { instance: "i".to_owned(), epoch: 3 };
        let started = Started::Command { number: 1, uid: CommandUid("u".to_owned()), session };
        assert_eq!(decode::<Started>(&encode(&started)).unwrap(), started);
    }
}
