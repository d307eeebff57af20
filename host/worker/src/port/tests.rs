//! The port over real processes, without any wasm.

use std::collections::BTreeMap;

use super::*;
use crate::orphans::Orphans;
use crate::spool::{Limits, Spool};
use windlass_protocol::codec::Decoder;
use windlass_protocol::message::{CommandUid, Secret, SecretValue, ToMaster};
use windlass_runtime::port::{Delivery, Limit};

struct World {
    folder: tempfile::TempDir,
    spool: Arc<Spool>,
    interrupt: watch::Sender<Option<String>>,
    context: Arc<Context>,
    port: Port,
}

fn world() -> World {
    world_granting("*")
}

fn world_granting(programs: &str) -> World {
    world_in(tempfile::tempdir().unwrap(), programs)
}

fn world_in(folder: tempfile::TempDir, programs: &str) -> World {
    world_with(folder, programs, Vec::new())
}

fn world_with(folder: tempfile::TempDir, programs: &str, secrets: Vec<Secret>) -> World {
    world_of(folder, programs, secrets, "*")
}

fn world_of(folder: tempfile::TempDir, programs: &str, secrets: Vec<Secret>, usable: &str) -> World {
    let spool = Spool::new(folder.path(), Limits::default());
    let command = spool.open(&CommandUid("c0".into())).unwrap();
    let (interrupt, interrupt_heard) = watch::channel(None);
    let any = vec!["*".to_owned()];
    let programs = vec![programs.to_owned()];
    let asked = [("exec", any.as_slice()), ("files", &any), ("secret", &any)];
    let usable = vec![usable.to_owned()];
    let granted = [("exec", programs.as_slice()), ("files", &any), ("secret", &usable)];
    let own = environment::base(std::env::vars_os(), &["PATH".to_owned()]);
    // What leaves its group is adopted by the tests' own process.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let private = folder.path().canonicalize().unwrap();
    let orphans = Orphans::new(&private.display().to_string(), false);
    let context = Arc::new(Context {
        runtime: Handle::current(),
        root: Arc::new(Root::open(folder.path(), "b").unwrap()),
        grants: Grants::new(
            "windlass:shell".into(),
            "1a2b3c4d".into(),
            asked,
            granted,
            &BTreeMap::new(),
            true,
        ),
        mark: orphans.mark("c0"),
        machine: Arc::new(Machine::new(own, private, orphans)),
        env: vec![("BUILDER".into(), "b".into())],
        secrets: Secrets::new(secrets),
        spool: command,
        interrupt: interrupt_heard,
        children: TaskTracker::new(),
        over: CancellationToken::new(),
        denials: AtomicU64::default(),
        log: Mutex::default(),
    });
    let port = Port::new(Arc::clone(&context));
    World { folder, spool, interrupt, context, port }
}

fn sh(script: &str) -> SpawnOptions {
    SpawnOptions {
        argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
        workdir: "build".into(),
        env: vec![],
        input: Some(vec![]),
        pty: false,
        max_time_ms: None,
        idle_time_ms: None,
        tee_to_log: Some("stdio".into()),
        deliver: Delivery::None,
        options: vec![],
    }
}

fn option(name: &str, value: Value) -> Vec<Pair> {
    vec![Pair { name: name.into(), value }]
}

impl World {
    fn updates(&self) -> Vec<Update> {
        std::iter::from_fn(|| self.spool.next())
            .map(|frames| {
                let mut decoder = Decoder::default();
                match frames.filter_map(|f| decoder.push(&f).unwrap()).last() {
                    Some(ToMaster::Update { update, .. }) => update,
                    other => panic!("{other:?}"),
                }
            })
            .collect()
    }

    fn log(&self) -> String {
        let data = self.updates().into_iter().filter_map(|update| match update {
            Update::Log { data, .. } => Some(data),
            _ => None,
        });
        String::from_utf8(data.flatten().collect()).unwrap()
    }

    /// Its diagnostics.
    fn told(&self) -> Vec<String> {
        let texts = self.updates().into_iter().filter_map(|update| match update {
            Update::Diagnostic { message, .. } => Some(message),
            _ => None,
        });
        texts.collect()
    }

    async fn run(&mut self, options: SpawnOptions) -> Exit {
        self.port.spawn(options).await.unwrap().wait().await
    }

    async fn refused(&mut self, options: SpawnOptions) -> Failure {
        match self.port.spawn(options).await {
            Ok(_) => panic!("it was started"),
            Err(failure) => failure,
        }
    }
}

/// Waits until the process is gone or a zombie.
async fn gone(pid: &str) {
    let stat = format!("/proc/{pid}/stat");
    let ended = async {
        loop {
            match std::fs::read_to_string(&stat) {
                Ok(text) if !text.contains(") Z") => tokio::task::yield_now().await,
                _ => return,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("the process ends");
}

#[tokio::test]
async fn output_of_both_streams_goes_into_the_log_before_the_exit_is_told() {
    let mut world = world();
    let exit = world.run(sh("echo out; echo err >&2; exit 3")).await;
    assert_eq!(exit, Exit::Code(3));
    let mut lines: Vec<_> = world.log().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["err", "out"]);
}

#[tokio::test]
async fn a_child_runs_in_its_directory_with_a_filtered_environment() {
    let mut world = world();
    let mut options = sh("pwd; echo $PWD; echo $BUILDER $GIVEN; env | grep -c CARGO || true");
    options.env = vec![("GIVEN".into(), Some("given".into()))];
    assert_eq!(world.run(options).await, Exit::Code(0));
    let directory = world.folder.path().join("b/build");
    let directory = directory.canonicalize().unwrap().display().to_string();
    assert_eq!(world.log(), format!("{directory}\n{directory}\nb given\n0\n"));
}

#[tokio::test]
async fn lines_and_chunks_reach_the_guest_in_order_and_then_the_exit() {
    let mut world = world();
    let mut options = sh("printf 'one\\ntwo\\nthree'");
    options.deliver = Delivery::Lines;
    let mut child = world.port.spawn(options).await.unwrap();
    let mut text = String::new();
    let exit = loop {
        match child.next_event(5, None).await {
            ChildEvent::Lines(Origin::Stdout, lines) => {
                assert!(lines.len() <= 5);
                text += &lines;
            }
            ChildEvent::Exited(exit) => break exit,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((text.as_str(), exit.clone()), ("one\ntwo\nthree", Exit::Code(0)));
    assert_eq!(child.next_event(5, None).await, ChildEvent::Exited(exit), "it says so again");

    let mut options = sh("head -c 300000 /dev/zero");
    (options.deliver, options.tee_to_log) = (Delivery::Chunks, None);
    let mut child = world.port.spawn(options).await.unwrap();
    let mut bytes = 0;
    while let ChildEvent::Output(Origin::Stdout, data) = child.next_event(1 << 16, None).await {
        bytes += data.len();
    }
    assert_eq!(bytes, 300_000);
}

#[tokio::test]
async fn input_is_given_at_once_or_bit_by_bit() {
    let mut world = world();
    let mut options = sh("cat");
    options.input = Some(vec![b'x'; 200_000]);
    assert_eq!(world.run(options).await, Exit::Code(0));
    assert_eq!(world.log().len(), 200_000);

    let mut options = sh("cat");
    options.input = None;
    let mut child = world.port.spawn(options).await.unwrap();
    assert_eq!(child.write_input(b"hello").await, Ok(5));
    child.close_input();
    assert_eq!(child.write_input(b"x").await.unwrap_err().code, "closed");
    assert_eq!(child.wait().await, Exit::Code(0));
    assert_eq!(world.log(), "hello");

    // A child that does not read is no failure.
    let mut options = sh("exec 0<&-; exit 0");
    options.input = Some(vec![b'x'; 200_000]);
    assert_eq!(world.run(options).await, Exit::Code(0));
}

#[tokio::test]
async fn a_secret_that_does_not_fit_into_the_pipe_arrives_whole_and_what_follows_waits() {
    let value = SecretValue(vec![b'k'; 32 * 1024].into());
    let secret =
        Secret { name: "key".into(), placeholder: "windlass_secret_0".into(), value, former: vec![] };
    let mut world = world_with(tempfile::tempdir().unwrap(), "*", vec![secret]);
    let mut options = sh("wc -c");
    options.input = None;
    let mut child = world.port.spawn(options).await.unwrap();
    let whole = "windlass_secret_0".repeat(10);
    assert_eq!(child.write_input(whole.as_bytes()).await, Ok(u32::try_from(whole.len()).unwrap()));
    while child.write_input(b"!").await.unwrap() == 0 {}
    child.close_input();
    assert_eq!(child.wait().await, Exit::Code(0));
    assert_eq!(world.log().trim(), (10 * 32 * 1024 + 1).to_string());
}

#[tokio::test]
async fn what_the_host_tells_of_a_child_names_secrets_and_shows_none() {
    let secret = |name: &str, value: &'static str| Secret {
        name: name.into(),
        placeholder: format!("windlass_secret_{name}"),
        value: SecretValue(value.into()),
        former: vec![],
    };
    let secrets = vec![secret("key", "hunter2")];
    let mut world = world_with(tempfile::tempdir().unwrap(), "*", secrets);
    let mut options = sh("echo $KEY; printf hun; printf ter2 >&2; printf ter2");
    options.env = vec![("KEY".into(), Some("a windlass_secret_key".into()))];
    options.options = option("log-environment", Value::Boolean(true));
    assert_eq!(world.run(options).await, Exit::Code(0));
    let log = world.log();
    assert!(log.contains("  KEY=a <key>\n") && log.contains("a <key>\n"), "{log}");
    assert!(log.contains("<key>ter2") || log.contains("ter2<key>"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

/// Symptom: the log of a build showed a secret. Cause: the build left a process behind that it had named so.
/// Cure: what is told of orphans is masked as all else is.
#[tokio::test]
async fn the_name_of_a_process_shows_no_secret() {
    let value = SecretValue("hunter2".into());
    let secret =
        Secret { name: "key".into(), placeholder: "windlass_secret_key".into(), value, former: vec![] };
    let mut world = world_with(tempfile::tempdir().unwrap(), "*", vec![secret]);
    let mut options = sh("cp $(command -v sleep) ./$KEY; (setsid ./$KEY 1000 >/dev/null 2>&1 &)
        until grep -qsx $KEY /proc/[0-9]*/comm; do :; done");
    options.env = vec![("KEY".into(), Some("windlass_secret_key".into()))];
    options.max_time_ms = Some(20_000);
    assert_eq!(world.run(options).await, Exit::Code(0));
    crate::commands::end_orphans(&world.context, &CommandUid("c0".into())).await;
    let log = world.log();
    assert!(log.contains("were killed: <key> ("), "{log}");
}

/// Symptom: nobody learned that a command tried to use a secret of others. Cause: a denied `write-input` was
/// counted, and told to the guest alone. Cure: all denials are told in one place.
#[tokio::test]
async fn a_secret_that_is_denied_on_its_way_to_an_input_is_told() {
    let value = SecretValue("hunter2".into());
    let secret =
        Secret { name: "key".into(), placeholder: "windlass_secret_key".into(), value, former: vec![] };
    let mut world = world_of(tempfile::tempdir().unwrap(), "*", vec![secret], "other");
    let mut options = sh("cat");
    options.input = None;
    let mut child = world.port.spawn(options).await.unwrap();
    assert_eq!(child.write_input(b"windlass_secret_key").await.unwrap_err().code, "denied");
    let told = world.told();
    assert!(told.iter().any(|text| text.starts_with("`write-input` was denied: ")), "{told:?}");
    assert_eq!(world.context.denials.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_command_that_says_too_much_hides_no_denial_by_that() {
    let mut world = world_granting("git");
    for _ in 0..2 * MAX_DIAGNOSTICS {
        world.port.diagnostic(Level::Info, "chatter");
    }
    for _ in 0..2 * MAX_DENIALS {
        assert_eq!(world.refused(sh("")).await.code, "denied");
    }
    let told = world.told();
    let denials = told.iter().filter(|text| text.starts_with("`spawn` was denied: ")).count();
    assert_eq!(denials as u64, MAX_DENIALS);
    assert_eq!(told.last().unwrap(), "further denials of this command are counted, and not told");
    assert_eq!(world.context.denials.load(Ordering::Relaxed), 2 * MAX_DENIALS);
}

/// Symptom: a build's `shell` ended as an exception, since the worker had too many children. Cause: they were
/// all of one other build. Cure: each command has room for one child in any case; a further one may come later.
#[tokio::test]
async fn a_command_has_room_for_a_child_whatever_others_have() {
    let mut world = world();
    let processes = Arc::clone(&world.context.machine.processes);
    let _others = processes.acquire_many_owned(u32::try_from(MAX_PROCESSES).unwrap()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(world.run(sh("exit 0")).await, Exit::Code(0));
    }
    let mut first = world.port.spawn(sh("sleep 1000")).await.unwrap();
    let second = world.refused(sh("exit 0")).await;
    assert_eq!((second.code.as_str(), second.retryable), ("quota", true));
    first.stop(Stop::Kill);
    first.wait().await;
}

/// Symptom: a `stat` waited for an hour. Cause: eight commands of one build copied trees, and operations on
/// files took turns. Cure: trees have turns of their own, one at a time for each builder's directory.
#[tokio::test]
async fn trees_of_others_keep_nobody_from_a_file() {
    let mut world = world();
    let machine = Arc::clone(&world.context.machine);
    let mut held = Vec::new();
    for n in 0..8 {
        held.push(machine.turn(Extent::Tree, std::path::Path::new(&format!("/{n}"))).await);
    }
    world.port.write("file", b"x").await.unwrap();
    assert_eq!(world.port.stat("file").await.unwrap().size, 1);
    let copy = world.port.copy("file", "copy");
    tokio::pin!(copy);
    assert!(futures_util::poll!(&mut copy).is_pending());
    held.pop();
    copy.await.unwrap();
}

#[tokio::test]
async fn a_builders_directory_has_one_turn_for_trees() {
    let world = world();
    let (machine, at) = (&world.context.machine, world.context.root.path());
    let first = machine.turn(Extent::Tree, at).await;
    let waits = machine.turn(Extent::Tree, at);
    tokio::pin!(waits);
    assert!(futures_util::poll!(&mut waits).is_pending());
    machine.turn(Extent::Tree, std::path::Path::new("/elsewhere")).await;
    drop(first);
    waits.await;
}

#[tokio::test]
async fn limits_of_time_silence_and_lines_stop_the_whole_group() {
    let mut world = world();
    let mut options = sh("sleep 1000 & echo $!; wait");
    options.max_time_ms = Some(200);
    assert_eq!(world.run(options).await, Exit::TimedOut(Limit::MaxTime));
    gone(world.log().trim()).await;

    let mut options = sh("echo a; sleep 1000");
    options.idle_time_ms = Some(200);
    assert_eq!(world.run(options).await, Exit::TimedOut(Limit::IdleTime));

    let mut options = sh("yes");
    options.options = option("max-lines", Value::Integer(10));
    assert_eq!(world.run(options).await, Exit::TimedOut(Limit::MaxLines));
}

#[tokio::test]
async fn who_ignores_the_first_signal_is_killed_after_the_grace_period() {
    let mut world = world();
    let mut options = sh("trap '' TERM; echo ready; while :; do sleep 0.1; done");
    options.max_time_ms = Some(100);
    options.options = option("terminate-ms", Value::Integer(200));
    assert_eq!(world.run(options).await, Exit::TimedOut(Limit::MaxTime));

    // The first signal may be another one.
    let mut options = sh("trap 'echo caught; exit 0' INT; echo ready; while :; do sleep 0.05; done");
    options.max_time_ms = Some(300);
    options.options = option("stop-signal", Value::Text("INT".into()));
    assert_eq!(world.run(options).await, Exit::TimedOut(Limit::MaxTime));
    assert!(world.log().ends_with("caught\n"));
}

#[tokio::test]
async fn an_interrupt_stops_a_child_that_is_waited_for() {
    let mut world = world();
    let mut child = world.port.spawn(sh("sleep 1000")).await.unwrap();
    world.interrupt.send_replace(Some("why".into()));
    assert_eq!(child.wait().await, Exit::Interrupted);
    assert_eq!(world.port.interrupted(), Some("why".into()));
    assert_eq!(world.port.sleep(1_000_000).await.unwrap_err().code, "interrupted");
}

#[tokio::test]
async fn an_interrupt_is_told_once_to_a_guest_that_listens_and_it_decides() {
    let mut world = world();
    let mut child = world.port.spawn(sh("sleep 1000")).await.unwrap();
    assert_eq!(child.next_event(100, Some(1)).await, ChildEvent::Idle);
    world.interrupt.send_replace(Some("why".into()));
    assert_eq!(child.next_event(100, None).await, ChildEvent::Interrupt("why".into()));
    assert_eq!(child.next_event(100, Some(1)).await, ChildEvent::Idle);
    child.stop(Stop::Terminate);
    assert_eq!(child.next_event(100, None).await, ChildEvent::Exited(Exit::Interrupted));
}

#[tokio::test]
async fn a_dropped_child_is_killed_with_its_group() {
    let mut world = world();
    let mut options = sh("sleep 1000 & echo $!; wait");
    options.deliver = Delivery::Lines;
    let mut child = world.port.spawn(options).await.unwrap();
    let ChildEvent::Lines(_, pid) = child.next_event(100, None).await else { panic!("a line comes first") };
    drop(child);
    gone(pid.trim()).await;
    world.context.children.close();
    world.context.children.wait().await;
}

#[tokio::test]
async fn the_end_of_a_command_ends_children_that_nobody_listens_to() {
    let mut world = world();
    let mut options = sh("yes");
    options.deliver = Delivery::Chunks;
    let child = world.port.spawn(options).await.unwrap();
    world.context.over.cancel();
    world.context.children.close();
    world.context.children.wait().await;
    drop(child);
}

#[tokio::test]
async fn death_by_a_signal_is_named() {
    let mut world = world();
    assert_eq!(world.run(sh("kill -SEGV $$")).await, Exit::Signal("SIGSEGV".into()));
}

#[tokio::test]
async fn a_process_left_behind_does_not_hold_the_command() {
    let mut world = world();
    // It holds standard output open.
    assert_eq!(world.run(sh("sleep 1000 & echo $!")).await, Exit::Code(0));
    let log = world.log();
    let (pid, rest) = log.split_once('\n').unwrap();
    assert_eq!(rest, "processes that the command left behind were killed\n");
    gone(pid).await;
}

#[tokio::test]
async fn what_can_not_be_started_says_why() {
    let mut world = world();
    let mut options = sh("");
    options.argv = vec!["no-such-program".into()];
    let failure = world.refused(options).await;
    assert_eq!(failure.code, "spawn-failed");
    assert!(failure.message.contains("no-such-program") && failure.message.contains("PATH"), "{failure}");

    let mut options = sh("");
    options.argv = vec!["./nothing".into()];
    assert_eq!(world.refused(options).await.code, "spawn-failed");

    let mut options = sh("");
    options.argv = vec![];
    assert_eq!(world.refused(options).await.code, "bad-argument");

    let mut options = sh("");
    options.workdir = "../elsewhere".into();
    assert_eq!(world.refused(options).await.code, "bad-argument");

    let mut options = sh("");
    options.options = option("nice", Value::Integer(10));
    let failure = world.refused(options).await;
    assert!(failure.message.contains("nice") && failure.message.contains("max-lines"), "{failure}");

    let mut options = sh("");
    options.pty = true;
    assert_eq!(world.refused(options).await.code, "unsupported");
}

#[tokio::test]
async fn a_working_directory_behind_a_link_to_the_outside_is_refused() {
    let mut world = world();
    std::fs::create_dir(world.folder.path().join("outside")).unwrap();
    std::os::unix::fs::symlink("../outside", world.folder.path().join("b/link")).unwrap();
    let mut options = sh("touch here");
    options.workdir = "link".into();
    assert_eq!(world.refused(options).await.code, "denied");
}

#[tokio::test]
async fn a_denial_names_the_plugin_and_reaches_the_master() {
    let mut world = world_granting("git");
    let failure = world.refused(sh("true")).await;
    assert_eq!(failure.code, "denied");
    assert!(failure.message.contains("windlass:shell"), "{failure}");
    match world.updates().as_slice() {
        [Update::Diagnostic { level, message }] => {
            assert_eq!(level, "error");
            let expected = "`spawn` was denied: `windlass:shell` (1a2b3c4d) may not run `sh`";
            assert!(message.starts_with(expected), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn files_go_through_the_port() {
    let mut world = world();
    world.port.make_directory("a/b").await.unwrap();
    world.port.write("a/b/f", b"x").await.unwrap();
    world.port.copy("a", "c").await.unwrap();
    assert_eq!(world.port.read("c/b/f").await.unwrap(), b"x");
    assert_eq!(world.port.glob("**/f").await.unwrap(), ["a/b/f", "c/b/f"]);
    assert_eq!(world.port.stat("c/b/f").await.unwrap().size, 1);
    assert_eq!(world.port.entries("c").await.unwrap().len(), 1);
    world.port.remove("c").await.unwrap();
    assert_eq!(world.port.stat("c").await.unwrap_err().code, "not-found");
}

/// A command that may run `git` alone, with a program of that name in the build's directory.
fn world_with_a_false_git() -> (World, SpawnOptions) {
    let world = world_granting("git");
    let bin = world.folder.path().join("b/bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink("/bin/echo", bin.join("git")).unwrap();
    let mut options = sh("");
    options.argv = ["git", "--version"].map(str::to_owned).to_vec();
    (world, options)
}

/// Symptom: a command that was granted `git` ran a program of its own. Cause: the child's `PATH`, which
/// the guest sets, led to it. Cure: the worker's own `PATH` decides, and variables need a grant.
#[tokio::test]
async fn a_program_that_is_granted_by_name_is_the_workers() {
    let (mut world, mut options) = world_with_a_false_git();
    assert_eq!(world.run(options.clone()).await, Exit::Code(0));
    assert!(world.log().starts_with("git version"));

    for name in ["PATH", "LD_PRELOAD", "GIT_SSH_COMMAND", "GIT_EXEC_PATH", "BASH_ENV", "PYTHONPATH"] {
        for value in [Some("bin".to_owned()), None] {
            options.env = vec![(name.into(), value)];
            let failure = world.refused(options.clone()).await;
            assert_eq!(failure.code, "denied", "{name}");
            assert!(failure.message.contains(name), "{failure}");
        }
    }
    assert_eq!(world.context.denials.load(Ordering::Relaxed), 12);
    options.env = vec![("GIT_AUTHOR_NAME".into(), Some("me".into()))];
    assert_eq!(world.run(options).await, Exit::Code(0));
}

#[tokio::test]
async fn a_path_that_was_granted_must_be_absolute_and_not_the_builds_own() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("b/echo").display().to_string();
    let below_world = world_in(folder, &below);
    std::os::unix::fs::symlink("/bin/echo", &below).unwrap();
    let cases = [
        (world_granting("bin/echo"), "bin/echo", false),
        (below_world, below.as_str(), false),
        (world_granting("/bin/echo"), "/bin/echo", true),
    ];
    for (mut world, granted, allowed) in cases {
        let mut options = sh("");
        options.argv = vec![granted.to_owned()];
        if allowed {
            assert_eq!(world.run(options).await, Exit::Code(0));
        } else {
            assert_eq!(world.refused(options).await.code, "denied", "{granted}");
        }
    }
}

#[tokio::test]
async fn a_process_that_left_its_group_and_its_parent_ends_with_its_command() {
    let mut world = world();
    // Twice forked, in a session of its own, with pipes closed.
    let exit = world.run(sh("(setsid sh -c 'echo $$; exec sleep 1000 >/dev/null 2>&1' &)")).await;
    assert_eq!(exit, Exit::Code(0));
    let pid = world.log().trim().to_owned();
    let orphans = &world.context.machine.orphans;
    assert!(orphans.has_left("c0"));
    let ended = orphans.end("c0");
    let expected = format!("processes that the command left behind were killed: sleep ({pid})\n");
    assert_eq!(ended.report(), expected);
    gone(&pid).await;
}

#[tokio::test]
async fn processes_that_start_each_other_end_all_the_same() {
    let mut world = world();
    std::fs::create_dir_all(world.folder.path().join("b/build")).unwrap();
    std::fs::write(
        world.folder.path().join("b/build/breed"),
        "test $1 -gt 1 || echo > left\n\
         test $1 -gt 5 || { setsid sh breed $(($1+1)) & setsid sh breed $(($1+1)) & }\nexec sleep 1000\n",
    )
    .unwrap();
    // The command ends when the first of them has left its group; before that it would end with the group.
    let breed = "mkfifo left; (setsid sh breed 1 >/dev/null 2>&1 &); read line < left";
    assert_eq!(world.run(sh(breed)).await, Exit::Code(0));
    let ended = world.context.machine.orphans.end("c0");
    assert!(ended.left.is_empty() && !ended.killed.is_empty(), "{ended:?}");
    assert_eq!(world.context.machine.orphans.end("c0").report(), "");
}

#[tokio::test]
async fn an_operation_on_files_is_over_before_its_command_is() {
    let mut world = world();
    world.port.write("a", b"x").await.unwrap();
    world.context.over.cancel();
    assert_eq!(world.port.copy("a", "b").await.unwrap_err().code, "interrupted");
    world.context.children.close();
    world.context.children.wait().await;
}
