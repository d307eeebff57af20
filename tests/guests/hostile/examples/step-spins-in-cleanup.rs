//! Computes for ever once it was interrupted.

use hostile::{spin, step};

step!("step-spins-in-cleanup", {
    std::hint::black_box(windlass_sdk::step::next_event(None));
    spin()
});
