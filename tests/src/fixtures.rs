//! The components of `tests/guests`, built at the first use in a test process and cheap when unchanged.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use windlass_build::{Builder, Component};

/// The bytes of the component `name`: `traps`, `loops`, `v1` ... `tests/guests/Cargo.toml` lists them.
///
/// # Panics
/// If there is no such component, or they can't be built.
#[must_use]
pub fn component(name: &str) -> Vec<u8> {
    static BUILT: OnceLock<Vec<Component>> = OnceLock::new();
    let built = BUILT.get_or_init(build);
    let component = built.iter().find(|component| component.name == name);
    let component = component.unwrap_or_else(|| panic!("no fixture `{name}` in tests/guests"));
    std::fs::read(&component.path).expect("the component was just built")
}

fn build() -> Vec<Component> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    let mut said = Vec::new();
    let built = Builder::new(project)
        .target_dir(target_dir())
        .locked()
        .progress(|line| said.push(line.to_owned()))
        .build();
    built.unwrap_or_else(|error| panic!("{error}\n{}", said.join("\n")))
}

/// Shared with the first-party guests, and so with what they have in common: `target/guests`.
///
/// # Panics
/// Outside of a test.
#[must_use]
pub fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("a test knows its own file");
    // `target/<profile>/deps/<test>`.
    exe.ancestors().nth(3).expect("a test lies in a target directory").join("guests")
}
