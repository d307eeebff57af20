//! Computes for ever once it was interrupted.

use hostile::{spin, step};

step!("step-spins-in-cleanup", {
    windlass_sdk::step::summary("waits");
    std::hint::black_box(windlass_sdk::step::next_event(None));
    spin()
});
