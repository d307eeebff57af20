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
