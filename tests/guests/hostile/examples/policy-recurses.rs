//! Recurses for ever when it is asked for a worker.

use hostile::{next_slave, recurse};

next_slave!("policy-recurses", |_slaves| Ok(Some(recurse(0).to_string())));
