//! The master: what arrives becomes requests, requests become builds, and all of it survives.
//!
//! A change's way: [`git_poller`] -> `intake` -> `scheduler` -> [`dispatcher`] ->
//! [`build_driver`] -> [`worker_link`]. [`start`] wires them; others hold the [`Handle`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
mod archive;
mod artifacts;
pub mod build_driver;
mod check;
pub mod clock;
mod debug;
mod dependents;
pub mod dispatcher;
pub mod events;
pub mod fatal;
mod fetch;
pub mod force;
pub mod git_poller;
pub mod handle;
mod hint;
pub mod include;
mod intake;
mod logs;
mod masters;
mod orphans;
mod plugins;
mod policies;
mod reading;
pub mod reconfig;
mod recovery;
mod release;
mod reporter;
mod requests;
mod results;
mod running;
mod scheduler;
mod secrets;
mod services;
mod status;
mod step_port;
pub mod submission;
mod surroundings;
mod transfer;
mod users;
pub mod view;
mod view_artifact;
mod view_build;
mod view_debug;
mod view_event;
mod view_force;
mod view_lock;
mod view_log;
mod view_plugin;
mod view_request;
mod view_results;
mod view_token;
mod view_user;
mod view_why;
pub mod worker_link;
mod worker_tokens;
pub mod world;

mod start;
mod stats;
mod why;
mod withdraw;

pub use artifacts::{ArtifactContent, ArtifactError};
pub use check::{Checked, Grant, check};
pub use debug::DebugError;
pub use events::{Events, Listener};
pub use force::ForceError;
pub use handle::{Handle, LogError, PollError, QueryError, StopError};
pub use plugins::BadPlugin;
pub use reading::Faults;
pub use reconfig::ReconfigError;
pub use release::ReleaseError;
pub use requests::ListError;
pub use start::{Master, Options, StartError, start};
pub use windlass_store::{DiskRoom, Moment, OnCommit, Side, disk};
pub use withdraw::WithdrawError;
pub use worker_tokens::{OpenTokensError, TokenError};
