//! Simulated workers: a process that is many of them, speaks the protocol of real ones, and ends every command with
//! exit code 0, at once or after a while: up to double the MILLISECONDS, half of them sooner. `tests/bench/master.py`
//! runs it.
//!
//! ```text
//! cargo run --release -p windlass-tests --example fleet -- ADDRESS WORKERS TOKEN [MILLISECONDS]
//! ```
//!
//! The workers are `worker-0000` and so on, all with one token. They connect as soon as anybody listens, a few at a
//! time, and tell their load every 10 s as real ones do. A line of JSON each 50 ms says what happened so far, with
//! moments in microseconds since 1970; the program ends with its input. A connection that breaks ends it with an
//! error: a figure without some of the workers would be another figure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use windlass_core::value::Completion;
use windlass_protocol::codec::{self, Decoder};
use windlass_protocol::hello::CONTRACT;
use windlass_protocol::message::{CommandUid, Hello, PROTOCOL, ToMaster, ToWorker, Update};

/// A master takes 64 connections from one address that have not said hello.
const AT_ONCE: usize = 32;

/// Between two looks whether somebody listens.
const KNOCK: Duration = Duration::from_millis(1);

const STATUS: Duration = Duration::from_secs(10);
const REPORT: Duration = Duration::from_millis(50);

/// What happened so far. Moments are microseconds since 1970, 0: not yet.
#[derive(Default)]
struct Seen {
    connected: AtomicU64,
    first_connected: AtomicU64,
    last_connected: AtomicU64,
    started: AtomicU64,
    first_started: AtomicU64,
    /// Commands whose end is durable at the master.
    acknowledged: AtomicU64,
}

#[derive(Clone)]
struct Fleet {
    address: Arc<str>,
    token: Arc<str>,
    /// How long a command takes, on average.
    takes: Duration,
    greeting: Arc<Semaphore>,
    seen: Arc<Seen>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, workers, token, takes) = match &arguments[..] {
        [address, workers, token] => (address, workers, token, "0"),
        [address, workers, token, takes] => (address, workers, token, takes.as_str()),
        _ => anyhow::bail!("usage: fleet ADDRESS WORKERS TOKEN [MILLISECONDS]"),
    };
    let fleet = Fleet {
        address: address.as_str().into(),
        token: token.as_str().into(),
        takes: Duration::from_millis(takes.parse()?),
        greeting: Arc::new(Semaphore::new(AT_ONCE)),
        seen: Arc::default(),
    };
    while TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(KNOCK).await;
    }
    let mut members = tokio::task::JoinSet::new();
    for number in 0..workers.parse()? {
        members.spawn(fleet.clone().member(number));
    }
    let (mut reports, mut input) = (tokio::time::interval(REPORT), tokio::io::stdin());
    let mut byte = [0];
    loop {
        tokio::select! {
            Some(ended) = members.join_next() => ended??,
            _ = input.read(&mut byte) => return Ok(()),
            _ = reports.tick() => fleet.seen.report(),
        }
    }
}

impl Seen {
    fn report(&self) {
        let of = |what: &AtomicU64| what.load(Relaxed);
        println!(
            "{}",
            serde_json::json!({
                "at": now(),
                "connected": of(&self.connected),
                "first_connected": of(&self.first_connected),
                "last_connected": of(&self.last_connected),
                "started": of(&self.started),
                "first_started": of(&self.first_started),
                "acknowledged": of(&self.acknowledged),
            })
        );
    }

    /// Takes note of the moment of the first.
    fn first(moment: &AtomicU64) {
        // Somebody was there before: theirs stands.
        let _ = moment.compare_exchange(0, now(), Relaxed, Relaxed);
    }
}

impl Fleet {
    /// One worker; returns only if its connection breaks.
    async fn member(self, number: u64) -> anyhow::Result<()> {
        let (mut socket, mut decoder) = (self.greet(number).await?, Decoder::default());
        let (said, mut to_say) = mpsc::unbounded_channel();
        // Not all in the same moment.
        let begin =
            tokio::time::Instant::now() + STATUS.mul_f64(f64::from(u32::try_from(number % 1_000)?) / 1e3);
        let mut loads = tokio::time::interval_at(begin, STATUS);
        loop {
            tokio::select! {
                frame = socket.next() => match frame {
                    Some(Ok(Message::Binary(frame))) => {
                        if let Some(message) = decoder.push(&frame)? {
                            self.hear(message, &said)?;
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error.into()),
                    None => anyhow::bail!("the master closed the connection of worker {number}"),
                },
                Some(message) = to_say.recv() => {
                    feed(&mut socket, &message).await?;
                    while let Ok(message) = to_say.try_recv() {
                        feed(&mut socket, &message).await?;
                    }
                    socket.flush().await?;
                }
                _ = loads.tick() => said.send(ToMaster::Status { load: (number % 7) as f64 / 7.0 })?,
            }
        }
    }

    /// Connects, and returns with the welcome.
    async fn greet(&self, number: u64) -> anyhow::Result<WebSocketStream<TcpStream>> {
        let _one_of_few = self.greeting.acquire().await?;
        let stream = TcpStream::connect(&*self.address).await?;
        stream.set_nodelay(true)?;
        let (mut socket, _) =
            tokio_tungstenite::client_async(format!("ws://{}", self.address), stream).await?;
        let hello = Hello {
            protocol: PROTOCOL,
            contract: CONTRACT.to_owned(),
            features: Vec::new(),
            name: format!("worker-{number:04}"),
            token: self.token.to_string(),
            instance: format!("{number:032x}"),
            epoch: 1,
            lost: None,
            lane: "control".to_owned(),
            version: "bench".to_owned(),
            facts: Vec::new(),
            commands: Vec::new(),
        };
        feed(&mut socket, &ToMaster::Hello(hello)).await?;
        socket.flush().await?;
        let mut decoder = Decoder::default();
        while let Some(frame) = socket.next().await {
            let Message::Binary(frame) = frame? else { continue };
            match decoder.push(&frame)? {
                Some(ToWorker::Welcome { .. }) => {
                    self.seen.connected.fetch_add(1, Relaxed);
                    self.seen.last_connected.store(now(), Relaxed);
                    Seen::first(&self.seen.first_connected);
                    return Ok(socket);
                }
                Some(other) => anyhow::bail!("in place of a welcome came {other:?}"),
                None => {}
            }
        }
        anyhow::bail!("no welcome")
    }

    fn hear(&self, message: ToWorker, said: &mpsc::UnboundedSender<ToMaster>) -> anyhow::Result<()> {
        match message {
            ToWorker::Start(start) => {
                Seen::first(&self.seen.first_started);
                self.seen.started.fetch_add(1, Relaxed);
                if self.takes.is_zero() {
                    said.send(done(start.command))?;
                } else {
                    let (said, takes) = (said.clone(), self.takes * 2 * share(&start.command) / 256);
                    tokio::spawn(async move {
                        tokio::time::sleep(takes).await;
                        // The connection broke meanwhile, which ends all.
                        drop(said.send(done(start.command)));
                    });
                }
            }
            ToWorker::Ping { nonce } => said.send(ToMaster::Pong { nonce })?,
            ToWorker::Ack { .. } => drop(self.seen.acknowledged.fetch_add(1, Relaxed)),
            ToWorker::Interrupt { reason, .. } => anyhow::bail!("a command is interrupted: {reason}"),
            other => anyhow::bail!("nobody asked for {other:?}"),
        }
        Ok(())
    }
}

/// Of a command's name, in 256ths: spread evenly, and the same each time.
fn share(command: &CommandUid) -> u32 {
    command.0.get(..2).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

/// The only update of a command: it ended well.
fn done(command: CommandUid) -> ToMaster {
    let how = Ok(Completion { rc: Some(0), values: Vec::new() });
    ToMaster::Update {
        command,
        number: 1,
        update: Update::Done { how, log_hash: windlass_core::journal::begin(), usage: None },
    }
}

async fn feed(socket: &mut WebSocketStream<TcpStream>, message: &ToMaster) -> anyhow::Result<()> {
    for frame in codec::encode(message)? {
        socket.feed(Message::Binary(frame)).await?;
    }
    Ok(())
}

fn now() -> u64 {
    u64::try_from(UNIX_EPOCH.elapsed().unwrap_or_default().as_micros()).unwrap_or_default()
}
