//! Sets properties without end.

use hostile::{step, until_refused};

step!("step-floods-properties", {
    let text = "x".repeat(60_000);
    until_refused(1_000_000, |n| {
        windlass_sdk::step::set_property(&format!("p{n}"), &windlass_sdk::Value::Text(text.clone()))
    })
});
