//! Builds small projects with the toolchain of this machine.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use windlass_build::{BuildError, Builder, Component};

const LIBRARY: &str = "[lib]\ncrate-type = [\"cdylib\"]\n";

fn project(folder: &Path, library: &str, source: &str) {
    fs::create_dir_all(folder.join("src")).unwrap();
    let package = "[package]\nname = \"small-guest\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
    fs::write(folder.join("Cargo.toml"), format!("{package}{library}")).unwrap();
    fs::write(folder.join("src/lib.rs"), source).unwrap();
}

fn build(folder: &Path) -> Result<Vec<Component>, BuildError> {
    Builder::new(folder).build()
}

/// Panics with its own file's name, so that the path of the source is in the bytes.
const PANICS: &str = "#[unsafe(no_mangle)]\npub extern \"C\" fn f(n: u32) -> u32 { [1, 2, 3][n as usize] }\n";

#[test]
fn a_component_is_named_after_its_package_and_an_unchanged_one_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    project(dir.path(), LIBRARY, PANICS);
    let first = build(dir.path()).unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].name, "small-guest");
    assert_eq!(first[0].path.file_name().unwrap(), "small-guest.wasm");
    assert_eq!(fs::read(&first[0].path).unwrap()[..8], *b"\0asm\x0d\0\x01\0");
    let time = || fs::metadata(&first[0].path).unwrap().modified().unwrap();
    let before = time();
    assert_eq!(build(dir.path()).unwrap(), first);
    assert_eq!(time(), before);
}

#[test]
fn the_same_sources_give_the_same_bytes_wherever_they_lie() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = ["here", "much/deeper/down"].map(|place| {
        let folder = dir.path().join(place);
        project(&folder, LIBRARY, PANICS);
        fs::read(&build(&folder).unwrap()[0].path).unwrap()
    });
    assert!(bytes[0] == bytes[1]);
}

/// A package beside the workspace, as the SDK in a checkout is: cargo numbers it by its whole path, and the order
/// of functions followed that number.
#[test]
fn a_package_beside_the_project_does_not_change_the_bytes_either() {
    let dir = tempfile::tempdir().unwrap();
    let functions =
        |n: u32| format!("#[inline(never)] pub fn f{n}(n: u32) -> u32 {{ n.rotate_left({n}) ^ {n} }}\n");
    let library: String = (0..30).map(functions).collect();
    let calls: String = (0..30).map(|n| format!("n = beside::f{n}(n);")).collect();
    let exported =
        format!("#[unsafe(no_mangle)]\npub extern \"C\" fn f(mut n: u32) -> u32 {{ {calls} n }}\n");
    let bytes = ["here", "much/deeper/down"].map(|place| {
        let beside = dir.path().join(place).join("beside");
        fs::create_dir_all(beside.join("src")).unwrap();
        let manifest = "[package]\nname = \"beside\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
        fs::write(beside.join("Cargo.toml"), manifest).unwrap();
        fs::write(beside.join("src/lib.rs"), &library).unwrap();
        let folder = dir.path().join(place).join("guest");
        project(
            &folder,
            &format!("{LIBRARY}[dependencies]\nbeside = {{ path = \"../beside\" }}\n"),
            &exported,
        );
        fs::read(&build(&folder).unwrap()[0].path).unwrap()
    });
    assert!(bytes[0] == bytes[1]);
}

#[test]
fn what_the_compiler_says_is_in_the_error() {
    let dir = tempfile::tempdir().unwrap();
    project(dir.path(), LIBRARY, "pub fn f() -> u32 { unknown_thing }\n");
    let error = build(dir.path()).unwrap_err().to_string();
    assert!(error.contains("unknown_thing"), "{error}");
}

#[test]
fn projects_that_make_no_component_say_why() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(build(dir.path()), Err(BuildError::UnknownLanguage { .. })));
    assert!(matches!(build(&dir.path().join("none")), Err(BuildError::NoProject { .. })));
    project(dir.path(), "", "pub fn f() {}\n");
    assert!(matches!(build(dir.path()), Err(BuildError::NoComponent { .. })));
}
