//! Sends updates for ever.

use hostile::{command, waits};

command!("command-floods-updates", &[], {
    waits()?;
    let text = "x".repeat(60_000);
    loop {
        windlass_sdk::command::update(&[windlass_sdk::Pair::new("flood", text.as_str())])?;
    }
});
