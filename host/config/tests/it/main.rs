//! Configuration files, good and bad, against hooks like the bundled ones.
#![allow(clippy::unwrap_used)]

mod assembling;
mod documents;
mod hooks;
mod loading;
mod plan;
mod reference;
mod rereading;
mod robust;
mod schema;
mod ui;
mod unbounded;
mod users;
