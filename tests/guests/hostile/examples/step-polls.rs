//! Asks for events without ever waiting for one, and so looks busy for ever.

use hostile::step;

step!("step-polls", {
    loop {
        std::hint::black_box(windlass_sdk::step::next_event(Some(0)));
    }
});
