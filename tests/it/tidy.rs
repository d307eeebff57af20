//! What Cargo cannot check of the architecture: `docs/architecture.md` names these rules.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All Rust files below a folder of the repository, as git knows them.
fn sources(below: &str) -> Vec<(String, String)> {
    let listed = std::process::Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "--", below])
        .current_dir(root())
        .output()
        .unwrap();
    let files = String::from_utf8(listed.stdout).unwrap();
    let rust = files.lines().filter(|f| f.ends_with(".rs")).map(|f| (f, root().join(f)));
    rust.filter(|(_, path)| path.exists())
        // A module of tests in a file of its own is held to what tests are held to.
        .filter(|(file, _)| !file.ends_with("/tests.rs"))
        .map(|(file, path)| (file.to_owned(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

/// The code of a file without its test module.
fn production(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap()
}

#[test]
fn core_waits_for_nothing_and_touches_nothing() {
    let banned = [
        "tokio",
        "redb",
        "wasmtime",
        "axum",
        "rand::",
        "std::fs",
        "std::net",
        "std::process",
        "std::thread",
        "std::env",
        "SystemTime",
        "Instant",
        "async fn",
    ];
    let mut found = Vec::new();
    for (file, text) in sources("host/core/src") {
        for word in banned {
            let hit = |line: &&str| line.contains(word) && !line.trim_start().starts_with("//");
            found
                .extend(production(&text).lines().filter(hit).map(|line| format!("{file}: {}", line.trim())));
        }
    }
    assert!(found.is_empty(), "core must stay pure:\n{}", found.join("\n"));
}

#[test]
fn each_engine_is_named_in_one_crate_only() {
    for (word, home) in [
        ("wasmtime::", "host/runtime"),
        ("redb::", "host/store"),
        ("axum::", "host/web"),
        ("clap::", "host/cli"),
    ] {
        // A test of damage opens what it damages.
        for (file, text) in sources("host").into_iter().filter(|(file, _)| !file.contains("/tests/")) {
            let named =
                production(&text).lines().any(|l| l.contains(word) && !l.trim_start().starts_with("//"));
            assert!(!named || file.starts_with(home), "{file} names {word}, which belongs to {home}");
        }
    }
}

/// Deadlines are the machine's own: somebody who sets the clock, or a clock that is set after a start, ends no command and
/// prolongs none.
#[test]
fn nothing_on_a_worker_goes_by_the_wall_clock_but_what_a_component_is_told_of_it() {
    let mut found = Vec::new();
    for below in ["host/worker/src", "host/protocol/src"] {
        for (file, text) in sources(below) {
            let clocks = ["SystemTime::now", "UNIX_EPOCH", "ClockId::Realtime", ".elapsed().ok"];
            let hit = |line: &&str| clocks.iter().any(|clock| line.contains(clock));
            let lines = production(&text).lines().filter(hit).filter(|line| !line.starts_with("use "));
            found.extend(lines.map(|line| format!("{file}: {}", line.trim())));
        }
    }
    let told = "host/worker/src/port.rs: let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();";
    assert_eq!(found, [told]);
}

#[test]
fn only_the_command_line_prints() {
    for (file, text) in sources("host") {
        if file.starts_with("host/cli") || ["/examples/", "/tests/"].iter().any(|part| file.contains(part)) {
            continue;
        }
        for word in ["println!(", "eprintln!(", "print!("] {
            let hit =
                production(&text).lines().any(|l| l.contains(word) && !l.trim_start().starts_with("//"));
            assert!(!hit, "{file} prints");
        }
    }
}

#[test]
fn every_file_says_first_what_it_is_for() {
    for below in ["host", "plugins", "sdk", "tests"] {
        for (file, text) in sources(below) {
            assert!(text.starts_with("//! "), "{file} does not begin with a sentence about itself");
        }
    }
}

#[test]
fn nothing_is_left_unfinished_or_ignored() {
    // Spelled so that this file does not find itself.
    let marks = [
        concat!("tod", "o!("),
        concat!("unimplement", "ed!("),
        concat!("db", "g!("),
        concat!("#[ign", "ore"),
    ];
    for below in ["host", "plugins", "sdk", "tests"] {
        for (file, text) in sources(below) {
            for mark in marks {
                assert!(!text.contains(mark), "{file} has {mark}");
            }
        }
    }
}

/// `docs/protocol.md` names a test for each rule.
#[test]
fn the_tests_that_the_protocol_names_exist() {
    let text = std::fs::read_to_string(root().join("docs/protocol.md")).unwrap();
    let (_, table) = text.split_once("\n## What others suffered\n").unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let git = std::process::Command::new("git")
        .args(["grep", "--untracked", "-hoE", r"fn [a-z0-9_]+\(", "--", "host/*.rs", "tests/*.rs"])
        .current_dir(root())
        .output()
        .unwrap();
    let functions = String::from_utf8(git.stdout).unwrap();
    let functions: std::collections::BTreeSet<&str> = functions.lines().collect();
    assert!(rows.len() >= 15, "a row is missing");
    for row in rows {
        let tests = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap();
        let names: Vec<&str> = tests.split(", ").map(|name| name.trim_matches('`')).collect();
        for name in names {
            assert!(
                functions.contains(&*format!("fn {name}(")),
                "`{name}` is named there and is no function"
            );
        }
    }
}
