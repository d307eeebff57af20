//! Takes all memory in a step.

use hostile::{hoard, step};

step!("step-hoards", hoard());
