//! What people read when a file is wrong: each `ui/*.toml` beside the text that it produces.
//!
//! `WINDLASS_BLESS=1 cargo test -p windlass-config` writes the texts anew; read the difference.

use std::path::{Path, PathBuf};

use windlass_config::{check_master, check_worker};

use crate::hooks::Hooks;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/ui")
}

fn shown(name: &str, text: &str) -> String {
    let path = Path::new(name);
    // Files of workers begin so.
    let (errors, warnings) = if name.starts_with("worker-file") {
        let checked = check_worker(path, text);
        (checked.config.err(), checked.warnings)
    } else {
        let checked = check_master(path, text, &Hooks);
        (checked.config.err(), checked.warnings)
    };
    [errors, warnings].into_iter().flatten().map(|d| d.render()).collect()
}

#[test]
fn every_bad_file_is_explained_as_recorded() {
    let bless = std::env::var_os("WINDLASS_BLESS").is_some_and(|value| !value.is_empty());
    let mut different = Vec::new();
    let mut files = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        files += 1;
        let name = path.file_name().unwrap().to_str().unwrap();
        let now = shown(name, &std::fs::read_to_string(&path).unwrap());
        assert!(!now.is_empty(), "{name} is all right, and should not be");
        let recorded = path.with_extension("txt");
        if bless {
            std::fs::write(&recorded, now).unwrap();
        } else if std::fs::read_to_string(&recorded).unwrap_or_default() != now {
            different.push(format!("{name}:\n{now}"));
        }
    }
    assert!(files > 5, "the files are there");
    assert!(different.is_empty(), "not as recorded:\n{}", different.join("\n"));
}

#[test]
fn ten_errors_come_at_once() {
    let text = std::fs::read_to_string(folder().join("ten-errors.toml")).unwrap();
    let errors = check_master(Path::new("ten-errors.toml"), &text, &Hooks).config.unwrap_err();
    assert_eq!(errors.list().len(), 10);
    let json = errors.to_json();
    assert_eq!(json.as_array().unwrap().len(), 10);
    assert_eq!(json[0]["file"], "ten-errors.toml");
    assert_eq!(
        (&json[0]["code"], &json[0]["line"], &json[0]["column"]),
        (&"unknown-key".into(), &2.into(), &1.into())
    );
    assert_eq!(json[0]["help"], "did you mean `title`?");
}

#[test]
fn miette_sees_each_error_with_its_span() {
    use miette::Diagnostic as _;
    let errors = check_master(Path::new("a.toml"), "titel = 1\n", &Hooks).config.unwrap_err();
    let related: Vec<_> = errors.related().unwrap().collect();
    assert_eq!(related.len(), 1);
    let label = related[0].labels().unwrap().next().unwrap();
    assert_eq!((label.offset(), label.len()), (0, 5));
    assert_eq!(related[0].help().unwrap().to_string(), "did you mean `title`?");
}

/// Symptom: `check` let a plugin set the title of a terminal and clear it. Cause: messages were tamed, help was
/// not. Cure: all that a diagnostic says is.
#[test]
fn what_a_plugin_writes_into_its_schema_does_nothing_to_a_terminal() {
    let text = "[secrets]\nkey = { file = \"key\" }\n[[builders]]\nname = \"b\"\nworkers = [\"w\"]\nsecrets = [\"key\"]\n\
                [[builders.steps]]\nuse = \"mine:loud\"\nargs = { colour = \"red\", path = \"%(secret:key)s\" }\n";
    let errors = check_master(Path::new("a.toml"), text, &Hooks).config.unwrap_err();
    let shown = errors.render();
    assert!(shown.contains("OWNED") && shown.contains("it is a "), "{shown}");
    for all in [shown, errors.to_json().to_string()] {
        let acts: Vec<char> = all.chars().filter(|c| *c != '\n' && windlass_core::text::acts(*c)).collect();
        assert!(acts.is_empty() && !all.contains("\\u001b"), "{all:?}");
    }
}
