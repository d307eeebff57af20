//! Answers a name of a megabyte.

use hostile::next_slave;

next_slave!("policy-names-a-megabyte", |_slaves| Ok(Some("x".repeat(1 << 20))));
