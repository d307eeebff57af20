//! Whole masters: started, ordered about, reconfigured, stopped and started again. No workers.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod damage;
mod faults;
mod full_disk;
mod place;
mod reconfig;
mod reconfiguration;
mod restart;
