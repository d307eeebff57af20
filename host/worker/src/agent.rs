//! The agent: from a configuration to a worker that stays connected until it is asked to leave.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use windlass_config::config::WorkerFile;
use windlass_core::value::{Pair, Value};
use windlass_protocol::hello::{CONTRACT, FEATURES};
use windlass_protocol::message::{Hello, PROTOCOL, ToMaster};
use windlass_runtime::{Runtime, files};

use crate::again;
use crate::backoff::pause;
use crate::commands::{Commands, Parts};
use crate::components::{Components, chain};
use crate::environment;
use crate::harden::conceal;
use crate::holder::{HOLDER_KILLED, Holder, Restart};
use crate::home::Home;
use crate::link::{self, Ends, LinkError};
use crate::machine::Machine;
use crate::options::{Event, Exit, Options, WorkerError};
use crate::orphans::{Ended, Orphans};
use crate::outgoing::Outgoing;
use crate::spool::{Limits, Spool};
use crate::transfer::Transfers;

/// After the last command has ended: what the master has to acknowledge, it does at once or not at all.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a start waits for a lock that another worker has: one whose holder was killed needs a few seconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(15);

/// The most bytes of a file with a token.
const MAX_TOKEN: usize = 4096;

/// For the close of the connection itself.
const GOODBYE: Duration = Duration::from_secs(1);

/// Runs a worker until it is asked to leave, or the master refuses it for good.
pub async fn run(file: WorkerFile, options: Options) -> Result<Exit, WorkerError> {
    let (given, inherit) = (options.holder.clone(), file.inherit_env.clone());
    if given.is_some() {
        conceal();
    }
    let token_path = options.directory.join(&file.token_file);
    let base_dir = options.directory.join(&file.base_dir);
    let (compiler, leader) = (options.compiler.clone(), options.leader.clone());
    let path = token_path.clone();
    let prepared = tokio::task::spawn_blocking(move || {
        let token = read_token(&path)?;
        let failed = |source| WorkerError::Holder { source };
        let alone = given.is_some();
        let holder = given.map_or_else(|| Holder::local().map(Arc::new), Ok).map_err(failed)?;
        let home = Home::prepare(&base_dir, &holder, LOCK_PATIENCE)?;
        let orphans = Orphans::new(&home.instance, alone, Arc::clone(&holder));
        // Those of an agent before this one are taken up.
        let leftovers = if home.is_same_start { Ended::default() } else { orphans.end_leftovers() };
        if leftovers != Ended::default() {
            tracing::warn!("an earlier process of this worker was killed: {}", leftovers.report().trim_end());
        }
        // Only now: an agent that comes after this one has nothing of that to do.
        home.hold(&holder).map_err(failed)?;
        let engine = windlass_runtime::Options { compiler, ..windlass_runtime::Options::new(&home.cache) };
        let runtime = Runtime::new(engine).map_err(WorkerError::Engine)?;
        let components = Components::new(runtime.clone(), &home.components);
        let base = environment::base(std::env::vars_os(), &inherit);
        let machine = Arc::new(Machine::new(base, home.base.clone(), orphans).led_by(leader));
        let spool = Spool::new(&home.spool, Limits::default(), Arc::clone(&machine.holder));
        let left = again::read(&machine, &spool).map_err(|source| WorkerError::Holder { source })?;
        Ok((token, home, runtime, components, machine, spool, left))
    });
    let (token, home, runtime, components, machine, spool, left) =
        prepared.await.expect("preparing returns its errors and does not panic")?;
    let outgoing = Arc::new(Outgoing::default());
    let transfers = Transfers::new(Arc::clone(&outgoing));
    let parts = Parts {
        runtime,
        components,
        spool: Arc::clone(&spool),
        outgoing: Arc::clone(&outgoing),
        builds: home.builds.clone(),
        allow: file.allow.clone(),
        machine: Arc::clone(&machine),
        transfers: Arc::clone(&transfers),
        on_event: Arc::clone(&options.on_event),
    };
    let (commands, owner) = Commands::spawn(parts, left);
    let agent = Agent { file, options, token_path, home, spool, outgoing, transfers, commands, machine };
    let restart = Restart::if_held(&agent.machine.holder);
    let ended = agent.stay(token).await;
    drop(restart);
    let Agent { commands, home, .. } = agent;
    drop(commands);
    owner.await.expect("the owner of commands does not panic");
    // Locked until the last command was gone.
    match ended {
        Err(WorkerError::HolderKilled) => drop(home),
        _ => home.leave(),
    }
    ended
}

struct Agent {
    file: WorkerFile,
    options: Options,
    token_path: PathBuf,
    home: Home,
    spool: Arc<Spool>,
    outgoing: Arc<Outgoing>,
    transfers: Arc<Transfers>,
    commands: Commands,
    machine: Arc<Machine>,
}

impl Agent {
    async fn stay(&self, token: String) -> Result<Exit, WorkerError> {
        let connected = self.stay_connected(token);
        tokio::pin!(connected);
        let exit = tokio::select! {
            refused = &mut connected => return Err(refused.expect_err("it ends well only when asked to close")),
            exit = self.leave() => exit,
            () = self.machine.holder.gone() => {
                tokio::select! {
                    () = self.on_holder_killed() => {}
                    _ = &mut connected => {}
                }
                return Err(WorkerError::HolderKilled);
            }
        };
        // The last words are to arrive: they say that this was no accident.
        if self.outgoing.close() && tokio::time::timeout(GOODBYE, connected).await.is_err() {
            tracing::debug!("the master did not take the goodbye");
        }
        Ok(exit)
    }

    /// `Ok` only after [`Outgoing::close`].
    async fn stay_connected(&self, mut token: String) -> Result<(), WorkerError> {
        let Agent { commands, spool, outgoing, transfers, .. } = self;
        let ends = Ends { commands, spool, outgoing, transfers };
        let (mut attempt, mut was_welcome) = (0, false);
        loop {
            let master = self.file.master.clone();
            self.tell(Event::Connecting { master: master.clone() });
            let error = match link::connect(&master, self.hello(&token), ends).await {
                Ok(link) => {
                    (attempt, was_welcome) = (0, true);
                    self.tell(Event::Connected { master });
                    if self.options.shutdown.is_cancelled() {
                        self.outgoing.say(ToMaster::Draining);
                    }
                    link.carry(ends).await
                }
                Err(error) => error,
            };
            self.outgoing.set_linked(false);
            self.spool.set_linked(false);
            self.transfers.unlinked();
            let name = &self.file.name;
            match error {
                LinkError::Left => return Ok(()),
                // One that was welcome has commands, which wait for the token that the master has now.
                LinkError::Refused { code, message, retry: false }
                    if !(was_welcome && code == "bad-token") =>
                {
                    return Err(WorkerError::Refused { name: name.clone(), code, message });
                }
                LinkError::Version(refusal) => {
                    let code = refusal.code.to_owned();
                    return Err(WorkerError::Refused { name: name.clone(), code, message: refusal.message });
                }
                LinkError::Connect(error) if is_bad_address(&error) => {
                    return Err(WorkerError::Address { address: self.file.master.clone() });
                }
                error => {
                    let retry_in = pause(attempt, random());
                    attempt = attempt.saturating_add(1);
                    self.tell(Event::Disconnected { why: chain(&error), retry_in });
                    tokio::time::sleep(retry_in).await;
                    token = self.token_now(token).await;
                }
            }
        }
    }

    /// The token as it stands in its file now: it may have been replaced, here and in the master's configuration.
    async fn token_now(&self, known: String) -> String {
        let path = self.token_path.clone();
        let read = tokio::task::spawn_blocking(move || read_token(&path)).await;
        match read.expect("reading returns its errors and does not panic") {
            Ok(token) => token,
            Err(error) => {
                tracing::warn!(error = chain(&error), "the token that was read before is shown again");
                known
            }
        }
    }

    /// Waits for the wish to leave, then until nothing holds it any more.
    async fn leave(&self) -> Exit {
        self.options.shutdown.cancelled().await;
        self.outgoing.say(ToMaster::Draining);
        self.commands.leave(self.options.drain).await;
        let mut count = self.commands.count();
        let owner = "the owner of commands lives as long as the agent";
        drop(count.wait_for(|count| count.running == 0).await.expect(owner));
        let acknowledged = count.wait_for(|count| count.known == 0);
        match tokio::time::timeout(FAREWELL, acknowledged).await {
            Ok(none_left) => {
                drop(none_left.expect(owner));
                Exit::Clean
            }
            Err(_) => Exit::Unacknowledged,
        }
    }

    /// The holder was killed: so are all commands, and the master hears of it while there is time.
    async fn on_holder_killed(&self) {
        tracing::error!("{}: {HOLDER_KILLED}", self.file.name);
        self.outgoing.say(ToMaster::Draining);
        self.commands.abandon().await;
        let machine = Arc::clone(&self.machine);
        let ended = tokio::task::spawn_blocking(move || machine.orphans.end_leftovers()).await;
        let report = ended.unwrap_or_default().report();
        if !report.is_empty() {
            tracing::warn!("{}", report.trim_end());
        }
        // Whoever builds it again does so after its processes are gone.
        self.commands.lose(HOLDER_KILLED).await;
        let mut count = self.commands.count();
        if tokio::time::timeout(FAREWELL, count.wait_for(|count| count.known == 0)).await.is_err() {
            tracing::warn!(
                "the master did not hear of it; it hears that the worker was killed when it starts again"
            );
        }
    }

    fn hello(&self, token: &str) -> Hello {
        let fact = |name: &str, value: Value| Pair { name: name.to_owned(), value };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Hello {
            protocol: PROTOCOL,
            contract: CONTRACT.to_owned(),
            features: FEATURES.iter().map(|feature| (*feature).to_owned()).collect(),
            name: self.file.name.clone(),
            token: token.to_owned(),
            instance: self.home.instance.clone(),
            epoch: self.home.epoch,
            lost: self.home.lost,
            lane: "control".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            facts: vec![
                fact("os", std::env::consts::OS.into()),
                fact("arch", std::env::consts::ARCH.into()),
                fact("cores", Value::Integer(i64::try_from(cores).unwrap_or(i64::MAX))),
                fact("hostname", hostname().as_str().into()),
            ],
            commands: self.spool.known(),
        }
    }

    fn tell(&self, event: Event) {
        (self.options.on_event)(event);
    }
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

fn read_token(path: &Path) -> Result<String, WorkerError> {
    let failed = |source| WorkerError::Token { path: path.to_owned(), source };
    let file = files::open(path).map_err(failed)?;
    // The very file that is read, not what may stand there a moment later.
    if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
        return Err(WorkerError::OpenToken { path: path.to_owned() });
    }
    let token = files::text_of(file, MAX_TOKEN).map_err(failed)?;
    match token.trim() {
        "" => Err(WorkerError::EmptyToken { path: path.to_owned() }),
        token => Ok(token.to_owned()),
    }
}

fn is_bad_address(error: &tokio_tungstenite::tungstenite::Error) -> bool {
    matches!(error, tokio_tungstenite::tungstenite::Error::Url(_))
}

/// Where it comes from does not matter: it only spreads attempts.
fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX / 2)
}

#[cfg(test)]
mod tests;
