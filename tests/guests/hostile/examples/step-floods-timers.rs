//! Sets timers without end.

use hostile::{step, until_refused};

step!("step-floods-timers", until_refused(1_000_000, |_| windlass_sdk::step::set_timer(u32::MAX)));
