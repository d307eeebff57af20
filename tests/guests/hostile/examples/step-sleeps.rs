//! Sleeps for seven weeks.

use hostile::{step, told};

step!("step-sleeps", {
    windlass_sdk::step::summary("waits");
    told(windlass_sdk::step::sleep(u32::MAX))
});
