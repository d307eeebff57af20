//! What of an outer cargo's environment an inner one must not see.

use std::process::Command;

/// Takes from `command` what cargo, clippy and others put in the environment of a build script or a test.
///
/// Kept: where things are (`CARGO_HOME`, `RUSTUP_*`) and how to reach registries.
pub fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(foreign) {
            command.env_remove(&name);
        }
    }
}

fn foreign(name: &str) -> bool {
    const NAMES: [&str; 20] = [
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "RUSTC_BOOTSTRAP",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "CLIPPY_ARGS",
        "CLIPPY_CONF_DIR",
        "MAKEFLAGS",
        "MFLAGS",
        "OUT_DIR",
        "TARGET",
        "HOST",
        "NUM_JOBS",
        "OPT_LEVEL",
        "PROFILE",
        "DEBUG",
        "CARGO",
    ];
    const KEPT: [&str; 5] = ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_SOURCE_"];
    NAMES.contains(&name)
        || name.starts_with("DEP_")
        || (name.starts_with("CARGO_") && !KEPT.iter().any(|kept| name.starts_with(kept)))
}

#[cfg(test)]
mod tests {
    use super::foreign;

    #[test]
    fn what_clippy_and_cargo_set_is_foreign_and_where_things_are_is_not() {
        for name in [
            "RUSTC",
            "RUSTC_WORKSPACE_WRAPPER",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_MAKEFLAGS",
            "RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_CFG_TARGET_OS",
            "CARGO_BUILD_TARGET",
            "DEP_Z_ROOT",
        ] {
            assert!(foreign(name), "{name} must not reach the inner cargo");
        }
        for name in
            ["CARGO_HOME", "RUSTUP_TOOLCHAIN", "CARGO_NET_OFFLINE", "CARGO_REGISTRIES_X_INDEX", "PATH"]
        {
            assert!(!foreign(name), "{name} must reach the inner cargo");
        }
    }
}
