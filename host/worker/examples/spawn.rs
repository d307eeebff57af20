//! What a child costs through the holder, and without it: `true`, started and reaped one after the other.
//!
//!     cargo run --release -p windlass-worker --example spawn [CHILDREN]

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use windlass_worker::{AgentProgram, Holder, Spawn, hold};

const CHILDREN: u32 = 2_000;
const PROGRAM: &str = "/bin/true";

fn main() -> ExitCode {
    let children = std::env::args().nth(1);
    if children.as_deref() == Some("--held") {
        let children = std::env::args().nth(2).and_then(|number| number.parse().ok()).unwrap_or(CHILDREN);
        compare(children);
        return ExitCode::SUCCESS;
    }
    let file = std::env::current_exe().expect("this program has a file");
    let arguments = std::iter::once("--held".to_owned()).chain(children).map(Into::into).collect();
    ExitCode::from(hold(AgentProgram { file, arguments }).expect("it can hold"))
}

fn compare(children: u32) {
    let holder = Holder::on_stdin().expect("started by the holder");
    let root = File::open("/").expect("it is there");
    let variables = std::env::vars_os().collect();
    for _ in 0..3 {
        measure("directly", children, &holder, || {
            let mut child = Command::new(PROGRAM)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("it starts");
            until_ended(Pid::from_child(&child));
            child.wait().expect("it is ours");
        });
        measure("through the holder", children, &holder, || {
            let (report, childs_report) = windlass_worker::report().expect("two sockets");
            let spawn = Spawn {
                command: "c",
                child: 0,
                program: Path::new(PROGRAM),
                argv: &["true".to_owned()],
                variables: &variables,
                directory: root.as_fd(),
                stdin: None,
                stdout: None,
                stderr: None,
                keep: &[],
                report: Some(childs_report.as_fd()),
            };
            let pid = holder.spawn(&spawn).expect("it is made");
            drop(childs_report);
            poll(&mut [PollFd::new(&report, PollFlags::IN)], None).expect("it can be waited for");
            windlass_worker::reported(&report).expect("it is known").expect("it starts");
            until_ended(pid);
            holder.reap(pid).expect("it is ours");
            holder.forget("c", "").expect("it lives");
        });
    }
}

fn until_ended(pid: Pid) {
    let process = pidfd_open(pid, PidfdFlags::empty()).expect("not reaped yet");
    poll(&mut [PollFd::new(&process, PollFlags::IN)], None).expect("it can be waited for");
}

fn measure(what: &str, children: u32, holder: &Holder, mut one: impl FnMut()) {
    let used = || ticks(rustix::process::getpid()) + ticks(holder.pid());
    let (began, before) = (Instant::now(), used());
    (0..children).for_each(|_| one());
    let took = began.elapsed() / children;
    // A tick is 10 ms.
    let cpu = Duration::from_millis(10) * u32::try_from(used() - before).unwrap_or(u32::MAX) / children;
    println!("{what}: {took:.1?} for each, {cpu:.1?} CPU of agent and holder");
}

/// Of a process itself, its children left out.
fn ticks(pid: Pid) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_ascii_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}
