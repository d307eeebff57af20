//! The whole worker against a scripted master: real WebSocket, real processes, the bundled commands.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use windlass_core::digest::Digest;
use windlass_core::journal::{begin, chain};
use windlass_core::policy::Usage;
use windlass_core::value::{Completion, Failure, Origin};
use windlass_protocol::codec::{self, Decoder};
use windlass_protocol::message::{CommandUid, Start, ToWorker, Update};

use super::*;

/// Long enough for a loaded machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    folder: tempfile::TempDir,
    listener: TcpListener,
    shutdown: CancellationToken,
    events: Arc<Mutex<Vec<Event>>>,
    worker: JoinHandle<Result<Exit, WorkerError>>,
}

async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    write_token(folder.path(), 0o600);
    let (shutdown, events) = (CancellationToken::new(), Arc::default());
    let worker = start_worker(folder.path().to_owned(), &listener, &shutdown, &events);
    World { folder, listener, shutdown, events, worker }
}

fn write_token(folder: &Path, mode: u32) {
    std::fs::write(folder.join("token"), "secret\n").unwrap();
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(folder.join("token"), mode).unwrap();
}

fn start_worker(
    folder: PathBuf,
    listener: &TcpListener,
    shutdown: &CancellationToken,
    events: &Arc<Mutex<Vec<Event>>>,
) -> JoinHandle<Result<Exit, WorkerError>> {
    let file = WorkerFile {
        name: "w1".into(),
        master: format!("ws://{}", listener.local_addr().unwrap()),
        token_file: "token".into(),
        base_dir: "work".into(),
        allow: BTreeMap::new(),
        inherit_env: vec![],
    };
    let mut options = Options::new(folder, shutdown.clone());
    let told = Arc::clone(events);
    options.on_event = Arc::new(move |event| told.lock().unwrap().push(event));
    tokio::spawn(run(file, options))
}

impl World {
    async fn accept(&self) -> (Master, Hello) {
        let (stream, _) = tokio::time::timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap();
        stream.set_nodelay(true).unwrap();
        let socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        let mut master = Master { socket, decoder: Decoder::default() };
        match master.hear().await {
            ToMaster::Hello(hello) => (master, hello),
            other => panic!("{other:?}"),
        }
    }

    /// A connection with a welcome.
    async fn welcome(&self, commands: &[(&CommandUid, u64)]) -> (Master, Hello) {
        let (mut master, hello) = self.accept().await;
        let commands = commands.iter().map(|(uid, number)| ((*uid).clone(), *number)).collect();
        master
            .say(ToWorker::Welcome { protocol: PROTOCOL, features: vec![], commands, keepalive_ms: 30_000 })
            .await;
        (master, hello)
    }

    async fn ended(self) -> Result<Exit, WorkerError> {
        tokio::time::timeout(PATIENCE, self.worker).await.unwrap().unwrap()
    }
}

struct Master {
    socket: WebSocketStream<TcpStream>,
    decoder: Decoder,
}

impl Master {
    async fn say(&mut self, message: ToWorker) {
        for frame in codec::encode(&message).unwrap() {
            self.socket.send(Message::Binary(frame)).await.unwrap();
        }
    }

    async fn hear(&mut self) -> ToMaster {
        tokio::time::timeout(PATIENCE, async {
            loop {
                let frame = self.socket.next().await.unwrap().unwrap().into_data();
                match self.decoder.push(&frame).unwrap() {
                    Some(ToMaster::Status { .. }) | None => {}
                    Some(message) => return message,
                }
            }
        })
        .await
        .expect("the worker says something")
    }

    async fn update(&mut self, of: &CommandUid) -> (u64, Update) {
        match self.hear().await {
            ToMaster::Update { command, number, update } if command == *of => (number, update),
            other => panic!("{other:?}"),
        }
    }

    /// All updates from `first` on to the last: the log, its hash as told, how it ended.
    async fn rest_of(&mut self, uid: &CommandUid, first: u64) -> Ended {
        self.rest_behind(uid, first, begin()).await
    }

    /// The same of a command of which something came before, with that hash.
    async fn rest_behind(&mut self, uid: &CommandUid, first: u64, before: Digest) -> Ended {
        let mut ended = Ended {
            log: Vec::new(),
            of_output: before,
            diagnostics: String::new(),
            last: 0,
            hash: None,
            how: None,
            usage: None,
        };
        for expected in first.. {
            let (number, update) = self.update(uid).await;
            assert_eq!(number, expected);
            match update {
                Update::Log { data, origin, .. } => {
                    ended.log.extend_from_slice(&data);
                    if origin != Origin::Header {
                        ended.of_output = chain(ended.of_output, &data);
                    }
                }
                Update::Diagnostic { message, .. } => ended.diagnostics += &message,
                Update::Values { .. } => {}
                Update::Done { how, log_hash, usage } => {
                    (ended.last, ended.hash, ended.how) = (number, Some(log_hash), Some(how));
                    ended.usage = usage;
                    break;
                }
            }
        }
        ended
    }
}

struct Ended {
    log: Vec<u8>,
    /// Of what came, without headers.
    of_output: Digest,
    diagnostics: String,
    last: u64,
    hash: Option<Digest>,
    how: Option<Result<Completion, Failure>>,
    usage: Option<Usage>,
}

impl Ended {
    fn rc(&self) -> Option<i32> {
        self.how.clone().unwrap().unwrap().rc
    }

    fn failure(&self) -> Failure {
        self.how.clone().unwrap().unwrap_err()
    }
}

fn uid(n: u32) -> CommandUid {
    CommandUid(format!("{n:032x}"))
}

fn commands() -> Digest {
    let bundled = windlass_plugins::bundled().iter().find(|one| one.name == "commands").unwrap();
    Digest::of(bundled.bytes)
}

fn shell(n: u32, script: &str) -> Start {
    Start {
        command: uid(n),
        hook: "shell".into(),
        plugin: "windlass".into(),
        digest: commands(),
        args: serde_json::json!({"command": ["sh", "-c", script]}).to_string(),
        builddir: "builder".into(),
        env: vec![],
        grants: vec![("exec".into(), vec!["*".into()])],
        secrets: vec![],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_runs_and_its_log_has_the_hash_that_is_told() {
    let world = world().await;
    let (mut master, hello) = world.welcome(&[]).await;
    assert_eq!((hello.name.as_str(), hello.token.as_str(), hello.epoch), ("w1", "secret", 1));
    assert_eq!(hello.instance.len(), 32);
    master.say(ToWorker::Start(shell(1, "echo hello; exit 3"))).await;
    let ended = master.rest_of(&uid(1), 1).await;
    assert_eq!(ended.rc(), Some(3));
    assert!(String::from_utf8_lossy(&ended.log).contains("hello\n"));
    assert_eq!(ended.hash, Some(ended.of_output));
    master.say(ToWorker::Ping { nonce: 7 }).await;
    assert_eq!(master.hear().await, ToMaster::Pong { nonce: 7 });
    master.say(ToWorker::Ack { command: uid(1), number: ended.last }).await;

    world.shutdown.cancel();
    assert_eq!(master.hear().await, ToMaster::Draining);
    let events = Arc::clone(&world.events);
    assert_eq!(world.ended().await.unwrap(), Exit::Clean);
    let events = events.lock().unwrap();
    assert!(events.iter().any(|e| matches!(e, Event::Ended { how, .. } if how == "rc 3")), "{events:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_outlives_its_link_and_nothing_is_lost_or_done_twice() {
    let world = world().await;
    let (mut master, hello) = world.welcome(&[]).await;
    let go_on = world.folder.path().join("go-on");
    let script = format!(
        "echo x >> runs; echo begin; until [ -e {} ]; do sleep 0.05; done; echo end",
        go_on.display()
    );
    master.say(ToWorker::Start(shell(1, &script))).await;
    let (mut log, mut output) = (Vec::new(), begin());
    let mut last = 0;
    while !log.ends_with(b"begin\n") {
        let (number, update) = master.update(&uid(1)).await;
        last = number;
        if let Update::Log { data, origin, .. } = update {
            log.extend_from_slice(&data);
            if origin != Origin::Header {
                output = chain(output, &data);
            }
        }
    }
    drop(master);
    std::fs::write(go_on, "").unwrap();

    let (mut master, again) = world.welcome(&[(&uid(1), last)]).await;
    assert_eq!((again.instance, again.epoch), (hello.instance, hello.epoch));
    assert_eq!(again.commands.len(), 1);
    // The master is not sure that the worker got it.
    master.say(ToWorker::Start(shell(1, &script))).await;
    let rest = master.rest_behind(&uid(1), last + 1, output).await;
    log.extend_from_slice(&rest.log);
    assert_eq!(rest.rc(), Some(0));
    assert_eq!(rest.hash, Some(rest.of_output), "what was received over two links is what was said");

    // Not acknowledged: a third link gets all of it again.
    drop(master);
    let (mut master, again) = world.welcome(&[(&uid(1), 0)]).await;
    assert_eq!(again.commands, [(uid(1), rest.last)]);
    assert_eq!(master.rest_of(&uid(1), 1).await.log, log);
    let runs = std::fs::read_to_string(world.folder.path().join("work/builds/builder/runs")).unwrap();
    assert_eq!(runs, "x\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_the_master_no_longer_knows_is_stopped_and_forgotten() {
    let world = world().await;
    let (mut master, _) = world.welcome(&[]).await;
    master.say(ToWorker::Start(shell(1, "echo begin; sleep 1000"))).await;
    while !matches!(master.update(&uid(1)).await.1, Update::Log { data, .. } if data.ends_with(b"begin\n")) {}
    drop(master);
    let (mut master, hello) = world.welcome(&[]).await;
    assert_eq!(hello.commands.len(), 1);
    let ended = async {
        while !world.events.lock().unwrap().iter().any(|e| matches!(e, Event::Ended { .. })) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    // Nothing of it is heard: the next word is about something else.
    master.say(ToWorker::Ping { nonce: 1 }).await;
    assert_eq!(master.hear().await, ToMaster::Pong { nonce: 1 });
    drop(master);
    let (_master, hello) = world.welcome(&[]).await;
    assert_eq!(hello.commands, []);
}

/// Symptom: after a restart of the master a build failed over files that another one wrote. Cause: the new
/// build's command began while the old one was being stopped in the same directory. Cure: it waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_waits_for_its_directory_until_a_forgotten_one_has_left_it() {
    let world = world().await;
    let (mut master, _) = world.welcome(&[]).await;
    let slow = "trap 'sleep 1; echo > left; exit' TERM; echo begin; while :; do sleep 0.1; done";
    let args = serde_json::json!({ "command": ["sh", "-c", slow], "sigterm_time": 10 }).to_string();
    master.say(ToWorker::Start(Start { args, ..shell(1, slow) })).await;
    while !matches!(master.update(&uid(1)).await.1, Update::Log { data, .. } if data.ends_with(b"begin\n")) {}
    drop(master);
    let (mut master, _) = world.welcome(&[]).await;
    master.say(ToWorker::Start(shell(2, "test -e left"))).await;
    assert_eq!(master.rest_of(&uid(2), 1).await.rc(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_ends_a_command_and_overtakes_its_output() {
    let world = world().await;
    let (mut master, _) = world.welcome(&[]).await;
    master.say(ToWorker::Start(shell(1, "yes"))).await;
    master.update(&uid(1)).await;
    master.say(ToWorker::Interrupt { command: uid(1), reason: "enough".into() }).await;
    master.say(ToWorker::Ping { nonce: 1 }).await;
    let mut ended = None;
    let mut log_after_pong = 0;
    let mut pong = false;
    while ended.is_none() {
        match master.hear().await {
            ToMaster::Update { update: Update::Done { how, .. }, .. } => ended = Some(how),
            ToMaster::Update { update: Update::Log { data, .. }, .. } if pong => log_after_pong += data.len(),
            ToMaster::Update { .. } => {}
            ToMaster::Pong { .. } => pong = true,
            other => panic!("{other:?}"),
        }
    }
    assert!(pong, "the answer to a ping came before the end ({log_after_pong} bytes of log after it)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_is_asked_for_once_verified_kept_and_then_has_to_be_allowed() {
    let world = world().await;
    let (mut master, _) = world.welcome(&[]).await;
    // A component of its own digest: the bundled one with a custom section at its end.
    let bundled = windlass_plugins::bundled().iter().find(|one| one.name == "commands").unwrap();
    let mut bytes = bundled.bytes.to_vec();
    bytes.extend_from_slice(&[0, 2, 1, b'x']);
    let digest = Digest::of(&bytes);
    let ours = |n| Start { digest, plugin: "mine".into(), ..shell(n, "true") };
    master.say(ToWorker::Start(ours(1))).await;
    assert_eq!(master.hear().await, ToMaster::Need { digest });
    // A link that breaks meanwhile: asked again.
    drop(master);
    let (mut master, _) = world.welcome(&[(&uid(1), 0)]).await;
    assert_eq!(master.hear().await, ToMaster::Need { digest });
    let total = bytes.len() as u64;
    for (n, part) in bytes.chunks(32 * 1024).enumerate() {
        let (offset, data) = ((n * 32 * 1024) as u64, part.to_vec().into());
        master.say(ToWorker::Component { digest, offset, total, data }).await;
    }
    let ended = master.rest_of(&uid(1), 1).await;
    assert!(ended.diagnostics.contains("mine:shell"), "{}", ended.diagnostics);
    assert!(ended.diagnostics.contains("[allow.\"mine:shell\"] in worker.toml"), "{}", ended.diagnostics);
    assert_eq!(std::fs::read(world.folder.path().join(format!("work/components/{digest}"))).unwrap(), bytes);
    master.say(ToWorker::Start(ours(2))).await;
    assert!(master.rest_of(&uid(2), 1).await.diagnostics.contains("mine:shell"), "without a second `need`");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_nobody_has_or_that_is_not_what_it_should_be_fails_the_command() {
    let world = world().await;
    let (mut master, _) = world.welcome(&[]).await;
    let digest = Digest::of(b"another");
    master.say(ToWorker::Start(Start { digest, ..shell(1, "true") })).await;
    assert_eq!(master.hear().await, ToMaster::Need { digest });
    master.say(ToWorker::NoComponent { digest }).await;
    let failure = master.rest_of(&uid(1), 1).await.failure();
    assert_eq!((failure.code.as_str(), failure.retryable), ("component", true));

    master.say(ToWorker::Start(Start { digest, ..shell(2, "true") })).await;
    assert_eq!(master.hear().await, ToMaster::Need { digest });
    master.say(ToWorker::Component { digest, offset: 0, total: 5, data: "wrong".into() }).await;
    let failure = master.rest_of(&uid(2), 1).await.failure();
    assert!(failure.message.contains("is not that"), "{failure}");
    assert!(!world.folder.path().join(format!("work/components/{digest}")).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_for_good_ends_the_worker_with_the_masters_words() {
    let world = world().await;
    let (mut master, _) = world.accept().await;
    let refused = |retry| ToWorker::Refused {
        code: "bad-token".into(),
        message: "the token of worker `w1` does not fit".into(),
        retry,
    };
    master.say(refused(true)).await;
    // It tries again.
    let (mut master, _) = world.accept().await;
    master.say(refused(false)).await;
    let error = world.ended().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the master refused worker `w1`: the token of worker `w1` does not fit (bad-token)"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_too_new_is_named_with_both_versions() {
    let world = world().await;
    let (mut master, _) = world.accept().await;
    let (features, commands) = (vec![], vec![]);
    master.say(ToWorker::Welcome { protocol: PROTOCOL + 1, features, commands, keepalive_ms: 1_000 }).await;
    let error = world.ended().await.unwrap_err().to_string();
    assert!(error.contains("protocol 3") && error.contains("at most 2"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_master_is_left_and_looked_for_again() {
    let world = world().await;
    let (mut master, _) = world.accept().await;
    let (features, commands) = (vec![], vec![]);
    master.say(ToWorker::Welcome { protocol: PROTOCOL, features, commands, keepalive_ms: 50 }).await;
    let (_second, hello) = world.accept().await;
    assert_eq!(hello.epoch, 1);
    drop(master);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_leaves_ends_its_commands_as_retry() {
    let world = world().await;
    let (mut master, _) = world.welcome(&[]).await;
    master.say(ToWorker::Start(shell(1, "echo begin; sleep 1000"))).await;
    while !matches!(master.update(&uid(1)).await.1, Update::Log { data, .. } if data.ends_with(b"begin\n")) {}
    world.shutdown.cancel();
    let mut done = None;
    while done.is_none() {
        match master.hear().await {
            ToMaster::Update { number, update: Update::Done { how, .. }, .. } => done = Some((number, how)),
            ToMaster::Update { .. } | ToMaster::Draining => {}
            other => panic!("{other:?}"),
        }
    }
    let (number, how) = done.unwrap();
    let failure = how.unwrap_err();
    assert_eq!((failure.code.as_str(), failure.retryable), ("worker-lost", true));
    master.say(ToWorker::Ack { command: uid(1), number }).await;
    assert_eq!(world.ended().await.unwrap(), Exit::Clean);
}

/// Symptom, of others: what was given to a worker that was about to leave belonged to nobody. Rule: it is answered, and worth
/// another try.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_reaches_a_worker_that_drains_is_answered_as_worth_a_retry() {
    let world = world().await;
    let (mut master, _) = world.welcome(&[]).await;
    master.say(ToWorker::Start(shell(1, "trap '' INT TERM; echo begin; sleep 1000"))).await;
    while !matches!(master.update(&uid(1)).await.1, Update::Log { data, .. } if data.ends_with(b"begin\n")) {}
    world.shutdown.cancel();
    while !matches!(master.hear().await, ToMaster::Draining) {}
    master.say(ToWorker::Start(shell(2, "true"))).await;
    let failure = loop {
        match master.hear().await {
            ToMaster::Update { command, update: Update::Done { how, .. }, .. } if command == uid(2) => {
                break how.unwrap_err();
            }
            ToMaster::Update { .. } | ToMaster::Draining => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((failure.code.as_str(), failure.retryable), ("worker-lost", true));
}

/// Symptom, of others: a worker that met an error of a proxy once never asked for work again. Rule: whatever answers in the
/// master's place, the worker tries again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_answers_in_the_masters_place_leaves_no_worker_deaf() {
    let world = world().await;
    for answer in [
        "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 86400\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<h1>It works!</h1>",
        "no word of HTTP\n",
        "",
    ] {
        let (mut stream, _) = tokio::time::timeout(PATIENCE, world.listener.accept()).await.unwrap().unwrap();
        // Answered or not: what was asked is read, so that the answer arrives.
        let mut asked = [0; 4096];
        assert!(tokio::io::AsyncReadExt::read(&mut stream, &mut asked).await.unwrap() > 0);
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await.unwrap();
    }
    let (mut master, _) = world.welcome(&[]).await;
    master.say(ToWorker::Start(shell(1, "true"))).await;
    assert_eq!(master.rest_of(&uid(1), 1).await.rc(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_can_not_share_a_directory() {
    let world = world().await;
    let (_master, _) = world.welcome(&[]).await;
    let folder = world.folder.path().to_owned();
    let second = start_worker(folder, &world.listener, &world.shutdown, &world.events);
    assert!(matches!(second.await.unwrap(), Err(WorkerError::Locked { .. })));
}

#[tokio::test]
async fn a_token_that_others_can_read_is_refused_with_what_to_do() {
    let world = world().await;
    world.shutdown.cancel();
    let (folder, listener) = (world.folder.path().to_owned(), &world.listener);
    let other = folder.join("other");
    std::fs::create_dir(&other).unwrap();
    write_token(&other, 0o640);
    let refused = start_worker(other, listener, &CancellationToken::new(), &world.events).await.unwrap();
    assert!(refused.unwrap_err().to_string().contains("chmod 600"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_variable_without_a_grant_is_denied_named_and_counted() {
    let world = world().await;
    let (mut master, _) = world.welcome(&[]).await;
    let mut start = shell(1, "true");
    start.args =
        serde_json::json!({"command": ["sh", "-c", "true"], "env": {"LD_PRELOAD": "x.so"}}).to_string();
    start.grants = vec![("exec".into(), vec!["sh".into()]), ("env".into(), vec!["*".into()])];
    master.say(ToWorker::Start(start.clone())).await;
    let ended = master.rest_of(&uid(1), 1).await;
    let denied = format!(
        "`windlass:shell` ({}) may not set the variable `LD_PRELOAD`: the plugin does not ask for it",
        commands().short()
    );
    assert!(ended.failure().message.contains(&denied), "{}", ended.failure());
    assert!(ended.diagnostics.contains(&denied), "{}", ended.diagnostics);
    assert_eq!(ended.usage.unwrap().denials, 1);

    // With `*` it may run `env` with any variable, so it may set any.
    start.command = uid(2);
    start.grants = vec![("exec".into(), vec!["*".into()])];
    master.say(ToWorker::Start(start)).await;
    assert_eq!(master.rest_of(&uid(2), 1).await.rc(), Some(0));
}
