//! Panics when it is asked for a worker, with an escape in its message.

use hostile::next_slave;

next_slave!("policy-panics", |_slaves| panic!("\x1b[31mred\x1b[0m <img src=x>"));
