//! `master` and `worker`: the daemons in the foreground, and their signals.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstream::eprintln;
use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use windlass_worker::{AgentProgram, Event, Holder};

use crate::exit::{Exit, Failed};
use crate::output::{BAD, GOOD, paint, tame_lines};
use crate::place::{MASTER_FILE, WORKER_FILE, file_in, read};

/// `windlass master`: runs until SIGINT or SIGTERM; SIGHUP reconfigures.
pub async fn master(path: &Path) -> Result<Exit, Failed> {
    // Builds on this machine may run as the same user.
    windlass_worker::conceal();
    let config = file_in(path, MASTER_FILE);
    read(&config)?;
    let mut signals = Signals::listen()?;
    let mut options = windlass_master::Options::new(&config);
    options.compiler = crate::compile::compiler();
    crate::fault::meet(&mut options)?;
    let master = tokio::select! {
        started = windlass_master::start(options) => started.map_err(start_failed)?,
        // On a full disk it may take until somebody frees some space there.
        () = signals.stop() => {
            eprintln!("stopped before it was ready");
            return Ok(Exit::Success);
        }
    };
    let handle = master.handle().clone();
    let listener = windlass_web::server::listen(&windlass_web::socket_in(handle.state_dir()))
        .await
        .context("failed to serve the API")?;
    let stop = CancellationToken::new();
    let api = tokio::spawn(windlass_web::server::serve(listener, handle.clone(), stop.clone()));
    let status = handle.status();
    eprintln!(
        "{} {}, workers connect to {}, the API is at {}",
        paint(GOOD, "windlass master is ready:"),
        config.display(),
        status.listen,
        windlass_web::socket_in(handle.state_dir()).display(),
    );
    loop {
        let asked = tokio::select! {
            asked = signals.next() => asked,
            () = handle.stopped() => break,
        };
        if let Asked::Stop = asked {
            eprintln!("stopping; what runs goes on after the next start. Once more to stop at once");
            break;
        }
        match handle.reconfig(false).await {
            Ok(done) => tracing::info!(generation = done.generation, changed = done.changed, "reconfigured"),
            Err(e) => {
                let details = e.details().join("\n");
                tracing::error!("{:#}\n{details}", anyhow::Error::from(e));
            }
        }
    }
    tokio::select! {
        () = handle.shutdown() => {}
        () = signals.stop() => return Ok(Exit::Unsuccessful),
    }
    stop.cancel();
    api.await.context("the API panicked")?.context("the API failed")?;
    match handle.failure() {
        None => Ok(Exit::Success),
        Some(why) => Err(anyhow::anyhow!(why).context("the master could not go on").into()),
    }
}

/// What is wrong with a configuration or plugin has its own exit code.
pub fn start_failed(error: windlass_master::StartError) -> Failed {
    for detail in error.details() {
        eprintln!("{}\n", tame_lines(detail.trim_end()));
    }
    let exit = if error.is_invalid() { Exit::Invalid } else { Exit::Outside };
    Failed { exit, error: error.into() }
}

/// `windlass worker`: the holder, which has the children of commands. It starts the agent, this program with the same
/// arguments, and starts it again when it dies.
pub fn hold() -> ExitCode {
    let held = own_file().and_then(|file| {
        let given = std::env::args_os().skip(1);
        let arguments = std::iter::once("--held".into()).chain(given).collect();
        windlass_worker::hold(AgentProgram { file, arguments })
    });
    match held {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{} the worker's agent cannot be started: {error}", paint(BAD, "error:"));
            Exit::Outside.into()
        }
    }
}

/// Where this program was started from, and where an upgrade puts another one: the kernel marks the name of a file that was
/// replaced meanwhile.
fn own_file() -> std::io::Result<PathBuf> {
    let file = std::env::current_exe()?;
    let unmarked = file.to_str().and_then(|name| name.strip_suffix(" (deleted)")).map(PathBuf::from);
    Ok(unmarked.filter(|_| !file.exists()).unwrap_or(file))
}

/// The agent of a worker: runs until SIGINT or SIGTERM.
pub async fn worker(path: &Path) -> Result<Exit, Failed> {
    let config = file_in(path, WORKER_FILE);
    let text = read(&config)?;
    let checked = windlass_config::load_worker(&config, &text).map_err(crate::check::invalid)?;
    let mut signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let folder = config.parent().unwrap_or(Path::new("."));
    let mut options = windlass_worker::Options::new(folder, stop.clone());
    options.on_event = std::sync::Arc::new(tell);
    let holder = Holder::on_stdin().context("a worker's agent is started by `windlass worker` alone")?;
    options.holder = Some(std::sync::Arc::new(holder));
    options.compiler = crate::compile::compiler();
    options.leader = crate::terminal::leader();
    // In a task: here, on the first thread, each message of the link would have to wake another thread.
    let mut run = tokio::spawn(windlass_worker::run(checked, options));
    loop {
        tokio::select! {
            ended = &mut run => {
                ended.context("the worker panicked")?.context("the worker stopped")?;
                return Ok(Exit::Success);
            }
            asked = signals.next() => match asked {
                Asked::Stop if stop.is_cancelled() => return Ok(Exit::Unsuccessful),
                Asked::Stop => {
                    eprintln!("stopping; once more to stop at once");
                    stop.cancel();
                }
                Asked::Reconfig => eprintln!("SIGHUP is for the process that started this one: it starts it anew"),
            },
        }
    }
}

/// What a person who looks at a worker wants to see.
fn tell(event: Event) {
    match event {
        Event::Connecting { master } => tracing::debug!(master, "connecting"),
        Event::Connected { master } => tracing::info!(master, "connected"),
        Event::Disconnected { why, retry_in } => {
            tracing::warn!("no link to the master: {why}; trying again in {retry_in:.1?}");
        }
        Event::Started { hook, command } => tracing::debug!(hook, command, "command started"),
        Event::Ended { hook, command, how } => tracing::debug!(hook, command, how, "command ended"),
        Event::Received { plugin, digest } => {
            tracing::info!(plugin, digest, "got a component from the master")
        }
        Event::Draining { running } => tracing::info!(running, "taking no more commands"),
        other => tracing::info!(?other, "an event"),
    }
}

/// What a signal asks for.
enum Asked {
    Stop,
    Reconfig,
}

/// The signals that a daemon heeds.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Signals, Failed> {
        let listen = |kind| signal(kind).context("failed to listen to signals");
        Ok(Signals {
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hangup.recv() => Asked::Reconfig,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
        }
    }

    /// Resolves when it is to stop; what else is asked for waits for [`Signals::next`].
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
