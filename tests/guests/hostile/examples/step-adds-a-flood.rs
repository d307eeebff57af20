//! Adds a million steps, and gives up when it is refused.

use hostile::{step, until_refused};

step!("step-adds-a-flood", {
    let more = r#"{"use": "windlass:shell-command", "args": {"command": "true"}}"#.to_owned();
    let more = vec![more; 500];
    let said = until_refused(2_000, |_| windlass_sdk::step::add_steps(&more));
    return Err(windlass_sdk::Failure::new("gave-up", said));
});
