//! The runtime with real components: the bundled ones, and one that does everything a plugin should not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

mod commands;
mod fixtures;
mod loading;
mod policies;
mod registry;
mod steps;
