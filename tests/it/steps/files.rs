//! Steps that see to files: trees that are copied, logs of files that programs write.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::*;

/// Path, kind, mode and contents of all below a directory.
fn tree(root: &Path) -> Vec<String> {
    fn walk(root: &Path, below: &str, found: &mut Vec<String>) {
        let mut names: Vec<_> =
            std::fs::read_dir(root.join(below)).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            let path = format!("{below}{}", name.to_str().unwrap());
            let there = root.join(&path);
            let seen = std::fs::symlink_metadata(&there).unwrap();
            let mode = seen.permissions().mode() & 0o7777;
            if seen.is_symlink() {
                found.push(format!("{path} -> {}", std::fs::read_link(&there).unwrap().display()));
            } else if seen.is_dir() {
                found.push(format!("{path}/ {mode:o}"));
                walk(root, &format!("{path}/"), found);
            } else {
                let text = std::fs::read(&there).unwrap().escape_ascii().to_string();
                let modified = seen.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
                found.push(format!("{path} {mode:o} {text} {}", modified.as_secs()));
            }
        }
    }
    let mut found = Vec::new();
    walk(root, "", &mut found);
    found
}

#[test]
fn a_directory_is_copied_with_its_modes_times_and_links_and_what_cannot_be_copied_halts() {
    let steps = "[[builders.steps]]\nuse = \"copy-directory\"\nargs = { src = \"build/out\", dest = \"last/of/all\" }\n\
        [[builders.steps]]\nuse = \"copy-directory\"\nargs = { src = \"build/never\", dest = \"x\" }\n\
        [[builders.steps]]\nuse = \"shell-command\"\nname = \"later\"\nargs = { command = \"true\" }\n";
    let site = Site::new(&["w1"], &builder(steps)).start();
    let out = site.path("w1/builds/b/build/out");
    std::fs::create_dir_all(out.join("bin/deep")).unwrap();
    std::fs::create_dir(out.join("empty")).unwrap();
    for (file, bytes, mode) in [
        ("bin/run", &b"#!/bin/sh\n"[..], 0o755),
        ("bin/deep/\u{e9}t\u{e9}", b"\0\xff\n", 0o640),
        ("secret", b"", 0o400),
    ] {
        let path = out.join(file);
        std::fs::write(&path, bytes).unwrap();
        std::fs::File::open(&path)
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000))
            .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    std::fs::set_permissions(out.join("empty"), std::fs::Permissions::from_mode(0o750)).unwrap();
    symlink("bin/run", out.join("run")).unwrap();
    symlink("/nowhere/at/all", out.join("dangling")).unwrap();
    symlink("bin", out.join("folder")).unwrap();
    let before = tree(&out);
    assert_eq!(before.len(), 9, "{before:?}");
    let build = site.build("b");
    assert_eq!(
        ends(&build),
        [
            ("copy-directory", "success", "build/out to last/of/all"),
            ("copy-directory_1", "failure", "build/never to x: `build/never` is not there"),
        ],
        "{build}"
    );
    assert_eq!(build["outcome"], "failure");
    assert_eq!(tree(&site.path("w1/builds/b/last/of/all")), before);
    assert_eq!(tree(&out), before, "the original is as it was");
    assert!(!site.path("w1/builds/b/x").exists());
}

/// Names of the logs of a step.
fn logs(build: &Value, name: &str) -> Vec<String> {
    let logs = step(build, name)["logs"].as_array().unwrap().iter();
    logs.map(|log| of(log, "name").to_owned()).collect()
}

#[test]
fn a_followed_file_has_its_log_at_once_or_when_something_is_written_to_it() {
    let followed = |name: &str, lazy: bool| {
        format!(
            "[[builders.steps]]\nuse = \"shell-command\"\nname = \"{name}\"\n[builders.steps.args]\n\
             command = \"echo written > {name}.written; rm -f never\"\nlazy_logfiles = {lazy}\n\
             logfiles = {{ never = \"never\", written = \"{name}.written\" }}\n"
        )
    };
    let site = Site::new(&["w1"], &builder(&(followed("eager", false) + &followed("lazy", true)))).start();
    let build = site.build("b");
    assert_eq!(build["outcome"], "success", "{build}");
    assert_eq!(logs(&build, "eager"), ["never", "written", "stdio"]);
    assert_eq!(logs(&build, "lazy"), ["stdio", "written"]);
    assert_eq!(log(&site, &build, "eager", "never"), "== eager / never\n");
    for step in ["eager", "lazy"] {
        assert_eq!(log(&site, &build, step, "written"), format!("== {step} / written\nwritten\n"));
    }
}
