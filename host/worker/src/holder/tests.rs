//! A holder within the tests' own process, with real children.

use super::*;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

struct World {
    holder: Holder,
    folder: tempfile::TempDir,
    variables: Variables,
}

fn world() -> World {
    let variables = [("PATH", "/usr/bin:/bin"), ("ODD", "a=b")].map(|(n, v)| (n.into(), v.into())).into();
    World { holder: Holder::local().unwrap(), folder: tempfile::tempdir().unwrap(), variables }
}

impl World {
    fn sh(&self, script: &str, stdout: Option<BorrowedFd<'_>>) -> io::Result<Pid> {
        self.start("/bin/sh", &["sh", "-c", script, ""].map(str::to_owned), stdout)
    }

    fn start(&self, program: &str, argv: &[String], stdout: Option<BorrowedFd<'_>>) -> io::Result<Pid> {
        let directory = File::open(self.folder.path()).unwrap();
        self.holder.spawn(&Spawn {
            command: "c1",
            child: 3,
            program: Path::new(program),
            argv,
            variables: &self.variables,
            directory: directory.as_fd(),
            stdin: None,
            stdout,
            stderr: None,
            keep: &[],
        })
    }

    fn ended(&self, pid: Pid) -> ExitStatus {
        let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        poll(&mut [PollFd::new(&process, PollFlags::IN)], None).unwrap();
        self.holder.reap(pid).unwrap()
    }
}

#[test]
fn a_child_has_its_directory_streams_and_variables_and_nothing_else() {
    let world = world();
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let script = "pwd; cat; echo \"$0|$ODD|$#\"; ls -l /proc/self/fd | grep -c socket:; env | grep -vc '^[OP_SL]'; exit 7";
    let pid = world.sh(script, Some(write.as_fd())).unwrap();
    drop(write);
    let mut said = String::new();
    File::from(read).read_to_string(&mut said).unwrap();
    let folder = world.folder.path().canonicalize().unwrap();
    assert_eq!(said, format!("{}\n|a=b|0\n0\n0\n", folder.display()));
    assert_eq!(world.ended(pid).code(), Some(7));
    let buried = world.holder.children().unwrap();
    assert_eq!(buried.iter().map(|child| child.status.and_then(|s| s.code())).collect::<Vec<_>>(), [Some(7)]);
    world.holder.forget("c1", "").unwrap();
    assert_eq!(world.holder.children().unwrap(), []);
}

#[test]
fn a_child_is_known_until_it_is_reaped_and_only_then() {
    let world = world();
    let pid = world.sh("exec sleep 1000", None).unwrap();
    let child = ChildOf { command: "c1".into(), child: 3, pid, status: None };
    assert_eq!(world.holder.children().unwrap(), [child]);
    assert!(world.holder.is_known(pid));
    assert_eq!(rustix::process::getpgid(Some(pid)).unwrap(), pid, "it leads a group");
    assert_eq!(world.holder.reap(pid).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert!(world.holder.reap_orphan(pid).is_err(), "somebody waits for it");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(world.ended(pid).signal(), Some(9));
    assert!(!world.holder.is_known(pid));
    assert_eq!(world.holder.reap(pid).unwrap_err().raw_os_error(), Some(Errno::CHILD.raw_os_error()));
}

#[test]
fn what_cannot_be_started_says_why() {
    let world = world();
    let start = |program: &str| world.start(program, &["x".to_owned()], None).unwrap_err();
    assert_eq!(start("/no/such/program").raw_os_error(), Some(Errno::NOENT.raw_os_error()));
    assert_eq!(start("/").raw_os_error(), Some(Errno::ACCESS.raw_os_error()));
    let long = "x".repeat(200_000);
    let error = world.sh(&long, None).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::TOOBIG.raw_os_error()));
    assert_eq!(world.sh("a\0b", None).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(world.holder.children().unwrap(), []);
}

#[test]
fn what_is_kept_comes_back_until_its_command_is_forgotten() {
    let world = world();
    let file = |text: &str| {
        let path = world.folder.path().join(text);
        std::fs::write(&path, text).unwrap();
        File::open(path).unwrap()
    };
    world.holder.keep("", "lock", file("l").as_fd()).unwrap();
    world.holder.keep("c1", "spool", file("old").as_fd()).unwrap();
    world.holder.keep("c1", "spool", file("new").as_fd()).unwrap();
    // More than one message takes.
    for number in 0..300 {
        world.holder.keep("c2", &format!("{number:03}"), file("x").as_fd()).unwrap();
    }
    let kept = world.holder.kept().unwrap();
    assert_eq!(kept.len(), 302);
    let text = |kept: Kept| {
        let mut text = String::new();
        File::from(kept.descriptor).read_to_string(&mut text).unwrap();
        (kept.command, kept.name, text)
    };
    let mut kept = kept.into_iter().map(text);
    let entry = |command: &str, name: &str, text: &str| (command.into(), name.into(), text.into());
    assert_eq!(kept.next(), Some(entry("", "lock", "l")));
    assert_eq!(kept.next(), Some(entry("c1", "spool", "new")));
    assert_eq!(kept.next_back(), Some(entry("c2", "299", "x")));
    world.holder.forget("c2", "29").unwrap();
    assert_eq!(world.holder.kept().unwrap().len(), 292);
    world.holder.forget("c2", "").unwrap();
    let left: Vec<String> = world.holder.kept().unwrap().into_iter().map(|kept| kept.command).collect();
    assert_eq!(left, ["", "c1"]);
}
