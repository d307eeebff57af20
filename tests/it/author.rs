//! A plugin author's first minutes: what `windlass plugin new` makes is built, checked, and does what it says.
//! The tutorials of `docs/plugins` have a test of their own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use windlass_tests::binary::windlass;
use windlass_tests::fixtures::target_dir;
use windlass_tests::receiver::Receiver;
use windlass_tests::site::{Site, eventually};

/// Kinds of hooks that may share a component with one another.
const SHARED: [&str; 9] = [
    "next-slave",
    "merge-requests",
    "next-build",
    "can-start-build",
    "prioritize-builders",
    "codebase-generator",
    "renderer",
    "reporter",
    "configurator",
];

/// A folder with projects in one language.
struct Desk {
    folder: tempfile::TempDir,
    language: &'static str,
}

impl Desk {
    fn new(language: &'static str) -> Desk {
        Desk { folder: tempfile::tempdir().unwrap(), language }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn windlass(&self, args: &[&str]) -> Output {
        let mut command = Command::new(windlass());
        command.args(args).current_dir(self.folder.path()).env("NO_COLOR", "1");
        if self.language == "rust" {
            command.env("WINDLASS_TARGET_DIR", target_dir());
        }
        command.output().unwrap()
    }

    /// Makes a project; its name.
    fn project(&self, kind: &str) -> String {
        let name = format!("{}-{kind}", self.language);
        let made = self.windlass(&["plugin", "new", &name, "--lang", self.language, "--hook", kind]);
        assert!(made.status.success(), "{made:?}");
        name
    }

    /// Checks them all at once: nothing may be wrong, and nothing doubtful.
    fn check(&self, projects: &[String]) {
        let args: Vec<&str> =
            ["plugin", "check", "--json"].into_iter().chain(projects.iter().map(String::as_str)).collect();
        let checked = self.windlass(&args);
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let reports: Value = serde_json::from_slice(&checked.stdout).unwrap();
        let reports = reports.as_array().unwrap();
        assert_eq!(reports.len(), projects.len(), "{reports:?}");
        for report in reports {
            assert_eq!(report["errors"], serde_json::json!([]), "{report}");
            assert_eq!(report["warnings"], serde_json::json!([]), "{report}");
        }
    }

    /// Those that are not policies, at work, each by the component that has its kind: the step counts warnings, the
    /// renderer makes a label, the configurator writes builders, and the reporter tells of them.
    fn work(&self, component: impl Fn(&str) -> String) {
        let hook = |kind: &str| format!("{}:{}-{kind}", component(kind), self.language);
        let receiver = Receiver::new(&[503]);
        let (step, label, teller, matrix) =
            (hook("build-step"), hook("renderer"), hook("reporter"), hook("configurator"));
        let site = Site::new(
            &["w1"],
            &format!(
                "[[builders]]\nname = \"Some_Name\"\nworkers = [\"w1\"]\n[[builders.steps]]\nuse = \"{step}\"\n\
                 args = {{ command = [\"sh\", \"-c\", \"echo a warning; echo fine; echo two warnings of $0\", \
                 {{ renderer = \"{label}\", args = {{ of = \"buildername\" }} }}] }}\n\
                 [[configurators]]\nuse = \"{matrix}\"\nargs = {{ workers = [\"w1\"], \
                 compilers = [\"gcc\", \"clang\"], levels = [\"0\", \"2\"], command = \"echo $CC $CFLAGS\" }}\n\
                 [[reporters]]\nname = \"r\"\nuse = \"{teller}\"\n\
                 args = {{ url = \"http://127.0.0.1:{}/r\" }}\n[grants.\"{teller}\"]\nfetch = [\"127.0.0.1\"]\n",
                receiver.port
            ),
        );
        let out = site.path("plugins");
        let mut built: Vec<String> =
            ["build-step", "renderer", "reporter", "configurator"].map(&component).into();
        built.dedup();
        for project in built {
            let built = self.windlass(&["plugin", "build", &project, "--out", out.to_str().unwrap()]);
            assert!(built.status.success(), "{built:?}");
        }
        let site = site.start();
        let said = |build: &Value| {
            let id = build["id"].to_string();
            String::from_utf8_lossy(&site.windlass(&["logs", &id]).stdout).into_owned()
        };
        let status = site.ok(&["status", "--json"]);
        let names = status["builders"].as_array().unwrap().iter().map(|builder| builder["name"].as_str());
        let names: std::collections::BTreeSet<&str> = names.map(Option::unwrap).collect();
        assert_eq!(names, ["Some_Name", "clang-O0", "clang-O2", "gcc-O0", "gcc-O2"].into());

        let build = site.build("Some_Name");
        assert_eq!(build["outcome"], "warnings", "{build}");
        assert_eq!(build["steps"][0]["summary"], "2 warnings", "{build}");
        let property = build["properties"].as_array().unwrap().iter().find(|p| p["name"] == "warnings");
        assert!(property.is_some_and(|p| p["value"].to_string().contains('2')), "{build}");
        assert!(said(&build).contains("two warnings of some-name\n"), "{}", said(&build));

        let build = site.build("clang-O2");
        assert_eq!(build["outcome"], "success", "{build}");
        assert!(said(&build).contains("clang -O2\n"), "{}", said(&build));
        let told = eventually("four events are told", || {
            let texts: Vec<String> =
                receiver.got().iter().map(|got| got.body["text"].as_str().unwrap().to_owned()).collect();
            (texts.len() >= 4).then_some(texts)
        });
        let states = [1, 2].map(|id| site.ok(&["build", &id.to_string(), "--json"])["summary"].clone());
        let [first, second] = states.map(|state| state.as_str().unwrap().to_owned());
        let expected = [
            "Some_Name #1: build-started".to_owned(),
            format!("Some_Name #1: warnings, {first}"),
            "clang-O2 #1: build-started".to_owned(),
            format!("clang-O2 #1: success, {second}"),
        ];
        assert_eq!(told, expected);
    }
}

fn every_kind_works(language: &'static str) {
    let desk = Desk::new(language);
    let projects: Vec<String> =
        SHARED.iter().chain(&["build-step", "slave-command"]).map(|kind| desk.project(kind)).collect();
    desk.check(&projects);
    desk.work(|kind| format!("{language}-{kind}"));
}

#[test]
fn a_new_project_in_rust_works_for_every_kind_of_hook() {
    every_kind_works("rust");
}

#[test]
fn a_new_project_in_c_works_for_every_kind_of_hook() {
    every_kind_works("c");
}

#[test]
fn a_new_project_in_javascript_works_for_every_kind_of_hook() {
    every_kind_works("js");
}

/// As the others, but most share one component: each has an interpreter of 18 MB to build and compile.
#[test]
fn a_new_project_in_python_works_for_every_kind_of_hook() {
    let desk = Desk::new("python");
    let (mut imports, all) = (String::new(), desk.path("all"));
    std::fs::create_dir(&all).unwrap();
    for kind in SHARED {
        let project = desk.project(kind);
        let module = project.replace('-', "_");
        let file = format!("{module}.py");
        std::fs::copy(desk.path(&project).join(&file), all.join(&file)).unwrap();
        imports += &format!("import {module}\n");
    }
    std::fs::write(all.join("all.py"), imports).unwrap();
    let manifest = format!("language = \"python\"\nhooks = {SHARED:?}\nsource = \"all.py\"\n");
    std::fs::write(all.join("plugin.toml"), manifest).unwrap();
    desk.check(&["all".to_owned(), desk.project("build-step"), desk.project("slave-command")]);
    desk.work(|kind| if SHARED.contains(&kind) { "all".to_owned() } else { format!("python-{kind}") });
}

#[test]
fn an_existing_folder_is_left_alone() {
    let desk = Desk::new("c");
    desk.project("next-slave");
    let file = desk.path("c-next-slave/c_next_slave.c");
    std::fs::write(&file, "mine").unwrap();
    let again = desk.windlass(&["plugin", "new", "c-next-slave", "--lang", "c", "--hook", "next-build"]);
    assert_eq!(again.status.code(), Some(5), "{again:?}");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "mine");
}

#[test]
fn a_mistake_of_the_author_is_shown_with_its_line() {
    let desk = Desk::new("c");
    desk.project("next-slave");
    std::fs::write(desk.path("c-next-slave/c_next_slave.c"), "#include <windlass.h>\nint oops(\n").unwrap();
    let built = desk.windlass(&["plugin", "build", "c-next-slave"]);
    assert_eq!(built.status.code(), Some(3), "{built:?}");
    let said = String::from_utf8_lossy(&built.stderr);
    assert_eq!(said.matches("c_next_slave.c:2:10: error: expected parameter").count(), 1, "{said}");
    assert!(!desk.path("c-next-slave.wasm").exists());
}

#[test]
fn a_missing_tool_is_named_with_the_command_that_installs_it() {
    for (language, words) in [
        ("rust", ["rustc", "sh.rustup.rs"]),
        ("c", ["clang", "apt-get install"]),
        ("python", ["componentize-py", "pip install componentize-py=="]),
        ("js", ["componentize-qjs", "npm install --global componentize-qjs@"]),
    ] {
        let desk = Desk::new(language);
        let project = desk.project("next-slave");
        let built = Command::new(windlass())
            .args(["plugin", "build", &project])
            .current_dir(desk.folder.path())
            .env("PATH", desk.folder.path())
            .env("XDG_CACHE_HOME", desk.folder.path())
            .output()
            .unwrap();
        assert_eq!(built.status.code(), Some(6), "{built:?}");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
}

#[test]
fn check_reports_every_error_of_every_file_and_what_is_doubtful() {
    let desk = Desk::new("c");
    let folder = desk.path("plugins");
    // Its hook is called as a bundled one: the bare name stays the bundled one's.
    let made = desk.windlass(&["plugin", "new", "sticky", "--lang", "c", "--hook", "next-slave"]);
    assert!(made.status.success(), "{made:?}");
    let built = desk.windlass(&["plugin", "build", "sticky", "--out", "plugins"]);
    assert!(built.status.success(), "{built:?}");
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    write("text.wasm", b"(component)");
    write("short.wasm", b"\0asm\x0d\0");
    write("empty.wasm", b"");
    let checked = desk.windlass(&["plugin", "check", "plugins"]);
    assert_eq!(checked.status.code(), Some(3), "{checked:?}");
    let said = String::from_utf8_lossy(&checked.stdout);
    for words in [
        ["error:", "text.wasm", "text form"],
        ["error:", "short.wasm", "too early"],
        ["error:", "empty.wasm", "empty"],
        ["good:", "sticky.wasm", "next-slave sticky"],
        ["warning:", "sticky.wasm", "`sticky:sticky`"],
    ] {
        assert!(said.lines().any(|line| words.iter().all(|word| line.contains(word))), "{words:?}\n{said}");
    }
}

/// Symptom: one wrong path hid what is wrong with all the others. Cause: the search for files gave up at it.
#[test]
fn check_goes_on_where_a_path_holds_nothing_and_ends_with_the_worst() {
    let desk = Desk::new("c");
    std::fs::write(desk.path("bad.wasm"), "").unwrap();
    std::fs::create_dir(desk.path("bare")).unwrap();
    let checked = desk.windlass(&["plugin", "check", "nosuch.wasm", "bare", "bad.wasm", "--json"]);
    assert_eq!(checked.status.code(), Some(6), "{checked:?}");
    let reports: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let said: Vec<(&str, &str)> = reports
        .as_array()
        .unwrap()
        .iter()
        .map(|report| (report["file"].as_str().unwrap(), report["errors"][0].as_str().unwrap()))
        .collect();
    let expected = [("nosuch.wasm", "failed to read"), ("bare", "neither components"), ("bad.wasm", "empty")];
    for ((file, error), (named, words)) in said.iter().zip(expected) {
        assert!(*file == named && error.contains(words), "{said:?}");
    }
    assert_eq!(said.len(), 3, "{said:?}");
    assert_eq!(desk.windlass(&["plugin", "check", "bare", "bad.wasm"]).status.code(), Some(3));
}

/// Symptom: components in Python and JavaScript were written in nothing, or in Rust. Cause: their tools name what
/// the interpreter was made with. Cure: who carries an interpreter was written in its language.
#[test]
fn inspect_names_the_language_of_what_an_interpreter_runs() {
    let desk = Desk::new("js");
    for (project, language, tool) in
        [("js/all", "JavaScript", "componentize-qjs"), ("python/all", "Python", "componentize-py")]
    {
        std::fs::write(desk.path("a.wasm"), windlass_tests::languages::component(project)).unwrap();
        let inspected = desk.windlass(&["plugin", "inspect", "a.wasm", "--json"]);
        let shown: Value = serde_json::from_slice(&inspected.stdout).unwrap();
        assert_eq!(shown["languages"], serde_json::json!([language]), "{shown}");
        assert!(shown["tools"].to_string().contains(tool), "{shown}");
    }
}

#[test]
fn inspect_shows_what_made_a_component_and_what_it_starts_with() {
    let desk = Desk::new("c");
    let project = desk.project("slave-command");
    let built = desk.windlass(&["plugin", "build", &project, "--json"]);
    assert!(built.status.success(), "{built:?}");
    let inspected = desk.windlass(&["plugin", "inspect", "c-slave-command.wasm", "--json"]);
    let shown: Value = serde_json::from_slice(&inspected.stdout).unwrap();
    assert_eq!(shown["hooks"][0]["kind"], "slave-command", "{shown}");
    assert_eq!(shown["capabilities"][0]["capability"], "exec", "{shown}");
    assert!(shown["imports"].to_string().contains("windlass:worker/process@"), "{shown}");
    assert!((65_536..4 << 20).contains(&shown["initial_memory"].as_u64().unwrap()), "{shown}");
    assert_eq!(shown["languages"], serde_json::json!(["C"]), "{shown}");
    assert!(Path::new(&desk.path("c-slave-command.wasm")).exists());
}
