//! What a Windlass plugin written in Rust uses: a trait for each hook of the contract and one export macro.
//!
//! A plugin is a `cdylib` that implements some traits and names the types in [`export!`]:
//!
//! ```
//! use windlass_sdk::model::{BuildRequest, BuilderInfo, SlaveInfo};
//! use windlass_sdk::{Failure, Hook, NextSlave, NoArgs};
//!
//! /// The first worker that nobody uses.
//! struct FirstIdle;
//!
//! impl Hook for FirstIdle {
//!     const NAME: &'static str = "first-idle";
//!     const SUMMARY: &'static str = "the first worker that nobody uses";
//!     type Args = NoArgs;
//! }
//!
//! impl NextSlave for FirstIdle {
//!     fn choose(
//!         _: NoArgs,
//!         _: BuilderInfo,
//!         slaves: Vec<SlaveInfo>,
//!         _: BuildRequest,
//!     ) -> Result<Option<String>, Failure> {
//!         Ok(slaves.into_iter().find(|slave| slave.running == 0).map(|slave| slave.name))
//!     }
//! }
//!
//! windlass_sdk::export!(next_slave: FirstIdle);
//! # fn main() {}
//! ```
//!
//! `windlass plugin build` turns it into a component. What a hook may call stands in the modules: a build step in
//! [`step`], a command in [`process`], [`command`] and [`files`], a policy in [`decision`]. Everything works
//! outside of a component as well, except those calls; so decisions are tested by plain `cargo test`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
#[doc(hidden)]
pub mod bindings;
mod export;
mod hooks;
mod values;

pub use args::{Args, NoArgs, bad_argument};
#[doc(hidden)]
pub use export::{Describing, tell_panics, unknown_hook};
pub use hooks::{
    BuildStep, CanStartBuild, Capability, ChangeHook, ChangeSource, CodebaseGenerator, Configurator, Hook,
    MergeRequests, NextBuild, NextSlave, PrioritizeBuilders, Renderer, Reporter, Scheduler, SlaveCommand,
};
pub use values::value_of;

pub use bindings::imports::windlass::base::types::{
    Completion, Extension, Failure, Origin, Outcome, Pair, Value,
};

/// What the master knows about: `windlass:master/model`.
pub mod model {
    pub use crate::bindings::imports::windlass::master::model::{
        BuildRequest, BuilderInfo, Change, SlaveInfo, SourceStamp, Submission,
    };
}

/// For a build step: the step in progress, `windlass:master/step-host`.
pub mod step;

/// For a build step: files between it, its worker and the master, `windlass:master/transfer`.
pub mod transfer {
    pub use crate::bindings::imports::windlass::master::transfer::{
        accept, append, offer_bytes, offer_file, read,
    };
}

/// For a build step that was granted it: programs on the master, `windlass:master/master-process`.
pub mod master_process {
    pub use crate::bindings::imports::windlass::master::master_process::{start, stop};
}

/// For a policy: the decision in progress, `windlass:master/decision`.
pub mod decision {
    pub use crate::bindings::imports::windlass::master::decision::{now, request_property, slave_property};
}

/// For a scheduler: `windlass:master/scheduler-host`, and the events that it reacts to.
pub mod scheduler {
    pub use crate::bindings::imports::windlass::master::scheduler_host::{set_timer, submit};
    pub use crate::bindings::scheduler::exports::windlass::master::scheduler::{BuildsetEnd, Event};
}

/// For a change source: what it answers.
pub mod change_source {
    pub use crate::bindings::change_source::exports::windlass::master::change_source::PollResult;
}

/// For a change hook: what it reads.
pub mod change_hook {
    pub use crate::bindings::change_hook::exports::windlass::master::change_hook::Request;
}

/// For those who were granted it: outbound HTTP, `windlass:master/fetch`.
pub mod fetch {
    pub use crate::bindings::imports::windlass::master::fetch::{Request, Response, send};
}

/// For a command: programs on the worker, `windlass:worker/process`.
pub mod process {
    pub use crate::bindings::imports::windlass::worker::process::{
        Child, Delivery, Event, Exit, Limit, OutputChunk, OutputLines, SpawnOptions, Stop, spawn,
    };
}

/// For a command: what it says to its step and the logs, `windlass:worker/command-host`.
pub mod command {
    pub use crate::bindings::imports::windlass::worker::command_host::{log_chunk, log_text, sleep, update};
}

/// For a command: files below the builder directory, `windlass:worker/files`.
pub mod files {
    pub use crate::bindings::imports::windlass::worker::files::{
        Entry, Kind, TransferOptions, copy, entries, glob, make_directory, read, receive_file, remove,
        send_file, send_tree, stat, write,
    };
}

/// For every plugin: diagnostics for whoever operates the host, `windlass:base/log`.
pub mod log {
    pub use crate::bindings::imports::windlass::base::log::{Level, write};
}

/// For steps, commands and what watches and reports: time, `windlass:base/clock`.
pub mod clock {
    pub use crate::bindings::imports::windlass::base::clock::now;
}

/// For a guest that computes for long: `windlass:base/interruption`.
pub mod interruption {
    pub use crate::bindings::imports::windlass::base::interruption::interrupted;
}

/// Small durable state of one configured use of a plugin: `windlass:base/state`.
pub mod state {
    pub use crate::bindings::imports::windlass::base::state::{load, store};
}
