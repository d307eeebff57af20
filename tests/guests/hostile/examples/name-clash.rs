//! Has a hook of the same name as another plugin.

use hostile::next_slave;

next_slave!("name-clash", |slaves| Ok(slaves.into_iter().next().map(|slave| slave.name)));
