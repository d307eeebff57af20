//! What agent and holder say to each other: MessagePack with named fields over a socket that keeps messages apart, with
//! descriptors beside them. A holder outlives the program that it was started from, so the two may be of different
//! versions: a field more is no fault, and a request that the holder does not know gets an answer that says so.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Of the messages. It grows with each request that an earlier holder does not know.
pub const VERSION: u32 = 2;

/// From this version on a holder knows `Disown`, and waits for no exec.
pub const DISOWNS: u32 = 2;

/// The largest body that travels in the message itself; larger ones go in a file in memory beside it.
const MAX_INLINE: usize = 64 * 1024;

/// The largest body. The kernel takes fewer arguments and variables.
const MAX_BODY: u64 = 16 * 1024 * 1024;

/// Descriptors in one message; the kernel takes 253.
pub const MAX_DESCRIPTORS: usize = 128;

/// The first byte of a message: where its body is.
const INLINE: u8 = 0;
const BESIDE: u8 = 1;

/// What the agent asks. Each gets one answer, but for `Forget`.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// The first one.
    Hello {
        /// Of the agent.
        version: u32,
    },
    /// Makes a child. Beside it: its directory, then the streams that it has, and what else the order names.
    Spawn(Order),
    /// The children of commands that are not forgotten, the buried ones too.
    Children,
    /// Buries a child that has ended.
    Reap {
        /// Its number.
        pid: i32,
    },
    /// Buries a process that came to the holder and has ended.
    ReapOrphan {
        /// Its number.
        pid: i32,
    },
    /// Nobody waits for a child any more, which was killed and does not end: from now on it is an orphan.
    Disown {
        /// Its number.
        pid: i32,
    },
    /// Keeps the descriptor beside it.
    Keep {
        /// Whose it is.
        command: String,
        /// Which of them.
        name: String,
    },
    /// What is kept, from this place on.
    Kept {
        /// How many were answered already.
        from: usize,
    },
    /// Drops what is kept for a command under names that begin like this; all of it, and its ended children, if that
    /// is empty. Without an answer.
    Forget {
        /// Whose.
        command: String,
        /// How the names begin.
        #[serde(default)]
        prefix: String,
    },
}

/// A child to start.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// Whose it is.
    pub command: String,
    /// Which of the command's children.
    pub child: u32,
    /// The file.
    pub program: Bytes,
    /// The program's name and its arguments, each with a NUL behind it.
    pub argv: Bytes,
    /// `NAME=VALUE`, each with a NUL behind it: all that it has.
    pub variables: Bytes,
    /// Which of input, output and errors come beside it; the others are /dev/null.
    pub streams: [bool; 3],
    /// Under which names the descriptors after those are kept for the command.
    #[serde(default)]
    pub kept: Vec<String>,
    /// Whether one more comes beside it, on which the child says whether it could become its program. A holder that does
    /// not know this field waits for that itself, and closes that descriptor.
    #[serde(default)]
    pub reports: bool,
}

/// What the holder answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// To the first request.
    Welcome {
        /// Of the holder.
        version: u32,
        /// The holder's number.
        pid: i32,
    },
    /// The child is made. Whether it can become its program is its own to report.
    Spawned {
        /// Its number.
        pid: i32,
    },
    /// They are these.
    Children(Vec<Child>),
    /// It was reaped.
    Reaped {
        /// As `wait` has it.
        status: i32,
    },
    /// Names of the descriptors beside it, in their order.
    Kept {
        /// Command and name of each.
        names: Vec<(String, String)>,
        /// There are others.
        more: bool,
    },
    /// It was done.
    Done,
    /// It was not.
    Failed {
        /// The number of the error, if it has one.
        errno: Option<i32>,
        /// What went wrong.
        message: String,
    },
}

/// A child of a command that is not forgotten.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Child {
    /// Whose it is.
    pub command: String,
    /// Which of the command's children.
    pub child: u32,
    /// Its number.
    pub pid: i32,
    /// How it ended, if it was buried.
    #[serde(default)]
    pub status: Option<i32>,
}

/// A message as it came.
#[derive(Debug)]
pub enum Received<T> {
    /// A whole one, and what came beside it.
    Message(T, Vec<OwnedFd>),
    /// One that this version does not understand.
    Unknown(String),
    /// The other side is gone.
    End,
}

/// Sends a message with descriptors beside it. With `DONTWAIT` it fails where it would wait.
pub fn send<T: Serialize>(
    socket: impl AsFd,
    message: &T,
    beside: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> io::Result<()> {
    let mut body = vec![INLINE];
    message
        .serialize(&mut rmp_serde::Serializer::new(&mut body).with_struct_map())
        .map_err(io::Error::other)?;
    let mut beside = beside.to_vec();
    let large;
    if body.len() > MAX_INLINE {
        large = memfd_create("windlass-message", MemfdFlags::CLOEXEC)?;
        write_all(&large, &body[1..])?;
        body = vec![BESIDE];
        beside.insert(0, large.as_fd());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS + 1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !beside.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&beside)) {
        return Err(io::Error::other("BUG: more descriptors than one message takes"));
    }
    let sent = rustix::io::retry_on_intr(|| {
        sendmsg(&socket, &[IoSlice::new(&body)], &mut control, flags | SendFlags::NOSIGNAL)
    })?;
    if sent == body.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Room for one message, to be used again: new pages for each would cost a holder, which forks, more than what it does
/// with them.
#[derive(Debug)]
pub struct Room(Vec<u8>);

impl Default for Room {
    fn default() -> Room {
        Room(vec![0; MAX_INLINE])
    }
}

/// Waits for a message; with `DONTWAIT` it fails where there is none.
pub fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
    room: &mut Room,
    flags: RecvFlags,
) -> io::Result<Received<T>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS + 1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(&socket, &mut [IoSliceMut::new(&mut room.0)], &mut control, flags | RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut beside: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            beside.extend(descriptors);
        }
    }
    let cut = received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    let decoded = match room.0[..received.bytes.min(MAX_INLINE)].split_first() {
        None => return Ok(Received::End),
        _ if cut => return Ok(Received::Unknown("a message that is too large".to_owned())),
        Some((&BESIDE, _)) if !beside.is_empty() => rmp_serde::from_slice(&read_all(&beside.remove(0))?),
        Some((_, body)) => rmp_serde::from_slice(body),
    };
    Ok(match decoded {
        Ok(message) => Received::Message(message, beside),
        Err(error) => Received::Unknown(error.to_string()),
    })
}

fn write_all(file: &OwnedFd, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let len = rustix::io::retry_on_intr(|| rustix::io::write(file, data))?;
        data = &data[len..];
    }
    Ok(())
}

/// From its beginning, wherever the sender's own position is.
fn read_all(file: &OwnedFd) -> io::Result<Vec<u8>> {
    let size = rustix::fs::fstat(file)?.st_size.cast_unsigned();
    if size > MAX_BODY {
        return Err(io::Error::other(format!("a message of {size} bytes is larger than {MAX_BODY}")));
    }
    let mut data = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    let mut at = 0;
    while at < data.len() {
        match rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut data[at..], at as u64))? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => at += len,
        }
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn a_message_of_any_size_arrives_with_its_descriptors() {
        for size in [0, 1, MAX_INLINE - 100, MAX_INLINE, 3_000_000] {
            let (ours, theirs) = pair();
            let file = tempfile::tempfile().unwrap();
            let sent = Request::Forget { command: "c".repeat(size), prefix: String::new() };
            send(&ours, &sent, &[file.as_fd(), ours.as_fd()], SendFlags::DONTWAIT).unwrap();
            let Received::Message(Request::Forget { command, .. }, beside) =
                receive(&theirs, &mut Room::default(), RecvFlags::DONTWAIT).unwrap()
            else {
                panic!("{size}")
            };
            assert_eq!((command.len(), beside.len()), (size, 2));
            let node = |file: &dyn Fn() -> rustix::fs::Stat| file().st_ino;
            assert_eq!(
                node(&|| rustix::fs::fstat(&beside[0]).unwrap()),
                node(&|| rustix::fs::fstat(&file).unwrap())
            );
        }
    }

    #[test]
    fn what_an_earlier_agent_asks_for_is_understood() {
        let (ours, theirs) = pair();
        #[derive(Serialize)]
        struct Order {
            command: String,
            child: u32,
            program: Bytes,
            argv: Bytes,
            variables: Bytes,
            streams: [bool; 3],
        }
        #[derive(Serialize)]
        enum Earlier {
            Spawn(Order),
        }
        let (program, argv, variables) = ("/bin/true".into(), "true\0".into(), "".into());
        let order = Order { command: "c".into(), child: 1, program, argv, variables, streams: [false; 3] };
        send(&ours, &Earlier::Spawn(order), &[], SendFlags::DONTWAIT).unwrap();
        let Received::Message(Request::Spawn(order), _) =
            receive(&theirs, &mut Room::default(), RecvFlags::DONTWAIT).unwrap()
        else {
            panic!("another message")
        };
        assert_eq!((&order.program[..], order.kept.len(), order.reports), (&b"/bin/true"[..], 0, false));
    }

    #[test]
    fn what_a_later_version_says_is_told_from_an_end() {
        let (ours, theirs) = pair();
        #[derive(Serialize)]
        enum Later {
            Sing { loud: bool },
            Reap { pid: i32, gently: bool },
        }
        send(&ours, &Later::Sing { loud: true }, &[], SendFlags::DONTWAIT).unwrap();
        send(&ours, &Later::Reap { pid: 7, gently: true }, &[], SendFlags::DONTWAIT).unwrap();
        drop(ours);
        let next = || receive::<Request>(&theirs, &mut Room::default(), RecvFlags::DONTWAIT).unwrap();
        assert!(matches!(next(), Received::Unknown(_)));
        assert!(matches!(next(), Received::Message(Request::Reap { pid: 7 }, _)));
        assert!(matches!(next(), Received::End));
    }
}
