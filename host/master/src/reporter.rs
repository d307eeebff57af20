//! Reporters: each has a task of its own that tells its events, one after the other, until each is taken.
//!
//! What waits lies in the store (`store::reports`), put there by the commits that start and end builds. An event leaves
//! its line in a commit that follows the answer: so after a kill it is told again, under the same id, and none is lost.
//! Nobody waits for a reporter, not even the end of the master.

mod port;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use windlass_config::config;
use windlass_core::persist::Persist;
use windlass_core::policy::HookKind;
use windlass_core::properties;
use windlass_core::render::{Rendered, Scope, needs_rendering, render_document};
use windlass_core::report::{self, Event, Reader, Taken, Verdict};
use windlass_core::secret::{Placeholders, Seal};
use windlass_core::text::chain;
use windlass_core::time::Timestamp;
use windlass_runtime::{Runtime, Told};
use windlass_store::{Store, Waiting};

use crate::clock::Clock;
use crate::fatal::{Fatal, is_gone};
use crate::plugins::Hooks;
use crate::secrets::BuildSecrets;
use crate::step_port::rights::Rights;
use crate::view;
use crate::world::World;
use port::Port;

/// Places for calls.
const AT_ONCE: usize = 8;
/// Places for those that take longer than [`LONG`], so that those that hang take none from those that do not. Each has
/// memory; so there is an end of them.
const LONG_AT_ONCE: usize = 24;
/// How long a call may have a place of the first kind, if there is one of the second.
const LONG: Duration = Duration::from_secs(2);

/// What reporters are made of.
#[derive(Clone)]
pub(crate) struct Parts {
    pub store: Store,
    pub runtime: Runtime,
    pub clock: Arc<dyn Clock>,
    pub fatal: Fatal,
    pub seal: Seal,
}

/// All reporters.
pub(crate) struct Reporters {
    parts: Parts,
    running: Mutex<BTreeMap<String, Running>>,
    places: Places,
    io: Handle,
    closing: CancellationToken,
}

/// Places for calls.
#[derive(Clone)]
struct Places {
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
}

struct Running {
    worlds: watch::Sender<Arc<World>>,
    shown: Arc<Mutex<Shown>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// How it went the last time.
#[derive(Clone, Debug, Default)]
struct Shown {
    error: Option<String>,
    next_try: Option<Timestamp>,
    last_lost: Option<String>,
}

/// Whom the store is to tell of builds.
pub(crate) fn readers(config: &config::Master) -> Vec<Reader> {
    let reader = |reporter: &config::Reporter| Reader {
        name: reporter.name.clone(),
        wanted: reporter.wanted(&config.builders),
    };
    config.reporters.iter().map(reader).collect()
}

impl Reporters {
    /// Reporters without any configured yet. Their requests are made on this thread's runtime.
    pub fn new(parts: Parts) -> Reporters {
        Reporters {
            parts,
            running: Mutex::default(),
            places: Places {
                short: Arc::new(Semaphore::new(AT_ONCE)),
                long: Arc::new(Semaphore::new(LONG_AT_ONCE)),
            },
            io: Handle::current(),
            closing: CancellationToken::new(),
        }
    }

    /// Goes by this world from now on: new ones begin with what happens next; those that are there finish the event that
    /// they tell just now and go on with the next one by the new world, at once if they paused; those that are gone stop, and
    /// what waited for them goes.
    pub fn configure(&self, world: &Arc<World>) {
        self.parts.store.report_to(readers(&world.config));
        let names: Vec<String> =
            world.config.reporters.iter().map(|reporter| reporter.name.clone()).collect();
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|name, reporter| {
            let stays = names.contains(name);
            if !stays {
                reporter.stop.cancel();
            }
            stays
        });
        for name in &names {
            match running.get(name) {
                Some(reporter) => drop(reporter.worlds.send_replace(Arc::clone(world))),
                None => drop(running.insert(name.clone(), self.begin(name, Arc::clone(world)))),
            }
        }
        drop(running);
        self.forget_others(names);
    }

    /// Takes away what waits for reporters that are no more.
    fn forget_others(&self, names: Vec<String>) {
        let lines = self.parts.store.reporter_lines().unwrap_or_else(|error| {
            tracing::error!(error = chain(&error), "failed to list what waits for reporters");
            Default::default()
        });
        if names.is_empty() && lines.is_empty() {
            return;
        }
        // Even where the list knows of no others: a commit that is under way may tell one something.
        let Parts { store, fatal, .. } = self.parts.clone();
        self.io.spawn(async move {
            if let Err(error) = fatal.commit(&store, vec![Persist::KeepReporters]).await {
                let error = chain(&error);
                tracing::warn!(error, "what waits for reporters that are gone stays until the next start");
            }
        });
    }

    /// For people, by name. What cannot be read is the error of that one.
    pub fn status(&self, config: &config::Master) -> Vec<view::ReporterStatus> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |reporter: &config::Reporter| {
            let shown = running.get(&reporter.name);
            let shown = shown.map(|r| r.shown.lock().unwrap_or_else(PoisonError::into_inner).clone());
            let (line, shown) = (self.parts.store.reporter_line(&reporter.name), shown.unwrap_or_default());
            let damage = line.as_ref().err().map(|error| chain(error));
            let line = line.unwrap_or_default();
            view::ReporterStatus {
                name: reporter.name.clone(),
                hook: reporter.hook.clone(),
                delivered: line.delivered,
                waiting: line.waiting,
                lost: line.lost,
                dropped: line.dropped,
                error: shown.error.or(damage),
                next_try: shown.next_try,
                last_lost: shown.last_lost,
            }
        };
        config.reporters.iter().map(one).collect()
    }

    /// Stops all. A call that is under way is dropped, and its event told again after the next start.
    pub async fn shutdown(&self) {
        self.closing.cancel();
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        for (name, reporter) in running {
            if let Err(panic) = reporter.task.await {
                tracing::error!(reporter = name, %panic, "BUG: a reporter's task ended in a panic");
            }
        }
    }

    fn begin(&self, name: &str, world: Arc<World>) -> Running {
        let shown = Arc::new(Mutex::new(Shown::default()));
        let stop = self.closing.child_token();
        let (changed, worlds) = watch::channel(world);
        let task = Task {
            name: name.to_owned(),
            parts: self.parts.clone(),
            worlds,
            places: self.places.clone(),
            reading: Reading::default(),
            io: self.io.clone(),
            shown: Arc::clone(&shown),
            failures: 0,
        };
        let stopped = stop.clone();
        let task = self.io.spawn(async move {
            stopped.run_until_cancelled(task.run()).await;
        });
        Running { worlds: changed, shown, stop, task }
    }
}

/// One reporter.
struct Task {
    name: String,
    parts: Parts,
    worlds: watch::Receiver<Arc<World>>,
    places: Places,
    reading: Reading,
    io: Handle,
    shown: Arc<Mutex<Shown>>,
    /// In a row.
    failures: u32,
}

/// The right to read a reporter's secrets. A read that hangs keeps it for ever; only those of other sources do not wait
/// for that.
#[derive(Default)]
struct Reading {
    sources: Vec<Option<config::Secret>>,
    right: Option<Arc<Semaphore>>,
}

impl Reading {
    fn of(&mut self, reporter: &config::Reporter, config: &config::Master) -> Arc<Semaphore> {
        let sources: Vec<_> = reporter.secrets.iter().map(|name| config.secrets.get(name).cloned()).collect();
        if self.sources != sources {
            *self = Reading { sources, right: None };
        }
        Arc::clone(self.right.get_or_insert_with(|| Arc::new(Semaphore::new(1))))
    }
}

impl Task {
    async fn run(mut self) {
        let mut told = self.parts.store.told();
        loop {
            // First the mark, then the look: what comes in between is seen by one or the other.
            told.mark_unchanged();
            self.worlds.mark_unchanged();
            let again = match self.parts.store.next_event(&self.name) {
                Ok(None) => {
                    tokio::select! {
                        Ok(()) = told.changed() => {}
                        Ok(()) = self.worlds.changed() => {}
                        // Both ends are gone: so is this task, as soon as it waits.
                        else => return,
                    }
                    continue;
                }
                Ok(Some(Waiting { place, event: Ok(event) })) => self.tell(place, &event).await,
                Ok(Some(Waiting { place, event: Err(damage) })) => {
                    self.take(place, Taken::Lost, Some(chain(&damage))).await
                }
                Err(error) => Err(Pause::Again(chain(&error))),
            };
            match again {
                Ok(()) => self.failures = 0,
                Err(Pause::Again(why)) => self.pause(why).await,
                // The master goes down.
                Err(Pause::Over) => return,
            }
        }
    }

    /// Tells one event, and has it leave the line if it is done with.
    async fn tell(&mut self, place: u64, event: &Event) -> Result<(), Pause> {
        let id = event.id(&self.parts.seal.store());
        match self.deliver(event, &id).await {
            Verdict::Done => self.take(place, Taken::Delivered, None).await,
            Verdict::Lost(why) => self.take(place, Taken::Lost, Some(format!("{id}: {why}"))).await,
            Verdict::Again(why) => Err(Pause::Again(why)),
        }
    }

    /// Has an event leave the line for good; `lost` says why it is told no more.
    async fn take(&self, place: u64, taken: Taken, lost: Option<String>) -> Result<(), Pause> {
        if let Some(why) = lost {
            tracing::warn!(reporter = self.name, why, "an event is lost: it is not told again");
            self.show(|shown, _| shown.last_lost = Some(why));
        }
        let reporter = self.name.clone();
        let batch = vec![Persist::TakeEvent { reporter, place, taken }];
        self.parts.fatal.commit(&self.parts.store, batch).await.map_err(|error| match is_gone(&error) {
            true => Pause::Over,
            false => Pause::Again(chain(&error)),
        })?;
        self.show(|shown, _| (shown.error, shown.next_try) = (None, None));
        Ok(())
    }

    /// One call, when there is a place for it.
    async fn deliver(&mut self, event: &Event, id: &str) -> Verdict {
        let place = Arc::clone(&self.places.short).acquire_owned().await.expect("nobody closes it");
        let world = Arc::clone(&self.worlds.borrow());
        let config = &world.config;
        let Some(reporter) = config.reporters.iter().find(|reporter| reporter.name == self.name) else {
            return Verdict::Again("it is not in the configuration any more".to_owned());
        };
        let resolved = match world.generation.resolve(HookKind::Reporter, &reporter.hook) {
            Ok(resolved) => resolved,
            Err(error) => return Verdict::Again(error.to_string()),
        };
        let placeholders = Placeholders::of_reporter(&self.parts.seal, &self.name, &reporter.secrets);
        let args = match arguments(reporter, event, &placeholders, &Hooks(&world.generation)) {
            Ok(args) => args,
            Err(why) => return Verdict::Lost(why),
        };
        let document = event.to_json(id, &config.title, config.url.as_deref());
        let told =
            Told { id: id.to_owned(), kind: event.kind.as_str().to_owned(), event: document.to_string() };
        let port = Port {
            reporter: self.name.clone(),
            rights: Rights::of(&resolved, config),
            secrets: Arc::new(BuildSecrets::new(placeholders)),
            config: Arc::clone(config),
            clock: Arc::clone(&self.parts.clock),
            io: self.io.clone(),
            reading: self.reading.of(reporter, config),
            said: 0,
        };
        let used = format!("reporter {}", self.name);
        let runtime = &self.parts.runtime;
        let call = runtime.report(&resolved.plugin, &resolved.hook, &args, &used, told, Box::new(port));
        let mut call = std::pin::pin!(call);
        let long = async {
            tokio::time::sleep(LONG).await;
            self.places.long.acquire().await.expect("nobody closes it")
        };
        let called = tokio::select! {
            called = &mut call => called,
            _long = long => {
                drop(place);
                call.await
            }
        };
        report::judge(&called.result)
    }

    /// Waits before the next try; a reconfig ends the wait, since it may have mended something.
    async fn pause(&mut self, why: String) {
        self.failures = self.failures.saturating_add(1);
        let ms = report::pause_ms(self.failures);
        tracing::warn!(
            reporter = self.name,
            why,
            "an event was not taken; it is told again in {} s",
            ms / 1_000
        );
        self.show(|shown, now| (shown.error, shown.next_try) = (Some(why), Some(now.plus_ms(ms))));
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(ms)) => {}
            Ok(()) = self.worlds.changed() => self.failures = 0,
        }
        self.show(|shown, _| shown.next_try = None);
    }

    fn show(&self, change: impl FnOnce(&mut Shown, Timestamp)) {
        let now = self.parts.clock.now();
        change(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner), now);
    }
}

/// Why the next event is not next.
enum Pause {
    Again(String),
    Over,
}

/// The reporter's arguments with the values of this event. What cannot be rendered for it never can.
fn arguments(
    reporter: &config::Reporter,
    event: &Event,
    secrets: &Placeholders,
    hooks: &Hooks<'_>,
) -> Result<String, String> {
    if !needs_rendering(&reporter.args) {
        return Ok(reporter.args.clone());
    }
    let scope =
        Scope { properties: &event.properties, stamps: &event.stamps, worker: &properties::NONE, secrets };
    let args = match render_document(&reporter.args, scope, &[]) {
        Ok(Rendered::Done(args)) => args,
        Ok(Rendered::Ask(ask)) => return Err(format!("its arguments ask the renderer `{}`", ask.hook)),
        Err(error) => return Err(format!("its arguments cannot be rendered: {error}")),
    };
    windlass_config::check_args(HookKind::Reporter, &reporter.hook, &args, hooks)
        .map_err(|why| format!("its arguments do not fit this event: {why}"))?;
    Ok(args)
}
