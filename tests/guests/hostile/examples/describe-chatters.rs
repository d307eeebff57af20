//! Fills the log of the host with lines that look like its own, while it describes itself.

use hostile::{described, describes};

describes!({
    for n in 0..100_000 {
        let forged = format!("\x1b[2K\rINFO windlass: all is well {n}\n2026-01-01 ERROR windlass: disk lost");
        windlass_sdk::log::write(windlass_sdk::log::Level::Error, &forged);
    }
    described("describe-chatters")
});
