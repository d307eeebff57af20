//! Programs that do not begin.

use super::*;
use crate::mounts::Dead;
use std::os::fd::AsFd;

/// What is started there may run for so long that a start is given up after two seconds.
fn at(path: std::path::PathBuf) -> SpawnOptions {
    let mut options = sh("");
    options.argv = vec![path.display().to_string()];
    options.max_time_ms = Some(1);
    options
}

#[tokio::test]
async fn a_program_that_does_not_begin_is_given_up_by_name_and_after_a_stated_time() {
    let Some(dead) = Dead::folder() else { return };
    let mut world = world();
    let failure = world.refused(at(dead.path("program"))).await;
    assert_eq!(failure.code, "spawn-failed");
    let program = dead.path("program").display().to_string();
    assert_eq!(failure.message, format!("failed to start `{program}`: it did not begin in 2s"));
    assert!(failure.detail.unwrap().contains("file system that does not answer"));
    assert_eq!(world.context.machine.holder.children().unwrap(), [], "it was killed and buried");
    assert!(world.context.machine.holder.kept().unwrap().iter().all(|kept| !kept.name.starts_with("0.")));
    assert_eq!(world.run(sh("exit 3")).await, Exit::Code(3));
}

#[tokio::test]
async fn an_interrupt_ends_a_start_that_hangs() {
    let Some(dead) = Dead::folder() else { return };
    let mut world = world();
    let mut options = at(dead.path("program"));
    options.max_time_ms = None;
    let mut spawning = world.port.spawn(options);
    assert!(futures_util::poll!(&mut spawning).is_pending());
    world.interrupt.send_replace(Some("enough".into()));
    let Err(failure) = spawning.await else { panic!("it was started") };
    assert_eq!((failure.code.as_str(), failure.message.as_str()), ("interrupted", "enough"));
}

/// The kernel lets nobody look up a name that another one is just looking up, whatever signals he gets.
#[tokio::test]
async fn a_start_that_cannot_even_be_killed_is_waited_for_by_nobody() {
    let Some(dead) = Dead::folder() else { return };
    let mut world = world();
    let mut options = at(dead.path("program"));
    options.max_time_ms = None;
    let mut first_port = Port::new(Arc::clone(&world.context));
    first_port.next_child = 1;
    let mut first = first_port.spawn(options);
    assert!(futures_util::poll!(&mut first).is_pending());
    let failure = world.refused(at(dead.path("program"))).await;
    assert!(failure.message.contains("did not begin"), "{failure:?}");
    let holder = &world.context.machine.holder;
    let left: Vec<u32> = holder.children().unwrap().into_iter().map(|child| child.child).collect();
    assert_eq!(left, [1], "the second one is nobody's");
    drop(dead);
    assert_eq!(first.await.err().unwrap().code, "spawn-failed");
}

/// Symptom: a worker that was started anew took its builds up, and one thread of it stood for ever. Cause: a start that hung,
/// of a program with an open input, was killed and waited for without a bound. Cure: it is waited for as any other child.
#[tokio::test]
async fn a_start_of_an_earlier_agent_that_hangs_and_has_an_open_input_is_given_up() {
    let Some(dead) = Dead::folder() else { return };
    let mut world = world();
    let here = std::fs::File::open(world.folder.path()).unwrap();
    let holder = Arc::clone(&world.context.machine.holder);
    let start = |child| {
        let spawn = crate::holder::Spawn {
            command: "c0",
            child,
            program: &dead.path("program"),
            argv: &["x".to_owned()],
            variables: &Default::default(),
            directory: here.as_fd(),
            stdin: None,
            stdout: None,
            stderr: None,
            keep: &[],
            report: None,
        };
        holder.spawn(&spawn).unwrap()
    };
    // The first one looks the name up; the other one waits for that, and cannot be killed.
    let first = start(1);
    let stat = format!("/proc/{}/stat", first.as_raw_nonzero());
    let sleeps = async {
        while std::fs::read_to_string(&stat).unwrap().contains(") R") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), sleeps).await.expect("it hangs");
    let running = crate::spool::left::Running { pid: Some(start(0)), ..Default::default() };
    world.context.left().running.insert(0, running);
    let mut options = at(dead.path("program"));
    options.input = None;
    assert_eq!(world.refused(options).await.code, "worker-lost");
    let left: Vec<u32> = holder.children().unwrap().into_iter().map(|child| child.child).collect();
    assert_eq!(left, [1], "it is nobody's");
    rustix::process::kill_process(first, rustix::process::Signal::KILL).unwrap();
}
