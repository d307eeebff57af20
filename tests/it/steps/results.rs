//! Test results: from real tools, by JUnit's XML and by what cargo says, to the API and the command line.

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

/// What runs where there is no pytest: Python's own unittest, told where its results go and writing them as pytest
/// does.
const RUNNER: &str = r#"
import sys, unittest
from xml.sax.saxutils import escape, quoteattr
path = next(a.split("=", 1)[1] for a in sys.argv if a.startswith("--junitxml="))
suite = unittest.defaultTestLoader.discover(".", pattern="test_*.py")
result = unittest.TestResult()
cases = []
def each(suite):
    for one in suite:
        if isinstance(one, unittest.TestSuite):
            yield from each(one)
        else:
            yield one
for case in each(suite):
    case.run(result)
    failed = [text for test, text in result.failures if test is case]
    skipped = [text for test, text in result.skipped if test is case]
    inner = "".join(f"<failure message={quoteattr(t.strip().splitlines()[-1])}>{escape(t)}</failure>" for t in failed)
    inner += "".join(f"<skipped message={quoteattr(t)}/>" for t in skipped)
    _, klass, name = case.id().rsplit(".", 2)
    cases.append(f'<testcase classname="test_math.{klass}" name="{name}" time="0.001">{inner}</testcase>')
open(path, "w").write(f'<testsuites><testsuite name="pytest">{"".join(cases)}</testsuite></testsuites>')
sys.exit(5 if not cases else 0 if result.wasSuccessful() else 1)
"#;

#[test]
fn python_tests_are_run_and_read() {
    let python = |args: &[&str]| std::process::Command::new("python3").args(args).output();
    let has_pytest = python(&["-m", "pytest", "--version"]).is_ok_and(|output| output.status.success());
    let command = if has_pytest { "" } else { "command = [\"python3\", \"run.py\"], " };
    let cases = "import unittest\n\nclass Math(unittest.TestCase):\n    def test_adds(self):\n        \
        self.assertEqual(1 + 1, 2)\n    def test_divides(self):\n        self.assertEqual(1 / 1, 2)\n    \
        @unittest.skip(\"not today\")\n    def test_later(self):\n        pass\n";
    let steps = [
        file("run.py", RUNNER),
        file("test_math.py", cases),
        format!("[[builders.steps]]\nuse = \"pytest\"\nargs = {{ {command}junit_file = \"results.xml\" }}\n"),
        "[[builders.steps]]\nuse = \"shell-command\"\nname = \"remove\"\nargs = { command = \"rm test_math.py\" }\n".to_owned(),
        format!("[[builders.steps]]\nuse = \"pytest\"\nname = \"none\"\nargs = {{ {command}allow_empty = true }}\n"),
        "[[builders.steps]]\nuse = \"pytest\"\nname = \"broken\"\nargs = { command = [\"python3\", \"none.py\"] }\n"
            .to_owned(),
    ];
    let site = Site::new(&["w1"], &builder(&steps.concat())).start();
    let build = site.build("b");
    let summaries = ends(&build);
    assert_eq!(summaries[0], ("pytest", "failure", "3 tests, 1 failed, 1 skipped"), "{build}");
    assert_eq!(summaries[2], ("none", "success", "no tests"));
    assert_eq!((summaries[3].0, summaries[3].1), ("broken", "failure"));
    let found = tests(&site, &build, &[]);
    assert_eq!(
        lines(&found),
        [
            "pytest/test_math.Math/test_adds success",
            "pytest/test_math.Math/test_divides failure",
            "pytest/test_math.Math/test_later skipped"
        ]
    );
    assert!(found["results"][1]["text"].as_str().unwrap().contains("AssertionError"), "{found}");
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
    assert_eq!(ends(&site.build("b")), [("junit", "failure", "180 tests, 1 failed")]);
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
