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

#[test]
fn every_example_of_a_page_is_a_configuration_that_loads() {
    let site = Site::new(&[], "");
    let mut examples = 0;
    for entry in std::fs::read_dir(pages()).unwrap() {
        let path = entry.unwrap().path();
        let page = std::fs::read_to_string(&path).unwrap();
        let parts: Vec<&str> = page.split("```toml\n").skip(1).collect();
        assert!(!parts.is_empty(), "{} has no example", path.display());
        for part in parts {
            let example = part.split("```").next().unwrap();
            std::fs::write(site.path("master.toml"), example).unwrap();
            let checked = site.windlass(&["check"]);
            let said = String::from_utf8_lossy(&checked.stderr).into_owned();
            assert!(checked.status.success(), "{}: {said}", path.display());
            examples += 1;
        }
    }
    assert!(examples >= 10, "{examples}");
}

#[test]
fn steps_have_the_flags_of_their_kind() {
    let site = Site::new(&[], "");
    let inspected = site.ok(&["plugin", "inspect", "steps", "--json"]);
    let said = |name: &str| {
        let hooks = inspected["hooks"].as_array().unwrap();
        let hook = hooks.iter().find(|hook| hook["name"] == name).unwrap();
        let flag =
            |option: &Value| format!("{} {}", option["name"].as_str().unwrap(), option["value"]["boolean"]);
        let mut flags: Vec<String> = hook["options"].as_array().unwrap().iter().map(flag).collect();
        flags.sort();
        flags.join(", ")
    };
    let halts = "flunk-on-failure true, halt-on-failure true";
    for name in ["compile", "configure", "copy-directory", "file-exists", "git", "mkdir", "rmdir"] {
        assert_eq!(said(name), halts, "{name}");
    }
    for name in ["cargo-test", "junit", "pytest"] {
        assert_eq!(said(name), "flunk-on-failure true, warn-on-failure true", "{name}");
    }
    assert_eq!(said("test"), "flunk-on-failure true, halt-on-failure false, warn-on-failure true");
    for name in ["assert", "set-property", "shell-command", "shell-sequence"] {
        assert_eq!(said(name), "flunk-on-failure true", "{name}");
    }
}
