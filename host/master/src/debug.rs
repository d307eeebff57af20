//! The console that looks into the running master: off unless configured, asked for with a password each time, and
//! reading only unless the configuration allows more.
//!
//! What stands in memory is asked of whoever owns it, within a bound of time. Deliberately absent: a language, and any way
//! to call what is not listed in [`DebugLook`].

mod look;
mod shorten;

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value as Json, json};
use windlass_config::config;
use windlass_core::attempts::Attempts;
use windlass_store::ReadError;

use crate::handle::PollError;
use crate::running::Running;
use crate::start::blocking;
use crate::view::{DebugLook, DebugOrder};

/// A password has no more bytes.
const MAX_PASSWORD: usize = 1_024;

/// Why the console does not answer.
#[derive(Debug, thiserror::Error)]
pub enum DebugError {
    /// The configuration has none.
    #[error(
        "the console is off; `windlass password` prints what to write in master.toml as `[debug] password_hash`, and \
         `windlass reconfig` turns it on"
    )]
    Off,
    /// The password is another one.
    #[error("the password is wrong; the next attempt counts in {} s", .0.div_ceil(1_000))]
    Wrong(u64),
    /// It is too early for another attempt.
    #[error("the last password was wrong; the next attempt counts in {} s", .0.div_ceil(1_000))]
    TooSoon(u64),
    /// The master ends.
    #[error("the master is shutting down")]
    ShuttingDown,
    /// It may change nothing.
    #[error("the console only looks; `allow_changes = true` in `[debug]` lets it do this")]
    ReadOnly,
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// Who knows did not answer in time.
    #[error("{0} did not answer in time")]
    Unanswered(&'static str),
    /// The store did not answer.
    #[error("failed to read the store")]
    Read(#[from] ReadError),
    /// A poller failed.
    #[error(transparent)]
    Poll(#[from] PollError),
}

/// Who tried what. One attempt at a time: a password costs time and memory.
#[derive(Debug, Default)]
pub(crate) struct Console {
    turn: tokio::sync::Mutex<()>,
    attempts: Mutex<Attempts>,
}

/// Looks, or does what was asked, if the password is right.
pub(crate) async fn answer(running: &Arc<Running>, order: DebugOrder) -> Result<Json, DebugError> {
    let DebugOrder { password, by, look } = order;
    let by = by.unwrap_or_else(|| "somebody".to_owned());
    let console = admit(running, password, &by).await?;
    if look.changes() {
        if !console.allow_changes {
            return Err(DebugError::ReadOnly);
        }
        tracing::warn!(by, ?look, "the console changes something");
    }
    let mut answer = match look {
        DebugLook::Password => json!({
            "title": running.world.load().config.title, "allow_changes": console.allow_changes,
        }),
        DebugLook::Board => look::board(running).await?,
        DebugLook::Build(build) => {
            let running = Arc::clone(running);
            blocking(move || look::build(&running, build)).await?
        }
        DebugLook::Links => look::links(running).await?,
        DebugLook::Store => {
            let running = Arc::clone(running);
            blocking(move || look::store(&running)).await?
        }
        DebugLook::Row { table, key } => {
            let running = Arc::clone(running);
            blocking(move || look::row(&running, &table, &key)).await?
        }
        DebugLook::Rows { table, after, limit, damaged } => {
            let running = Arc::clone(running);
            blocking(move || look::rows(&running, &table, after.as_deref(), limit, damaged)).await?
        }
        DebugLook::Plugins => {
            let running = Arc::clone(running);
            blocking(move || look::plugins(&running)).await?
        }
        DebugLook::Tasks => {
            let running = Arc::clone(running);
            blocking(move || look::tasks(&running)).await?
        }
        DebugLook::Poll(poller) => json!({ "changes": running.pollers.poll_now(&poller).await? }),
        DebugLook::Lift(policy) => look::lift(running, &policy).await?,
    };
    shorten::shorten(&mut answer);
    Ok(answer)
}

/// Whether the password is right. What is wrong is logged, and slows down what comes next.
async fn admit(running: &Arc<Running>, password: String, by: &str) -> Result<config::Console, DebugError> {
    let _turn = running.console.turn.lock().await;
    // However many stand in line, a shutdown waits for one.
    if running.closing.is_cancelled() {
        return Err(DebugError::ShuttingDown);
    }
    // Whoever stood in line is judged by what holds now.
    let console = running.world.load().config.debug.clone().ok_or(DebugError::Off)?;
    let attempts = || running.console.attempts.lock().unwrap_or_else(PoisonError::into_inner);
    attempts().may_try(running.clock.now()).map_err(DebugError::TooSoon)?;
    let hash = console.password_hash.clone();
    let is_right = password.len() <= MAX_PASSWORD
        && blocking(move || windlass_config::verify_password(&password, &hash)).await;
    if is_right {
        attempts().right();
        return Ok(console);
    }
    let now = running.clock.now();
    let in_a_row = attempts().wrong(now);
    tracing::warn!(by, in_a_row, "the console was asked for with a wrong password");
    Err(DebugError::Wrong(attempts().may_try(now).err().unwrap_or_default()))
}
