//! Answers a failure with an escape and a megabyte of detail.

use hostile::next_slave;

next_slave!("policy-refuses", |_slaves| {
    let mut failure = windlass_sdk::Failure::new("no\x1b[31m", "<script>no</script>");
    failure.detail = Some("x".repeat(1 << 20));
    Err(failure)
});
