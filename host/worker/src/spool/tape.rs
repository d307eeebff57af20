//! The tape of a command: what an agent that is started anew needs in order to go on with it.
//!
//! A file in memory that the holder keeps, so that it outlives the agent and nothing of it is ever on a disk: a start
//! has secrets. It is only appended to. What stands in one frame came to pass together: an agent that is killed
//! while it writes leaves a frame without its end, and that is none.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};
use windlass_core::digest::Digest;
use windlass_protocol::message::Start;
use windlass_runtime::port::{ChildEvent, Exit};

use crate::child::{At, Kept, Stopped};

/// A frame begins with its length and a part of its hash.
const HEAD: usize = 8;

/// A frame has no more bytes; what commands say lies elsewhere.
const MAX_FRAME: usize = 64 * 1024 * 1024;

/// A shorter tape is not worth making anew.
const WORTH: u64 = 1024 * 1024;

/// Something that came to pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// The first of all.
    Began {
        /// What the master sent.
        start: Start,
        /// What the random numbers of its component follow from.
        seed: [u8; 32],
    },
    /// The updates up to this number are not needed any more.
    Acked {
        /// The number.
        number: u64,
        /// Over the log data up to the last update, as `core::journal::chain` makes it.
        hash: Digest,
    },
    /// An update was said.
    Said {
        /// Its number.
        number: u64,
        /// Where it lies.
        place: Place,
        /// Over the log data so far.
        hash: Digest,
        /// It was the last.
        last: bool,
    },
    /// A call of the component was answered.
    Called {
        /// Which.
        call: Call,
        /// Of its arguments.
        args: u64,
        /// The answer.
        answer: Vec<u8>,
    },
    /// The next call without an answer has begun: what it says before it does anything was said.
    Begun,
    /// The component learned of the interrupt when it had asked so many times since its last call.
    Heard {
        /// How many times, this one included.
        asked: u64,
    },
    /// A child was started, or is about to be.
    Child {
        /// Which one of the command, from 0.
        child: u32,
        /// How it is to be watched over.
        kept: Box<Kept>,
    },
    /// How far a child's output was taken, together with all that came of it.
    At {
        /// Which child.
        child: u32,
        /// How far.
        at: At,
    },
    /// A child's output for the component.
    Event {
        /// Which child.
        child: u32,
        /// What.
        event: ChildEvent,
    },
    /// A child has all of the input that it was given at its start.
    Fed {
        /// Which one.
        child: u32,
    },
    /// A child is being stopped.
    Stopped {
        /// Which one.
        child: u32,
        /// Why, and since when.
        stopped: Stopped,
    },
    /// A child has ended, and all that it wrote was taken.
    Exited {
        /// Which one.
        child: u32,
        /// How.
        exit: Exit,
    },
    /// The command is to stop.
    Interrupted {
        /// Why.
        reason: String,
    },
    /// No agent can go on with the command but this one.
    Volatile {
        /// Why.
        why: String,
    },
    /// An agent that was started anew goes on with it.
    Again {
        /// When, in milliseconds of the machine's own clock.
        at: u64,
    },
}

impl Record {
    /// Of one that is kept for its component or its children: how many bytes.
    pub fn told(&self) -> Option<usize> {
        match self {
            Record::Called { answer, .. } => Some(answer.len()),
            Record::Event { event: ChildEvent::Output(_, data), .. } => Some(data.len()),
            Record::Event { event: ChildEvent::Lines(_, text), .. } => Some(text.len()),
            Record::Event { .. } | Record::Heard { .. } => Some(0),
            // Names and paths of 64 files at most.
            Record::Child { kept, .. } => Some(512 * (1 + kept.follow.len())),
            _ => None,
        }
    }
}

/// Where an update lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// In the file on disk, not in memory.
    pub spilled: bool,
    /// From where.
    pub offset: u64,
    /// How long.
    pub len: u32,
}

/// The calls of a component that have records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    Now,
    Sleep,
    Log,
    Update,
    Diagnostic,
    Spawn,
    NextEvent,
    Wait,
    WriteInput,
    CloseInput,
    Stop,
    MakeDirectory,
    Remove,
    Copy,
    Stat,
    Entries,
    Glob,
    Read,
    Write,
    SendFile,
    SendTree,
    ReceiveFile,
}

/// A tape that is being written.
#[derive(Debug)]
pub struct Tape {
    file: File,
    end: u64,
    /// How long it was when it was made.
    made: u64,
}

impl Tape {
    /// An empty one.
    pub fn new() -> io::Result<Tape> {
        let file = rustix::fs::memfd_create(c"windlass command", MemfdFlags::CLOEXEC)?;
        Ok(Tape { file: file.into(), end: 0, made: 0 })
    }

    /// The file itself, for the holder.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Appends what came to pass together.
    pub fn write(&mut self, records: &[Record]) -> io::Result<()> {
        let mut frame = vec![0; HEAD];
        rmp_serde::encode::write_named(&mut frame, records).map_err(io::Error::other)?;
        let body = &frame[HEAD..];
        let (len, check) = (u32::try_from(body.len()).map_err(io::Error::other)?, check(body));
        frame[..4].copy_from_slice(&len.to_le_bytes());
        frame[4..HEAD].copy_from_slice(&check);
        self.file.write_all_at(&frame, self.end)?;
        self.end += frame.len() as u64;
        Ok(())
    }

    /// What stands on a tape, as far as it has whole frames, and the tape to go on with.
    pub fn read(file: File) -> io::Result<(Tape, Vec<Record>)> {
        let (mut records, mut end) = (Vec::new(), 0);
        loop {
            let mut head = [0; HEAD];
            if file.read_exact_at(&mut head, end).is_err() {
                break;
            }
            let [l0, l1, l2, l3, sum @ ..] = head;
            let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            if len == 0 || len > MAX_FRAME {
                break;
            }
            let mut body = vec![0; len];
            if file.read_exact_at(&mut body, end + HEAD as u64).is_err() || check(&body) != sum {
                break;
            }
            let frame: Vec<Record> = rmp_serde::from_slice(&body).map_err(io::Error::other)?;
            records.extend(frame);
            end += (HEAD + len) as u64;
        }
        Ok((Tape { file, end, made: 0 }, records))
    }

    /// Whether it is long enough to be made anew: most of it is of updates that are not needed any more.
    pub fn is_long(&self) -> bool {
        self.end > WORTH.max(4 * self.made)
    }

    /// What stands on it without the updates, and without what later records say anew.
    pub fn essence(&self) -> io::Result<Vec<Record>> {
        let (_, mut records) = Tape::read(self.file.try_clone()?)?;
        if let Some(at) = records.iter().position(|record| matches!(record, Record::Volatile { .. })) {
            // Nobody goes on with it: what its children did is nobody's business.
            let why = records.swap_remove(at);
            records.retain(|r| matches!(r, Record::Began { .. } | Record::Interrupted { .. }));
            records.push(why);
            return Ok(records);
        }
        let mut seen = BTreeSet::new();
        // The last place of each child is the one that counts.
        records.reverse();
        records.retain(|record| match record {
            Record::Said { .. } | Record::Acked { .. } => false,
            Record::At { child, .. } => seen.insert(*child),
            _ => true,
        });
        records.reverse();
        Ok(records)
    }

    /// Its bytes.
    #[cfg(test)]
    pub fn len(&self) -> u64 {
        self.end
    }

    /// It was just made anew.
    pub fn is_made(&mut self) {
        self.made = self.end;
    }
}

fn check(body: &[u8]) -> [u8; 4] {
    let hash = blake3::hash(body);
    let [a, b, c, d, ..] = *hash.as_bytes();
    [a, b, c, d]
}
