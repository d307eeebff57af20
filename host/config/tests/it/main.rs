//! Configuration files, good and bad, against hooks like the bundled ones.
#![allow(clippy::unwrap_used)]

mod documents;
mod hooks;
mod loading;
mod plan;
mod robust;
mod ui;
mod unbounded;
