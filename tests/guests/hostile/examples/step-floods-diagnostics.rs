//! Writes diagnostics without end.

use hostile::step;

step!("step-floods-diagnostics", {
    for n in 0..1_000_000 {
        windlass_sdk::log::write(windlass_sdk::log::Level::Error, &format!("\x1b[31mthe sky falls {n}"));
    }
    "no end".to_owned()
});
