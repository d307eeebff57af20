//! Whole masters: started, ordered about, reconfigured, stopped and started again. No workers.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod faults;
mod place;
mod reconfig;
mod reconfiguration;
mod restart;
