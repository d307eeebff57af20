//! A component that describes itself and offers nothing.

use windlass_sdk::bindings::plugin::exports::windlass::base::plugin::{Description, Guest};

struct Plugin;

impl Guest for Plugin {
    fn describe() -> Description {
        Description { hooks: Vec::new(), capabilities: Vec::new() }
    }
}

windlass_sdk::bindings::plugin::export!(Plugin with_types_in windlass_sdk::bindings::plugin);
