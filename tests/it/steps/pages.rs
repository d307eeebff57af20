//! Each bundled step has a page, and what the page says is so.

use std::path::{Path, PathBuf};

use serde_json::Value;
use windlass_tests::site::Site;

fn pages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/steps")
}

#[test]
fn every_bundled_step_has_a_page_that_names_each_of_its_arguments() {
    let site = Site::new(&[], "");
    let inspected = site.ok(&["plugin", "inspect", "steps", "--json"]);
    let mut missing = Vec::new();
    let mut known = Vec::new();
    for hook in inspected["hooks"].as_array().unwrap() {
        let name = hook["name"].as_str().unwrap();
        known.push(format!("{name}.md"));
        let Ok(page) = std::fs::read_to_string(pages().join(format!("{name}.md"))) else {
            missing.push(format!("docs/steps/{name}.md"));
            continue;
        };
        let none = serde_json::Map::new();
        let arguments = hook["args_schema"]["properties"].as_object().unwrap_or(&none);
        assert!(!arguments.is_empty(), "{name} has arguments: {hook}");
        let unnamed = arguments.keys().filter(|argument| !page.contains(&format!("`{argument}`")));
        missing.extend(unnamed.map(|argument| format!("`{argument}` on docs/steps/{name}.md")));
    }
    for entry in std::fs::read_dir(pages()).unwrap() {
        let page = entry.unwrap().file_name().into_string().unwrap();
        if !known.contains(&page) {
            missing.push(format!("the step of docs/steps/{page}"));
        }
    }
    assert!(missing.is_empty(), "missing:\n{}", missing.join("\n"));
}

/// The examples of a page.
fn examples(page: &Path) -> Vec<String> {
    let page = std::fs::read_to_string(page).unwrap();
    let parts = page.split("```toml\n").skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_example_of_a_page_is_a_configuration_that_loads() {
    let site = Site::new(&[], "");
    for entry in std::fs::read_dir(pages()).unwrap() {
        let path = entry.unwrap().path();
        let examples = examples(&path);
        assert!(!examples.is_empty(), "{} has no example", path.display());
        for example in examples {
            std::fs::write(site.path("master.toml"), example).unwrap();
            let checked = site.windlass(&["check"]);
            let said = String::from_utf8_lossy(&checked.stderr).into_owned();
            assert!(checked.status.success(), "{}: {said}", path.display());
        }
    }
}

/// Symptom: the example of a page ended as an exception. Cause: it was loaded, and never run.
/// Cure: those that need nothing from outside run.
#[test]
fn examples_that_need_nothing_from_outside_do_what_they_show() {
    let mut site = Site::new(&["w1"], "").start();
    for (page, builder) in [
        ("assert", "tests"),
        ("set-property", "tests"),
        ("log-renderable", "tests"),
        ("mkdir", "tests"),
        ("rmdir", "tests"),
        ("string-download", "ci"),
        ("json-properties-download", "ci"),
        ("trigger", "all"),
    ] {
        let example = &examples(&pages().join(format!("{page}.md")))[0];
        // The site has a worker of that name already.
        let (_, builders) = example.split_once("[[builders]]").unwrap();
        site.configure(&format!("[[builders]]{builders}"));
        site.ok(&["reconfig", "--json"]);
        let forced = site.ok(&["force", builder, "--json", "--branch", "main", "--repository", "/nowhere"]);
        let outcome = site.outcome(forced["buildset"].as_u64().unwrap());
        assert_eq!(outcome, "success", "{page}: {}", site.newest(builder));
    }
}

#[test]
fn the_list_of_steps_links_to_every_page() {
    let list = std::fs::read_to_string(pages().join("../steps.md")).unwrap();
    for entry in std::fs::read_dir(pages()).unwrap() {
        let page = entry.unwrap().file_name().into_string().unwrap();
        assert!(list.contains(&format!("(steps/{page})")), "docs/steps.md does not link to {page}");
    }
    assert_eq!(list.matches("(steps/").count(), std::fs::read_dir(pages()).unwrap().count());
}

/// Each bundled step with the flags that it has unless the configuration says otherwise.
const FLAGS: [(&str, &[&str]); 4] = [
    (
        "flunk-on-failure true, halt-on-failure true",
        &[
            "compile",
            "configure",
            "copy-directory",
            "directory-upload",
            "file-download",
            "file-exists",
            "file-upload",
            "git",
            "json-properties-download",
            "master-shell-command",
            "mkdir",
            "multiple-file-upload",
            "rmdir",
            "string-download",
        ],
    ),
    ("flunk-on-failure true, warn-on-failure true", &["cargo-test", "junit", "pytest"]),
    ("flunk-on-failure true, halt-on-failure false, warn-on-failure true", &["test"]),
    (
        "flunk-on-failure true",
        &[
            "assert",
            "http-request",
            "log-renderable",
            "set-property",
            "set-property-from-command",
            "shell-command",
            "shell-sequence",
            "trigger",
        ],
    ),
];

#[test]
fn steps_have_the_flags_of_their_kind() {
    let site = Site::new(&[], "");
    let inspected = site.ok(&["plugin", "inspect", "steps", "--json"]);
    let flag =
        |option: &Value| format!("{} {}", option["name"].as_str().unwrap(), option["value"]["boolean"]);
    let mut found: Vec<(&str, String)> = Vec::new();
    for hook in inspected["hooks"].as_array().unwrap() {
        let mut flags: Vec<String> = hook["options"].as_array().unwrap().iter().map(flag).collect();
        flags.sort();
        found.push((hook["name"].as_str().unwrap(), flags.join(", ")));
    }
    let expected =
        FLAGS.iter().flat_map(|(flags, steps)| steps.iter().map(|step| (*step, (*flags).to_owned())));
    let mut expected: Vec<(&str, String)> = expected.collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}
