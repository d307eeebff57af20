//! Gives logs names that lead elsewhere, and ones with escapes.

use hostile::{step, told};

step!("step-names-a-log-badly", {
    let try_name = |name: &str| told(windlass_sdk::step::log_text(name, windlass_sdk::Origin::Stdout, "x"));
    ["../../state/store", "\x1b[2J", "<script>", "a/b", ".hidden"].map(try_name).join("; ")
});
