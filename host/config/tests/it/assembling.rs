//! Files that are put together: from other files, from the environment, from templates and matrices.

use std::path::Path;

use windlass_config::{check_master, config, peek_master};

use crate::hooks::Hooks;

const WORKERS: &str = r#"
[[workers]]
name = "w1"
token_hash = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
[[workers]]
name = "w9"
token_hash = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
"#;

fn load(text: &str) -> config::Master {
    let text = format!("{text}{WORKERS}");
    check_master(Path::new("m.toml"), &text, &Hooks).config.unwrap_or_else(|e| panic!("{}", e.render()))
}

#[test]
fn lists_of_included_files_go_on_and_tables_are_joined() {
    let master = load(
        "include = [\"more.toml\", \"builders/*.toml\"]\n[[builders]]\nname = \"own\"\nworkers = \"w1\"\n",
    );
    assert_eq!(master.title, "More");
    assert_eq!(master.builders.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(), ["own", "included"]);
}

#[test]
fn what_is_wrong_in_an_included_file_names_that_file() {
    let text = "include = \"builders/*.toml\"\n[[workers]]\nname = \"w1\"\ntoken_hash = \"blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262\"\n";
    let errors = check_master(Path::new("m.toml"), text, &Hooks).config.unwrap_err();
    let [error] = errors.list() else { panic!("{}", errors.render()) };
    assert_eq!((error.file.as_str(), error.line, error.column), ("builders/one.toml", 3, 18));
    assert_eq!(errors.to_json()[0]["file"], "builders/one.toml");
    assert!(errors.render().contains("3 | workers = [\"w1\", \"w9\"]"), "{}", errors.render());
    let broken = check_master(Path::new("m.toml"), "include = \"broken.toml\"\ntitel = 1\n", &Hooks);
    let errors = broken.config.unwrap_err();
    assert_eq!(errors.list()[0].file, "broken.toml");
    assert_eq!(errors.list().len(), 1, "{}", errors.render());
}

#[test]
fn a_variable_stands_for_a_text_a_number_or_a_time() {
    let master = load(
        "title = { from_env = \"TITLE\" }\nmax_retries = { from_env = \"SLOTS\" }\n\
         db_poll_interval = { from_env = \"UNSET\", default = \"7s\" }\nstep_deadline = { from_env = \"SLOTS\" }\n",
    );
    assert_eq!(master.title, "from the environment");
    assert_eq!((master.db_poll_interval_ms, master.step_deadline_ms), (7000, 4000));
}

#[test]
fn a_builder_takes_from_its_templates_what_it_does_not_say() {
    let master = load(
        r#"
        [templates.default]
        slavenames = "w1"
        env = { LANG = "C", A = "default" }
        tags = ["default"]
        [templates.make]
        env = { A = "make", B = "make" }
        steps = [{ use = "compile", args = { command = "make" } }]
        [[builders]]
        name = "plain"
        [[builders]]
        name = "made"
        template = "make"
        workers = ["w9"]
        category = "own"
        env = { B = "own" }
        "#,
    );
    let [plain, made] = master.builders.as_slice() else { panic!("two builders") };
    assert_eq!((plain.workers.as_slice(), plain.steps.len()), (&["w1".to_owned()][..], 0));
    assert_eq!((made.workers.as_slice(), made.steps.len()), (&["w9".to_owned()][..], 1));
    assert_eq!(made.tags, ["own"]);
    let env: Vec<String> =
        made.env.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap())).collect();
    assert_eq!(env, ["A=make", "B=own", "LANG=C"]);
}

#[test]
fn a_matrix_is_a_builder_for_each_combination() {
    let master = load(
        r#"
        [[builders]]
        name = "%(matrix:os)s-%(matrix:jobs)s"
        workers = "w1"
        matrix = { os = ["linux", "mac"], jobs = [1, 2] }
        matrix_except = [{ os = "mac", jobs = 2 }]
        max_retries = "%(matrix:jobs)s"
        properties = { own = "%(matrix:os)s!" }
        steps = [{ use = "compile", args = { command = ["make", "-j%(matrix:jobs)s", "%(prop:os)s"] } }]
        [[schedulers]]
        name = "all"
        type = "force"
        builders = ["linux-*", "mac-1", "*-1"]
        "#,
    );
    let names: Vec<&str> = master.builders.iter().map(|b| b.name.as_str()).collect();
    assert_eq!(names, ["linux-1", "linux-2", "mac-1"]);
    let builder = &master.builders[1];
    assert_eq!(builder.max_retries, 2);
    assert_eq!(builder.steps[0].args, r#"{"command":["make","-j2","%(prop:os)s"]}"#);
    let property = |name| builder.properties.get(name).unwrap().to_json();
    assert_eq!(
        (property("os"), property("jobs"), property("own")),
        ("linux".into(), 2.into(), "linux!".into())
    );
    assert_eq!(master.schedulers[0].builders, ["linux-1", "linux-2", "mac-1"]);
}

#[test]
fn a_matrix_has_an_end() {
    let axis = |name: &str| format!("{name} = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]");
    let matrix = ["a", "b", "c", "d", "e", "f", "g", "h"].map(axis).join(", ");
    let text = format!("[[builders]]\nname = \"b\"\nworkers = \"w1\"\nmatrix = {{ {matrix} }}\n{WORKERS}");
    let errors = check_master(Path::new("m.toml"), &text, &Hooks).config.unwrap_err();
    assert!(errors.render().contains("more than 1000 builders"), "{}", errors.render());
}

/// The directories are read before anything else is, and mean the same then.
#[test]
fn what_needs_a_restart_may_stand_in_a_variable_too() {
    let text =
        "title = { from_env = \"UNSET\", default = \"x\" }\n[master]\nlisten = { from_env = \"LISTEN\" }\n";
    let variable = |name: &str| (name == "LISTEN").then(|| "127.0.0.1:7".to_owned());
    let fixed = peek_master(Path::new("m.toml"), text, &variable).unwrap();
    assert_eq!(fixed.listen, "127.0.0.1:7");
    let error = peek_master(Path::new("m.toml"), text, &|_| None).unwrap_err();
    assert!(error.render().contains("unset-variable"), "{}", error.render());
}
