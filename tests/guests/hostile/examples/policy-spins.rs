//! Computes for ever when it is asked for a worker.

use hostile::{next_slave, spin};

next_slave!("policy-spins", |_slaves| spin());
