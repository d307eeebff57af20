//! Takes all memory when it is asked for a worker.

use hostile::{hoard, next_slave};

next_slave!("policy-hoards", |_slaves| hoard());
