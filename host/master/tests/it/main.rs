//! Whole masters: started, ordered about, reconfigured, stopped and started again. No workers.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod place;
mod reconfig;
mod restart;
