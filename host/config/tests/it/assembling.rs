//! Files that are put together: from other files, from the environment, from templates and matrices.

use std::path::Path;

use windlass_config::attributes::CONFIGURATION;
use windlass_config::{MasterText, check_master, config};

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
    let fixed = MasterText::parse(Path::new("m.toml"), text).peek(&variable).unwrap();
    assert_eq!(fixed.listen, "127.0.0.1:7");
    let error = MasterText::parse(Path::new("m.toml"), text).peek(&|_| None).unwrap_err();
    assert!(error.render().contains("unset-variable"), "{}", error.render());
}

/// Symptom: an included `slave_portnum` was accepted, the master listened elsewhere, and each reconfig was refused.
/// Cause: what needs a restart is read of the first file alone. Cure: it is refused in others, as `[master]` is.
#[test]
fn what_needs_a_restart_stands_in_the_first_file() {
    let text = format!("include = \"ports.toml\"\n{WORKERS}");
    let errors = check_master(Path::new("m.toml"), &text, &Hooks).config.unwrap_err();
    let codes: Vec<&str> = errors.list().iter().map(|error| error.code).collect();
    assert_eq!(codes, ["misplaced-setting"; 2], "{}", errors.render());
}

/// Symptom: `include = { from_env = … }` included nothing, without a word. Cause: variables were filled in later. Cure:
/// those of `include` at once.
#[test]
fn a_variable_names_what_is_included() {
    let master =
        load("include = [\"more.toml\", { from_env = \"PATTERN\" }, \"./more.toml\", \"old.toml\"]\n");
    assert_eq!((master.title.as_str(), master.builders.len()), ("More", 1));
    // `[[slaves]]` of one file and `[[workers]]` of another are one list.
    assert_eq!(master.workers.len(), 3);
    let text = format!("include = {{ from_env = \"UNSET\" }}\n{WORKERS}");
    let errors = check_master(Path::new("m.toml"), &text, &Hooks).config.unwrap_err();
    assert_eq!(errors.list().len(), 1, "{}", errors.render());
    assert_eq!(errors.list()[0].code, "unset-variable");
}

/// Symptom: 5 GB, and an abort. Cause: the combinations of an axis were made before they were counted. Cure: counted first.
#[test]
fn a_large_matrix_is_refused_before_it_is_made() {
    let values = (0..100_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let axes = ["a", "b", "c", "d"].map(|axis| format!("{axis} = [{values}]")).join(", ");
    let text = format!("[[builders]]\nname = \"b\"\nworkers = \"w1\"\nmatrix = {{ {axes} }}\n{WORKERS}");
    let errors = check_master(Path::new("m.toml"), &text, &Hooks).config.unwrap_err();
    assert!(errors.list()[0].message.contains("more than 1000 builders"));
}

/// Symptom: builders of a matrix had a property `os` that was not their `os`. Cause: what templates say came first. Cure:
/// the matrix does.
#[test]
fn an_axis_counts_more_than_a_property_of_a_template() {
    let builder = |own: &str| {
        format!(
            "[templates.default]\nworkers = \"w1\"\nproperties = {{ os = \"any\", jobs = 1 }}\n\
             [[builders]]\nname = \"on-%(matrix:os)s\"\nmatrix = {{ os = [\"linux\", \"mac\"] }}\nproperties = {{ {own} }}\n"
        )
    };
    for own in ["", "os = \"%(matrix:os)s\""] {
        let master = load(&builder(own));
        let of = |n: usize, name| master.builders[n].properties.get(name).unwrap().to_json();
        assert_eq!((of(0, "os"), of(1, "os"), of(1, "jobs")), ("linux".into(), "mac".into(), 1.into()));
    }
    let text = builder("os = \"linux\"") + WORKERS;
    let errors = check_master(Path::new("m.toml"), &text, &Hooks).config.unwrap_err();
    assert_eq!(errors.list().len(), 1, "{}", errors.render());
    assert!(errors.list()[0].message.contains("is what the matrix says"), "{}", errors.render());
}

#[test]
fn a_factory_is_what_templates_complete() {
    let steps = "steps = [{ use = \"compile\", args = { command = \"make\" } }]";
    let master = load(&format!(
        "[templates.default]\nworkers = \"w1\"\nworkdir = \"src\"\nfactory = {{ {steps} }}\n\
         [[builders]]\nname = \"a\"\nfactory = {{ steps = [] }}\n[[builders]]\nname = \"b\"\n"
    ));
    let steps: Vec<usize> = master.builders.iter().map(|builder| builder.steps.len()).collect();
    assert_eq!(steps, [0, 1]);
    assert!(master.builders.iter().all(|builder| builder.workdir.as_deref() == Some("src")));
}

#[test]
fn names_of_a_matrix_are_compared_as_they_are_made() {
    let master = load(
        "[[builders]]\nname = \"b-%(matrix:os)s\"\nworkers = \"w1\"\n\
         matrix = { os = [\"linux\", \"mac\"], cc = [\"gcc\", \"clang\"] }\n\
         matrix_except = [{ os = \"linux\", cc = \"clang\" }, { os = \"mac\", cc = \"gcc\" }]\n",
    );
    let names: Vec<&str> = master.builders.iter().map(|builder| builder.name.as_str()).collect();
    assert_eq!(names, ["b-linux", "b-mac"]);
}

#[test]
fn a_variable_stands_for_a_value_wherever_one_may_stand() {
    let master = load(
        r#"
        log_compression_limit = { from_env = "NO" }
        build_cache_size = { from_env = "SLOTS" }
        step_deadline = { from_env = "FRACTION" }
        [policies]
        merge_requests = { from_env = "NO" }
        [[builders]]
        name = "b"
        workers = "w1"
        [[builders.steps]]
        use = "compile"
        args = { command = "make", timeout = { from_env = "SLOTS" }, env = { N = { from_env = "SLOTS" } } }
        update_build_summary_policy = { from_env = "NO" }
        "#,
    );
    assert_eq!((master.step_deadline_ms, master.logs.keeping.limit), (1500, u64::MAX));
    let builder = &master.builders[0];
    assert_eq!(builder.merge_requests, windlass_core::builder::Merge::Never);
    assert_eq!(builder.steps[0].args, r#"{"command":"make","env":{"N":"4"},"timeout":4}"#);
    let none = windlass_core::step::SummaryPolicy::Only(Vec::new());
    assert_eq!(builder.steps[0].summary_policy, none);
}

/// Symptom: a check of 2,000 misspelt names took 40 s. Cause: each was compared with all 2,000. Cure: names of other
/// lengths are not, and some tens of findings with near names are enough.
#[test]
fn many_wrong_names_are_told_in_time() {
    let name = |n: usize| format!("b{n:04}");
    let builders: String =
        (0..2000).map(|n| format!("[[builders]]\nname = \"{}\"\nworkers = \"w1\"\n", name(n))).collect();
    let wrong: Vec<String> = (0..2000).map(|n| format!("\"{}x\"", name(n))).collect();
    let wrong = format!("[[schedulers]]\nname = \"s\"\ntype = \"force\"\nbuilders = [{}]\n", wrong.join(","));
    let text = format!("{builders}{wrong}{WORKERS}");
    let errors = check_master(Path::new("m.toml"), &text, &Hooks).config.unwrap_err();
    assert_eq!((errors.count(), errors.list().len()), (2000, 100));
    assert!(errors.render().ends_with("2000 errors in m.toml; 1900 more are not shown\n"));
    assert_eq!(errors.to_json()[100]["message"], "1900 more are not shown");
    let near = errors.list().iter().filter(|error| error.help.is_some()).count();
    assert_eq!(near, 50);
    assert!(errors.list()[0].help.as_deref().unwrap().contains(&name(0)));
}

/// Symptom: no name near a wrong one was offered. Cause: a template with a slip in it used up the 50 findings that look for
/// one, with each builder that takes it. Cure: what is found again counts once.
#[test]
fn what_is_found_with_each_builder_of_a_template_uses_up_no_suggestions() {
    let builders: String = (0..60)
        .map(|n| format!("[[builders]]\nname = \"b{n}\"\ntemplate = \"t\"\nworkers = \"w1\"\n"))
        .collect();
    let text = format!(
        "[templates.t]\nlokcs = []\n{builders}[[schedulers]]\nname = \"s\"\ntype = \"force\"\nbuilders = [\"b59x\"]\n{WORKERS}"
    );
    let errors = check_master(Path::new("m.toml"), &text, &Hooks).config.unwrap_err();
    let helps: Vec<&str> = errors.list().iter().filter_map(|error| error.help.as_deref()).collect();
    assert_eq!(helps, ["did you mean `locks`?", "did you mean `b59`?"], "{}", errors.render());
}

/// Symptom: a name with one axis in it was said to be that of all builders. Cause: names were counted up to the first that
/// was there already. Cure: all are counted.
#[test]
fn a_name_that_lacks_one_of_two_axes_is_that_of_several() {
    let text = format!(
        "[[builders]]\nname = \"b-%(matrix:os)s\"\nworkers = \"w1\"\nmatrix = {{ os = [\"linux\", \"mac\"], cc = [\"gcc\", \"clang\"] }}\n{WORKERS}"
    );
    let errors = check_master(Path::new("m.toml"), &text, &Hooks).config.unwrap_err();
    let [error] = errors.list() else { panic!("{}", errors.render()) };
    assert_eq!(error.message, "several builders of the matrix would have the name `b-linux`");
    assert_eq!(error.help.as_deref(), Some("put `%(matrix:cc)s` into it"));
}

/// Symptom: a number from the environment was refused as a text once it had come through a matrix. Cause: that it stands for
/// a number, too, was lost on the way. Cure: it goes along.
#[test]
fn a_variable_that_is_the_value_of_an_axis_stands_for_a_number() {
    let master = load(
        "[[builders]]\nname = \"b\"\nworkers = \"w1\"\nmatrix = { tries = [{ from_env = \"SLOTS\" }] }\n\
         max_retries = \"%(matrix:tries)s\"\n",
    );
    assert_eq!(master.builders[0].max_retries, 4);
}

#[test]
fn who_names_one_file_means_that_one() {
    for (pattern, is_error) in [("nowhere.toml", true), ("nowhere/*.toml", false)] {
        let checked =
            check_master(Path::new("m.toml"), &format!("include = \"{pattern}\"\n{WORKERS}"), &Hooks);
        let said = if is_error { checked.config.err() } else { checked.warnings };
        let said = said.unwrap_or_else(|| panic!("{pattern}"));
        let is_told = said.list().iter().any(|one| one.code == "nothing-included");
        assert!(is_told, "{}", said.render());
    }
}

#[test]
fn a_configurator_writes_a_part_that_is_joined_like_a_file() {
    let master = load(
        "[[configurators]]\nuse = \"make\"\nargs = { of = [\"x\", \"y\"] }\n\
         [[builders]]\nname = \"own\"\nworkers = \"w9\"\n[templates.default]\ntags = [\"made\"]\n",
    );
    let builders: Vec<_> = master.builders.iter().map(|b| (b.name.as_str(), b.tags.len())).collect();
    assert_eq!(builders, [("own", 1), ("x", 1), ("y", 1)]);
    assert_eq!(
        (master.configurators[0].hook.as_str(), &*master.configurators[0].args),
        ("mine:make", r#"{"of":["x","y"]}"#)
    );
}

/// What is wrong in an answer is shown in its text, by its own name.
#[test]
fn what_a_configurator_says_is_checked_as_a_file_is() {
    let check = |said: &str, code: &str, (line, column): (usize, usize), part: &str| {
        let text = format!("[[configurators]]\nuse = \"mine:make\"\nargs = {{ say = {said:?} }}\n{WORKERS}");
        let errors = check_master(Path::new("m.toml"), &text, &Hooks).config.unwrap_err();
        let [error] = errors.list() else { panic!("{}", errors.render()) };
        assert_eq!((error.code, error.line, error.column), (code, line, column), "{}", errors.render());
        assert!(errors.render().contains(part), "{}", errors.render());
        error.file.clone()
    };
    let name = "configurator mine:make";
    assert_eq!(check("x = \n", "syntax", (1, 5), "x ="), name);
    assert_eq!(check("\ntitel = 'x'\n", "misplaced-setting", (2, 1), "no setting"), name);
    assert_eq!(check("[[builders]]\nname = 'b'\nworkers = 'w8'\n", "unknown-name", (3, 11), "w8"), name);
    // Whatever the configuration has, also what it will have one day, but for what a component may say.
    let may =
        ["builders", "git_pollers", "locks", "policies", "properties", "schedulers", "templates", "workers"];
    for attribute in CONFIGURATION.attributes.iter().filter(|attribute| !may.contains(&attribute.name)) {
        for key in [attribute.name].iter().chain(attribute.also) {
            let said = format!("{key} = 1\n");
            assert_eq!(check(&said, "misplaced-setting", (1, 1), "people who may do what"), name);
        }
    }
    let token = "[[slaves]]\nname = 'x'\ntokenHash = 'y'\n";
    assert_eq!(check(token, "misplaced-setting", (3, 1), "windlass workers token"), name);
    let template = "[templates.default]\nsecrets = ['s']\n";
    assert_eq!(check(template, "misplaced-setting", (1, 12), "another name"), name);
    // What was said already is said in the file, and what goes wrong at its use.
    let text = format!(
        "[[configurators]]\nuse = 'make'\nargs = {{ say = \"[locks]\\na = 1\" }}\n[locks]\na = 2\n{WORKERS}"
    );
    let errors = check_master(Path::new("m.toml"), &text, &Hooks).config.unwrap_err().render();
    assert!(errors.contains("there in two files") && errors.contains(name), "{errors}");
    assert_eq!(
        check("nothing", "configurator", (2, 7), "gives no configuration: it answered: told to"),
        "m.toml"
    );
}

#[test]
fn a_configurator_that_cannot_be_asked_is_told_and_nothing_else_guessed() {
    let check = |table: &str, code: &str, part: &str| {
        let text = format!(
            "[[configurators]]\n{table}\n[[schedulers]]\nname = 's'\ntype = 'force'\nbuilders = 'made'\n{WORKERS}"
        );
        let errors = check_master(Path::new("m.toml"), &text, &Hooks).config.unwrap_err();
        let [error] = errors.list() else { panic!("{}", errors.render()) };
        assert_eq!(error.code, code, "{}", errors.render());
        assert!(errors.render().contains(part), "{}", errors.render());
    };
    check("use = 'none'", "unknown-hook", "no plugin offers a configurator `none`");
    check("args = {}", "missing-key", "needs `use`");
    check("use = 'make'\nargs = { of = 3 }", "bad-argument", "of = 3");
    check("use = 'make'\nuses = 3", "unknown-key", "uses");
    let many = "use = 'make'\nargs = { of = [] }\n[[configurators]]\n".repeat(20)
        + "use = 'make'\nargs = { of = [] }\n";
    let errors =
        check_master(Path::new("m.toml"), &format!("[[configurators]]\n{many}"), &Hooks).config.unwrap_err();
    assert_eq!(errors.list()[0].code, "too-many", "{}", errors.render());
}

/// A variable is the file's to name: what a component says is taken as it stands.
#[test]
fn a_configurator_reads_no_environment() {
    let text = format!(
        "[[configurators]]\nuse = 'make'\nargs = {{ say = \"properties = {{ from_env = 'TITLE' }}\" }}\n{WORKERS}"
    );
    let errors = check_master(Path::new("m.toml"), &text, &Hooks).config.unwrap_err();
    assert_eq!(errors.list()[0].code, "misplaced-setting", "{}", errors.render());
}

/// All are counted and the first ones told, in little more than a screen has; warnings hide no error. How many are kept
/// meanwhile is tested with `diagnostic`.
#[test]
fn of_a_flood_of_mistakes_the_first_ones_are_told() {
    let keys: String = (0..30_000).map(|n| format!("k{n} = 1\n")).collect();
    let text = format!("[[configurators]]\nuse = 'make'\nargs = {{ say = {keys:?} }}\n{WORKERS}");
    let errors = check_master(Path::new("m.toml"), &text, &Hooks).config.unwrap_err();
    assert_eq!((errors.list().len(), errors.count()), (100, 30_000));
    let (shown, json) = (errors.render(), errors.to_json());
    assert!(shown.contains("`k0`") && shown.contains("`k99`") && !shown.contains("`k100`"), "{shown}");
    assert!(shown.len() < 50_000, "{} of {} bytes", shown.len(), keys.len());
    assert_eq!(json.as_array().unwrap().len(), 101, "one says how many more there are");
    let workers: String =
        (0..20_000).map(|n| format!("[[workers]]\nname = \"v{n}\"\nkeepalive_interval = 9\n")).collect();
    let text = format!("{workers}{WORKERS}[[workers]]\nname = \"w9\"\n");
    let checked = check_master(Path::new("m.toml"), &text, &Hooks);
    assert!(checked.config.is_err(), "the last one is there twice");
}
