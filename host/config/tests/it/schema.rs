//! The JSON schemas against every file that is there: what loads fits, and what people get wrong does not.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use windlass_config::{schema, template};

use crate::documents::blocks;

fn json(text: &str) -> Json {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn problems(schema: &Json, text: &str) -> Vec<String> {
    let validator = jsonschema::validator_for(schema).unwrap();
    validator.iter_errors(&json(text)).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// Configurations in and below a folder: those of workers, or those of masters and what they include.
fn configurations(folder: &Path, of_workers: bool, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() {
            configurations(&path, of_workers, found);
        } else if path.extension().is_some_and(|ending| ending == "toml")
            && name != "plugin.toml"
            && (name == "worker.toml") == of_workers
        {
            found.push(path);
        }
    }
}

#[test]
fn every_example_and_template_fits() {
    let (master, worker) = (schema::of_master(), schema::of_worker());
    let mut fits = 0;
    let mut check = |schema: &Json, text: &str, of: &str| {
        let found = problems(schema, text);
        assert!(found.is_empty(), "{of}:\n{}\n{text}", found.join("\n"));
        fits += 1;
    };
    check(&master, template::MASTER, "template/master.toml");
    check(&worker, template::WORKER, "template/worker.toml");
    check(&master, &read("tests/ui/config/old-spellings.toml"), "old-spellings.toml");
    for page in ["configuration.md", "rendering.md"] {
        let text = read(&format!("docs/{page}"));
        blocks(&text, "toml").iter().for_each(|(line, text)| check(&master, text, &format!("{page}:{line}")));
        let of_workers = blocks(&text, "toml worker.toml");
        of_workers.iter().for_each(|(line, text)| check(&worker, text, &format!("{page}:{line}")));
    }
    for (of_workers, schema) in [(false, &master), (true, &worker)] {
        let mut found = Vec::new();
        configurations(&root().join("docs/examples"), of_workers, &mut found);
        assert!(found.len() >= 8, "{found:?}");
        found.iter().for_each(|path| {
            check(schema, &std::fs::read_to_string(path).unwrap(), &path.display().to_string());
        });
    }
    assert!(fits > 10, "{fits}");
}

#[test]
fn what_people_get_wrong_does_not_fit() {
    let master = schema::of_master();
    for text in [
        "titel = 'x'",
        "title = 3",
        "master = { listen = 'nowhere' }",
        "[[workers]]\nmax_builds = 1",
        "[[builders]]\nname = 'b'\nhaltOnFailure = true",
        "[[builders]]\nname = 'b'\nsteps = [{ args = {} }]",
        "[[schedulers]]\nname = 's'\ntype = 'nightly'\nbuilders = 'b'",
        "[logs]\nmax_log_bytes = '10 potatoes'",
        "buildHorizon = 0",
        "TitleURL = 3",
        "tiTleUrl = 'https://x.org'",
    ] {
        assert!(!problems(&master, text).is_empty(), "{text}");
    }
    let worker = schema::of_worker();
    assert!(!problems(&worker, "name = { from_env = 'NAME' }\nmaster = 'm:1'").is_empty());
}

/// Symptom: editors marked what loads. Cause: the schema knew no variable in a list, and fewer words and spellings than the
/// reader. Cure: it knows them.
#[test]
fn what_loads_fits() {
    let master = schema::of_master();
    for text in [
        "title = { from_env = 'TITLE' }",
        "[[builders]]\nname = 'b'\nworkers = ['w', { from_env = 'W' }]",
        "[locks.db]\nkind = 'worker'\nmax_for_worker = { w1 = { from_env = 'N' } }",
        "slave_portnum = 0",
        "[[builders]]\nname = 'b'\nlocks = ['db', { from_env = 'LOCK' }, { lock = 'disk', count = 2 }]",
        "[[git_pollers]]\nrepository = 'r'\ntype = 'git_poller'",
        "titleURL = 'https://x.org'",
        "TitleURL = 'https://x.org'",
        "Title-Url = 'https://x.org'",
        "TITLE_URL = 'https://x.org'",
        "ProjectURL = 'https://x.org'",
        "[[Builders]]\nName = 'b'\nSlaveNames = ['w']",
    ] {
        assert_eq!(problems(&master, text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(problems(&schema::of_worker(), "name = 'n'\nmaster = 'm:1'"), Vec::<String>::new());
}
