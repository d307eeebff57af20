//! Calls a function of steps that blocks, from a policy.

use hostile::next_slave;

next_slave!("policy-sleeps", |_slaves| {
    windlass_sdk::step::sleep(u32::MAX)?;
    Ok(None)
});
