//! The examples in `docs/configuration.md`, `docs/rendering.md` and `docs/reporters.md` are files that load.

use std::collections::BTreeMap;
use std::path::Path;

use windlass_config::{check_master, check_worker};

use crate::hooks::Hooks;

/// The fenced blocks of a language, each with the line of its fence.
pub fn blocks<'a>(text: &'a str, language: &str) -> Vec<(usize, &'a str)> {
    let fence = format!("```{language}\n");
    text.match_indices(&fence)
        .map(|(at, _)| {
            let begin = at + fence.len();
            let end = begin + text[begin..].find("```").expect("a fence that is opened is closed");
            (text[..at].matches('\n').count() + 1, &text[begin..end])
        })
        .collect()
}

#[test]
fn every_example_loads() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let pages = ["configuration.md", "rendering.md", "reporters.md"]
        .map(|page| std::fs::read_to_string(docs.join(page)).unwrap());
    let text = pages.concat();
    let masters = blocks(&text, "toml");
    let workers = blocks(&text, "toml worker.toml");
    assert!(masters.len() >= 5 && !workers.is_empty(), "{} and {}", masters.len(), workers.len());
    for (line, example) in masters {
        let checked = check_master(Path::new("example"), example, &Hooks);
        assert!(checked.config.is_ok(), "line {line}: {}", checked.config.unwrap_err().render());
    }
    for (line, example) in workers {
        let checked = check_worker(Path::new("example"), example);
        assert!(checked.config.is_ok(), "line {line}: {}", checked.config.unwrap_err().render());
    }
}

/// Symptom: the list lacked three commands. Cause: nobody compared it. Cure: this does.
#[test]
fn the_page_lists_what_the_bundled_commands_are_granted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("../../docs/configuration.md")).unwrap();
    let (_, section) = page.split_once("\n## `[grants]`").unwrap();
    let (_, list) = blocks(section, "toml")[0];
    let mut listed: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    let mut hook = "";
    for line in list.lines().filter(|line| !line.is_empty()) {
        if let Some(named) = line.strip_prefix("[grants.\"") {
            hook = named.trim_end_matches("\"]");
        } else {
            let capability = line.strip_suffix(" = [\"*\"]").unwrap().to_owned();
            listed.entry(hook.to_owned()).or_default().insert(capability, vec!["*".to_owned()]);
        }
    }
    let bundled = check_master(Path::new("empty"), "", &Hooks).config.unwrap().grants;
    assert_eq!(listed, bundled);
}

/// Every diagnostic that a recorded file shows is in the table of codes, and no other.
#[test]
fn the_page_lists_every_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("../../docs/configuration.md")).unwrap();
    let table = page.split("The codes:").nth(1).unwrap();
    let mut listed: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    let mut shown = Vec::new();
    for entry in std::fs::read_dir(root.join("tests/it/ui")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "txt") {
            let text = std::fs::read_to_string(&path).unwrap();
            let codes = text.lines().filter_map(|l| l.strip_prefix("error[").or(l.strip_prefix("warning[")));
            shown.extend(codes.filter_map(|l| Some(l.split_once(']')?.0.to_owned())));
        }
    }
    // The master adds this one, since it alone reads the plugins folder.
    shown.push("bad-plugin".to_owned());
    shown.sort();
    shown.dedup();
    listed.sort_unstable();
    assert_eq!(listed, shown);
}
