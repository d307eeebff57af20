//! What an agent that was killed left of a command, as its tape says.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;

use rustix::process::Pid;
use windlass_core::digest::Digest;
use windlass_core::journal::begin;
use windlass_protocol::message::Start;
use windlass_runtime::port::{ChildEvent, Exit};

use super::tape::{Call, Place, Record};
use crate::child::{At, Kept, Stopped};

/// An agent goes on with a command so often without any new answer to its component. One that ends the agent each
/// time would do so for ever.
pub const MAX_AGAIN: usize = 3;

/// An agent that lived so long, in milliseconds, was not ended by the command.
const SOUND: u64 = 60_000;

/// A tape has so many answers at most; the same as a step's journal.
pub const MAX_ANSWERS: usize = 10_000;

/// And so many bytes of them.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// What there is of a command.
#[derive(Debug)]
pub struct Left {
    /// What the master sent.
    pub start: Start,
    /// What the random numbers of its component follow from.
    pub seed: [u8; 32],
    /// The number of the last update that is not needed any more.
    pub acked: u64,
    /// Over the log data so far.
    pub hash: Digest,
    /// It has ended.
    pub done: bool,
    /// The updates after `acked`, in order.
    pub said: Vec<Place>,
    /// What its component was answered.
    pub answers: VecDeque<Answer>,
    /// A call without an answer had begun.
    pub begun: bool,
    /// Its children, by number.
    pub children: BTreeMap<u32, ChildLeft>,
    /// Why it is to stop, if it is.
    pub interrupted: Option<String>,
    /// Why nobody can go on with it.
    pub refusal: Option<String>,
    told: (usize, usize),
}

/// What its component got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The answer of a call.
    Of {
        /// Which.
        call: Call,
        /// Of its arguments.
        args: u64,
        /// As the port wrote it.
        answer: Vec<u8>,
    },
    /// That there is an interrupt, when it had asked so many times.
    Heard {
        /// Since the call before.
        asked: u64,
    },
}

/// What there is of a child.
#[derive(Debug)]
pub struct ChildLeft {
    /// How it is to be watched over.
    pub kept: Kept,
    /// How far its output was taken.
    pub at: At,
    /// Its output for the component, from the beginning.
    pub events: Vec<ChildEvent>,
    /// It has its input.
    pub fed: bool,
    /// It is being stopped.
    pub stopped: Option<Stopped>,
    /// It has ended.
    pub exit: Option<Exit>,
}

/// What there is of a command's children, for its component that is run again.
#[derive(Debug, Default)]
pub struct Children {
    /// As the tape says, by number.
    pub left: BTreeMap<u32, ChildLeft>,
    /// As the holder says, by number.
    pub running: BTreeMap<u32, Running>,
    /// The call that starts the next one had begun.
    pub begun: bool,
}

/// What the holder has of a child.
#[derive(Debug, Default)]
pub struct Running {
    /// Its number; none: it was buried.
    pub pid: Option<Pid>,
    /// How it ended, if it was.
    pub status: Option<ExitStatus>,
    /// Descriptors, by what they are for.
    pub kept: BTreeMap<String, OwnedFd>,
}

impl Children {
    /// What the holder has of a child.
    pub fn take(&mut self, child: u32) -> Option<Running> {
        self.running.remove(&child)
    }
}

impl ChildLeft {
    /// Of a child of which nothing was heard yet.
    pub fn new(kept: Kept) -> ChildLeft {
        ChildLeft { kept, at: At::default(), events: Vec::new(), fed: false, stopped: None, exit: None }
    }
}

impl Left {
    /// As the records say, in order, at this moment of the machine's own clock.
    pub fn of(records: Vec<Record>, now: u64) -> io::Result<Left> {
        let told =
            records.iter().filter_map(Record::told).fold((0, 0), |(n, all), bytes| (n + 1, all + bytes));
        let mut records = records.into_iter();
        let Some(Record::Began { start, seed }) = records.next() else {
            return Err(io::Error::other("the tape of a command does not begin with its start"));
        };
        let mut left = Left {
            start,
            seed,
            acked: 0,
            hash: begin(),
            done: false,
            said: Vec::new(),
            answers: VecDeque::new(),
            begun: false,
            children: BTreeMap::new(),
            interrupted: None,
            refusal: None,
            told,
        };
        let (mut again, mut last_again) = (0, 0);
        for record in records {
            match record {
                Record::Began { .. } => return Err(io::Error::other("a command began twice")),
                Record::Acked { number, hash } => {
                    let gone = usize::try_from(number.saturating_sub(left.acked)).unwrap_or(usize::MAX);
                    left.said.drain(..gone.min(left.said.len()));
                    (left.acked, left.hash) = (number.max(left.acked), hash);
                }
                Record::Said { number, place, hash, last } => {
                    if number != left.acked + left.said.len() as u64 + 1 {
                        return Err(io::Error::other(format!("the update before {number} is missing")));
                    }
                    left.said.push(place);
                    (left.hash, left.done) = (hash, last);
                }
                Record::Called { call, args, answer } => {
                    left.answers.push_back(Answer::Of { call, args, answer });
                    (left.begun, again) = (false, 0);
                }
                Record::Heard { asked } => left.answers.push_back(Answer::Heard { asked }),
                Record::Begun => left.begun = true,
                Record::Child { child, kept } => {
                    left.children.insert(child, ChildLeft::new(*kept));
                }
                Record::At { child, at } => left.child(child, |left| left.at = at),
                Record::Event { child, event } => left.child(child, |left| left.events.push(event)),
                Record::Fed { child } => left.child(child, |left| left.fed = true),
                Record::Stopped { child, stopped } => left.child(child, |left| left.stopped = Some(stopped)),
                Record::Exited { child, exit } => left.child(child, |left| left.exit = Some(exit)),
                Record::Interrupted { reason } => {
                    left.interrupted.get_or_insert(reason);
                }
                Record::Volatile { why } => {
                    left.refusal.get_or_insert(why);
                }
                Record::Again { at } => {
                    again = if at.saturating_sub(last_again) < SOUND { again + 1 } else { 1 };
                    last_again = at;
                }
            }
        }
        let typed = |child: &ChildLeft| !child.kept.terminal || child.fed || child.exit.is_some();
        if !left.children.values().all(typed) {
            // Nobody knows how much of it.
            left.refusal.get_or_insert("the input of one of its programs was being typed".to_owned());
        }
        if again >= MAX_AGAIN && now.saturating_sub(last_again) < SOUND {
            let why = format!("it was gone on with {again} times, and the worker's agent ended each time");
            left.refusal.get_or_insert(why);
        }
        Ok(left)
    }

    /// What is kept for its component and its children: how many records, and how many bytes.
    pub fn told(&self) -> (usize, usize) {
        self.told
    }

    fn child(&mut self, child: u32, change: impl FnOnce(&mut ChildLeft)) {
        if let Some(left) = self.children.get_mut(&child) {
            change(left);
        }
    }
}
