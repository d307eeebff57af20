//! Looks up properties a million times.

use hostile::next_slave;

next_slave!("policy-looks-around", |_slaves| {
    for n in 0..1_000_000 {
        windlass_sdk::decision::request_property(n, "branch");
    }
    Ok(None)
});
