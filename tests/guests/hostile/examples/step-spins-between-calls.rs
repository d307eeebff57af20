//! Computes for ever in a step, and calls the host now and then.

use hostile::step;

step!("step-spins-between-calls", {
    loop {
        std::hint::black_box(windlass_sdk::clock::now());
    }
});
