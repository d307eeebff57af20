//! Adds links without end.

use hostile::step;

step!("step-floods-urls", {
    for n in 0..100_000 {
        windlass_sdk::step::add_url(&format!("link {n}"), "http://example.org/");
    }
    "no end".to_owned()
});
