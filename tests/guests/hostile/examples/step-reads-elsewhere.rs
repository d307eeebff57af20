//! Reads logs that are not of its own build.

use hostile::{step, told};

step!("step-reads-elsewhere", {
    let read = |(step, log): (&str, &str)| told(windlass_sdk::step::read_log(step, log, 0, 10));
    [("../../1", "stdio"), ("/etc", "passwd"), ("\0", "stdio")].map(read).join("; ")
});
