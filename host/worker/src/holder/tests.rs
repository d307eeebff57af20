//! A holder within the tests' own process, with real children.

use super::*;
use crate::mounts::Dead;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

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

    /// Starts a program, and waits until it is known whether it runs.
    fn start(&self, program: &str, argv: &[String], stdout: Option<BorrowedFd<'_>>) -> io::Result<Pid> {
        let directory = File::open(self.folder.path()).unwrap();
        let (pid, report) = self.begin(program.as_ref(), argv, directory.as_fd(), stdout)?;
        poll(&mut [PollFd::new(&report, PollFlags::IN)], None).unwrap();
        match reported(&report).unwrap() {
            Ok(()) => Ok(pid),
            Err(error) => {
                assert_eq!(self.ended(pid).code(), Some(127));
                self.holder.forget("c1", "3.").unwrap();
                Err(error)
            }
        }
    }

    fn begin(
        &self,
        program: &Path,
        argv: &[String],
        directory: BorrowedFd<'_>,
        stdout: Option<BorrowedFd<'_>>,
    ) -> io::Result<(Pid, OwnedFd)> {
        let (ours, childs) = report()?;
        let pid = self.holder.spawn(&Spawn {
            command: "c1",
            child: 3,
            program,
            argv,
            variables: &self.variables,
            directory,
            stdin: None,
            stdout,
            stderr: None,
            keep: &[],
            report: Some(childs.as_fd()),
        })?;
        Ok((pid, ours))
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

/// Symptom: no step of a worker began any more. Cause: one program lay on a file system that was gone, and the holder waited
/// in its one thread for the exec. Cure: the child itself says what came of it; nobody else is kept waiting.
#[test]
fn a_program_that_hangs_before_it_begins_holds_up_nobody_and_can_be_killed() {
    let Some(dead) = Dead::folder() else { return };
    let world = world();
    let here = File::open(world.folder.path()).unwrap();
    let script = world.folder.path().join("script");
    std::fs::write(&script, format!("#!{}\n", dead.path("interpreter").display())).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let there = rustix::fs::open(dead.path(""), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    // What others have open, it does not keep open.
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    world.holder.keep("c2", "pipe", write.as_fd()).unwrap();
    let starts =
        [(dead.path("program"), here.as_fd()), (script, here.as_fd()), ("/bin/true".into(), there.as_fd())];
    let begun =
        starts.map(|(program, directory)| world.begin(&program, &["x".to_owned()], directory, None).unwrap());
    let pid = world.sh("exit 7", None).unwrap();
    assert_eq!(world.ended(pid).code(), Some(7));
    world.holder.forget("c2", "").unwrap();
    drop(write);
    let mut said = Vec::new();
    File::from(read).read_to_end(&mut said).unwrap();
    for (pid, report) in begun {
        assert!(reported(&report).is_none());
        assert_eq!(rustix::process::getpgid(Some(pid)).unwrap(), pid, "it leads a group");
        rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).unwrap();
        assert_eq!(world.ended(pid).signal(), Some(9));
        assert!(matches!(reported(&report), Some(Ok(()))), "it was killed, not refused");
    }
}

/// As a holder of version 1 answers: it waits for the exec, and knows neither reports nor `Disown`.
fn serve_as_version_1(socket: &OwnedFd) {
    #[derive(serde::Deserialize)]
    struct OldOrder {
        program: Bytes,
        streams: [bool; 3],
    }
    #[derive(serde::Deserialize)]
    #[expect(dead_code, reason = "what it carries is understood, and not looked at")]
    enum Old {
        Hello { version: u32 },
        Spawn(OldOrder),
        Reap { pid: i32 },
    }
    loop {
        let answer = match wire::receive::<Old>(socket, &mut wire::Room::default(), RecvFlags::empty())
            .unwrap()
        {
            Received::End => return,
            Received::Unknown(why) => Answer::Failed { errno: None, message: why },
            Received::Message(Old::Hello { .. }, _) => {
                Answer::Welcome { version: 1, pid: getpid().as_raw_nonzero().get() }
            }
            Received::Message(Old::Spawn(order), beside) => {
                assert_eq!(order.streams, [false, true, false]);
                let stdout = std::process::Stdio::from(beside.into_iter().nth(1).unwrap());
                let program = OsStr::from_bytes(&order.program);
                match std::process::Command::new(program).arg("7").stdout(stdout).spawn() {
                    Ok(child) => Answer::Spawned { pid: child.id().cast_signed() },
                    Err(error) => Answer::Failed { errno: error.raw_os_error(), message: error.to_string() },
                }
            }
            Received::Message(Old::Reap { pid }, _) => {
                let ended =
                    rustix::process::waitpid(Pid::from_raw(pid), rustix::process::WaitOptions::empty());
                Answer::Reaped { status: ended.unwrap().unwrap().1.as_raw() }
            }
        };
        wire::send(socket, &answer, &[], SendFlags::empty()).unwrap();
    }
}

#[test]
fn an_agent_works_with_what_an_earlier_holder_can_do() {
    let (ours, theirs) = sockets().unwrap();
    let old = std::thread::spawn(move || serve_as_version_1(&theirs));
    let world = World { holder: Holder::greet(ours).unwrap(), ..world() };
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let pid = world.start("/bin/echo", &["echo".to_owned()], Some(write.as_fd())).unwrap();
    assert!(world.holder.is_known(pid));
    drop(write);
    let mut said = String::new();
    File::from(read).read_to_string(&mut said).unwrap();
    assert_eq!(said, "7\n");
    let error = world.holder.disown(pid).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("earlier version"), "{error}");
    assert!(world.ended(pid).success());
    // Whatever it does not know it refuses by name.
    let error = world.holder.children().unwrap_err();
    assert!(error.to_string().contains("Children"), "{error}");
    drop(world);
    old.join().unwrap();
}

#[test]
fn a_child_that_nobody_wants_to_hear_of_ends_as_a_shell_has_it_where_there_is_no_program() {
    let world = world();
    let directory = File::open(world.folder.path()).unwrap();
    let pid = world
        .holder
        .spawn(&Spawn {
            command: "c1",
            child: 3,
            program: Path::new("/no/such/program"),
            argv: &["x".to_owned()],
            variables: &world.variables,
            directory: directory.as_fd(),
            stdin: None,
            stdout: None,
            stderr: None,
            keep: &[],
            report: None,
        })
        .unwrap();
    assert_eq!(world.ended(pid).code(), Some(127));
}

/// Symptom: a program ran on after its worker was killed. Cause: it was made right before, and bound to the life of its
/// parent after that had ended. Cure: it looks who its parent is once it is bound.
#[test]
fn a_child_whose_parent_ends_before_it_is_bound_to_it_becomes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let directory = File::open(folder.path()).unwrap();
    let (ours, childs) = report().unwrap();
    let order = start::Start {
        program: c"/bin/sh",
        argv: b"sh\0-c\0touch ran\0",
        variables: b"PATH=/usr/bin:/bin\0",
        directory: directory.as_fd(),
        streams: [directory.as_fd(); 3],
        limit: None,
        report: Some(childs.as_fd()),
    };
    // This process is not it.
    let pid = start::child_of(Pid::INIT, &order).unwrap();
    drop(childs);
    let (_, ended) =
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).unwrap().unwrap();
    assert_eq!(ended.exit_status(), Some(127));
    let refused = reported(&ours).unwrap().unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(Errno::SRCH.raw_os_error()));
    assert!(!folder.path().join("ran").exists());
}
