//! Test results: from real tools, by JUnit's XML and by what cargo says, to the API and the command line.

use windlass_tests::python::{self, Counts};

use super::*;

const XML: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="unit">
    <testcase classname="Math" name="adds" time="0.002"/>
    <testcase classname="Math" name="divides" time="0.004"><failure message="1 != 2">at math.c:7</failure></testcase>
    <testcase classname="Math" name="later"><skipped/></testcase>
  </testsuite>
</testsuites>
"#;

fn tests(site: &Site, build: &Value, more: &[&str]) -> Value {
    let id = build["id"].to_string();
    let args = [&["tests", &id, "--json"], more].concat();
    let output = site.windlass(&args);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {output:?}"))
}

/// Each result in one line.
fn lines(tests: &Value) -> Vec<String> {
    let line = |test: &Value| {
        let name: Vec<_> = test["name"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        format!("{} {}", name.join("/"), test["outcome"].as_str().unwrap())
    };
    tests["results"].as_array().unwrap().iter().map(line).collect()
}

fn junit(files: &str, more: &str) -> String {
    format!("[[builders.steps]]\nuse = \"junit\"\nargs = {{ files = {files} {more} }}\n")
}

#[test]
fn results_of_junit_are_counted_listed_and_filtered() {
    let steps = [file("a.xml", XML), junit("\"a.xml\"", ""), junit("\"a.xml\"", "")].concat();
    let site = Site::new(&["w1"], &builder(&steps)).start();
    let build = site.build("b");
    assert_eq!(build["outcome"], "failure");
    assert_eq!(step(&build, "junit")["summary"], "3 tests, 1 failed, 1 skipped");
    assert_eq!(step(&build, "junit")["tests"]["failed"], 1);
    assert_eq!(step(&build, "junit")["statistics"]["tests-total"], 3.0);
    let all = tests(&site, &build, &[]);
    assert_eq!((&all["counts"]["total"], &all["counts"]["duration_ms"]), (&6.into(), &12.into()));
    let one = ["unit/Math/adds success", "unit/Math/divides failure", "unit/Math/later skipped"];
    assert_eq!(lines(&all), [one, one].concat());
    let failed = tests(&site, &build, &["--failed", "--step", "junit_1"]);
    assert_eq!(lines(&failed), ["unit/Math/divides failure"]);
    assert_eq!(failed["results"][0]["text"], "1 != 2\nat math.c:7");
    assert_eq!(failed["results"][0]["step"], "junit_1");

    // Page by page it is the same.
    let id = &build["id"];
    let page = site.get(&format!("/api/v1/builds/{id}/tests?limit=4"));
    let rest = site.get(&format!("/api/v1/builds/{id}/tests?after={}", page["next"].as_str().unwrap()));
    assert_eq!([lines(&page), lines(&rest)].concat(), lines(&all));
    assert!(rest["next"].is_null());

    // For people: what failed says why, and the exit code tells.
    let shown = site.windlass(&["tests", &id.to_string()]);
    let said = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert_eq!(shown.status.code(), Some(1));
    assert!(said.contains("unit Math divides") && said.contains("at math.c:7"), "{said}");
    assert!(said.contains("6 tests, 2 failed, 2 skipped"), "{said}");
    let build_said = site.windlass(&["build", &id.to_string()]);
    assert!(String::from_utf8_lossy(&build_said.stdout).contains("6 tests, 2 failed, 2 skipped"));
}

#[test]
fn files_of_junit_that_are_missing_or_damaged_fail_and_say_so() {
    let steps = [
        file("cut.xml", &XML[..150]),
        junit("\"cut.xml\"", ""),
        junit("\"none.xml\"", ""),
        file("empty.xml", "<testsuites/>"),
        junit("\"empty.xml\"", ""),
        junit("[\"empty.xml\"]", ", allow_empty = true"),
    ];
    let site = Site::new(&["w1"], &builder(&steps.concat())).start();
    let build = site.build("b");
    assert_eq!(
        ends(&build),
        [
            (
                "junit",
                "failure",
                "build/cut.xml: line 5 is no XML: the attributes of <testcase> cannot be read"
            ),
            ("junit_1", "failure", "build/none.xml: it cannot be read"),
            ("junit_2", "failure", "no tests"),
            ("junit_3", "success", "0 tests"),
        ]
    );
}

#[test]
fn a_pattern_reads_every_file_that_it_fits_and_names_the_one_that_is_no_xml() {
    let passed = |name: &str| {
        format!("<testsuite name=\"{name}\"><testcase classname=\"C\" name=\"works\"/></testsuite>")
    };
    let steps = [
        file("reports/unit.xml", XML),
        file("reports/more.xml", &passed("more")),
        file("reports/deep/er/still.xml", &passed("still")),
        file("reports/deep/notes.txt", "these are no results\n"),
        junit("\"reports/*.xml\"", ""),
        // Both patterns find some of them: each file counts once.
        junit("[\"reports/**/*.xml\", \"reports/m???.xml\"]", ""),
        junit("\"none/*.xml\"", ""),
        junit("[\"none/*.xml\"]", ", allow_empty = true"),
        // Read in the order of their names: what stands before the bad one counts.
        junit("\"reports/deep/**/*.*\"", ""),
    ];
    let site = Site::new(&["w1"], &builder(&steps.concat())).start();
    let build = site.build("b");
    let (outcomes, summaries): (Vec<_>, Vec<_>) =
        ends(&build).into_iter().map(|(_, outcome, summary)| (outcome, summary)).unzip();
    assert_eq!(outcomes, ["failure", "failure", "failure", "success", "failure"], "{build}");
    assert_eq!(summaries[0], "4 tests, 1 failed, 1 skipped");
    assert_eq!(summaries[1], "5 tests, 1 failed, 1 skipped");
    assert_eq!(summaries[2], "no files: none/*.xml");
    assert_eq!(summaries[3], "0 tests");
    assert!(summaries[4].starts_with("build/reports/deep/notes.txt: line 1 is no XML"), "{}", summaries[4]);
    let all = tests(&site, &build, &["--step", "junit_4"]);
    assert_eq!(lines(&all), ["still/C/works success"]);
    let files = log(&site, &build, "junit_1", "junit");
    assert_eq!(files.matches("<testsuite name=\"more\">").count(), 1, "{files}");
}

#[test]
fn a_real_crate_is_tested_by_cargo_and_each_of_its_tests_is_a_result() {
    let lib = "/// Adds.\n///\n/// ```\n/// assert_eq!(tiny::add(1, 2), 3);\n/// ```\npub fn add(a: i32, b: i32) -> i32 { a + b }\n\
        #[cfg(test)]\nmod tests {\n    #[test]\n    fn adds() { assert_eq!(super::add(1, 1), 2); }\n    \
        #[test]\n    fn fails() { println!(\"it said so\"); assert_eq!(super::add(1, 1), 3); }\n    \
        #[test]\n    #[ig\u{6e}ore = \"not today\"]\n    fn later() {}\n}\n";
    let manifest = "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n";
    let steps = [
        file("Cargo.toml", manifest),
        file("src/lib.rs", lib),
        file("tests/whole.rs", "#[test]\nfn works() { assert_eq!(tiny::add(2, 2), 4); }\n"),
        "[[builders.steps]]\nuse = \"cargo-test\"\nargs = { args = [\"--offline\", \"--no-fail-fast\", \"--\", \"--test-threads=1\"] }\n"
            .to_owned(),
    ];
    let site = Site::new(&["w1"], &builder(&steps.concat())).start();
    let build = site.build("b");
    let found = tests(&site, &build, &[]);
    assert_eq!(
        lines(&found),
        [
            "unittests src/lib.rs/tests::adds success",
            "unittests src/lib.rs/tests::fails failure",
            "unittests src/lib.rs/tests::later skipped",
            "tests/whole.rs/works success",
            "Doc-tests tiny/src/lib.rs - add (line 3) success",
        ],
        "{}",
        log(&site, &build, "cargo-test", "stdio")
    );
    let text = found["results"][1]["text"].as_str().unwrap();
    assert!(text.contains("it said so") && text.contains("left: 2"), "{text}");
    assert_eq!(found["results"][2]["text"], "not today");
    assert_eq!(step(&build, "cargo-test")["summary"], "5 tests, 1 failed, 1 skipped");
    assert_eq!(build["outcome"], "failure");
}

#[test]
fn a_crate_that_does_not_compile_has_no_results_and_fails_by_its_exit_code() {
    let steps = [
        file(
            "Cargo.toml",
            "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
        ),
        file("src/lib.rs", "pub fn add() -> i32 { nothing }\n"),
        "[[builders.steps]]\nuse = \"cargo-test\"\nargs = { args = [\"--offline\"] }\n".to_owned(),
    ];
    let site = Site::new(&["w1"], &builder(&steps.concat())).start();
    let build = site.build("b");
    assert_eq!(ends(&build), [("cargo-test", "failure", "cargo test --offline: exit code 101")]);
    assert_eq!(tests(&site, &build, &[])["counts"]["total"], 0);
}

/// One test of each end that pytest knows, and a fixture that breaks off before and after its test.
const CASES: &str = r#"
import pytest

@pytest.fixture
def broken(): raise OSError("no such machine")

@pytest.fixture
def untidy():
    yield 1
    raise OSError("it stays")

def test_adds(): assert 1 + 1 == 2

@pytest.mark.parametrize("n", [1, 2, 3])
def test_divides(n):
    assert 2 % n == 0

def test_on_a_machine(broken): pass

def test_tidies_up(untidy): assert untidy == 1

def test_fails_and_leaves_a_mess(untidy): assert untidy == 2

@pytest.mark.skip(reason="not today")
def test_later(): pass

@pytest.mark.xfail(reason="known", strict=True)
def test_known(): assert False

@pytest.mark.xfail(reason="it was mended", strict=True)
def test_mended(): pass
"#;

/// A step `pytest` whose Python is that of the tests.
fn pytest(name: &str, args: &str) -> String {
    let bin = python::environment().join("bin");
    let env = format!("env = {{ PATH = \"{}:${{PATH}}\" }}, ", bin.display());
    format!("[[builders.steps]]\nuse = \"pytest\"\nname = \"{name}\"\nargs = {{ {env}{args} }}\n")
}

/// The sums of a step's results.
fn counts(site: &Site, build: &Value, step: &str) -> Counts {
    python::counted(&tests(site, build, &["--step", step])["counts"])
}

#[test]
fn results_of_pytest_are_those_that_it_counts_itself() {
    let steps = [
        file("test_math.py", CASES),
        pytest("whole", "junit_file = \"results.xml\""),
        pytest("some", "args = [\"-k\", \"adds or later\"]"),
        file("test_broken.py", "import there_is_no_such_module\ndef test_never(): pass\n"),
        pytest("uncollected", "args = [\"test_broken.py\", \"test_math.py\"]"),
        pytest("hurried", "args = [\"-x\", \"test_math.py\"]"),
        pytest("none", "args = [\"-k\", \"nothing\", \"test_math.py\"], allow_empty = true"),
        pytest("nothing", "args = [\"-k\", \"nothing\", \"test_math.py\"]"),
        pytest("misspelt", "args = [\"--no-such-option\"]"),
    ];
    let site = Site::new(&["w1"], &builder(&steps.concat())).start();
    let build = site.build("b");
    let own = |args: &[&str]| python::tested(&site.path("w1/builds/b/build"), args);

    let math = own(&["test_math.py"]);
    assert_eq!(math, Counts { total: 11, passed: 3, failed: 3, errors: 3, skipped: 2 });
    assert_eq!(counts(&site, &build, "whole"), math);
    assert_eq!(counts(&site, &build, "some"), own(&["-k", "adds or later", "test_math.py"]));
    assert_eq!(counts(&site, &build, "uncollected"), own(&["test_broken.py", "test_math.py"]));
    assert_eq!(counts(&site, &build, "hurried"), own(&["-x", "test_math.py"]));
    assert_eq!(counts(&site, &build, "misspelt").total, 0);

    assert_eq!(
        ends(&build),
        [
            ("whole", "failure", "11 tests, 3 failed, 3 broke off, 2 skipped"),
            ("some", "success", "2 tests, 1 skipped"),
            (
                "uncollected",
                "failure",
                "1 test, 1 broke off; python3 -m pytest --junitxml=.windlass-pytest.xml test_broke…: exit code 2"
            ),
            ("hurried", "failure", "4 tests, 1 failed"),
            ("none", "success", "no tests"),
            ("nothing", "failure", "no tests"),
            (
                "misspelt",
                "failure",
                "python3 -m pytest --junitxml=.windlass-pytest.xml --no-such-…: exit code 4"
            ),
        ]
    );
}

#[test]
fn what_a_test_of_pytest_said_is_with_its_result() {
    let steps = [file("test_math.py", CASES), pytest("pytest", "args = [\"-q\"]")];
    let site = Site::new(&["w1"], &builder(&steps.concat())).start();
    let build = site.build("b");
    let found = tests(&site, &build, &[]);
    assert_eq!(
        lines(&found)[..6],
        [
            "pytest tests/pytest/test_math/test_adds success",
            "pytest tests/pytest/test_math/test_divides[1] success",
            "pytest tests/pytest/test_math/test_divides[2] success",
            "pytest tests/pytest/test_math/test_divides[3] failure",
            "pytest tests/pytest/test_math/test_on_a_machine exception",
            "pytest tests/pytest/test_math/test_tidies_up exception",
        ]
    );
    let text = |n: usize| found["results"][n]["text"].as_str().unwrap();
    assert!(text(3).contains("assert (2 % 3) == 0") && text(3).contains("n = 3"), "{}", text(3));
    assert!(text(4).contains("no such machine"), "{}", text(4));
    // The results are the step's; nothing of them stays on the worker.
    assert!(!site.path("w1/builds/b/build/.windlass-pytest.xml").exists());
    assert!(log(&site, &build, "pytest", "stdio").contains("short test summary info"));
}

/// Symptom: of a thousand reports the last six hundred were read, and a failure among the others was a success.
/// Cause: the paths of a long list come in parts, of which `wait` answers the last one.
/// Cure: the step reads them all.
#[test]
fn results_of_many_files_are_all_read() {
    let name = "x".repeat(200);
    let steps = [
        file("ok", "<testsuite><testcase name='a'/></testsuite>"),
        file("bad", "<testsuite><testcase name='a'><failure/></testcase></testsuite>"),
        format!(
            "[[builders.steps]]\nuse = \"shell-command\"\nname = \"write all\"\nargs = {{ command = \
             \"mkdir -p r; for n in $(seq 1001 1180); do cp ok r/$n-{name}.xml; done; cp bad r/1001-{name}.xml\" }}\n"
        ),
        junit("\"r/*.xml\"", ", workdir = \"./build\""),
    ];
    let site = Site::new(&["w1"], &builder(&steps.concat())).start();
    let build = site.build("b");
    assert_eq!(ends(&build), [("junit", "failure", "180 tests, 1 failed")]);
    // A hundred by one command.
    let said = log(&site, &build, "junit", "junit");
    assert_eq!(said.matches("exit code 0").count(), 2, "{said}");
}

#[test]
fn old_results_that_cannot_be_removed_are_no_results() {
    let name = "x".repeat(300);
    let pytest = format!(
        "[[builders.steps]]\nuse = \"pytest\"\nargs = {{ command = [\"true\"], junit_file = \"{name}\" }}\n"
    );
    let site = Site::new(&["w1"], &builder(&(file("a", "so that there is a directory") + &pytest))).start();
    let build = site.build("b");
    let (_, outcome, summary) = ends(&build)[0];
    assert_eq!(outcome, "failure");
    assert!(summary.starts_with("removal of build/xxx") && summary.contains("too long"), "{summary}");
}
