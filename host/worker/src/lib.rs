//! The worker: connects to a master, runs commands, streams what they say.
//!
//! - [`run`]: the agent. It connects, again and again, and lets the link carry messages
//! - `link`: one connection; it only carries
//! - `commands`: the one owner of all running commands; they go on while the link is down
//! - `spool`: what a command said and the master has not made durable yet
//! - `components`: the bytes of the plugins that commands run in
//! - `secret`: the secrets of a command, put into its processes and, with `mask`, out of what they say
//! - `port`: what a running component may do here, with `grant` before it, and `child`, `files` and `tree`
//!   behind it
//! - `follow`: files that grow into logs; `terminal`: a terminal in the place of pipes
//! - `transfer`: files under way to and from the master
//! - `orphans`: what left its command's process group, and ends with the command all the same
//! - `holder`: the process that has the children of commands, and keeps what is to outlive the agent
//!
//! Deliberately absent: what a command *means*. A worker knows processes, files and logs; `shell` and
//! its kin are components.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod again;
mod agent;
mod backoff;
mod beneath;
mod child;
mod commands;
mod components;
mod environment;
mod files;
mod follow;
mod glob;
mod grant;
mod group;
mod harden;
mod holder;
mod home;
mod input;
mod link;
mod machine;
mod mask;
#[cfg(test)]
mod mounts;
mod options;
mod orphans;
mod outgoing;
mod output;
mod pace;
mod port;
mod proc;
mod secret;
mod spool;
mod terminal;
mod transfer;
mod tree;
mod work;

pub use agent::run;
pub use harden::conceal;
pub use holder::{AgentProgram, ChildOf, Holder, Kept, Spawn, hold, report, reported};
pub use options::{Event, Exit, Options, WorkerError};
pub use terminal::lead as lead_terminal;
