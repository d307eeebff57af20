//! Links over real sockets, with workers that do as the tests say.

use std::sync::Mutex;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use windlass_core::digest::Digest;
use windlass_core::properties::Properties;
use windlass_core::value::{Completion, Origin};
use windlass_protocol::codec::{Decoder, encode};
use windlass_protocol::hello::CONTRACT;
use windlass_protocol::message::{Hello, PROTOCOL, ToMaster, ToWorker, Update};
use windlass_store::Store;

use super::*;
use crate::clock::SystemClock;

mod cut;
mod failures;

/// No state that these tests wait for takes longer, even on a machine that is busy.
const BOUND: Duration = Duration::from_secs(30);

/// What the dispatcher would be told, as lines.
pub(crate) struct Told(UnboundedSender<String>);

impl LinkReport for Told {
    fn worker_up(&self, worker: WorkerUp) {
        self.0.send(format!("up {}", worker.name)).unwrap();
    }
    fn worker_down(&self, name: &str) {
        self.0.send(format!("down {name}")).unwrap();
    }
    fn worker_load(&self, name: &str, load: f64) {
        assert!(load >= 0.0, "a load that makes the seat panic");
        self.0.send(format!("load {name} {load}")).unwrap();
    }
}

pub(crate) struct World {
    pub(crate) links: Links,
    address: String,
    told: Mutex<Option<UnboundedReceiver<String>>>,
    pub(crate) store: Store,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn limits() -> LinkLimits {
    LinkLimits { hello: BOUND, keepalive: BOUND, grace: BOUND, probe: BOUND }
}

pub(crate) async fn world(limits: LinkLimits) -> World {
    world_with(limits, windlass_store::Options::default()).await
}

pub(crate) async fn world_with(limits: LinkLimits, options: windlass_store::Options) -> World {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options).unwrap();
    world_over(limits, dir, store).await
}

pub(crate) async fn world_over(limits: LinkLimits, dir: tempfile::TempDir, store: Store) -> World {
    let links = Links::new(LinkParts {
        cas: store.cas().clone(),
        clock: Arc::new(SystemClock::new()),
        events: Events::default(),
        limits,
    });
    let (tell, told) = unbounded_channel();
    links.report_to(Arc::new(Told(tell)));
    links.configure(&[worker("w1"), worker("w2")]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("ws://{}", listener.local_addr().unwrap());
    links.listen(listener);
    World { links, address, told: Mutex::new(Some(told)), store, dir }
}

fn worker(name: &str) -> config::Worker {
    config::Worker {
        name: name.to_owned(),
        token_hash: Some(windlass_config::hash_token("secret")),
        max_builds: None,
        properties: Properties::default(),
        default_properties: Properties::default(),
        locks: Vec::new(),
    }
}

pub(crate) fn hello(name: &str) -> Hello {
    Hello {
        protocol: PROTOCOL,
        contract: CONTRACT.to_owned(),
        features: Vec::new(),
        name: name.to_owned(),
        token: "secret".to_owned(),
        instance: "instance-1".to_owned(),
        epoch: 1,
        lost: None,
        lane: "control".to_owned(),
        version: "0.1.0".to_owned(),
        facts: Vec::new(),
        commands: Vec::new(),
    }
}

fn start(uid: &str) -> Start {
    Start {
        command: CommandUid(uid.to_owned()),
        hook: "shell".to_owned(),
        plugin: "windlass".to_owned(),
        digest: Digest::of(b"component"),
        args: "{}".to_owned(),
        builddir: "unit".to_owned(),
        env: Vec::new(),
        grants: Vec::new(),
        secrets: Vec::new(),
    }
}

/// A worker that does what its test says.
pub(crate) struct Scripted {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    decoder: Decoder,
}

impl Scripted {
    async fn connect(world: &World, hello: Hello) -> Scripted {
        let (socket, _) = tokio_tungstenite::connect_async(&world.address).await.unwrap();
        let mut worker = Scripted { socket, decoder: Decoder::default() };
        worker.say(ToMaster::Hello(hello)).await;
        worker
    }

    /// Connects and is welcomed: the commands that the master still cares about.
    pub(crate) async fn join(world: &World, hello: Hello) -> (Scripted, Vec<(CommandUid, u64)>) {
        let mut worker = Scripted::connect(world, hello).await;
        match worker.hear().await {
            ToWorker::Welcome { commands, .. } => (worker, commands),
            other => panic!("not welcome: {other:?}"),
        }
    }

    pub(crate) async fn say(&mut self, message: ToMaster) {
        for frame in encode(&message).unwrap() {
            self.socket.send(Message::Binary(frame)).await.unwrap();
        }
    }

    pub(crate) async fn hear(&mut self) -> ToWorker {
        tokio::time::timeout(BOUND, async {
            loop {
                match self.socket.next().await.expect("the link stays open").unwrap() {
                    Message::Binary(frame) => {
                        if let Some(message) = self.decoder.push(&frame).unwrap() {
                            return message;
                        }
                    }
                    other => panic!("{other:?} where a message was due"),
                }
            }
        })
        .await
        .expect("a message comes in time")
    }

    /// What comes until the link is closed: nothing that this worker asked for.
    async fn rest(&mut self) -> Vec<ToWorker> {
        let mut rest = Vec::new();
        tokio::time::timeout(BOUND, async {
            while let Some(Ok(message)) = self.socket.next().await {
                if let Message::Binary(frame) = message {
                    rest.extend(self.decoder.push(&frame).unwrap());
                }
            }
        })
        .await
        .expect("the link is closed in time");
        rest
    }

    /// Resolves once its link is closed.
    pub(crate) async fn is_sent_away(&mut self) {
        self.rest().await;
    }

    pub(crate) async fn refused(world: &World, hello: Hello) -> (String, String, bool) {
        match Scripted::connect(world, hello).await.hear().await {
            ToWorker::Refused { code, message, retry } => (code, message, retry),
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) async fn log(&mut self, uid: &str, number: u64, text: &'static str) {
        let update = Update::Log { log: "stdio".to_owned(), origin: Origin::Stdout, data: text.into() };
        self.say(ToMaster::Update { command: CommandUid(uid.to_owned()), number, update }).await;
    }

    async fn done(&mut self, uid: &str, number: u64) {
        let update = Update::Done {
            how: Ok(Completion::default()),
            log_hash: windlass_core::journal::begin(),
            usage: None,
        };
        self.say(ToMaster::Update { command: CommandUid(uid.to_owned()), number, update }).await;
    }
}

pub(crate) async fn told(world: &World) -> impl AsyncFnMut(&str) + use<> {
    let mut told = world.told.lock().unwrap().take().unwrap();
    async move |expected: &str| {
        let line = tokio::time::timeout(BOUND, told.recv()).await.expect("told in time").unwrap();
        assert_eq!(line, expected);
    }
}

/// The next event of a feed, as a line.
async fn next(feed: &mut CommandFeed) -> String {
    match tokio::time::timeout(BOUND, feed.recv()).await.expect("an event comes in time") {
        Some(CommandEvent::Update { number, update: Update::Log { data, .. } }) => {
            format!("{number} {}", String::from_utf8_lossy(&data))
        }
        Some(CommandEvent::Update { number, update: Update::Done { .. } }) => format!("{number} done"),
        Some(CommandEvent::Update { number, .. }) => format!("{number} other"),
        Some(CommandEvent::Lost(failure)) => format!("lost: {} {}", failure.code, failure.retryable),
        None => "end".to_owned(),
    }
}

#[tokio::test]
async fn command_goes_out_and_its_updates_come_back_in_order() {
    let world = world(limits()).await;
    let mut told = told(&world).await;
    let (mut worker, _) = Scripted::join(&world, hello("w1")).await;
    told("up w1").await;
    let mut feed = world.links.start_command("w1", start("u1")).unwrap();
    assert_eq!(worker.hear().await, ToWorker::Start(start("u1")));
    worker.log("u1", 1, "hello").await;
    worker.done("u1", 2).await;
    assert_eq!(next(&mut feed).await, "1 hello");
    assert_eq!(next(&mut feed).await, "2 done");
    world.links.ack("w1", &CommandUid("u1".to_owned()), 2);
    assert_eq!(worker.hear().await, ToWorker::Ack { command: CommandUid("u1".to_owned()), number: 2 });
    assert_eq!(next(&mut feed).await, "end");
    worker.say(ToMaster::Status { load: 0.5 }).await;
    told("load w1 0.5").await;
    assert_eq!(world.links.connected()[0].load, Some(0.5));
}

#[tokio::test]
async fn strangers_are_refused_with_what_to_do() {
    let world = world(limits()).await;
    let check = async |hello: Hello, code: &str, part: &str, again: bool| {
        let (got, message, retry) = Scripted::refused(&world, hello).await;
        assert_eq!((got.as_str(), retry), (code, again), "{message}");
        assert!(message.contains(part), "{message}");
    };
    check(hello("nobody"), "unknown-worker", "no worker `nobody`", true).await;
    check(Hello { token: "guess".to_owned(), ..hello("w1") }, "bad-token", "worker `w1`", false).await;
    check(Hello { protocol: 0, ..hello("w1") }, "too-old", "protocol 0", false).await;
    check(Hello { protocol: 99, ..hello("w1") }, "too-new", "protocol 99", false).await;
    assert_eq!(world.links.connected(), []);
}

/// Who connected with a token that does not count any more has shown nothing: its link is cut at once. What it
/// runs is not lost: it comes back with the new token, and goes on.
#[tokio::test]
async fn second_worker_of_the_same_name_is_refused_while_the_first_one_answers() {
    let world = world(limits()).await;
    let (mut first, _) = Scripted::join(&world, hello("w1")).await;
    let mut second =
        Scripted::connect(&world, Hello { instance: "instance-2".to_owned(), ..hello("w1") }).await;
    let ToWorker::Ping { nonce } = first.hear().await else { panic!("the first one is asked") };
    first.say(ToMaster::Pong { nonce }).await;
    let ToWorker::Refused { code, message, retry } = second.hear().await else { panic!("not refused") };
    assert_eq!((code.as_str(), retry), ("name-taken", true));
    assert!(message.contains("is connected already"), "{message}");
    assert_eq!(world.links.connected().len(), 1);
}

#[tokio::test]
async fn dead_worker_gives_way_to_another_of_its_name_and_its_commands_are_lost() {
    let world = world(LinkLimits { probe: Duration::from_millis(20), ..limits() }).await;
    let mut told = told(&world).await;
    let (mut first, _) = Scripted::join(&world, hello("w1")).await;
    told("up w1").await;
    let mut feed = world.links.start_command("w1", start("u1")).unwrap();
    assert!(matches!(first.hear().await, ToWorker::Start(_)));
    // It does not answer the ping.
    let claim = Hello { instance: "instance-2".to_owned(), ..hello("w1") };
    let (_second, known) = Scripted::join(&world, claim).await;
    assert_eq!(known, []);
    assert_eq!(next(&mut feed).await, "lost: worker-lost true");
    told("down w1").await;
    told("up w1").await;
}

#[tokio::test]
async fn command_goes_on_after_a_cut_link_without_gap_or_duplicate() {
    let world = world(limits()).await;
    let mut told = told(&world).await;
    let (mut worker, _) = Scripted::join(&world, hello("w1")).await;
    told("up w1").await;
    let mut feed = world.links.start_command("w1", start("u1")).unwrap();
    worker.hear().await;
    worker.log("u1", 1, "one").await;
    assert_eq!(next(&mut feed).await, "1 one");
    drop(worker);
    told("down w1").await;

    // Durable at last, but there is no link to say so.
    let uid = CommandUid("u1".to_owned());
    world.links.ack("w1", &uid, 1);
    let back = Hello { commands: vec![(uid.clone(), 2)], ..hello("w1") };
    let (mut worker, known) = Scripted::join(&world, back).await;
    assert_eq!(known, [(uid.clone(), 1)]);
    assert_eq!(worker.hear().await, ToWorker::Ack { command: uid, number: 1 });
    told("up w1").await;
    // What was on its way when the link was cut comes again.
    worker.log("u1", 1, "one").await;
    worker.log("u1", 2, "two").await;
    worker.done("u1", 3).await;
    assert_eq!(next(&mut feed).await, "2 two");
    assert_eq!(next(&mut feed).await, "3 done");
}

#[tokio::test]
async fn start_that_was_lost_with_the_link_is_sent_again_to_the_same_start_of_the_worker() {
    let world = world(limits()).await;
    let mut told = told(&world).await;
    let (worker, _) = Scripted::join(&world, hello("w1")).await;
    told("up w1").await;
    drop(worker);
    told("down w1").await;
    let mut feed = world.links.start_command("w1", start("u1")).unwrap();
    let (mut worker, _) = Scripted::join(&world, hello("w1")).await;
    assert_eq!(worker.hear().await, ToWorker::Start(start("u1")));
    worker.done("u1", 1).await;
    assert_eq!(next(&mut feed).await, "1 done");
}

#[tokio::test]
async fn worker_that_restarted_without_its_command_has_lost_it() {
    let world = world(limits()).await;
    let (mut worker, _) = Scripted::join(&world, hello("w1")).await;
    let mut feed = world.links.start_command("w1", start("u1")).unwrap();
    worker.hear().await;
    let (_worker, known) = Scripted::join(&world, Hello { epoch: 2, ..hello("w1") }).await;
    assert_eq!(known, []);
    assert_eq!(next(&mut feed).await, "lost: worker-lost true");
    // The start before is not let in any more.
    let (code, message, retry) = Scripted::refused(&world, hello("w1")).await;
    assert_eq!((code.as_str(), retry), ("name-taken", false));
    assert!(message.contains("newer start"), "{message}");
}

#[tokio::test]
async fn worker_that_stays_away_has_lost_its_commands_and_gets_no_new_ones() {
    let world = world(LinkLimits { grace: Duration::from_millis(20), ..limits() }).await;
    let (mut worker, _) = Scripted::join(&world, hello("w1")).await;
    let mut feed = world.links.start_command("w1", start("u1")).unwrap();
    worker.hear().await;
    drop(worker);
    assert_eq!(next(&mut feed).await, "lost: worker-lost true");
    let refused = world.links.start_command("w1", start("u2")).unwrap_err();
    assert!(refused.retryable && refused.code == "worker-lost");
    assert!(world.links.start_command("w2", start("u2")).is_err(), "it never connected");
}

#[tokio::test]
async fn silent_link_is_dead_and_pings_come_before() {
    let world = world(LinkLimits { keepalive: Duration::from_millis(20), ..limits() }).await;
    let mut told = told(&world).await;
    let (mut worker, _) = Scripted::join(&world, hello("w1")).await;
    told("up w1").await;
    assert!(matches!(worker.hear().await, ToWorker::Ping { .. }));
    told("down w1").await;
}

#[tokio::test]
async fn dropped_feed_interrupts_the_command_and_lets_the_worker_forget_it() {
    let world = world(limits()).await;
    let (mut worker, _) = Scripted::join(&world, hello("w1")).await;
    drop(world.links.start_command("w1", start("u1")).unwrap());
    worker.hear().await;
    let uid = CommandUid("u1".to_owned());
    assert!(matches!(worker.hear().await, ToWorker::Interrupt { command, .. } if command == uid));
    worker.log("u1", 1, "nobody reads this").await;
    assert_eq!(worker.hear().await, ToWorker::Ack { command: uid.clone(), number: 1 });
    worker.done("u1", 2).await;
    assert_eq!(worker.hear().await, ToWorker::Ack { command: uid, number: 2 });
}

#[tokio::test]
async fn gap_in_the_numbers_cuts_the_link() {
    let world = world(limits()).await;
    let mut told = told(&world).await;
    let (mut worker, _) = Scripted::join(&world, hello("w1")).await;
    told("up w1").await;
    let mut feed = world.links.start_command("w1", start("u1")).unwrap();
    worker.hear().await;
    worker.log("u1", 2, "two").await;
    told("down w1").await;
    let back = Hello { commands: vec![(CommandUid("u1".to_owned()), 2)], ..hello("w1") };
    let (mut worker, _) = Scripted::join(&world, back).await;
    worker.log("u1", 1, "one").await;
    assert_eq!(next(&mut feed).await, "1 one");
}

#[tokio::test]
async fn component_is_served_by_digest_in_parts() {
    let world = world(limits()).await;
    let bytes: Vec<u8> = (0..80_000u32).map(|n| n as u8).collect();
    let digest = world.store.cas().put(&bytes).unwrap();
    let (mut worker, _) = Scripted::join(&world, hello("w1")).await;
    worker.say(ToMaster::Need { digest }).await;
    let mut got = Vec::new();
    while got.len() < bytes.len() {
        let ToWorker::Component { offset, total, data, .. } = worker.hear().await else { panic!() };
        assert_eq!((offset, total), (got.len() as u64, bytes.len() as u64));
        got.extend_from_slice(&data);
    }
    assert_eq!(Digest::of(&got), digest);
    let unknown = Digest::of(b"never stored");
    worker.say(ToMaster::Need { digest: unknown }).await;
    assert_eq!(worker.hear().await, ToWorker::NoComponent { digest: unknown });
}

#[tokio::test]
async fn shutdown_says_goodbye_and_whoever_waits_for_a_command_hears_that_it_is_lost() {
    let world = world(limits()).await;
    let (mut worker, _) = Scripted::join(&world, hello("w1")).await;
    let mut feed = world.links.start_command("w1", start("u1")).unwrap();
    worker.hear().await;
    let bye = async { assert_eq!(worker.hear().await, ToWorker::Bye { reason: "shutdown".to_owned() }) };
    tokio::join!(world.links.shutdown(), bye);
    assert_eq!(next(&mut feed).await, "lost: worker-lost true");
}

/// Symptom: after a panic in a seat's task its worker could never connect again. Cause: the panic was
/// only logged. Cure: the seat is set up anew.
#[tokio::test]
async fn seat_that_panicked_loses_its_commands_and_takes_the_worker_back() {
    let world = world(limits()).await;
    let mut told = told(&world).await;
    let (mut worker, _) = Scripted::join(&world, hello("w1")).await;
    told("up w1").await;
    let mut feed = world.links.start_command("w1", start("u1")).unwrap();
    worker.hear().await;
    worker.say(ToMaster::Status { load: -1.0 }).await;
    // Its owner makes a lost worker of that.
    assert_eq!(next(&mut feed).await, "end");
    told("down w1").await;
    assert!(world.links.start_command("w1", start("u2")).is_err());
    let back = Hello { commands: vec![(CommandUid("u1".to_owned()), 0)], ..hello("w1") };
    let (mut worker, known) = Scripted::join(&world, back).await;
    assert_eq!(known, []);
    told("up w1").await;
    let _feed = world.links.start_command("w1", start("u3")).unwrap();
    assert_eq!(worker.hear().await, ToWorker::Start(start("u3")));
}

#[tokio::test]
async fn command_whose_owner_went_while_the_link_was_cut_is_not_resumed() {
    let world = world(limits()).await;
    let mut told = told(&world).await;
    let (mut worker, _) = Scripted::join(&world, hello("w1")).await;
    told("up w1").await;
    let given_up = world.links.start_command("w1", start("u1")).unwrap();
    let mut feed = world.links.start_command("w1", start("u2")).unwrap();
    worker.hear().await;
    worker.hear().await;
    drop(worker);
    told("down w1").await;
    drop(given_up);
    let [one, two] = ["u1", "u2"].map(|uid| CommandUid(uid.to_owned()));
    let back = Hello { commands: vec![(one.clone(), 1), (two.clone(), 1)], ..hello("w1") };
    let (mut worker, known) = Scripted::join(&world, back).await;
    assert_eq!(known, [(two, 0)]);
    // What it says of the other all the same is stopped and forgotten.
    worker.log("u1", 1, "still here").await;
    assert!(matches!(worker.hear().await, ToWorker::Interrupt { command, .. } if command == one));
    assert_eq!(worker.hear().await, ToWorker::Ack { command: one, number: 1 });
    worker.done("u2", 1).await;
    assert_eq!(next(&mut feed).await, "1 done");
}

/// Symptom: no worker could connect for as long as somebody wanted. Cause: 256 connections that said
/// nothing held all places before the hello. Cure: the oldest of them gives way to the newest.
#[tokio::test]
async fn strangers_that_say_nothing_do_not_keep_a_worker_out() {
    let world = world(limits()).await;
    let address = world.address.trim_start_matches("ws://").to_owned();
    let mut strangers = Vec::new();
    for _ in 0..300 {
        strangers.push(TcpStream::connect(&address).await.unwrap());
    }
    Scripted::join(&world, hello("w1")).await;
}
