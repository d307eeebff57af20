//! Waits for events and goes on whatever they say.

use hostile::step;

step!("step-ignores-interrupts", {
    windlass_sdk::step::summary("waits");
    loop {
        std::hint::black_box(windlass_sdk::step::next_event(None));
    }
});
