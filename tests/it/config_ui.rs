//! What `windlass check` says: each `tests/ui/config/NAME.toml` beside `NAME.stderr`, all that it writes there.
//!
//! `WINDLASS_BLESS=1 cargo test -p windlass-tests --test it config_ui` writes the texts anew; read the difference.

use std::path::{Path, PathBuf};
use std::process::Command;

use windlass_tests::binary::windlass;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ui/config")
}

/// All that `windlass check` writes to standard error, and its exit code.
fn check(file: &str) -> (String, i32) {
    let keeps = ["HOME", "XDG_CACHE_HOME", "PATH"].map(|name| (name, std::env::var_os(name)));
    let output = Command::new(windlass())
        .args(["check", file])
        .current_dir(folder())
        .env_clear()
        .envs(keeps.into_iter().filter_map(|(name, value)| Some((name, value?))))
        // How it is drawn is a matter of the terminal.
        .envs([("LANG", "C.UTF-8"), ("NO_COLOR", "1"), ("WINDLASS_UI_TITLE", "of the environment")])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
    (lines.join("\n") + "\n", output.status.code().unwrap())
}

#[test]
fn every_file_is_explained_as_recorded() {
    let bless = std::env::var_os("WINDLASS_BLESS").is_some_and(|value| !value.is_empty());
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    files.sort();
    assert!(files.len() > 25, "the files are there");
    let mut different = Vec::new();
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (said, code) = check(&name);
        // These are what other files are compared with.
        let is_good = ["one-of-several.toml", "old-spellings.toml"].contains(&name.as_str());
        assert_eq!(said.trim().is_empty(), is_good, "{name}: {said}");
        let is_error = said.contains("× ");
        assert_eq!(code, if is_error { 3 } else { 0 }, "{name}: {said}");
        let recorded = path.with_extension("stderr");
        if bless {
            std::fs::write(&recorded, &said).unwrap();
        } else if std::fs::read_to_string(&recorded).unwrap_or_default() != said {
            different.push(format!("{name}:\n{said}"));
        }
    }
    assert!(different.is_empty(), "not as recorded:\n{}", different.join("\n"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (said, code) = check("no-such-file.toml");
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("no-such-file.toml"), "{said}");
}
