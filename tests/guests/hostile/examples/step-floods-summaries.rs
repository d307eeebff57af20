//! Says what it is at a million times.

use hostile::step;

step!("step-floods-summaries", {
    for n in 0..1_000_000 {
        windlass_sdk::step::summary(&format!("{n}\x1b[31m"));
    }
    "no end".to_owned()
});
