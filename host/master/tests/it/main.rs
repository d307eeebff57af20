//! Whole masters: started, ordered about, reconfigured, stopped and started again. No workers.

mod place;
mod reconfig;
mod restart;
