//! Computes for ever in a step.

use hostile::{spin, step};

step!("step-spins", spin());
