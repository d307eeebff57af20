//! Published versions of the contract, and components that were built against them, as they were then:
//! `tests/kept/wit/VERSION` has both, of each language, and policies and commands of our own. They are loaded for ever.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::{fixtures, languages};

/// Nobody waits for what is packed once.
const LEVEL: i32 = 19;

/// More than any of them has.
const MAX_BYTES: usize = 64 << 20;

/// What is kept of projects in other languages, by their names as plugins.
const PROJECTS: [(&str, &str); 4] =
    [("c-all", "c/all"), ("c-tee", "c/tee"), ("js-all", "js/all"), ("py-all", "python/all")];

/// What is kept of the guests of the tests.
const FIXTURES: [&str; 2] = ["courier", "sender"];

/// The published versions, oldest first.
///
/// # Panics
/// If they can't be read.
#[must_use]
pub fn versions() -> Vec<String> {
    let entries = fs::read_dir(folder()).expect("published versions are kept");
    let mut versions: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().expect("a version")).collect();
    versions.sort();
    versions
}

/// The components of a version, by their names as plugins.
///
/// # Panics
/// If they can't be read.
#[must_use]
pub fn components(version: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder().join(version).join("components")).expect("a published version");
    let mut found: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".wasm.zst"));
            let name = name.unwrap_or_else(|| panic!("{} is no kept component", path.display())).to_owned();
            (name, zstd::bulk::decompress(&fs::read(&path).unwrap(), MAX_BYTES).unwrap())
        })
        .collect();
    found.sort();
    found
}

/// Keeps what is built from the sources now as a published version, and the contract with it: where.
///
/// # Errors
/// If it is kept already, or can't be written.
pub fn keep(version: &str) -> io::Result<PathBuf> {
    let kept = folder().join(version);
    if kept.exists() {
        return Err(io::Error::other(format!("{} is there: what is published stays", kept.display())));
    }
    let mut all: Vec<(&str, Vec<u8>)> =
        PROJECTS.iter().map(|(name, project)| (*name, languages::component(project))).collect();
    all.extend(FIXTURES.map(|name| (name, fixtures::component(name))));
    all.extend(windlass_plugins::bundled().iter().map(|bundled| (bundled.name, bundled.bytes.to_vec())));
    let components = kept.join("components");
    fs::create_dir_all(&components)?;
    for (name, bytes) in all {
        fs::write(components.join(name).with_extension("wasm.zst"), zstd::bulk::compress(&bytes, LEVEL)?)?;
    }
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("wit"), &kept.join("contract"))?;
    Ok(kept)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kept").join("wit")
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name())))?;
        if path.is_dir() {
            copy(&path, &to)?;
        } else {
            fs::copy(&path, to)?;
        }
    }
    Ok(())
}
