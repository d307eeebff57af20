//! The example configurations: each is checked, then run as it stands but for the addresses, on real repositories.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use windlass_build::Builder;
use windlass_tests::binary::windlass;
use windlass_tests::fixtures::target_dir;
use windlass_tests::repository::Repository;
use windlass_tests::site::{Site, eventually, text};

use super::outcomes;

fn folder(example: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples").join(example)
}

/// The files of an example, deep down, that have this name.
fn files(folder: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, name, found);
        } else if name == "*" || path.file_name().is_some_and(|file| file == name) {
            found.push(path);
        }
    }
}

/// The example in a site of its own, with tokens, and repositories of these names instead of those at example.org.
fn prepared(example: &str, repositories: &[(&str, &Repository)]) -> Site {
    let site = Site::new(&[], "");
    let copied =
        Command::new("cp").arg("-R").arg(folder(example).join(".")).arg(site.path("")).status().unwrap();
    assert!(copied.success());
    let (mut all, mut workers) = (Vec::new(), Vec::new());
    files(&folder(example), "*", &mut all);
    files(&folder(example), "worker.toml", &mut workers);
    let hashes: Vec<(String, String)> = workers
        .iter()
        .map(|file| {
            let name = file.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
            let token = site.path(&name).join("token");
            let made = site.ok(&["token", token.to_str().unwrap(), "--json"]);
            (name, made["token_hash"].as_str().unwrap().to_owned())
        })
        .collect();
    for file in all.iter().filter(|file| file.extension().is_some_and(|ending| ending == "toml")) {
        let here = site.path("").join(file.strip_prefix(folder(example)).unwrap());
        let mut written = text(&here).replace("127.0.0.1:9989", site.listen());
        for (name, repository) in repositories {
            written = written.replace(&format!("https://example.org/{name}.git"), repository.url());
        }
        // As the first lines of the examples have it: the hash of each worker's token stands behind its name.
        for (name, hash) in &hashes {
            let worker = format!("name = \"{name}\"\ntoken_hash = \"");
            if let Some((before, behind)) = written.split_once(&worker) {
                let (_, behind) = behind.split_once('"').unwrap();
                written = format!("{before}{worker}{hash}\"{behind}");
            }
        }
        std::fs::write(here, written).unwrap();
    }
    site
}

/// Checks it, without an error and without a warning, and starts it with all its workers.
fn started(mut site: Site) -> Site {
    let checked = site.windlass(&["check", "--json"]);
    let found: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert!(checked.status.success() && found["warnings"] == serde_json::json!([]), "{found:#}");
    let status = {
        site.start_master();
        site.ok(&["status", "--json"])
    };
    for worker in status["workers"].as_array().unwrap() {
        let name = worker["name"].as_str().unwrap();
        let config = site.path(name);
        let checked = Command::new(windlass()).arg("check").arg(config).output().unwrap();
        assert!(checked.status.success(), "{checked:?}");
        site.start_worker(name);
    }
    site.until_connected();
    site
}

/// The ended builds of the builders whose names begin so, once there are so many, and nothing waits or runs.
fn built(site: &Site, builders: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} builds of {builders}"), || {
        let all = site.ok(&["builds", "-n", "100", "--json"]);
        let of = |build: &&Value| build["builder"].as_str().unwrap().starts_with(builders);
        let builds: Vec<Value> = all.as_array().unwrap().iter().filter(of).cloned().collect();
        let done = builds.iter().all(|build| !build["outcome"].is_null());
        (builds.len() == count && done).then_some(builds)
    })
}

/// What a step of a build said.
fn said(site: &Site, build: &Value, step: &str) -> String {
    let output = site.windlass(&["logs", &build["id"].to_string(), step]);
    String::from_utf8(output.stdout).unwrap()
}

/// Has all pollers look, which find so many changes, in whichever order. At the first time what is there is nothing new.
fn poll(site: &Site, changes: &[u64]) {
    let polled = site.ok(&["poll", "--json"]);
    let mut seen: Vec<u64> =
        polled.as_array().unwrap().iter().map(|poller| poller["changes"].as_u64().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, changes, "{polled}");
}

#[test]
fn a_small_project_is_built_commit_by_commit() {
    let repository = Repository::new();
    repository.commit("Makefile", "all: app\napp:\n\techo made > app\ncheck:\n\ttest -s app\n", "first");
    let site = started(prepared("small", &[("small", &repository)]));
    poll(&site, &[0]);
    let healthy = ["git success", "compile success", "test success"];
    assert_eq!(outcomes(&site.build("tests")), healthy);
    repository.commit("Makefile", "all:\n\ttrue\ncheck:\n\ttest -e missing\n", "breaks it");
    poll(&site, &[1]);
    let builds = built(&site, "tests", 2);
    assert_eq!((&builds[0]["outcome"], &builds[1]["outcome"]), (&"failure".into(), &"success".into()));
    assert_eq!(outcomes(&site.newest("tests")), ["git success", "compile success", "test failure"]);
}

#[test]
fn a_fleet_of_twenty_builders_builds_a_commit_and_what_follows_from_it() {
    let repository = Repository::new();
    repository.commit("build.sh", "echo \"$1 for $2\"\n", "first");
    repository.commit("check.sh", "test \"$1\" != release\n", "second");
    let site = started(prepared("fleet", &[("library", &repository)]));
    let status = site.ok(&["status", "--json"]);
    assert_eq!(status["builders"].as_array().unwrap().len(), 22, "twenty of the matrix, two of the release");
    poll(&site, &[0]);
    let revision = repository.commit("README", "a library\n", "Say what it is");
    poll(&site, &[1]);
    let builds = built(&site, "library-", 20);
    for build in &builds {
        let name = build["builder"].as_str().unwrap();
        assert_eq!(build["outcome"], "success", "{build}");
        let system = name.split('-').nth(1).unwrap();
        assert!(build["worker"].as_str().unwrap().starts_with(system), "{build}");
    }
    let release = site.newest("library-fedora-clang-release");
    assert_eq!(outcomes(&release), ["git success", "compile success", "test skipped"]);
    assert!(said(&site, &release, "compile").contains("clang for release"));

    // What follows has the same source, and leaves an archive of it.
    built(&site, "package", 1);
    let package = site.newest("package");
    assert_eq!(outcomes(&package), ["git success", "archive success", "file-upload success"]);
    assert_eq!(package["stamps"][0]["revision"], revision.as_str(), "{package}");
    let artifacts = site.ok(&["artifacts", &package["id"].to_string(), "--json"]);
    assert_eq!(artifacts[0]["name"], "library.tar", "{artifacts}");
}

#[test]
fn a_build_has_the_revisions_of_both_its_codebases() {
    let (library, application) = (Repository::new(), Repository::new());
    let first = library.commit("words", "hello\n", "first");
    application.commit("build.sh", "cat \"$1/words\"\n", "first");
    let site = started(prepared("codebases", &[("library", &library), ("application", &application)]));
    poll(&site, &[0, 0]);

    // One that changes alone comes with the newest of the other.
    let alone = application.commit("build.sh", "cat \"$1/words\" # all\n", "A remark");
    poll(&site, &[0, 1]);
    built(&site, "application", 1);
    let build = site.newest("application");
    assert_eq!(build["outcome"], "success", "{build}");
    let got = |build: &Value| {
        let properties = build["properties"].as_array().unwrap();
        properties.iter().find(|property| property["name"] == "got_revision").unwrap()["value"].clone()
    };
    assert_eq!(got(&build), serde_json::json!({ "library": first, "application": alone }));
    assert!(said(&site, &build, "tell").contains(&format!("library newest, application {alone}")));

    // Two that belong together are one build, with a stamp of each.
    let words = library.commit("words", "hello both\n", "Both of you");
    let both = application.commit("build.sh", "grep both \"$1/words\"\n", "Look for both");
    poll(&site, &[1, 1]);
    built(&site, "application", 2);
    let build = site.newest("application");
    assert_eq!(build["outcome"], "success", "{build}");
    let mut stamps: Vec<(&str, &str)> = build["stamps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stamp| (stamp["codebase"].as_str().unwrap(), stamp["revision"].as_str().unwrap()))
        .collect();
    stamps.sort_unstable();
    assert_eq!(stamps, [("application", both.as_str()), ("library", words.as_str())]);
    assert!(said(&site, &build, "compile").contains("hello both"));
}

#[test]
fn a_policy_in_python_keeps_the_large_worker_for_builds_that_need_it() {
    let repository = Repository::new();
    repository.commit("check.sh", "echo \"$1 GiB\"\n", "first");
    let mut site = prepared("policy-in-python", &[("project", &repository)]);
    site.patient_with_policies();
    let target = target_dir().join("examples").join("policy-in-python");
    let built = Builder::new(folder("policy-in-python").join("policy")).target_dir(target).build().unwrap();
    site.plugin("policy", &std::fs::read(&built[0].path).unwrap());
    let site = started(site);
    for (builder, worker, memory) in [("unit", "small", "4 GiB"), ("whole", "large", "32 GiB")] {
        let build = site.build(builder);
        assert_eq!((&build["outcome"], &build["worker"]), (&"success".into(), &worker.into()), "{build}");
        assert!(said(&site, &build, "test").contains(memory));
    }
    let status = site.ok(&["status", "--json"]);
    let policies = status["policies"].as_array().unwrap();
    assert!(policies.iter().all(|policy| policy["fallbacks"] == 0), "{policies:?}");
}
