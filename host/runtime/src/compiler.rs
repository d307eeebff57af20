//! Makes native code of components: in a process that may die of it, or here.
//!
//! The compiler is no sandbox: a component of a few kilobytes can be made to cost it hours and all the
//! memory there is, and then it takes its process along. So the daemons compile in a child of the same
//! program, with limits on memory, CPU and time, and a lower priority. The child is given the bytes and
//! an empty environment, and gives native code back. That is run as what it is, our own: a bug in the
//! compiler that could be made to emit something else would harm as much in a child as here.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};
use serde::{Deserialize, Serialize};
use wasmtime::Engine;

use crate::check;
use crate::engine;
use crate::load::Problem;

/// Where components are compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compiler {
    /// Here, without a limit: for tests, and for tools that load what their user just built.
    InProcess,
    /// In a child process that calls [`compile_child`] with what stands behind these arguments.
    Child {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        args: Vec<OsString>,
    },
}

impl Compiler {
    /// This very program, whatever stands at its path by now.
    #[must_use]
    pub fn this_program(args: &[&str]) -> Compiler {
        let args = args.iter().map(OsString::from).collect();
        Compiler::Child { program: "/proc/self/exe".into(), args }
    }
}

/// What compiling one component may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    address_space: u64,
    cpu_s: u64,
    wall: Duration,
}

impl Bounds {
    /// By the size of the component.
    fn of(len: u64) -> Bounds {
        const MIB: u64 = 1024 * 1024;
        let mib = len.div_ceil(MIB);
        let cpu_s = 10 + 4 * mib;
        Bounds {
            address_space: 1024 * MIB + 96 * len,
            cpu_s,
            // It gives way to everything else on the machine: where four others compute, it gets a twentieth of it.
            wall: Duration::from_secs(60 + 20 * cpu_s),
        }
    }
}

/// What the child answers.
#[derive(Serialize, Deserialize)]
enum Refusal {
    Invalid { offset: u64, message: String },
    Truncated { len: u64 },
    Compile { why: String },
}

const COMPILED: u8 = b'c';
const REFUSED: u8 = b'r';

/// Compiles `bytes` in a child. Blocks.
pub(crate) fn in_child(program: &PathBuf, args: &[OsString], bytes: &[u8]) -> Result<Vec<u8>, Problem> {
    let bounds = Bounds::of(bytes.len() as u64);
    let failed = |error: io::Error| Problem::Compile(Box::new(error));
    let mut answer = memory(&[]).map_err(failed)?;
    let mut said = memory(&[]).map_err(failed)?;
    let mut child = Command::new(program)
        .args(args)
        .arg(bounds.address_space.to_string())
        .arg(bounds.cpu_s.to_string())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(memory(bytes).map_err(failed)?))
        .stdout(Stdio::from(answer.try_clone().map_err(failed)?))
        .stderr(Stdio::from(said.try_clone().map_err(failed)?))
        .spawn()
        .map_err(failed)?;
    let pid = Pid::from_child(&child);
    let ended = ends_within(pid, bounds.wall);
    if !matches!(ended, Ok(true)) {
        child.kill().and_then(|()| child.wait()).map_err(failed)?;
        ended.map_err(failed)?;
        return Err(Problem::Compiling { limit: format!("{} s", bounds.wall.as_secs()) });
    }
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        let mut text = Vec::new();
        rewind(&mut said, &mut text).map_err(failed)?;
        return Err(died(status, &String::from_utf8_lossy(&text), bounds));
    }
    let mut tagged = Vec::new();
    rewind(&mut answer, &mut tagged).map_err(failed)?;
    match tagged.first() {
        Some(&COMPILED) => {
            tagged.remove(0);
            Ok(tagged)
        }
        Some(&REFUSED) => match serde_json::from_slice(&tagged[1..]) {
            Ok(Refusal::Invalid { offset, message }) => Err(Problem::Invalid { offset, message }),
            Ok(Refusal::Truncated { len }) => Err(Problem::Truncated { len }),
            Ok(Refusal::Compile { why }) => Err(Problem::Compile(why.into())),
            Err(error) => Err(Problem::Compile(error.into())),
        },
        _ => Err(Problem::Compile("the compiler's process said nothing".into())),
    }
}

/// A file that is nowhere on a disk, with `content`.
fn memory(content: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("windlass", MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

fn rewind(file: &mut File, into: &mut Vec<u8>) -> io::Result<()> {
    file.rewind()?;
    file.read_to_end(into).map(drop)
}

fn ends_within(pid: Pid, wall: Duration) -> io::Result<bool> {
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    let until = Instant::now() + wall;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Which limit ended the child, as far as one can tell.
fn died(status: ExitStatus, said: &str, bounds: Bounds) -> Problem {
    let memory = ["memory allocation of", "annot allocate memory", "ThreadPoolBuildError", "spawn thread"];
    if status.signal() == Some(Signal::XCPU.as_raw()) {
        return Problem::Compiling { limit: format!("{} s of CPU", bounds.cpu_s) };
    }
    if memory.iter().any(|words| said.contains(words)) {
        return Problem::Compiling { limit: format!("{} MiB of memory", bounds.address_space >> 20) };
    }
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    Problem::Compile(format!("the compiler's process ended by {status}: {last}").into())
}

/// The child's side: reads a component from standard input, writes native code to standard output.
/// `limits` are the two numbers that the parent put behind its arguments.
#[must_use]
pub fn compile_child(limits: &[OsString]) -> ExitCode {
    match child(limits) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // To the parent alone, which holds the other end.
            drop(writeln!(io::stderr(), "{error}"));
            ExitCode::FAILURE
        }
    }
}

fn child(limits: &[OsString]) -> io::Result<()> {
    let number = |index: usize| limits.get(index).and_then(|text| text.to_str()?.parse::<u64>().ok());
    let (Some(address_space), Some(cpu_s)) = (number(0), number(1)) else {
        return Err(io::Error::other("this is not for people: windlass calls it to compile a plugin"));
    };
    let limit = |most: u64| Rlimit { current: Some(most), maximum: Some(most) };
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::process::setrlimit(Resource::As, limit(address_space))?;
    rustix::process::setrlimit(Resource::Cpu, Rlimit { current: Some(cpu_s), maximum: Some(cpu_s + 1) })?;
    rustix::process::setrlimit(Resource::Core, limit(0))?;
    rustix::process::nice(10)?;
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    let mut out = io::stdout().lock();
    match compile(&bytes) {
        Ok(artefact) => {
            out.write_all(&[COMPILED])?;
            out.write_all(&artefact)?;
        }
        Err(refusal) => {
            out.write_all(&[REFUSED])?;
            serde_json::to_writer(&mut out, &refusal)?;
        }
    }
    out.flush()
}

fn compile(bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    match check::validate(bytes) {
        Ok(()) => {}
        Err(Problem::Invalid { offset, message }) => return Err(Refusal::Invalid { offset, message }),
        Err(Problem::Truncated { len }) => return Err(Refusal::Truncated { len }),
        Err(other) => return Err(Refusal::Compile { why: other.to_string() }),
    }
    Engine::new(&engine::config())
        .and_then(|engine| engine.precompile_component(bytes))
        .map_err(|error| Refusal::Compile { why: format!("{error:#}") })
}
