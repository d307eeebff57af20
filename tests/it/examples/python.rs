//! A project in Python: tested by pytest, built by its own backend, kept.

use windlass_tests::python::{self, Counts};

use super::*;

const WHEEL: &str = "dist/installer-0.7.0-py3-none-any.whl";

fn clone(repository: &Repository, revision: &str, there: &Path) {
    repository.git(&["clone", "--quiet", repository.url(), there.to_str().unwrap()]);
    repository.git(&["-C", there.to_str().unwrap(), "checkout", "--quiet", "--detach", revision]);
}

/// What pytest alone says of a revision.
fn tested(repository: &Repository, revision: &str) -> Counts {
    let checkout = tempfile::tempdir().unwrap();
    clone(repository, revision, checkout.path());
    python::tested(checkout.path(), &["--quiet", "-o", "pythonpath=src", "tests"])
}

#[test]
fn a_python_project_that_nobody_here_wrote_is_tested_built_and_kept_commit_by_commit() {
    let repository = python::import("installer");
    let reader = follow_from("examples/python/README.md", Language::Python, |folder| {
        prepare(folder, "installer", &repository);
        std::os::unix::fs::symlink(python::environment(), folder.join("venv")).unwrap();
    });
    let healthy =
        ["git success", "pytest success", "version success", "wheel success", "file-upload success"];
    let counted = |build: &Value| python::counted(&reader.ask(&format!("tests {}", build["id"]))["counts"]);
    let poll = |build: &Value| {
        assert_eq!(reader.ask("poll")[0]["changes"], 1);
        built(&reader, "python", build["id"].as_u64().unwrap())
    };

    // What the page has built. The wheel is one: Python loads what is in it.
    let head = repository.git(&["rev-parse", "HEAD"]);
    let build = built(&reader, "python", 0);
    assert_eq!((revision(&build), outcomes(&build)), (head.as_str(), healthy.map(str::to_owned).to_vec()));
    let whole = tested(&repository, &head);
    assert!(whole.passed > 100 && whole.passed == whole.total, "{whole:?}");
    assert_eq!(counted(&build), whole);
    keeps_what_was_made(&reader, &build, WHEEL);
    let loads = "windlass --dir ci artifact 1 installer-0.7.0-py3-none-any.whl -o got.whl\n\
        PYTHONPATH=got.whl venv/bin/python3 -c 'import installer; print(installer.__file__)'";
    let loaded = String::from_utf8(reader.shell(loads).output().unwrap().stdout).unwrap();
    assert!(loaded.contains("got.whl/installer/__init__.py"), "{loaded}");

    // A commit that breaks what tests hold on to: nothing is made of it.
    let file = repository.path().join("src/installer/utils.py");
    let good = std::fs::read_to_string(&file).unwrap();
    let bad = good.replace("raise ValueError(", "raise KeyError(");
    assert_ne!(bad, good, "the source is another one");
    let broken = repository.commit("src/installer/utils.py", &bad, "Say what is missing");
    let build = poll(&build);
    assert_eq!((revision(&build), &build["outcome"]), (broken.as_str(), &"failure".into()), "{build}");
    assert_eq!(outcomes(&build), ["git success", "pytest failure"]);
    let said = tested(&repository, &broken);
    assert!(said.failed > 0 && said.total == whole.total, "{said:?}");
    assert_eq!(counted(&build), said);
    assert_eq!(reader.ask(&format!("artifacts {}", build["id"])), serde_json::json!([]));
    let shown = format!("windlass --dir ci tests {} --failed", build["id"]);
    let failed = String::from_utf8(reader.shell(&shown).output().unwrap().stdout).unwrap();
    assert!(failed.contains("tests.test_utils") && failed.contains("KeyError"), "{failed}");

    // One that no test comes to: what they all need breaks off.
    let fixtures = std::fs::read_to_string(repository.path().join("tests/conftest.py")).unwrap();
    let body = "    path = tmp_path / \"fancy-1.0.0-py2.py3-none-any.whl\"\n";
    assert_eq!(fixtures.matches(body).count(), 1, "the source is another one");
    std::fs::write(&file, &good).unwrap();
    let late = fixtures.replace(body, &format!("    raise OSError(\"no room\")\n{body}"));
    let worse = repository.commit("tests/conftest.py", &late, "As before; another place for the wheel");
    let build = poll(&build);
    assert_eq!((revision(&build), outcomes(&build)[1].as_str()), (worse.as_str(), "pytest failure"));
    let said = tested(&repository, &worse);
    assert!(said.errors > 0 && said.failed == 0, "{said:?}");
    assert_eq!(counted(&build), said);

    // And the mend.
    let mended = repository.commit("tests/conftest.py", &fixtures, "The wheel is where it was");
    let build = poll(&build);
    assert_eq!((revision(&build), outcomes(&build)), (mended.as_str(), healthy.map(str::to_owned).to_vec()));
    assert_eq!(counted(&build), whole);
    keeps_what_was_made(&reader, &build, WHEEL);
}
