//! Opens logs without end.

use hostile::{step, until_refused};

step!(
    "step-opens-logs",
    until_refused(1_000_000, |n| {
        windlass_sdk::step::log_text(&format!("log-{n}"), windlass_sdk::Origin::Stdout, "x")
    })
);
