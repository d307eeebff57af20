//! The master: what arrives becomes requests, requests become builds, and all of it survives.
//!
//! A change's way: [`git_poller`] -> [`intake`] -> [`scheduler`] -> [`dispatcher`] ->
//! [`build_driver`] -> [`worker_link`]. [`start`] wires them; others hold the [`Handle`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod clock;
pub mod dispatcher;
pub mod events;
pub mod force;
pub mod handle;
pub mod reconfig;
pub mod view;
mod view_log;
mod view_plugin;
pub mod world;

mod start;

pub use events::{Events, Listener};
pub use force::ForceError;
pub use handle::{Handle, LogError, PollError, QueryError, StopError};
pub use reconfig::ReconfigError;
pub use start::{Master, Options, StartError, start};
