//! The first-party components' own tests: their workspace is not the host's, so they are run from here.

use std::process::Command;

#[test]
fn the_first_party_components_pass_their_own_tests() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let tested = Command::new(env!("CARGO"))
        .args(["test", "--locked", "--manifest-path"])
        .arg(format!("{root}/plugins/guests/Cargo.toml"))
        .arg("--target-dir")
        .arg(format!("{root}/target/guests-native"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&tested.stdout);
    assert!(tested.status.success(), "{said}\n{}", String::from_utf8_lossy(&tested.stderr));
    assert!(said.contains("test result: ok."), "{said}");
}
