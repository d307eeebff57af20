//! Files that are wrong in every possible place: refused or accepted, and never a panic.

use std::cell::Cell;
use std::path::Path;

use windlass_config::{Catalog, HookFacts, check_master, check_worker, hash_token, template};
use windlass_core::policy::HookKind;

use crate::hooks::Hooks;

/// Breaks a file at each of its lines: without it, cut off there, and with other values.
fn broken(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let values =
        ["3", "-1.5", "\"\"", "\"ü\\t%(\"", "[]", "[1]", "{}", "{ a = 1 }", "true", "1979-05-27", "nan", "["];
    let mut files = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        let with = |other: &str| {
            let mut lines: Vec<&str> = lines.clone();
            lines[n] = other;
            lines.join("\n")
        };
        files.push(with(""));
        files.push(with(&line[..line.len() / 2]));
        files.push(with(&format!("{line}\n{line}")));
        if let Some((key, _)) = line.split_once(" = ") {
            files.extend(values.iter().map(|value| with(&format!("{key} = {value}"))));
            files.push(with(&format!("x{line}")));
        }
    }
    files
}

#[test]
fn no_file_makes_the_check_panic() {
    let master = template::MASTER.replace("@TOKEN_HASH@", &hash_token("token"));
    let mut refused = 0;
    for text in broken(&master) {
        let checked = check_master(Path::new("master.toml"), &text, &Hooks);
        for diagnostics in [checked.config.as_ref().err(), checked.warnings.as_ref()].into_iter().flatten() {
            assert!(diagnostics.render().contains("-->"), "{text}");
            assert!(diagnostics.list().iter().all(|d| d.line <= text.lines().count() + 1), "{text}");
        }
        refused += usize::from(checked.config.is_err());
    }
    assert!(refused > 200, "most of them are wrong: {refused}");
    for text in broken(template::WORKER) {
        if let Err(errors) = check_worker(Path::new("worker.toml"), &text).config {
            assert!(errors.render().contains("-->"), "{text}");
        }
    }
}

/// Compiling a schema costs more than all the rest of a builder.
#[test]
fn a_hook_is_looked_up_once_for_a_thousand_builders() {
    struct Counting(Cell<usize>);
    impl Catalog for Counting {
        fn hook(&self, kind: HookKind, name: &str) -> Result<HookFacts, String> {
            self.0.set(self.0.get() + 1);
            Hooks.hook(kind, name)
        }
    }
    let mut text = format!("[[workers]]\nname = 'w'\ntoken_hash = '{}'\n", hash_token("t"));
    for n in 0..1000 {
        let step = "{ use = 'shell-command', args.command = ['true'] }";
        text.push_str(&format!("[[builders]]\nname = 'b{n}'\nworkers = 'w'\nsteps = [{step}]\n"));
    }
    let catalog = Counting(Cell::new(0));
    let config = check_master(Path::new("master.toml"), &text, &catalog).config.unwrap();
    assert_eq!((config.builders.len(), catalog.0.get()), (1000, 1));
}
