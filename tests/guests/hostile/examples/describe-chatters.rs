//! Fills the log of the host with lines that look like its own, while it describes itself.

use hostile::{described, describes};

describes!({
    // Its CPU budget would do for many more, and not on every machine.
    for n in 0..1_000 {
        let forged = format!("\x1b[2K\rINFO windlass: all is well {n}\n2026-01-01 ERROR windlass: disk lost");
        windlass_sdk::log::write(windlass_sdk::log::Level::Error, &forged);
    }
    described("describe-chatters")
});
