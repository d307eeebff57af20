//! Python's own tools, and projects in Python that nobody here wrote. `cargo xtask setup` installs what `tests/python`
//! lists; nothing is fetched here.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use windlass_build::tools;

use crate::repository::Repository;

/// Where python3, pytest and flit are: a virtual environment.
///
/// # Panics
/// If they are not installed, or not in the versions that are listed; it says what installs them.
#[must_use]
pub fn environment() -> PathBuf {
    installed().join("venv")
}

fn installed() -> PathBuf {
    let wanted = concat!(include_str!("../python/tools.txt"), include_str!("../python/sources.txt"));
    let folder = tools::folder("python", "tests").expect("there is a cache directory");
    let found = std::fs::read_to_string(folder.join("installed.txt")).unwrap_or_default();
    assert!(
        found == wanted,
        "pytest and what it tests here are not in {}, or not as tests/python lists them: run `cargo xtask setup`",
        folder.display()
    );
    folder
}

/// Runs a module of [`environment`]'s Python in a directory.
///
/// # Panics
/// If it cannot be started.
pub fn module(directory: &Path, words: &[&str]) -> Output {
    Command::new(environment().join("bin/python3"))
        .arg("-m")
        .args(words)
        .current_dir(directory)
        .output()
        .expect("setup has seen it run")
}

/// A listed project as a repository: first all but its tests, then those.
///
/// # Panics
/// If its source is not there.
#[must_use]
pub fn import(project: &str) -> Repository {
    let repository = Repository::new();
    let sources = installed().join("sources");
    let files = std::fs::read_dir(&sources).expect("setup has made it").flatten();
    let named = |name: &str| name.starts_with(&format!("{project}-")) && name.ends_with(".tar.gz");
    let mut found = files.filter(|file| file.file_name().to_str().is_some_and(named));
    let source = found.next().unwrap_or_else(|| panic!("no source of {project} in {}", sources.display()));
    let unpacked = Command::new("tar")
        .args(["--extract", "--gzip", "--strip-components=1", "--file"])
        .arg(source.path())
        .current_dir(repository.path())
        .status()
        .expect("tar runs");
    assert!(unpacked.success(), "tar: {unpacked}");
    // What the distribution has beside the project.
    std::fs::remove_file(repository.path().join("PKG-INFO")).expect("every one has it");
    repository.git(&["add", "--all", ":!tests"]);
    repository.git(&["commit", "--quiet", "--message", "The library, and all that is told of it"]);
    repository.git(&["add", "--all"]);
    repository.git(&["commit", "--quiet", "--message", "Its tests"]);
    repository
}

/// What pytest itself counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub total: u64,
    /// Those that went well.
    pub passed: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that broke off, before or after what they test.
    pub errors: u64,
    /// Those that were not run.
    pub skipped: u64,
}

/// Has pytest alone test a directory, and reads the sums of what it writes for JUnit.
///
/// # Panics
/// If it writes none.
#[must_use]
pub fn tested(directory: &Path, args: &[&str]) -> Counts {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let written = folder.path().join("own.xml");
    let option = format!("--junit-xml={}", written.display());
    let said = module(directory, &[&["pytest", option.as_str()], args].concat());
    let xml = std::fs::read_to_string(written).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    let suite =
        xml.split("<testsuite ").nth(1).and_then(|rest| rest.split('>').next()).expect("there is one");
    let sum = |name: &str| -> u64 {
        let value = suite.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}: {suite}"))
    };
    let (total, failed, errors, skipped) = (sum("tests"), sum("failures"), sum("errors"), sum("skipped"));
    Counts { total, passed: total - failed - errors - skipped, failed, errors, skipped }
}

/// The same of a build, by what the API or the command line tells of its tests.
///
/// # Panics
/// If it does not tell.
#[must_use]
pub fn counted(counts: &serde_json::Value) -> Counts {
    let count = |name: &str| counts[name].as_u64().unwrap_or_else(|| panic!("no {name}: {counts}"));
    Counts {
        total: count("total"),
        passed: count("passed"),
        failed: count("failed"),
        errors: count("errors"),
        skipped: count("skipped"),
    }
}
