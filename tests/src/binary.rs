//! The program under test, built once for a run of the tests.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The `windlass` binary of this working tree, in the profile of the tests. Cargo is asked each time,
/// so that no test ever runs against yesterday's program; it answers at once if nothing changed. Measurements name
/// another one by `WINDLASS_BINARY`.
#[must_use]
pub fn windlass() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(binary) = std::env::var_os("WINDLASS_BINARY") {
            return PathBuf::from(binary);
        }
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
        let mut cargo = Command::new(env!("CARGO"));
        for (name, _) in std::env::vars_os() {
            // What cargo says of the package under test. Build scripts that ask for such (ring's) ran without it when
            // this program was built before, and would run again, and all that stands on them.
            if name
                .to_str()
                .is_some_and(|name| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|p| name.starts_with(p)))
            {
                cargo.env_remove(&name);
            }
        }
        let output = cargo
            .args([
                "build",
                "--workspace",
                "--bin",
                "windlass",
                "--message-format",
                "json",
                "--manifest-path",
                manifest,
            ])
            .output()
            .expect("cargo runs: it runs this test");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let messages = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
        let executable = |line: &str| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(PathBuf::from(message["executable"].as_str()?))
        };
        messages.lines().find_map(executable).expect("the package has one binary")
    })
}
