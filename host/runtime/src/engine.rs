//! The engine: one configuration of wasmtime for all guests, and the clock that interrupts them.

use std::time::Duration;

use wasmtime::Engine;

pub(crate) use crate::engine_config::config;

/// How often a running guest is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Why there is no runtime.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// wasmtime refused its configuration, or the machine.
    #[error("failed to set up the component engine")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The contract could not be linked.
    #[error("failed to link the host's side of the contract")]
    Link(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No threads for guests, or none for the clock.
    #[error("failed to start the threads that run plugins")]
    Threads(#[source] std::io::Error),
    /// The directory of compiled components cannot be used.
    #[error("failed to open the cache of compiled components")]
    Cache(#[source] crate::cache::CacheError),
}

/// The engine, and an OS thread that ticks as long as the engine lives. Not a timer of tokio: a
/// stuck runtime must still tick.
pub(crate) fn start() -> Result<Engine, EngineError> {
    let engine = Engine::new(&config()).map_err(|error| EngineError::Engine(error.into()))?;
    let weak = engine.weak();
    std::thread::Builder::new()
        .name("guest-clock".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(TICK);
                match weak.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })
        .map_err(EngineError::Threads)?;
    Ok(engine)
}
