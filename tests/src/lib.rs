//! Harness, fixtures and the whole-system tests

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

pub mod attack;
pub mod binary;
mod compiled;
pub mod faults;
pub mod fixtures;
pub mod hostile;
pub mod kept;
pub mod languages;
pub mod python;
pub mod receiver;
pub mod relay;
pub mod repository;
pub mod site;
pub mod stutter;
pub mod sweep;
pub mod tutorial;
