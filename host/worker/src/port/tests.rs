//! The port over real processes, without any wasm.

use std::collections::BTreeMap;

use super::*;
use crate::environment;
use crate::orphans::Orphans;
use crate::spool::{Limits, Spool};
use windlass_core::value::Value;
use windlass_protocol::codec::Decoder;
use windlass_protocol::message::{CommandUid, Secret, SecretValue, ToMaster};
use windlass_runtime::port::{ChildEvent, Delivery, Exit, Limit, Stop};

mod children;
mod ends;
mod grants;
mod secrets;
mod starts;

struct World {
    folder: tempfile::TempDir,
    spool: Arc<Spool>,
    interrupt: watch::Sender<Option<String>>,
    context: Arc<Context>,
    port: Port,
}

/// What a command has.
struct Given<'a> {
    programs: &'a str,
    files: bool,
    secrets: Vec<Secret>,
    usable: &'a str,
    limits: Limits,
}

impl Default for Given<'_> {
    fn default() -> Self {
        Given { programs: "*", files: true, secrets: Vec::new(), usable: "*", limits: Limits::default() }
    }
}

fn world() -> World {
    world_of(Given::default())
}

fn world_granting(programs: &str) -> World {
    world_of(Given { programs, ..Given::default() })
}

/// A command with a secret `key`.
fn world_with(value: &'static [u8]) -> World {
    let secret = Secret {
        name: "key".into(),
        placeholder: "windlass_secret_key".into(),
        value: SecretValue(value.into()),
        former: vec![],
    };
    world_of(Given { secrets: vec![secret], ..Given::default() })
}

fn world_of(given: Given<'_>) -> World {
    world_in(tempfile::tempdir().unwrap(), given)
}

fn world_in(folder: tempfile::TempDir, given: Given<'_>) -> World {
    let Given { programs, files, secrets, usable, limits } = given;
    let holder = Arc::new(crate::holder::Holder::local().unwrap());
    let spool = Spool::new(folder.path(), limits, Arc::clone(&holder));
    let command = spool.open(&CommandUid("c0".into()), &crate::spool::tape::Record::Begun).unwrap().unwrap();
    let (interrupt, interrupt_heard) = watch::channel(None);
    let any = vec!["*".to_owned()];
    let programs = vec![programs.to_owned()];
    let asked = [("exec", any.as_slice()), ("files", &any), ("secret", &any)];
    let usable = vec![usable.to_owned()];
    let granted = [("exec", programs.as_slice()), ("secret", &usable)];
    let granted = granted.into_iter().chain(files.then_some(("files", any.as_slice())));
    let own = environment::base(std::env::vars_os(), &["PATH".to_owned()]);
    // What leaves its group is adopted by the tests' own process.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let private = folder.path().canonicalize().unwrap();
    let orphans = Orphans::new(&private.display().to_string(), false, holder);
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
        transfers: crate::transfer::Transfers::new(Default::default()),
        env: vec![("BUILDER".into(), "b".into())],
        secrets: Secrets::new(secrets).unwrap(),
        spool: command,
        interrupt: interrupt_heard,
        children: TaskTracker::new(),
        living: Arc::default(),
        over: CancellationToken::new(),
        denials: AtomicU64::default(),
        log: Mutex::default(),
        seed: [7; 32],
        left: Mutex::default(),
        broken: Mutex::default(),
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

#[tokio::test]
async fn an_operation_on_files_is_over_before_its_command_is() {
    let mut world = world();
    world.port.write("a", b"x").await.unwrap();
    world.context.over.cancel();
    assert_eq!(world.port.copy("a", "b").await.unwrap_err().code, "interrupted");
    world.context.children.close();
    world.context.children.wait().await;
}
