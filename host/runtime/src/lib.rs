//! Components: load, check, limit, call; host imports over ports that master and worker implement.
//!
//! - [`Runtime`]: the engine, the threads of the guests, the compile cache
//! - [`plugin`]: a loaded plugin, checked whole before anyone sees it
//! - [`registry`]: generations of plugins behind an atomic swap
//! - [`port`]: what a running component needs of its surroundings
//! - calls: [`Runtime::ask`] (policies), [`Runtime::run_step`], [`Runtime::run_command`]

pub mod port;
