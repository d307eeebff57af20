//! Describes a million hooks.

use hostile::{Description, described, describes};

describes!({
    let hook = described("lists-a-million-hooks").hooks.remove(0);
    Description { hooks: vec![hook; 1_000_000], capabilities: Vec::new() }
});
