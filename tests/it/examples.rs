//! The examples of `docs/examples`, run as their pages say, on projects that nobody here wrote.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use windlass_build::Language;
use windlass_core::digest::Digest;
use windlass_tests::repository::Repository;
use windlass_tests::site::eventually;
use windlass_tests::tutorial::{Reader, follow_from};

mod configured;
mod python;

/// What the example builds: a package of our own lock file, so that its source is on this machine. It needs no other.
const CRATE: &str = "strsim";

/// What cargo itself says of a revision's tests.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tested {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// By their names, without the program that they belong to.
    failures: BTreeSet<String>,
}

fn cargo(directory: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(args)
        .current_dir(directory)
        .env("CARGO_TARGET_DIR", directory.join("target"))
        .env("CARGO_TERM_COLOR", "never")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Where cargo keeps the source of the crate.
fn source() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // What other platforms need is not on this machine.
    let about = cargo(&root, &["-vV"]);
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let words = ["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", host];
    let metadata: Value = serde_json::from_str(&cargo(&root, &words)).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == CRATE).expect("the lock file has it");
    assert_eq!(package["dependencies"], serde_json::json!([]), "it needs others");
    Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

/// The crate as a repository, without what cargo put beside it: first the library, then its tests.
fn import() -> Repository {
    let repository = Repository::new();
    let copied =
        Command::new("cp").arg("-R").arg(source().join(".")).arg(repository.path()).status().unwrap();
    assert!(copied.success());
    for beside in [".cargo-ok", ".cargo_vcs_info.json", "Cargo.toml.orig"] {
        // Not every version of cargo writes each.
        std::fs::remove_file(repository.path().join(beside)).ok();
    }
    repository.git(&["add", "Cargo.toml", "src", ".gitignore"]);
    repository.git(&["commit", "--quiet", "--message", "The library"]);
    repository.git(&["add", "--all"]);
    repository.git(&["commit", "--quiet", "--message", "Its tests, and all that is told of it"]);
    repository
}

/// Has cargo alone test a revision, in a checkout of its own.
fn tested(repository: &Repository, checkout: &Path, revision: &str) -> Tested {
    let there = checkout.to_str().unwrap();
    if !checkout.exists() {
        repository.git(&["clone", "--quiet", repository.url(), there]);
    }
    repository.git(&["-C", there, "fetch", "--quiet", "origin"]);
    repository.git(&["-C", there, "checkout", "--quiet", "--detach", revision]);
    let said = cargo(checkout, &["test", "--no-fail-fast"]);
    let mut tested = Tested::default();
    for line in said.lines() {
        if let Some(sums) = line.strip_prefix("test result: ") {
            let sum = |word: &str| -> u64 {
                let before = sums.split(word).next().unwrap();
                before.split_whitespace().last().unwrap().parse().unwrap()
            };
            tested.passed += sum(" passed");
            tested.failed += sum(" failed");
            tested.ignored += sum(" ignored");
        } else if let Some(name) = line.strip_prefix("test ").and_then(|l| l.strip_suffix(" ... FAILED")) {
            tested.failures.insert(name.to_owned());
        }
    }
    tested
}

/// The same by what Windlass knows of a build.
fn counted(reader: &Reader<'_>, build: &Value) -> Tested {
    let tests = reader.ask(&format!("tests {}", build["id"]));
    let count = |name: &str| tests["counts"][name].as_u64().unwrap();
    let failed = tests["results"].as_array().unwrap().iter().filter(|test| test["outcome"] == "failure");
    let name = |test: &Value| test["name"].as_array().unwrap().last().unwrap().as_str().unwrap().to_owned();
    Tested {
        passed: count("passed"),
        failed: count("failed"),
        ignored: count("skipped"),
        failures: failed.map(name).collect(),
    }
}

/// The newest build, once it has ended, if it is newer than `before`.
fn built(reader: &Reader<'_>, builder: &str, before: u64) -> Value {
    eventually("the commit is built", || {
        let newest = reader.ask(&format!("builds --builder {builder} -n 1"))[0].clone();
        let id = newest["id"].as_u64().filter(|id| *id > before && !newest["outcome"].is_null())?;
        Some(reader.ask(&format!("build {id}")))
    })
}

fn revision(build: &Value) -> &str {
    let properties = build["properties"].as_array().unwrap();
    let got = properties.iter().find(|property| property["name"] == "got_revision").expect("it is set");
    got["value"].as_str().unwrap()
}

fn outcomes(build: &Value) -> Vec<String> {
    let steps = build["steps"].as_array().unwrap().iter();
    steps.map(|s| format!("{} {}", s["name"].as_str().unwrap(), s["outcome"].as_str().unwrap())).collect()
}

/// What a build kept is the file that it made below its builder's `build`, byte by byte.
fn keeps_what_was_made(reader: &Reader<'_>, build: &Value, file: &str) {
    let builder = build["builder"].as_str().unwrap();
    let made = std::fs::read(reader.path(&format!("ci/worker/work/builds/{builder}/build/{file}"))).unwrap();
    let (id, name) = (&build["id"], file.rsplit('/').next().unwrap());
    let artifacts = reader.ask(&format!("artifacts {id}"));
    assert_eq!(artifacts.as_array().unwrap().len(), 1, "{artifacts}");
    assert_eq!(artifacts[0]["name"], name);
    assert_eq!(artifacts[0]["size"], made.len());
    assert_eq!(artifacts[0]["hash"], Digest::of(&made).to_string());
    let fetched = reader.shell(&format!("windlass --dir ci artifact {id} {name}")).output().unwrap();
    assert!(fetched.status.success() && fetched.stdout == made);
}

/// What the page's reader has on their machine before: the examples, and a clone of the project.
fn prepare(folder: &Path, project: &str, repository: &Repository) {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
    std::fs::create_dir(folder.join("docs")).unwrap();
    let copied = Command::new("cp").arg("-R").arg(examples).arg(folder.join("docs")).status().unwrap();
    assert!(copied.success());
    std::os::unix::fs::symlink(repository.path(), folder.join(project)).unwrap();
}

#[test]
fn a_crate_that_nobody_here_wrote_is_built_tested_and_kept_commit_by_commit() {
    let repository = import();
    let reader = follow_from("examples/crate/README.md", Language::Rust, |folder| {
        prepare(folder, "strsim", &repository);
    });
    let alone = tempfile::tempdir().unwrap();
    let checkout = alone.path().join("checkout");
    let healthy = ["git success", "compile success", "cargo-test success", "file-upload success"];

    // What the page has built.
    let head = repository.git(&["rev-parse", "HEAD"]);
    let build = built(&reader, "crate", 0);
    assert_eq!((revision(&build), outcomes(&build)), (head.as_str(), healthy.map(str::to_owned).to_vec()));
    let whole = tested(&repository, &checkout, &head);
    assert!(whole.passed > 50 && whole.failed == 0, "{whole:?}");
    assert_eq!(counted(&reader, &build), whole);
    keeps_what_was_made(&reader, &build, "target/release/libstrsim.rlib");
    assert!(std::fs::metadata(reader.path("libstrsim.rlib")).unwrap().len() > 0, "the page fetched it");

    // What is there already is nothing new.
    assert_eq!(reader.ask("poll")[0]["changes"], 0);

    // A commit that breaks what tests hold on to, and leaves something behind that the compiler warns of.
    let file = repository.path().join("src/lib.rs");
    let good = std::fs::read_to_string(&file).unwrap();
    assert_eq!(good.matches("if x != y {").count(), 1, "the source is another one");
    let bad = good.replace("if x != y {", "if x == y {") + "\nfn forgotten() {}\n";
    let broken = repository.commit("src/lib.rs", &bad, "Count what is the same");
    assert_eq!(reader.ask("poll")[0]["changes"], 1);
    let before = build["id"].as_u64().unwrap();
    let build = built(&reader, "crate", before);
    assert_eq!((revision(&build), &build["outcome"]), (broken.as_str(), &"failure".into()), "{build}");
    assert_eq!(outcomes(&build), ["git success", "compile warnings", "cargo-test failure"]);
    assert_eq!(build["steps"][1]["statistics"]["warnings"], 1.0);
    let said = tested(&repository, &checkout, &broken);
    assert!(
        said.failures.contains("tests::hamming_names") && said.failures.contains("hamming_works"),
        "{said:?}"
    );
    assert_eq!((said.passed + said.failed, counted(&reader, &build)), (whole.passed, said));
    assert_eq!(reader.ask(&format!("artifacts {}", build["id"])), serde_json::json!([]));

    // For people: the program, the test and why.
    let shown = format!("windlass --dir ci tests {} --failed", build["id"]);
    let failed = String::from_utf8(reader.shell(&shown).output().unwrap().stdout).unwrap();
    assert!(failed.contains("tests/lib.rs hamming_works") && failed.contains("left: 3"), "{failed}");

    // And the mend.
    let mended = repository.commit("src/lib.rs", &good, "Count what differs, as before");
    assert_eq!(reader.ask("poll")[0]["changes"], 1);
    let before = build["id"].as_u64().unwrap();
    let build = built(&reader, "crate", before);
    assert_eq!((revision(&build), outcomes(&build)), (mended.as_str(), healthy.map(str::to_owned).to_vec()));
    assert_eq!(tested(&repository, &checkout, &mended), whole);
    assert_eq!(counted(&reader, &build), whole);
    keeps_what_was_made(&reader, &build, "target/release/libstrsim.rlib");
}
