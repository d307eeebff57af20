//! Components: load, check, limit, call; host imports over ports that master and worker implement.
//!
//! - [`Runtime`]: the engine, the threads of the guests, the compile cache
//! - [`plugin`]: a loaded plugin, checked whole before anyone sees it
//! - [`registry`]: generations of plugins behind an atomic swap
//! - [`port`]: what a running component needs of its surroundings
//! - [`files`]: what people name is read with a bound, wherever it is read
//! - calls: [`Runtime::ask`] (policies), [`Runtime::run_step`], [`Runtime::run_command`]
//!
//! A call gets a store of its own, which dies with it: after a trap a store is of no use, and what a
//! guest remembers must not decide the next answer. Guests run on threads of their own, so that a busy
//! one delays neither the dispatcher nor a link.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bindings;
mod bounds;
mod cache;
mod call;
mod charge;
mod check;
mod compat;
mod compiler;
mod contract;
mod convert;
mod describe;
mod engine;
mod engine_config;
pub mod files;
mod guests;
mod hooks;
mod imports;
mod limiter;
mod load;
mod meter;
mod options;
pub mod plugin;
pub mod port;
pub mod registry;
mod runtime;
mod said;
mod schema;
mod state;
mod trap;

pub use cache::{CacheError, make_room, touch};
pub use call::{CommandEnd, Computed, Reply, Reported, StepEnd, StepResult, Told};
pub use charge::Gauge;
pub use compat::{Verdict, compat};
pub use compiler::{Compiler, compile_child};
pub use engine::EngineError;
pub use load::{LoadError, Problem};
pub use meter::Meter;
pub use options::{Limits, Options};
pub use runtime::Runtime;
