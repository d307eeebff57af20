//! Templates, components that compute values, and conditions, in whole builds.

use serde_json::{Value, json};
use windlass_tests::fixtures::component;
use windlass_tests::site::Site;

/// A builder of these settings and steps, each of which is a table in TOML.
fn builder(name: &str, more: &str, steps: &[&str]) -> String {
    let steps: String = steps.iter().map(|step| format!("[[builders.steps]]\n{step}\n")).collect();
    format!("[[builders]]\nname = \"{name}\"\nworkers = [\"w1\"]\nmerge_requests = false\n{more}\n{steps}")
}

fn site(builders: &str) -> Site {
    let site = Site::new(&["w1"], builders);
    site.plugin("renders", &component("renders"));
    site.start()
}

/// A build with these properties, and all its steps.
fn build(site: &Site, builder: &str, properties: &[&str]) -> Value {
    let mut order = vec!["force", builder, "--json"];
    properties.iter().for_each(|property| order.extend(["--property", property]));
    let set = site.ok(&order)["buildset"].as_u64().unwrap();
    site.outcome(set);
    let id = site.newest(builder)["id"].as_u64().unwrap().to_string();
    site.ok(&["build", &id, "--all", "--json"])
}

/// Name and outcome of each step.
fn outcomes(build: &Value) -> Vec<(&str, &str)> {
    let steps = build["steps"].as_array().unwrap_or_else(|| panic!("no steps in {build}"));
    steps.iter().map(|step| (step["name"].as_str().unwrap(), step["outcome"].as_str().unwrap())).collect()
}

fn step<'a>(build: &'a Value, name: &str) -> &'a Value {
    build["steps"].as_array().unwrap().iter().find(|step| step["name"] == name).unwrap()
}

fn log(site: &Site, build: &Value, step: &str) -> String {
    let id = build["id"].as_u64().unwrap().to_string();
    let shown = site.windlass(&["logs", &id, step]);
    String::from_utf8(shown.stdout).unwrap()
}

#[test]
fn arguments_are_rendered_recursively_and_components_compute_the_rest() {
    let command = r#"command = ["printf", "<%s>", "%(prop:who:-nobody)s", { renderer = "stamp", args = { say = "at %(worker:os)s, %(prop:buildername)s" } }, { interpolate = "%(kw:a)s+%(kw:b:-c)s", kw = { a = { renderer = "stamp", args = { of = "who" } } } }]"#;
    let env =
        "[builders.env]\nFROM = { renderer = \"stamp\", args = { say = \"the builder %(prop:who)s\" } }";
    let echo = "use = \"shell-command\"\nname = \"env\"\nargs = { command = \"echo $FROM\" }";
    let whole = "use = \"shell-command\"\nname = \"whole\"\nargs = { command = { renderer = \"renders:stamp\", args = { \
                 say = [\"printf\", \"<%s>\", \"%(prop:who)s\", \"two words\"] } } }";
    let first = format!("use = \"shell-command\"\nargs = {{ {command} }}");
    let site = site(&builder("b", env, &[first.as_str(), echo, whole]));
    let built = build(&site, "b", &["who=me"]);
    assert_eq!(
        outcomes(&built),
        [("shell-command", "success"), ("env", "success"), ("whole", "success")],
        "{built}"
    );
    let said = log(&site, &built, "shell-command");
    assert!(said.contains("<me><at linux, b><me+c>"), "{said}");
    let said = log(&site, &built, "whole");
    assert!(said.contains("<me><two words>"), "{said}");
    let said = log(&site, &built, "env");
    assert!(said.contains("the builder me"), "{said}");
    // What it cost is counted, and the list of plugins says where it is used.
    let stats = site.ok(&["plugin", "stats", "renders", "--json"]);
    let uses = stats[0]["uses"].as_array().unwrap();
    let renderer = uses.iter().find(|used| used["used_by"] == "builder b: renderer").unwrap();
    assert_eq!(renderer["usage"]["calls"], 6, "{stats}");
    let plugins = site.ok(&["plugin", "list", "--json"]);
    let shown = plugins.as_array().unwrap().iter().find(|plugin| plugin["name"] == "renders").unwrap();
    let used_by = shown["used_by"].as_array().unwrap();
    assert!(used_by.contains(&json!("builder b, step shell-command (renderer stamp)")), "{used_by:?}");
    assert!(used_by.contains(&json!("builder b (renderer stamp)")), "{used_by:?}");
    // The build lists who computed it, once; the step keeps what was computed.
    let components = built["components"].as_array().unwrap();
    let renderers: Vec<&Value> = components.iter().filter(|c| c["kind"] == "renderer").collect();
    assert_eq!((renderers.len(), &renderers[0]["hook"]), (1, &json!("renders:stamp")), "{components:?}");
    let computed = step(&built, "shell-command")["computed"].as_array().unwrap();
    let kept: Vec<(&str, &Value)> =
        computed.iter().map(|c| (c["place"].as_str().unwrap(), &c["value"])).collect();
    assert_eq!(
        kept,
        [
            ("args.command[3]", &json!("at linux, b")),
            ("args.command[4].kw.a", &json!("me")),
            ("env.FROM", &json!("the builder me")),
        ]
    );
}

#[test]
fn a_component_that_computes_nothing_ends_its_step_as_exception_and_is_named() {
    let ways = [
        ("trap", "it trapped"),
        ("spin", "it did not answer within 250 ms|it used more than its 20 ms of CPU"),
        ("err", "it answered: told to (unwilling)"),
        ("flood", "its answer was refused"),
    ];
    let steps: Vec<String> = ways
        .iter()
        .map(|(way, _)| {
            format!(
                "use = \"shell-command\"\nname = \"{way}\"\nalways_run = true\n\
                 args = {{ command = {{ renderer = \"stamp\", args = {{ how = \"{way}\" }} }} }}"
            )
        })
        .collect();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let site = site(&builder("b", "", &steps));
    let built = build(&site, "b", &[]);
    for (way, words) in ways {
        let (step, digest) = (step(&built, way), &built["components"]);
        let fault = step["fault"].as_str().unwrap_or_else(|| panic!("no fault in {step}"));
        assert_eq!(step["outcome"], "exception", "{way}");
        assert!(words.split('|').any(|words| fault.contains(words)), "{fault}");
        assert!(
            fault.contains("plugin `renders` (") && fault.contains("`renderer.render`"),
            "{fault} {digest}"
        );
        assert!(fault.starts_with(&format!("failed to render the arguments of step `{way}`")), "{fault}");
    }
}

#[test]
fn conditions_skip_and_hide_steps_and_builds() {
    let shell = |name: &str, more: &str| {
        format!(
            "use = \"shell-command\"\nname = \"{name}\"\nargs = {{ command = \"{}\" }}\n{more}",
            if name == "fails" { "false" } else { "true" }
        )
    };
    let steps = [
        shell("sign", "do_step_if = \"props.channel == 'main' && worker.os == 'linux'\""),
        shell("never", "do_step_if = false"),
        shell("asked", "do_step_if = { renderer = \"stamp\", args = { say = \"%(prop:wanted)s\" } }"),
        shell("fails", "flunk_on_failure = false\nhide_step_if = \"results == 'failure'\""),
        shell("after", "do_step_if = \"results == 'success'\"\nhide_step_if = \"step.name == 'other'\""),
        shell("gone", "do_step_if = \"step.position > 100\"\nhide_step_if = \"results == 'skipped'\""),
    ];
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let gated = "do_build_if = \"has(props.force) && props.force == 'yes'\"";
    let builders = builder("b", "properties = { channel = \"main\", wanted = true }", &steps)
        + &builder("gated", gated, &["use = \"shell-command\"\nargs = { command = \"true\" }"]);
    let site = site(&builders);
    let built = build(&site, "b", &[]);
    assert_eq!(built["outcome"], "success", "{built}");
    assert_eq!(
        outcomes(&built),
        [
            ("sign", "success"),
            ("never", "skipped"),
            ("asked", "success"),
            ("fails", "failure"),
            ("after", "success"),
            ("gone", "skipped")
        ]
    );
    let hidden: Vec<&Value> = built["steps"].as_array().unwrap().iter().map(|step| &step["hidden"]).collect();
    assert_eq!(hidden, [false, false, false, true, false, true]);
    assert_eq!(step(&built, "never")["summary"], "skipped by the condition `do_step_if`");

    let skipped = build(&site, "gated", &[]);
    assert_eq!((&skipped["outcome"], outcomes(&skipped).len()), (&json!("skipped"), 0), "{skipped}");
    let done = build(&site, "gated", &["force=yes"]);
    assert_eq!((&done["outcome"], outcomes(&done).len()), (&json!("success"), 1), "{done}");
}

#[test]
fn a_condition_that_cannot_be_decided_is_named_and_ends_what_it_is_of_as_exception() {
    let step = |name: &str, more: &str| {
        format!(
            "use = \"shell-command\"\nname = \"{name}\"\nalways_run = true\nargs = {{ command = \"true\" }}\n{more}"
        )
    };
    let steps = [
        step("unset", "do_step_if = \"props.channel == 'main' && props.nothing\""),
        step("text", "do_step_if = \"build.builder\""),
        step("hides", "hide_step_if = \"1 / (build.number - build.number) == 0\""),
        step(
            "endless",
            "hide_step_if = \"[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, [1,2,3,4,5,6,7,8,9].all(d, [1,2,3,4,5,6,7,8,9].all(e, true)))))\"",
        ),
        step("traps", "do_step_if = { renderer = \"stamp\", args = { how = \"trap\" } }"),
        step("neither", "do_step_if = { renderer = \"stamp\", args = { say = \"yes\" } }"),
    ];
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let builders = builder("b", "properties = { channel = \"main\" }", &steps)
        + &builder("gated", "do_build_if = \"props.gate\"", &[]);
    let site = site(&builders);
    let built = build(&site, "b", &[]);
    let fault = |name: &str| {
        let step = self::step(&built, name);
        assert_eq!((&step["outcome"], &step["hidden"]), (&json!("exception"), &json!(false)), "{step}");
        step["fault"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        fault("unset"),
        "the condition `do_step_if` of step `unset` failed: there is no `nothing` in `props`; `has(props.nothing)` \
         asks whether there is, at character 28 of `props.channel == 'main' && props.nothing`"
    );
    assert!(fault("text").contains("it came to a text; a condition is true or false"), "{}", fault("text"));
    assert!(fault("hides").contains("`hide_step_if` of step `hides`"), "{}", fault("hides"));
    assert!(fault("endless").contains("it takes more than 100000 steps"), "{}", fault("endless"));
    assert!(fault("traps").contains("plugin `renders` ("), "{}", fault("traps"));
    assert!(
        fault("neither").contains("`renders:stamp`: its answer is neither true nor false"),
        "{}",
        fault("neither")
    );

    let gated = build(&site, "gated", &[]);
    assert_eq!(gated["outcome"], "exception");
    let summary = gated["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("the condition `do_build_if` failed: there is no `gate` in `props`"),
        "{summary}"
    );
}

#[test]
fn properties_come_from_where_the_page_says_and_are_shown_with_their_source() {
    let more = "properties = { a = \"builder\", b = \"builder\" }\ndefault_properties = { b = \"no\", c = \"builder\" }";
    let shell = "use = \"shell-command\"\nargs = { command = \"true\" }";
    // What stands first is the worker's.
    let worker = "properties = { w = { deep = [1, true] } }\ndefault_properties = { b = \"no\", v = 1 }\n";
    let site = site(&(worker.to_owned() + &builder("b", more, &[shell])));
    let built = build(&site, "b", &["b=person", "d=person", "w=person"]);
    let id = built["id"].as_u64().unwrap().to_string();
    let shown = site.ok(&["build", &id, "--properties", "--json"]);
    let shown = shown.as_array().unwrap();
    let of = |name: &str| {
        let found =
            shown.iter().find(|p| p["name"] == name).unwrap_or_else(|| panic!("no {name} in {shown:?}"));
        (found["value"].clone(), found["source"].as_str().unwrap().to_owned())
    };
    assert_eq!(of("a"), (json!("builder"), "Builder".to_owned()));
    assert_eq!(of("b"), (json!("builder"), "Builder".to_owned()));
    assert_eq!(of("c"), (json!("builder"), "Builder".to_owned()));
    assert_eq!(of("d").0, json!("person"));
    assert_eq!(of("w"), (json!({ "deep": [1, true] }), "Worker".to_owned()));
    assert_eq!(of("v"), (json!(1), "Worker".to_owned()));
    assert_eq!(of("buildername"), (json!("b"), "Build".to_owned()));
}
