//! The links to the workers: who may connect, who is connected, and what runs there.
//!
//! One task for each configured worker (its *seat*) owns the socket, the commands and their numbers;
//! it outlives the socket, so that a command survives a link that is cut. Others hold [`Links`].
//!
//! - `accept`: from a TCP connection to a hello that was checked; `greeting`: how many are on that way
//! - `seat`: the task of one worker
//! - `tokens`: those that commands made
//! - `wire`: the sending half of a connection; control overtakes bulk
//! - `feed`: what a command's owner gets: every update once, in order

mod accept;
mod feed;
mod greeting;
mod seat;
mod tokens;
mod wire;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use windlass_config::config;
use windlass_core::id::TokenId;
use windlass_core::value::{Failure, Pair};
use windlass_protocol::message::{CommandUid, Start};
use windlass_store::Cas;

use crate::clock::Clock;
use crate::dispatcher::{Dispatcher, WorkerUp};
use crate::events::Events;
use crate::transfer::Transfers;
use crate::view;
use greeting::Greeting;
use seat::Order;

pub(crate) use tokens::{Token, Tokens};

pub(crate) use feed::size;
pub use feed::{CommandEvent, CommandFeed};

/// What links are made of.
pub struct LinkParts {
    /// Where the bytes of components lie.
    pub cas: Cas,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where connects and losses are told.
    pub events: Events,
    /// Its deadlines.
    pub limits: LinkLimits,
}

/// Which start of which worker a link belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The worker's directory, for its whole life.
    pub instance: String,
    /// Counts its starts.
    pub epoch: u64,
}

/// Deadlines of links.
#[derive(Clone, Copy, Debug)]
pub struct LinkLimits {
    /// From the connection to the hello.
    pub hello: Duration,
    /// The master pings this often; a link without a word for twice as long is dead.
    pub keepalive: Duration,
    /// How long commands wait for a worker whose link was cut.
    pub grace: Duration,
    /// How long a connected worker has to show that it is alive when another claims its name.
    pub probe: Duration,
}

impl Default for LinkLimits {
    fn default() -> LinkLimits {
        LinkLimits {
            hello: Duration::from_secs(10),
            keepalive: Duration::from_secs(10),
            grace: Duration::from_secs(60),
            probe: Duration::from_secs(2),
        }
    }
}

/// Who is told about workers: the dispatcher.
pub trait LinkReport: Send + Sync + 'static {
    /// A worker may be given work.
    fn worker_up(&self, worker: WorkerUp);
    /// It may not any more: its link was cut, or it drains.
    fn worker_down(&self, name: &str);
    /// It reported its load.
    fn worker_load(&self, name: &str, load: f64);
}

impl LinkReport for Dispatcher {
    fn worker_up(&self, worker: WorkerUp) {
        Dispatcher::worker_up(self, worker);
    }
    fn worker_down(&self, name: &str) {
        Dispatcher::worker_down(self, name);
    }
    fn worker_load(&self, name: &str, load: f64) {
        Dispatcher::worker_load(self, name, load);
    }
}

/// A worker that is connected.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectedWorker {
    /// Its name.
    pub name: String,
    /// Since when.
    pub since: windlass_core::time::Timestamp,
    /// The version of its program.
    pub version: String,
    /// Where it connects from.
    pub peer: String,
    /// What it said about itself.
    pub facts: Vec<Pair>,
    /// The load it reported last.
    pub load: Option<f64>,
    /// It takes no more work.
    pub draining: bool,
    /// Which start of which worker it is.
    pub session: Session,
    /// The token of a command that it came by; none: by the configuration's.
    pub token: Option<TokenId>,
}

/// The workers' links. Cheap to clone.
#[derive(Clone)]
pub struct Links(Arc<Inner>);

struct Inner {
    parts: LinkParts,
    report: OnceLock<Arc<dyn LinkReport>>,
    seats: RwLock<BTreeMap<String, Handle>>,
    greeting: Arc<Greeting>,
    tokens: Arc<Tokens>,
    tasks: TaskTracker,
    transfers: Transfers,
    closing: CancellationToken,
    /// How long commands wait for a worker whose link was cut, in milliseconds.
    grace: AtomicU64,
}

/// What others hold of a seat.
#[derive(Clone)]
struct Handle {
    /// As configured.
    token_hash: Option<String>,
    /// Unbounded, and small all the same: it holds at most one start and one interrupt for each
    /// command, one acknowledgement for each commit, and what the greeting lets through.
    orders: mpsc::UnboundedSender<Order>,
    shown: Arc<seat::Shown>,
}

impl Links {
    /// Links without workers yet: call [`Links::report_to`], [`Links::configure`], [`Links::listen`].
    #[must_use]
    pub fn new(parts: LinkParts) -> Links {
        let tasks = TaskTracker::new();
        let grace = u64::try_from(parts.limits.grace.as_millis()).unwrap_or(u64::MAX);
        Links(Arc::new(Inner {
            grace: AtomicU64::new(grace),
            parts,
            report: OnceLock::new(),
            seats: RwLock::default(),
            greeting: Arc::default(),
            tokens: Arc::default(),
            transfers: Transfers::new(tasks.clone()),
            tasks,
            closing: CancellationToken::new(),
        }))
    }

    /// From now on commands wait so long for a worker whose link is cut, instead of what the limits say.
    pub fn wait_for_workers(&self, grace: Duration) {
        self.0.grace.store(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn grace(&self) -> Duration {
        Duration::from_millis(self.0.grace.load(Ordering::Relaxed))
    }

    /// Says who is told about workers. The first call counts.
    pub fn report_to(&self, report: Arc<dyn LinkReport>) {
        // A second call is a mistake of the wiring that nothing depends on.
        self.0.report.set(report).ok();
    }

    /// Takes over the configured workers: new ones may connect, removed ones are sent away, and their tokens of
    /// commands are forgotten. The link of one that came by the configured token is cut if that changed; its commands
    /// wait for it as after any cut.
    pub fn configure(&self, workers: &[config::Worker]) {
        self.0.tokens.keep_only(workers);
        let mut seats = self.0.seats.write().expect("no holder of this lock panics");
        seats.retain(|name, seat| {
            let kept = workers.iter().any(|worker| worker.name == *name);
            if !kept {
                seat.order(Order::Remove);
            }
            kept
        });
        for worker in workers {
            if let Some(seat) = seats.get_mut(&worker.name) {
                if seat.token_hash != worker.token_hash {
                    seat.token_hash.clone_from(&worker.token_hash);
                    seat.order(Order::TokensChanged { done: None });
                }
            } else {
                let seat = self.seat(worker);
                seats.insert(worker.name.clone(), seat);
            }
        }
    }

    /// Serves connections of `listener` until [`Links::shutdown`].
    pub fn listen(&self, listener: TcpListener) {
        let links = self.clone();
        self.0.tasks.spawn(async move { accept::serve(links, listener).await });
    }

    /// Starts a command on a worker that is connected, or whose link was cut so recently that it may
    /// come back. The command lives as long as the feed: dropping the feed interrupts it.
    pub fn start_command(&self, worker: &str, start: Start) -> Result<CommandFeed, Failure> {
        let seat = self.handle(worker).filter(|seat| seat.shown.is_reachable());
        let Some(seat) = seat else {
            return Err(seat::lost(&format!("worker `{worker}` is not connected")));
        };
        let (sender, feed) = feed::feed(&seat.shown.ahead, seat.orders.clone(), start.command.clone());
        seat.order(Order::Start { start, feed: sender });
        Ok(feed)
    }

    /// A command of a step that is taken up after a restart, which may run still: waits for its worker as for one
    /// whose link was cut. `session` is the one that it was started in, and `seen` the update that is durable.
    #[must_use]
    pub fn expect(&self, worker: &str, uid: &CommandUid, session: Session, seen: u64) -> CommandFeed {
        let Some(seat) = self.handle(worker) else {
            return feed::lost(seat::lost(&format!("worker `{worker}` is configured no more")));
        };
        let (sender, feed) = feed::feed(&seat.shown.ahead, seat.orders.clone(), uid.clone());
        seat.order(Order::Expect { uid: uid.clone(), session, seen, feed: sender });
        feed
    }

    /// What starts a command that is expected, should its worker never have heard of it.
    pub fn start_expected(&self, worker: &str, start: Start) {
        if let Some(seat) = self.handle(worker) {
            seat.order(Order::StartExpected { start });
        }
    }

    /// Asks a command to stop. It still ends with its last update.
    pub fn interrupt(&self, worker: &str, uid: &CommandUid, reason: &str) {
        if let Some(seat) = self.handle(worker) {
            seat.order(Order::Interrupt { uid: uid.clone(), reason: reason.to_owned() });
        }
    }

    /// Says that all updates up to `number` are durable. Call it after the commit only.
    pub fn ack(&self, worker: &str, uid: &CommandUid, number: u64) {
        if let Some(seat) = self.handle(worker) {
            seat.order(Order::Ack { uid: uid.clone(), number });
        }
    }

    /// One worker, if it is connected.
    #[must_use]
    pub fn of(&self, worker: &str) -> Option<ConnectedWorker> {
        self.handle(worker).and_then(|seat| seat.shown.connected())
    }

    /// Which start of which worker was connected last, whether it is connected now or not.
    pub(crate) fn session(&self, worker: &str) -> Session {
        self.handle(worker).map(|seat| seat.shown.session()).unwrap_or_default()
    }

    /// Waits for a worker as long as commands wait for one whose link was cut. The error says, for people, that it did
    /// not come.
    pub(crate) async fn arrival(&self, worker: &str) -> Result<(), String> {
        let Some(seat) = self.handle(worker) else {
            return Err(format!("worker `{worker}` is configured no more"));
        };
        let grace = self.grace();
        let arrived = tokio::time::timeout(grace, seat.shown.arrival()).await;
        arrived.map_err(|_| format!("worker `{worker}` did not come back within {} s", grace.as_secs_f64()))
    }

    /// Whether whoever came by a token may stay.
    fn counts(&self, worker: &str, token: &Token) -> bool {
        match token {
            Token::Configured(hash) => {
                self.handle(worker).is_some_and(|seat| seat.token_hash.as_ref() == Some(hash))
            }
            Token::Made(number) => self.0.tokens.has(worker, *number),
        }
    }

    /// The tokens that commands made.
    pub(crate) fn tokens(&self) -> &Arc<Tokens> {
        &self.0.tokens
    }

    /// Each link as its task has it.
    pub(crate) async fn inspect(&self) -> Vec<view::DebugLink> {
        let asked: Vec<_> = {
            let seats = self.0.seats.read().expect("no holder of this lock panics");
            let ask = |seat: &Handle| {
                let (reply, answer) = oneshot::channel();
                seat.order(Order::Inspect { reply });
                answer
            };
            seats.values().map(ask).collect()
        };
        let mut links = Vec::new();
        for answer in asked {
            // A seat that was closed meanwhile has nothing to say.
            links.extend(answer.await.ok());
        }
        links
    }

    /// How many tasks the links have: seats, connections, transfers.
    pub(crate) fn tasks(&self) -> usize {
        self.0.tasks.len()
    }

    /// These tokens of a worker count no more: closes its link if it came by one of them, and says whether it did. What runs
    /// there waits for it as after a cut link. It waits for no disk; that the store forgets them is to follow.
    pub(crate) async fn revoke(&self, worker: &str, tokens: &[TokenId]) -> bool {
        self.0.tokens.revoke(worker, tokens);
        let Some(seat) = self.handle(worker) else { return false };
        let (done, closed) = oneshot::channel();
        seat.order(Order::TokensChanged { done: Some(done) });
        // A seat that is gone has no link.
        closed.await.unwrap_or(false)
    }

    /// Files under way to and from the workers.
    pub(crate) fn transfers(&self) -> &Transfers {
        &self.0.transfers
    }

    /// The workers that are connected, by name.
    #[must_use]
    pub fn connected(&self) -> Vec<ConnectedWorker> {
        let seats = self.0.seats.read().expect("no holder of this lock panics");
        seats.values().filter_map(|seat| seat.shown.connected()).collect()
    }

    /// Says goodbye to every worker and waits until all links are closed. What runs there runs on; whoever waits for it
    /// here hears that it is lost.
    pub async fn shutdown(&self) {
        self.0.closing.cancel();
        {
            let seats = self.0.seats.read().expect("no holder of this lock panics");
            seats.values().for_each(|seat| seat.order(Order::Shutdown));
        }
        self.0.transfers.close();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn handle(&self, worker: &str) -> Option<Handle> {
        self.0.seats.read().expect("no holder of this lock panics").get(worker).cloned()
    }

    fn seat(&self, worker: &config::Worker) -> Handle {
        let (orders, inbox) = mpsc::unbounded_channel();
        let shown = Arc::new(seat::Shown::default());
        let seated = seat::keep(self.clone(), worker.name.clone(), Arc::clone(&shown), inbox);
        self.0.tasks.spawn(seated);
        Handle { token_hash: worker.token_hash.clone(), orders, shown }
    }

    fn report(&self) -> Option<&Arc<dyn LinkReport>> {
        self.0.report.get()
    }
}

impl Handle {
    fn order(&self, order: Order) {
        // A seat that is closed takes no orders: its commands were told that they are lost.
        self.orders.send(order).ok();
    }
}

#[cfg(test)]
pub(crate) mod tests;
