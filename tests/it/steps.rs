//! The bundled steps against real tools: a compiler, a test runner, files.

use serde_json::Value;
use windlass_tests::site::{Site, eventually};

mod files;
mod pages;
mod results;

/// TOML of the builder `b` with these steps, on one worker.
fn builder(steps: &str) -> String {
    format!("[[builders]]\nname = \"b\"\nworkers = [\"w1\"]\n{steps}")
}

/// A step that writes a file below `build`.
fn file(path: &str, text: &str) -> String {
    let (directory, _) = path.rsplit_once('/').unwrap_or((".", path));
    let command = format!("mkdir -p {directory} && cat > {path}");
    let (command, text) = (Value::from(command), Value::from(text));
    format!(
        "[[builders.steps]]\nuse = \"shell-command\"\nname = \"write\"\nargs = {{ command = {command}, \
         initial_stdin = {text} }}\nhalt_on_failure = true\n"
    )
}

fn step<'a>(build: &'a Value, name: &str) -> &'a Value {
    let steps = build["steps"].as_array().unwrap();
    steps.iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("no step {name}: {build}"))
}

fn of<'a>(step: &'a Value, key: &str) -> &'a str {
    step[key].as_str().unwrap_or_default()
}

/// Name, outcome and line of each step but those that write files.
fn ends(build: &Value) -> Vec<(&str, &str, &str)> {
    let steps = build["steps"].as_array().unwrap().iter();
    steps
        .map(|step| (of(step, "name"), of(step, "outcome"), of(step, "summary")))
        .filter(|(name, ..)| !name.starts_with("write"))
        .collect()
}

fn log(site: &Site, build: &Value, step: &str, log: &str) -> String {
    let output = site.windlass(&["logs", &build["id"].to_string(), step, "--log", log]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn property<'a>(build: &'a Value, name: &str) -> &'a Value {
    let properties = build["properties"].as_array().unwrap();
    &properties.iter().find(|property| property["name"] == name).unwrap_or_else(|| panic!("no {name}"))["value"]
}

/// C that compiles with two warnings, one of them in a directory of its own.
const MAKEFILE: &str = "all:\n\tgcc -Wall -c main.c\n\t$(MAKE) -C lib\n";
const LIB: &str = "all:\n\tgcc -Wall -c part.c\n";
const UNUSED: &str = "int part(void) { int unused; return 0; }\n";

fn compiled(args: &str) -> (Site, Value) {
    let steps = [
        file("Makefile", MAKEFILE),
        file("main.c", "int main(void) { int idle; return 0; }\n"),
        file("lib/Makefile", LIB),
        file("lib/part.c", UNUSED),
        file("known", "# the old ones\nmain\\.c : unused variable\n"),
        format!(
            "[[builders.steps]]\nuse = \"compile\"\nargs = {{ env = {{ LC_ALL = \"C\" }}, {args} }}\nwarn_on_warnings = true\n"
        ),
    ];
    let site = Site::new(&["w1"], &builder(&steps.concat())).start();
    let build = site.build("b");
    (site, build)
}

#[test]
fn warnings_of_a_real_compiler_are_counted_and_kept() {
    let (site, build) = compiled("timeout = 60");
    assert_eq!(build["outcome"], "warnings", "{build}");
    let compile = step(&build, "compile");
    assert_eq!(
        (&compile["outcome"], &compile["summary"]),
        (&"warnings".into(), &"make all: 2 warnings".into())
    );
    assert_eq!(compile["statistics"]["warnings"], 2.0);
    assert_eq!(property(&build, "warnings-count"), 2);
    let warnings = log(&site, &build, "compile", "warnings");
    assert!(warnings.contains("main.c:1:") && warnings.contains("unused variable"), "{warnings}");
    let figures = site.get("/api/v1/builders/b/statistics?name=warnings");
    assert_eq!((&figures[0]["value"], &figures[0]["step"]), (&2.0.into(), &"compile".into()), "{figures}");
}

#[test]
fn warnings_that_are_suppressed_do_not_count_and_too_many_are_a_failure() {
    let (_, build) = compiled("suppression_file = \"known\", max_warn_count = 0");
    assert_eq!(step(&build, "compile")["summary"], "make all: 1 warning, at most 0 are allowed");
    assert_eq!(build["outcome"], "failure");
    let (_, build) =
        compiled("suppression_file = \"known\", suppression_list = [{ file = \"lib/part\", start = 1 }]");
    let compile = step(&build, "compile");
    assert_eq!((&compile["outcome"], &build["outcome"]), (&"success".into(), &"success".into()), "{compile}");
}

#[test]
fn warnings_are_not_counted_where_no_pattern_is_wanted() {
    let steps = "[[builders.steps]]\nuse = \"compile\"\nwarn_on_warnings = true\n\
        args = { command = \"echo a.c:1: warning: all is lost\", warning_pattern = \"\" }\n";
    let site = Site::new(&["w1"], &builder(steps)).start();
    let build = site.build("b");
    assert_eq!(ends(&build), [("compile", "success", "echo a.c:1: warning: all is lost")]);
    assert_eq!(step(&build, "compile")["statistics"]["warnings"], Value::Null, "{build}");
    let names: Vec<_> =
        step(&build, "compile")["logs"].as_array().unwrap().iter().map(|log| of(log, "name")).collect();
    assert_eq!(names, ["stdio"]);
}

#[test]
fn a_sequence_runs_what_its_flags_allow() {
    let steps = "[[builders.steps]]\nuse = \"shell-sequence\"\nname = \"mild\"\n[builders.steps.args]\n\
        commands = [{ command = \"exit 3\", flunk_on_failure = false, warn_on_failure = true, logname = \"first\" }, \
        { command = [\"echo\", [\"second\", 2]], logname = \"second\" }]\n\
        [[builders.steps]]\nuse = \"shell-sequence\"\nname = \"strict\"\n[builders.steps.args]\n\
        commands = [{ command = \"exit 4\", halt_on_failure = true }, { command = \"touch never\" }]\n\
        [[builders.steps]]\nuse = \"file-exists\"\nargs = { file = \"build/never\" }\n";
    let site = Site::new(&["w1"], &builder(steps)).start();
    let build = site.build("b");
    assert_eq!(
        ends(&build),
        [
            ("mild", "warnings", "exit 3: exit code 3"),
            ("strict", "failure", "exit 4: exit code 4"),
            ("file-exists", "failure", "build/never: it is not there"),
        ]
    );
    assert!(log(&site, &build, "mild", "second").contains("second 2\n"));
}

#[test]
fn a_project_is_configured_tested_and_its_files_are_seen_to() {
    let steps = [
        file("configure", "echo configured by \"$0\" > config.h\n"),
        "[[builders.steps]]\nuse = \"configure\"\nargs = { command = [\"sh\", \"./configure\"] }\n".to_owned(),
        file("Makefile", "test:\n\tgrep -q configured config.h\n"),
        "[[builders.steps]]\nuse = \"test\"\n\
         [[builders.steps]]\nuse = \"mkdir\"\nargs = { dir = \"build/out/deep\" }\n\
         [[builders.steps]]\nuse = \"shell-command\"\nname = \"fill\"\nargs = { command = \"cp config.h out/deep\" }\n\
         [[builders.steps]]\nuse = \"file-exists\"\nargs = { file = \"build/out/deep/config.h\" }\n\
         [[builders.steps]]\nuse = \"rmdir\"\nargs = { dir = [\"build/out\", \"build/never\"] }\n\
         [[builders.steps]]\nuse = \"file-exists\"\nname = \"gone\"\nargs = { file = \"build/out/deep/config.h\" }\n"
            .to_owned(),
    ];
    let site = Site::new(&["w1"], &builder(&steps.concat())).start();
    let outcomes: Vec<_> =
        ends(&site.build("b")).iter().map(|(name, outcome, _)| format!("{name} {outcome}")).collect();
    assert_eq!(
        outcomes,
        [
            "configure success",
            "test success",
            "mkdir success",
            "fill success",
            "file-exists success",
            "rmdir success",
            "gone failure"
        ]
    );
}

#[test]
fn properties_are_set_asserted_and_shown() {
    let steps = "[[builders.steps]]\nuse = \"set-property\"\nargs = { property = \"jobs\", value = 4 }\n\
        [[builders.steps]]\nuse = \"set-property-from-command\"\nname = \"version\"\nargs = { command = \
        \"echo program 1.25; echo noise >&2\", property = \"all\", extract = { version = \"program ([0-9.]+)\" } }\n\
        [[builders.steps]]\nuse = \"assert\"\nargs = { that = \"%(prop:jobs)s\", equals = 4 }\n\
        [[builders.steps]]\nuse = \"assert\"\nname = \"matches\"\nargs = { that = \"%(prop:version)s\", matches = \"^1[.]\" }\n\
        [[builders.steps]]\nuse = \"log-renderable\"\nargs = { content = { v = \"%(prop:version)s\", j = \"%(prop:jobs)s\" } }\n\
        [[builders.steps]]\nuse = \"shell-command\"\nname = \"typed\"\nargs = { command = [\"test\", \"%(prop:jobs)s\", \"-eq\", 4] }\n\
        [[builders.steps]]\nuse = \"set-property-from-command\"\nname = \"nothing\"\nargs = { command = \"true\", \
        extract = { x = \"[0-9]+\" } }\n\
        [[builders.steps]]\nuse = \"assert\"\nname = \"wrong\"\nargs = { that = \"%(prop:jobs)s\", one_of = [1, \"4\"] }\n";
    let site = Site::new(&["w1"], &builder(steps)).start();
    let build = site.build("b");
    assert_eq!(
        ends(&build),
        [
            ("set-property", "success", "jobs"),
            ("version", "success", "all, version"),
            ("assert", "success", "it holds"),
            ("matches", "success", "it holds"),
            ("log-renderable", "success", "see log output"),
            ("typed", "success", "test 4 -eq 4"),
            ("nothing", "failure", "true: nothing found for x"),
            ("wrong", "failure", "4 is none of [1,\"4\"]"),
        ]
    );
    assert_eq!(
        (property(&build, "all"), property(&build, "version")),
        (&"program 1.25".into(), &"1.25".into())
    );
    let shown = log(&site, &build, "log-renderable", "output");
    assert!(shown.contains("\"v\": \"1.25\"") && shown.contains("\"j\": 4"), "{shown}");
}

#[test]
fn a_step_is_stopped_by_itself_and_one_that_takes_too_long_fails() {
    let steps = "[[builders.steps]]\nuse = \"shell-command\"\nname = \"slow\"\nargs = { command = \"sleep 600\" }\n\
        deadline = 0.5\n\
        [[builders.steps]]\nuse = \"shell-command\"\nname = \"endless\"\nargs = { command = \"echo begun; sleep 600\" }\n\
        [[builders.steps]]\nuse = \"shell-command\"\nname = \"clean\"\nargs = { command = \"true\" }\nalways_run = true\n";
    let site = Site::new(&["w1"], &builder(steps)).start();
    let set = site.submit("b");
    let id = site.running("b").to_string();
    eventually("the second step runs", || {
        let build = site.ok(&["build", &id, "--json"]);
        (build["steps"].as_array()?.len() == 2).then_some(())
    });
    let wrong = site.windlass(&["stop", &id, "--step", "clean"]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(wrong.status.code(), Some(5), "{said}");
    assert!(said.contains("step `clean` of build") && said.contains("`endless` does"), "{said}");
    let stopped = site.windlass(&["stop", &id, "--step", "endless", "--reason", "enough"]);
    assert!(stopped.status.success(), "{stopped:?}");
    assert_eq!(site.outcome(set), "cancelled");
    let build = site.newest("b");
    let outcomes: Vec<_> =
        ends(&build).iter().map(|(name, outcome, _)| format!("{name} {outcome}")).collect();
    assert_eq!(outcomes, ["slow failure", "endless cancelled", "clean success"]);
    assert_eq!(step(&build, "slow")["summary"], "its deadline of 0.5 s has passed");
}

#[test]
fn steps_work_where_their_builder_says_unless_they_say_otherwise() {
    let where_ = |name: &str, args: &str| {
        format!(
            "[[builders.steps]]\nuse = \"shell-command\"\nname = \"{name}\"\nargs = {{ command = \"pwd\" {args} }}\n"
        )
    };
    let steps = ["workdir = \"src\"\n".to_owned(), where_("home", ""), where_("own", ", workdir = \"out\"")];
    let site = Site::new(&["w1"], &builder(&steps.concat())).start();
    let build = site.build("b");
    assert_eq!(build["outcome"], "success", "{build}");
    assert!(log(&site, &build, "home", "stdio").contains("/b/src\n"));
    assert!(log(&site, &build, "own", "stdio").contains("/b/out\n"));
}

/// Symptom: a step succeeded without any output, or with half of its command line, or left a buildset behind.
/// Cause: schemas took names that the master does not, and pairs of arguments that do not go together.
/// Cure: they say so when the file is read.
#[test]
fn arguments_that_would_be_dropped_are_refused_when_the_file_is_read() {
    let mut site = Site::new(&["w1"], "");
    for (hook, args, said) in [
        ("shell-sequence", "commands = [{ command = \"make\", logname = \"unit tests\" }]", "does not match"),
        ("shell-command", "command = \"make\", logfiles = { \"my log\" = \"f\" }", "does not match"),
        ("log-renderable", "content = 1, log = \".hidden\"", "does not match"),
        ("pytest", "command = \"tox -e py --\", args = [\"-k\", \"smoke\"]", "is not of type \"array\""),
        ("cargo-test", "command = \"cargo test\", args = [\"--workspace\"]", "is not of type \"array\""),
        ("trigger", "schedulers = [\"docs\"]", "there is no triggerable scheduler `docs`"),
    ] {
        site.configure(&builder(&format!("[[builders.steps]]\nuse = \"{hook}\"\nargs = {{ {args} }}\n")));
        let checked = site.windlass(&["check"]);
        let stderr = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(!checked.status.success() && stderr.contains(said), "{hook}: {stderr}");
    }
    site.configure(&builder(
        "[[builders.steps]]\nuse = \"pytest\"\nargs = { command = \"tox\", logfiles = { \"a-1_b+c.log\" = \"f\" } }\n",
    ));
    site.windlass(&["check"]).status.success().then_some(()).expect("what is right is taken");
}

#[test]
fn suppressions_that_cannot_be_read_fail_before_anything_is_compiled() {
    let steps =
        "[[builders.steps]]\nuse = \"compile\"\nargs = { command = \"true\", suppression_file = \"none\" }\n";
    let site = Site::new(&["w1"], &builder(steps)).start();
    let build = site.build("b");
    assert_eq!(ends(&build), [("compile", "failure", "true: the suppressions, build/none, cannot be read")]);
    let logs = step(&build, "compile")["logs"].as_array().unwrap();
    assert_eq!(logs.iter().map(|log| of(log, "name")).collect::<Vec<_>>(), ["suppressions"]);
}
