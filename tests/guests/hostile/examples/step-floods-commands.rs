//! Starts commands without end.

use hostile::{step, until_refused};

step!("step-floods-commands", {
    until_refused(1_000_000, |_| windlass_sdk::step::start_command("windlass:stat", "{}", &[]))
});
