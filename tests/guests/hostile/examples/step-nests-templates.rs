//! Renders templates in templates.

use hostile::{step, told};

step!("step-nests-templates", {
    let nested = format!("{}{}", "%(prop:a:-".repeat(4_000), ")s".repeat(4_000));
    let many = "%(prop:builder:+%(prop:builder)s)s".repeat(1_800);
    format!("{}; {}", told(windlass_sdk::step::render(&nested)), told(windlass_sdk::step::render(&many)))
});
