//! Every decision of Windlass: values in, values out.
//!
//! No waiting, no IO, no clock, no randomness, no wasm, no database: a test, a simulator and the
//! daemon drive this crate alike. Time, ids and random bits come in as arguments.
//!
//! - vocabulary: [`id`], [`time`], [`digest`], [`value`], [`outcome`], [`properties`]
//! - what is to be built: [`change`], [`request`] (as readers see it: [`request_record`]), [`builder`];
//!   with which values: [`render`], [`secret`]; under which conditions: [`condition`], in [`cel`]
//! - what was built: [`record`], [`artifact`], [`test_result`], and [`persist`], the one enum of durable effects
//! - decisions: [`claim`], [`master`] (whose claims are overdue), [`lock`], [`merge`], [`schedule`],
//!   [`build`], [`step`], [`journal`] (what a running step goes on from), [`tree_timer`]; all of scheduling, driven by data: [`simulate`]
//! - who may connect: [`worker_token`]; who may look in: [`attempts`]; who wrote what: [`user`]
//! - what plugins may do: [`capability`]; what checking their arguments costs: [`schema`]
//! - what people read: [`text`]
//! - what others are told of builds: [`report`]
//! - policies: [`policy`] (questions and answers), [`health`], [`decision`] (the record of one)

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod artifact;
pub mod attempts;
pub mod build;
pub mod builder;
pub mod capability;
pub mod cel;
pub mod change;
pub mod claim;
pub mod condition;
pub mod decision;
pub mod digest;
pub mod excerpt;
pub mod health;
pub mod horizon;
pub mod id;
pub mod journal;
pub mod keeping;
pub mod lines;
pub mod lock;
pub mod log_name;
pub mod master;
pub mod merge;
pub mod outcome;
pub mod persist;
pub mod policy;
pub mod properties;
pub mod record;
pub mod render;
pub mod report;
pub mod request;
pub mod request_record;
pub mod running_hash;
pub mod schedule;
pub mod scheduler_state;
pub mod schema;
pub mod secret;
pub mod simulate;
pub mod step;
pub mod test_result;
pub mod text;
pub mod time;
pub mod tree_timer;
pub mod user;
pub mod validation;
pub mod value;
pub mod worker_token;
