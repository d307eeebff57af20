//! Sleeps for seven weeks.

use hostile::{step, told};

step!("step-sleeps", told(windlass_sdk::step::sleep(u32::MAX)));
