//! Makes a child and waits for nothing: an exec may take for ever, on a file system that does not answer, and the holder
//! has one thread. The standard library waits for it; so the fork and what follows it stand here.
//!
//! What came of the exec is told by the child itself, on a socket whose other end the agent has ([`report`]): it closes
//! when the child becomes its program, and carries the number of the error if it cannot.

use std::ffi::{CStr, c_char, c_long};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, fchdir, getpid, getppid, set_parent_process_death_signal, setpgid,
    setrlimit,
};

/// How a child ends that cannot become its program, as a shell has it.
const FAILED: i32 = 127;

/// What a child is to be.
pub struct Start<'a> {
    /// The file.
    pub program: &'a CStr,
    /// The program's name and its arguments, each with a NUL behind it.
    pub argv: &'a [u8],
    /// `NAME=VALUE`, each with a NUL behind it.
    pub variables: &'a [u8],
    /// Where it begins.
    pub directory: BorrowedFd<'a>,
    /// Input, output and errors.
    pub streams: [BorrowedFd<'a>; 3],
    /// How many descriptors it may have, if that is not what this process may have.
    pub limit: Option<Rlimit>,
    /// Where it says what came of it.
    pub report: Option<BorrowedFd<'a>>,
}

/// A list for the kernel: it points into the texts, and ends with a null pointer.
struct List(Vec<*const c_char>);

impl List {
    fn of(texts: &[u8]) -> io::Result<List> {
        if texts.last().is_some_and(|last| *last != 0) {
            return Err(io::Error::other("a list of texts does not end with a NUL"));
        }
        let texts = texts.split_inclusive(|byte| *byte == 0).map(|text| text.as_ptr().cast());
        Ok(List(texts.chain([ptr::null()]).collect()))
    }
}

/// Makes the child, at the head of a process group of its own.
pub fn start(start: &Start<'_>) -> io::Result<Pid> {
    child_of(getpid(), start)
}

/// Makes the child, which becomes nothing unless this is its parent.
#[expect(unsafe_code, reason = "no other call makes a process without waiting for its exec")]
pub(super) fn child_of(parent: Pid, start: &Start<'_>) -> io::Result<Pid> {
    let (argv, variables) = (List::of(start.argv)?, List::of(start.variables)?);
    // SAFETY: other threads may hold locks, so that the child may make system calls and nothing else, not even
    // allocate: `become_program` does so, and never comes back.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => become_program(parent, start, &argv, &variables),
        number => {
            let pid =
                Pid::from_raw(number).ok_or_else(|| io::Error::other("BUG: a child without a number"))?;
            // The child does so, too: whoever is first. Refused once it is its program.
            let _its_own = setpgid(Some(pid), Some(pid));
            Ok(pid)
        }
    }
}

#[expect(unsafe_code, reason = "ends this process, with or without another program")]
fn become_program(parent: Pid, start: &Start<'_>, argv: &List, variables: &List) -> ! {
    let error = match prepare(parent, start) {
        Err(error) => error.raw_os_error(),
        Ok(()) => {
            // SAFETY: the program is a C string; both lists point to such, which live longer than this call, and end with
            // a null pointer.
            unsafe { libc::execve(start.program.as_ptr(), argv.0.as_ptr(), variables.0.as_ptr()) };
            io::Error::last_os_error().raw_os_error().unwrap_or_default()
        }
    };
    if let Some(report) = start.report {
        let _unheard = rustix::io::write(report, &error.to_le_bytes());
    }
    // SAFETY: it runs nothing of what a process has for its end, which is its parent's.
    unsafe { libc::_exit(FAILED) }
}

/// All that a child needs before its exec. It may take for ever, too: the directory may be gone.
fn prepare(parent: Pid, start: &Start<'_>) -> rustix::io::Result<()> {
    default_signals();
    setpgid(None, None)?;
    // A start that hangs ends with its holder, and so does whatever it becomes: nobody would look after it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It was killed before that, and no signal comes any more.
    if getppid() != Some(parent) {
        return Err(Errno::SRCH);
    }
    let [stdin, stdout, stderr] = start.streams;
    rustix::stdio::dup2_stdin(stdin)?;
    rustix::stdio::dup2_stdout(stdout)?;
    rustix::stdio::dup2_stderr(stderr)?;
    close_others([Some(start.directory), start.report]);
    if let Some(limit) = start.limit {
        setrlimit(Resource::Nofile, limit)?;
    }
    fchdir(start.directory)
}

/// Signals do what they do to a new program.
#[expect(unsafe_code, reason = "the handlers are this program's, and it is about to be another one")]
fn default_signals() {
    for signal in [libc::SIGPIPE, libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
        // SAFETY: no code of this program is run by it any more.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut none = std::mem::MaybeUninit::uninit();
    // SAFETY: the first call fills in the set, the second one reads it.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
    }
}

/// Closes all that the holder has open, but for these and the streams. The exec would do so; but one that hangs would
/// keep pipes, whose ends somebody waits for, and locks.
#[expect(
    unsafe_code,
    reason = "the descriptors are copies of this process, in which nobody uses them any more"
)]
fn close_others(kept: [Option<BorrowedFd<'_>>; 2]) {
    let [one, other] = kept.map(|fd| fd.map_or(RawFd::MAX, |fd| fd.as_raw_fd()));
    let mut from = 3;
    for fd in [one.min(other), one.max(other), RawFd::MAX] {
        if from < fd {
            // SAFETY: as above. A kernel without this call leaves all of it to the exec.
            unsafe { libc::syscall(libc::SYS_close_range, c_long::from(from), c_long::from(fd - 1), 0) };
        }
        from = from.max(fd.saturating_add(1));
    }
}

/// Two ends of a report: the agent's and the child's.
pub fn report() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

/// What came of a start, as the agent's end says, however often it is asked. None: it is not known yet.
pub fn reported(ours: impl AsFd) -> Option<io::Result<()>> {
    let mut number = [0; 4];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    match rustix::io::retry_on_intr(|| recv(&ours, &mut number, flags)) {
        Ok((_, 0)) => Some(Ok(())),
        Ok(_) => Some(Err(io::Error::from_raw_os_error(i32::from_le_bytes(number)))),
        Err(Errno::AGAIN) => None,
        Err(error) => Some(Err(error.into())),
    }
}
