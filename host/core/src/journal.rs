//! The journal of a running step: what its component was answered, so that after the end of the master the
//! same component, run again from its beginning, stands where it stood.
//!
//! A step is ordinary blocking code. Each call of it whose answer does not follow from what is durable anyway is
//! an [`Entry`]. Run again, it gets the recorded answers in the same order; the first call without one is live. A
//! component that calls something else then is not deterministic, and is told so ([`Diverged`]).
//!
//! Entries wait in memory until something is about to leave the master, and go down together; they are gone with
//! the step's result. What its commands said is durable up to their [`Mark`]s: workers keep the rest.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::excerpt::Held;
use crate::properties::Properties;
use crate::time::Timestamp;
use crate::value::Value;

/// A journal has so many entries at most.
pub const MAX_ENTRIES: usize = 10_000;

/// And so many bytes of answers.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A step is taken up so often without coming any further. One that ends the master each time would do so for ever.
pub const MAX_REPLAYS: usize = 3;

/// The calls of a step that have entries. Their names stand in stores: one that means something else gets another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the calls of `windlass:master`")]
pub enum Call {
    SetProperty,
    Submit,
    ReadLog,
    StartCommand,
    Wait,
    NextEvent,
    Sleep,
    Fetch,
    Log,
    Accept,
    OfferFile,
    OfferBytes,
    Append,
    ReadArtifact,
    StartProcess,
}

impl Call {
    /// As authors of plugins know it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Call::SetProperty => "set-property",
            Call::Submit => "submit",
            Call::ReadLog => "read-log",
            Call::StartCommand => "start-command",
            Call::Wait => "wait",
            Call::NextEvent => "next-event",
            Call::Sleep => "sleep",
            Call::Fetch => "fetch",
            Call::Log => "a message to a log",
            Call::Accept => "accept",
            Call::OfferFile => "offer-file",
            Call::OfferBytes => "offer-bytes",
            Call::Append => "append",
            Call::ReadArtifact => "read-artifact",
            Call::StartProcess => "start-process",
        }
    }
}

/// What a step was given when it began: a replay gives it the same, whatever its worker says of itself by then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// Its arguments, rendered: JSON text.
    pub args: String,
    /// Of its builder's variables, those that are not mere templates, rendered.
    pub env: BTreeMap<String, String>,
    /// What templates know of the worker.
    pub worker: Properties,
}

/// Something that a replay goes by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// What it was given: the first entry.
    Given(Given),
    /// A call and its answer.
    Called {
        /// Which.
        call: Call,
        /// Of its arguments.
        args: u64,
        /// What was answered, as the port writes it.
        answer: Vec<u8>,
        /// What the step saw of the world afterwards.
        after: After,
    },
    /// So many messages to logs in a row. They stand in the logs.
    Logged {
        /// How many.
        calls: u64,
        /// Of all their arguments, each over the one before.
        args: u64,
    },
    /// A property was set: what it was before, with its source, so that the build's row can be rolled back.
    Set {
        /// Of name and value.
        args: u64,
        /// The property.
        name: String,
        /// None: it was not there.
        before: Option<(Value, String)>,
    },
    /// So many pieces in a row were appended to artifacts. A replay appends them again.
    Wrote {
        /// How many.
        calls: u64,
        /// Of all their arguments, each over the one before.
        args: u64,
    },
    /// Something is about to be done that is not done twice, as a step says it of itself ("it ..."). The answer of the
    /// call comes next; where it does not, nobody knows whether it was done.
    Once(String),
    /// The step cannot be taken up, and why.
    Volatile(String),
    /// It is being taken up.
    Replayed,
    /// The master went down in good order: that it was taken up speaks no more against it.
    Left,
}

impl Entry {
    /// Whether no call of the component stands behind it.
    fn is_no_call(&self) -> bool {
        matches!(self, Entry::Given(_) | Entry::Once(_) | Entry::Volatile(_)) || self.is_of_master()
    }

    /// Whether it is about masters that came and went, and about nothing that the step did.
    #[must_use]
    pub fn is_of_master(&self) -> bool {
        matches!(self, Entry::Replayed | Entry::Left)
    }
}

/// What a step sees of the world: it moves on only at a call that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    /// The moment.
    pub now: Timestamp,
    /// Why the step is to stop, if it is.
    pub interrupted: Option<String>,
}

/// How far a command of the step is durable: its log bytes, and what the step took of its events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The update up to which nothing is needed any more: its worker may forget those.
    pub number: u64,
    /// The update up to which the logs have the bytes.
    pub logged: u64,
    /// How many events of later updates the step took.
    pub taken: u64,
    /// Over the log data of all updates up to `number`, as [`chain`] makes it.
    pub hash: Digest,
    /// The begun lines of observed logs after `number`.
    pub lines: Vec<(String, Begun)>,
    /// Of the step itself ([`OF_STEP`]): what its logs hold that are beyond their limits.
    #[serde(default)]
    pub ends: Vec<(String, Held)>,
}

/// The mark of a step itself stands behind those of all commands.
pub const OF_STEP: u32 = u32::MAX;

impl Default for Mark {
    /// Of a command of which nothing came yet.
    fn default() -> Mark {
        Mark { number: 0, logged: 0, taken: 0, hash: begin(), lines: Vec::new(), ends: Vec::new() }
    }
}

/// Lines that have begun and not ended, and how many came before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Of standard output, standard error and headers.
    pub partial: [Vec<u8>; 3],
    /// How many lines came before.
    pub next: u64,
}

/// What [`chain`] begins with.
#[must_use]
pub fn begin() -> Digest {
    Digest::from_bytes([0; 32])
}

/// The hash of a command's log data, piece by piece: it can be gone on with from its value alone.
#[must_use]
pub fn chain(before: Digest, data: &[u8]) -> Digest {
    // In one piece, which is hashed many blocks at a time: behind 32 bytes of their own the others would not be.
    let whole = [before.as_bytes().as_slice(), data].concat();
    Digest::of(&whole)
}

/// The component did something else than before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the step is not deterministic: run again after a restart of the master, its call {call} was {was}, and is now {is}"
)]
pub struct Diverged {
    /// Which call that has an entry, from 1.
    pub call: usize,
    /// What it was.
    pub was: String,
    /// What it is.
    pub is: String,
}

/// An answer that was given before.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// As the port wrote it.
    pub answer: Vec<u8>,
    /// What the step saw afterwards.
    pub after: After,
}

/// Calls of which there are many, and whose runs are one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Many {
    /// Messages to logs.
    Messages,
    /// Pieces of artifacts.
    Pieces,
}

impl Many {
    fn call(self) -> Call {
        match self {
            Many::Messages => Call::Log,
            Many::Pieces => Call::Append,
        }
    }

    /// The run that an entry is, if it is one of these.
    fn run(self, entry: &Entry) -> Option<(u64, u64)> {
        match (self, entry) {
            (Many::Messages, Entry::Logged { calls, args })
            | (Many::Pieces, Entry::Wrote { calls, args }) => Some((*calls, *args)),
            _ => None,
        }
    }

    fn entry(self, calls: u64, args: u64) -> Entry {
        match self {
            Many::Messages => Entry::Logged { calls, args },
            Many::Pieces => Entry::Wrote { calls, args },
        }
    }
}

/// What there is of one of many calls.
#[derive(Clone, Debug, PartialEq)]
pub enum OneOfMany {
    /// Nothing: it is live.
    New,
    /// It was made, and went well.
    There,
    /// It has an entry of its own.
    Answered(Recorded),
}

/// What a store has of a step that ran.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// In order.
    pub entries: Vec<Entry>,
    /// By number of the command within the step.
    pub marks: BTreeMap<u32, Mark>,
    /// How many pieces `entries` lie in: the number of the next.
    pub pieces: u32,
}

impl Kept {
    /// Why the step cannot be taken up; none: it can.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let volatile = self.entries.iter().find_map(|entry| match entry {
            Entry::Volatile(why) => Some(why.clone()),
            _ => None,
        });
        let last = self.entries.iter().rfind(|entry| !entry.is_of_master());
        let once = match last {
            Some(Entry::Once(what)) => Some(format!("{what}, and nobody knows what came of it")),
            _ => None,
        };
        // One that came further, or that ended in good order, has not failed.
        let replays = self.entries.iter().rev().take_while(|entry| **entry == Entry::Replayed).count();
        let often = (replays >= MAX_REPLAYS).then(|| {
            format!("it was taken up {replays} times, and the master ended each time before it came further")
        });
        volatile.or(once).or(often)
    }

    /// What the step was given, if it got so far.
    #[must_use]
    pub fn given(&self) -> Option<&Given> {
        self.entries.iter().find_map(|entry| match entry {
            Entry::Given(given) => Some(given),
            _ => None,
        })
    }

    /// The properties that the step set, each with what it was before the step began.
    pub fn before(&self) -> impl Iterator<Item = (&str, Option<&(Value, String)>)> {
        self.entries.iter().rev().filter_map(|entry| match entry {
            Entry::Set { name, before, .. } => Some((name.as_str(), before.as_ref())),
            _ => None,
        })
    }
}

/// The journal of one run of a step: what it replays first, and what it adds then.
#[derive(Debug, Default)]
pub struct Journal {
    replay: VecDeque<Entry>,
    /// Of the run of messages that is being replayed: how many came, and their hash so far.
    run: (u64, u64),
    /// Calls with entries so far.
    calls: usize,
    fresh: Vec<Entry>,
    /// The number of the next piece.
    piece: u32,
    entries: usize,
    bytes: usize,
    volatile: bool,
}

impl Journal {
    /// Of a step that is taken up.
    #[must_use]
    pub fn resumed(kept: Kept) -> Journal {
        let replay: VecDeque<Entry> = kept.entries.into_iter().filter(|entry| !entry.is_no_call()).collect();
        let (entries, bytes) = (replay.len(), replay.iter().map(cost).sum());
        Journal { replay, piece: kept.pieces, entries, bytes, ..Journal::default() }
    }

    /// Keeps what the step was given, before its first call.
    pub fn gives(&mut self, given: Given) {
        self.add(Entry::Given(given));
    }

    /// Whether the next call with an entry is answered from it.
    #[must_use]
    pub fn is_replaying(&self) -> bool {
        !self.replay.is_empty()
    }

    /// The recorded answer of the call that the component makes; none: it is live.
    pub fn called(&mut self, call: Call, args: u64) -> Result<Option<Recorded>, Diverged> {
        self.calls += 1;
        match self.replay.front() {
            None => Ok(None),
            Some(Entry::Called { call: was, args: with, .. })
                if (*was, *with) == (call, args) && self.run.0 == 0 =>
            {
                let Some(Entry::Called { answer, after, .. }) = self.replay.pop_front() else {
                    unreachable!("BUG: it was looked at just now")
                };
                Ok(Some(Recorded { answer, after }))
            }
            Some(_) => Err(self.diverged(call, args)),
        }
    }

    /// Keeps the answer of a live call.
    pub fn record(&mut self, call: Call, args: u64, answer: Vec<u8>, after: After) {
        self.add(Entry::Called { call, args, answer, after });
    }

    /// One of many calls: what there is of it.
    pub fn one_of_many(&mut self, many: Many, args: u64) -> Result<OneOfMany, Diverged> {
        let Some(front) = self.replay.front() else {
            self.calls += 1;
            return Ok(OneOfMany::New);
        };
        let Some((calls, all)) = many.run(front) else {
            let recorded = self.called(many.call(), args)?;
            return Ok(recorded.map_or(OneOfMany::New, OneOfMany::Answered));
        };
        self.calls += 1;
        self.run = (self.run.0 + 1, over(self.run.1, args));
        if self.run.0 == calls {
            if self.run.1 != all {
                return Err(self.diverged(many.call(), args));
            }
            self.run = (0, 0);
            self.replay.pop_front();
        }
        Ok(OneOfMany::There)
    }

    /// Keeps that a live one of many calls went well, in the run of those before it.
    pub fn made(&mut self, many: Many, args: u64) {
        match self.fresh.last_mut().and_then(|last| many.run(last).map(|run| (last, run))) {
            Some((last, (calls, all))) => *last = many.entry(calls + 1, over(all, args)),
            None => self.add(many.entry(1, over(0, args))),
        }
    }

    /// Says what is about to be done once: it is durable before that.
    pub fn once(&mut self, what: impl Into<String>) {
        self.add(Entry::Once(what.into()));
    }

    /// A property is set, which was `before`.
    pub fn sets(&mut self, args: u64, name: &str, before: Option<(Value, String)>) -> Result<(), Diverged> {
        self.calls += 1;
        match self.replay.front() {
            None => {
                self.add(Entry::Set { args, name: name.to_owned(), before });
                Ok(())
            }
            Some(Entry::Set { args: was, .. }) if *was == args && self.run.0 == 0 => {
                self.replay.pop_front();
                Ok(())
            }
            Some(_) => Err(self.diverged(Call::SetProperty, args)),
        }
    }

    /// The master goes down in good order, and leaves the step to the next one.
    pub fn leave(&mut self) {
        if !self.volatile {
            self.fresh.push(Entry::Left);
        }
    }

    /// The step does what no replay can make undone or do again. The first reason counts; nothing more is kept.
    pub fn give_up(&mut self, why: &str) {
        if !std::mem::replace(&mut self.volatile, true) {
            self.fresh.clear();
            self.fresh.push(Entry::Volatile(why.to_owned()));
        }
    }

    /// Whether it was given up.
    #[must_use]
    pub fn is_volatile(&self) -> bool {
        self.volatile
    }

    /// Whether something waits to be written.
    #[must_use]
    pub fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// What waits to be written, with the number of the piece that it becomes.
    pub fn take(&mut self) -> Option<(u32, Vec<Entry>)> {
        if self.fresh.is_empty() {
            return None;
        }
        let piece = self.piece;
        self.piece += 1;
        Some((piece, std::mem::take(&mut self.fresh)))
    }

    fn add(&mut self, entry: Entry) {
        if self.volatile {
            return;
        }
        self.entries += 1;
        self.bytes += cost(&entry);
        self.fresh.push(entry);
        if self.entries > MAX_ENTRIES {
            self.give_up(&format!("it made more than {MAX_ENTRIES} calls whose answers have to be kept"));
        } else if self.bytes > MAX_BYTES {
            self.give_up(&format!("the answers that it got take up more than {} MiB", MAX_BYTES >> 20));
        }
    }

    fn diverged(&self, call: Call, args: u64) -> Diverged {
        let say = |call: Call, args: u64| format!("`{}` with arguments {args:016x}", call.as_str());
        let was = match self.replay.front() {
            Some(Entry::Called { call, args, .. }) => say(*call, *args),
            Some(Entry::Logged { calls, args }) => format!("{} ({calls} in a row)", say(Call::Log, *args)),
            Some(Entry::Wrote { calls, args }) => format!("{} ({calls} in a row)", say(Call::Append, *args)),
            Some(Entry::Set { args, name, .. }) => format!("{} (`{name}`)", say(Call::SetProperty, *args)),
            Some(Entry::Given(_) | Entry::Once(_) | Entry::Volatile(_) | Entry::Replayed | Entry::Left)
            | None => "none".to_owned(),
        };
        Diverged { call: self.calls, was, is: say(call, args) }
    }
}

fn over(before: u64, args: u64) -> u64 {
    // FNV's step over words: what counts is that no order or omission goes unseen.
    (before ^ args).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
}

fn cost(entry: &Entry) -> usize {
    32 + match entry {
        Entry::Called { answer, .. } => answer.len(),
        Entry::Set { name, before, .. } => {
            name.len() + before.as_ref().map_or(0, |(value, source)| value.bytes() + source.len())
        }
        Entry::Given(Given { args, env, worker }) => {
            let env = env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
            args.len() + env + worker.bytes()
        }
        Entry::Logged { .. }
        | Entry::Wrote { .. }
        | Entry::Once(_)
        | Entry::Volatile(_)
        | Entry::Replayed
        | Entry::Left => 0,
    }
}

#[cfg(test)]
mod tests;
