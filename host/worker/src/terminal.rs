//! A terminal for a child: what it says is read as from a pipe, what it is told is typed.
//!
//! A terminal that is to be the child's controlling one, with `/dev/tty` and Ctrl-C, has to be taken by the child
//! itself, before its program runs, at the head of a session of its own. So this program starts in its place, and
//! becomes it ([`lead`]): code between a fork and an exec would be unsafe.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;

use crate::child::Streams;

/// What is typed for the end of the input.
const END: u8 = 0x04;

/// A terminal that nobody uses yet.
#[derive(Debug)]
pub struct Terminal {
    ours: OwnedFd,
    childs: OwnedFd,
}

impl Terminal {
    /// Opens one.
    pub fn open() -> std::io::Result<Terminal> {
        let ours = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        rustix::pty::grantpt(&ours)?;
        rustix::pty::unlockpt(&ours)?;
        let name = rustix::pty::ptsname(&ours, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let childs = rustix::fs::open(OsStr::from_bytes(name.as_bytes()), flags, Mode::empty())?;
        Ok(Terminal { ours, childs })
    }

    /// Our side and the child's: where to type, and where to read. Its output ends when all children have closed
    /// theirs.
    pub fn streams(self) -> std::io::Result<(Streams, Streams)> {
        let Terminal { ours, childs } = self;
        let (typed, errors, output) = (ours.try_clone()?, childs.try_clone()?, childs.try_clone()?);
        Ok((
            Streams { stdin: Some(typed), stdout: Some(ours), stderr: None },
            Streams { stdin: Some(childs), stdout: Some(output), stderr: Some(errors) },
        ))
    }
}

/// What is started in a terminal: its leader, which becomes the program. `leader` is how this program becomes the head
/// of a session; without it the terminal is nobody's controlling one.
pub fn led(program: &Path, argv: &[String], leader: &[String]) -> (PathBuf, Vec<String>) {
    match leader.first() {
        Some(file) => {
            let program = program.to_string_lossy().into_owned();
            (file.into(), leader.iter().cloned().chain([program]).chain(argv.iter().cloned()).collect())
        }
        None => (program.to_owned(), argv.to_vec()),
    }
}

/// Input and its end, as somebody would type them.
pub fn typed(mut input: Vec<u8>) -> Vec<u8> {
    input.extend(end_after(input.last().copied()));
    input
}

/// The end of the input, after what was typed last.
pub fn end_after(last: Option<u8>) -> &'static [u8] {
    match last {
        // Within a line the first one only hands the line over.
        Some(last) if last != b'\n' => &[END, END],
        Some(_) | None => &[END],
    }
}

/// Becomes a program at the head of a session whose terminal is the standard input. `arguments`: its file, its
/// name, its arguments. Comes back only if that fails.
#[must_use]
pub fn lead(arguments: &[OsString]) -> ExitCode {
    let [program, name, arguments @ ..] = arguments else {
        return ExitCode::from(FAILED);
    };
    let taken = take_terminal();
    let error = match taken {
        Ok(()) => Command::new(program).arg0(name).args(arguments).exec(),
        Err(error) => error,
    };
    let text = format!("failed to start `{}` in a terminal: {error}\r\n", name.display());
    // To the terminal: nobody else listens.
    let _unheard = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
    ExitCode::from(FAILED)
}

/// As a shell has it for what it cannot run.
const FAILED: u8 = 126;

fn take_terminal() -> std::io::Result<()> {
    // Who leads a group cannot begin a session: back into the parent's group first.
    let parent = rustix::process::getppid();
    let group = rustix::process::getpgid(parent)?;
    rustix::process::setpgid(None, Some(group))?;
    rustix::process::setsid()?;
    rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_input_is_typed_at_the_beginning_of_a_line() {
        assert_eq!(typed(Vec::new()), [END]);
        assert_eq!(typed(b"a\n".to_vec()), [b'a', b'\n', END]);
        assert_eq!(typed(b"a".to_vec()), [b'a', END, END]);
    }
}
