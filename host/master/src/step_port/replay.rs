//! A step that is taken up after a restart of the master: what there is of it, and how its calls are answered from
//! its journal.
//!
//! `core::journal` says what a journal is. Here is what its answers look like, and what of the run's state follows
//! from them: commands that may run still, logs that have what was said before, the moment that the step sees.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};
use windlass_core::excerpt::{Held, Passed};
use windlass_core::id::{BuildId, StepId};
use windlass_core::journal::{
    After, Call, Entry, Given, Journal, Kept, Many, Mark, OF_STEP, OneOfMany, Recorded,
};
use windlass_core::persist::Persist;
use windlass_core::record::{BuildRow, LogRow, StepRow};
use windlass_core::value::Failure;
use windlass_protocol::message::CommandUid;
use windlass_runtime::port::StepEvent;
use windlass_store::{ReadError, Store};

use super::StepState;
use super::logs::Resumed as ResumedLog;
use super::transfer::StepFiles;
use crate::worker_link::{CommandFeed, Links, Session};

/// How much of a log is read at a time, for its hash.
const READ: usize = 1024 * 1024;

/// So long what is held of logs beyond their limits waits for company.
const ENDS_AFTER: Duration = Duration::from_secs(1);

/// What there is of a step that ran when the master ended.
#[derive(Default)]
pub(crate) struct Resumed {
    pub(super) kept: Kept,
    /// Its commands that may run still, by their numbers within the step.
    pub(super) feeds: BTreeMap<u32, CommandFeed>,
    pub(super) logs: Vec<ResumedLog>,
    /// Its tokens, once its worker may show them.
    pub(super) files: Option<StepFiles>,
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

/// Which command an entry started: its number within the step, its name, and the session of its worker.
pub(crate) fn started_command(entry: &Entry) -> Option<(u32, String, Session)> {
    let Entry::Called { call: Call::StartCommand, answer, .. } = entry else { return None };
    match decode::<Started>(answer) {
        Ok(Started::Command { number, uid, session }) => Some((number, uid.0, session)),
        // What cannot be read was started by no master that this one knows.
        Ok(Started::Refused(_)) | Err(_) => None,
    }
}

/// That answer, for tests of those who take a step up.
#[cfg(test)]
pub(crate) fn started(number: u32, uid: &str, instance: &str, epoch: u64) -> Vec<u8> {
    let session = Session { instance: instance.to_owned(), epoch };
    encode(&Started::Command { number, uid: CommandUid(uid.to_owned()), session })
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
    if let Some(why) = kept.refusal().or_else(|| runs_program(&kept)) {
        return Err(NotTakenUp::Volatile { step: step.name.clone(), why });
    }
    let mine = logs.iter().filter(|log| log.step == step.id);
    let ends = kept.marks.get(&OF_STEP).map(|mark| mark.ends.as_slice()).unwrap_or_default();
    let logs = mine.map(|log| whole(store, log, ends)).collect::<Result<_, _>>().map_err(unread)?;
    for (name, before) in kept.before() {
        match before {
            Some((value, source)) => build.properties.set(name, value.clone(), source),
            None => build.properties.remove(name),
        }
    }
    (step.summary, step.urls) = (String::new(), Vec::new());
    Ok(Resumed { kept, logs, ..Resumed::default() })
}

/// Whether a program on the master had not ended yet, as far as the step knows: why it cannot be taken up.
fn runs_program(kept: &Kept) -> Option<String> {
    let mut running = BTreeSet::new();
    for entry in &kept.entries {
        match entry {
            Entry::Called { call: Call::StartProcess, answer, .. } => {
                running.extend(decode::<Result<u32, Failure>>(answer).ok().and_then(Result::ok));
            }
            Entry::Called { call: Call::NextEvent, answer, .. } if !running.is_empty() => {
                if let Ok(StepEvent::ProcessDone { process, .. }) = decode(answer) {
                    running.remove(&process);
                }
            }
            _ => {}
        }
    }
    (!running.is_empty()).then(|| "a program that it ran on the master ended with it".to_owned())
}

impl Resumed {
    /// What says, durably and before it happens, that the step is taken up once more.
    pub(crate) fn counted(&mut self, build: &BuildRow, step: StepId) -> Persist {
        let piece = self.kept.pieces;
        self.kept.pieces += 1;
        append(build, step, piece, Entry::Replayed)
    }

    /// Whether the step did anything: it had its locks by then.
    pub(crate) fn has_begun(&self) -> bool {
        self.kept.entries.iter().any(|entry| !entry.is_of_master())
    }

    /// What the step was given, if it got so far.
    pub(crate) fn given(&self) -> Option<&Given> {
        self.kept.given()
    }

    /// Waits for the step's commands, and for the files that they have under way. To be called before workers can
    /// connect: what no step waits for is stopped.
    pub(crate) fn expect(&mut self, links: &Links, worker: &str) {
        let mut files = StepFiles::new(links.transfers().clone());
        for entry in &self.kept.entries {
            let Entry::Called { call, answer, .. } = entry else { continue };
            match call {
                Call::StartCommand => {
                    let Ok(Started::Command { number, uid, session }) = decode(answer) else { continue };
                    let seen = self.kept.marks.get(&number).map_or(0, |mark| mark.number);
                    self.feeds.insert(number, links.expect(worker, &uid, session, seen));
                }
                Call::Accept | Call::OfferFile | Call::OfferBytes => {
                    if let Ok(Ok(token)) = decode::<Result<String, Failure>>(answer) {
                        files.expect(worker, token);
                    }
                }
                _ => {}
            }
        }
        self.files = Some(files);
    }

    /// The master goes down before the step goes on: its commands run on, and its tokens stay good. What says so,
    /// durably.
    pub(crate) fn part(self, build: &BuildRow, step: StepId) -> Persist {
        self.feeds.into_values().for_each(CommandFeed::part);
        self.files.into_iter().for_each(|mut files| files.part());
        append(build, step, self.kept.pieces, Entry::Left)
    }
}

/// A piece of a journal that is this entry.
fn append(build: &BuildRow, step: StepId, piece: u32, entry: Entry) -> Persist {
    let (fence, build, entries) = (build.fence, build.id, vec![entry].into());
    Persist::AppendJournal { fence, build, step, piece, entries }
}

/// A log with the hash of what it has, and what is held of it.
fn whole(store: &Store, row: &LogRow, ends: &[(String, Held)]) -> Result<ResumedLog, ReadError> {
    let (mut passed, mut hash) = (Passed::default(), blake3::Hasher::new());
    loop {
        let pieces = store.read_log(row.id, passed.bytes(), READ)?;
        if pieces.is_empty() {
            let held = ends.iter().find(|(name, _)| *name == row.name).map(|(_, held)| held.clone());
            return Ok(ResumedLog { id: row.id, name: row.name.clone(), passed, hash, held });
        }
        for piece in pieces {
            passed.add(piece.origin, piece.data.len() as u64);
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
            Ok(None) => {
                self.go_live();
                Ok(None)
            }
            Ok(Some(Recorded { answer, after })) => {
                self.see(after);
                decode(&answer).map(Some).map_err(|error| {
                    self.diverged(&format!("the kept answer of `{}` cannot be read: {error}", call.as_str()))
                })
            }
            Err(diverged) => Err(self.diverged(&diverged.to_string())),
        }
    }

    /// What the journal has of one of many calls, which went well or did not; none: the call is live. An error: the
    /// component does something else than before.
    pub(super) fn made_before(
        &mut self,
        many: Many,
        args: u64,
    ) -> Result<Option<Result<(), Failure>>, Failure> {
        match self.journal.one_of_many(many, args) {
            Ok(OneOfMany::New) => {
                self.go_live();
                Ok(None)
            }
            Ok(OneOfMany::There) => Ok(Some(Ok(()))),
            Ok(OneOfMany::Answered(Recorded { answer, after })) => {
                self.see(after);
                // Of a message it says nothing: whoever writes one is told of a fault of the master alone.
                Ok(Some(decode(&answer).unwrap_or(Ok(()))))
            }
            Err(diverged) => Err(self.diverged(&diverged.to_string())),
        }
    }

    /// The step stands where it stood: what follows for its commands from what came before is said to them again, since
    /// nobody knows whether it was.
    pub(super) fn go_live(&mut self) {
        if !std::mem::take(&mut self.replays) {
            return;
        }
        if let Some(why) = self.logs.flood().map(str::to_owned) {
            if self.seen.is_some() {
                // It was told to stop already.
                self.interrupt_commands(&why);
                self.flooded = Some(why);
            } else {
                self.stop_flood(why);
            }
        }
        if let Some(reason) = self.worker_lost.clone() {
            self.interrupt_commands(&reason);
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
        if self.logs.swallowed().is_some() {
            let mark = Mark { ends: self.logs.ends(), ..Mark::default() };
            batch.push(Persist::PutMark { fence, build, step, command: OF_STEP, mark });
            self.next_ends = Instant::now() + ENDS_AFTER;
        }
    }

    /// When what waits may go down: where a log is beyond its limit, what is held of it goes along, and that is not for
    /// each line. None: now.
    pub(super) fn ends_wait(&self, now: Instant) -> Option<Instant> {
        let swallowed = self.logs.swallowed()?;
        let waits =
            now < self.next_ends && swallowed < self.logs.may_swallow() && !self.journal.is_volatile();
        waits.then_some(self.next_ends)
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
