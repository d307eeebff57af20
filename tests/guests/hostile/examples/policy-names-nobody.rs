//! Answers a worker that was not offered.

use hostile::next_slave;

next_slave!("policy-names-nobody", |_slaves| Ok(Some("\x1b[2J<b>nobody</b>".to_owned())));
