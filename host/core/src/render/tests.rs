use proptest::prelude::*;
use serde_json::json;

use super::document::needs_rendering;
use super::*;
use crate::value::Value;

fn properties() -> Properties {
    let mut properties = Properties::default();
    for (name, value) in [
        ("branch", Value::from("main")),
        ("jobs", Value::Integer(4)),
        ("ratio", Value::Number(0.5)),
        ("on", Value::Boolean(true)),
        ("off", Value::Boolean(false)),
        ("empty", Value::from("")),
        ("zero", Value::Integer(0)),
        ("list", Value::Json("[1,2]".into())),
        ("nothing", Value::Json("[]".into())),
        ("null", Value::Null),
        ("dotted.name-x", Value::from("d")),
        ("looks", Value::from("%(prop:branch)s")),
    ] {
        properties.set(name, value, "test");
    }
    properties
}

fn stamps() -> [SourceStamp; 2] {
    let stamp = SourceStamp {
        repository: "https://example.org/r.git".into(),
        project: "p".into(),
        branch: Some("dev".into()),
        ..SourceStamp::default()
    };
    [SourceStamp { codebase: "lib".into(), revision: Some("abc".into()), ..stamp.clone() }, stamp]
}

/// What `text` becomes for a build with these properties, stamps and worker, which may use the secret `key`.
fn with<T>(then: impl FnOnce(Scope<'_>) -> T) -> T {
    let (properties, stamps) = (properties(), stamps());
    let mut worker = Properties::default();
    worker.set("os", "linux".into(), "Worker");
    worker.set("cores", Value::Integer(8), "Worker");
    let seal = secret::Seal::new([1; 32]);
    let secrets = Placeholders::new(&seal, crate::id::BuildId(1), &["key".to_owned()]);
    then(Scope { properties: &properties, stamps: &stamps, worker: &worker, secrets: &secrets })
}

#[test]
fn templates_become_what_buildbot_makes_of_them() {
    let rows = [
        // Lookups.
        ("on %(prop:branch)s with -j%(prop:jobs)s", "on main with -j4"),
        ("%(prop:ratio)s %(prop:on)s %(prop:off)s", "0.5 true false"),
        ("%(prop:unset)s|%(prop:null)s|%(prop:list)s", "||[1,2]"),
        ("%(prop:dotted.name-x)s", "d"),
        ("%(prop:branch)s%(prop:branch)s", "mainmain"),
        ("%(src::branch)s of %(src::repository)s", "dev of https://example.org/r.git"),
        ("%(src:lib:revision)s %(src::revision)s %(src:other:branch)s", "abc  "),
        ("%(src:lib:codebase)s/%(src::codebase)s/%(src:lib:project)s", "lib//p"),
        ("%(worker:os)s with %(worker:cores)s", "linux with 8"),
        ("%(worker:unset)s", ""),
        // `:-`: if it is not set.
        ("%(prop:unset:-x)s", "x"),
        ("%(prop:null:-x)s", "x"),
        ("%(prop:empty:-x)s", ""),
        ("%(prop:zero:-x)s", "0"),
        ("%(prop:branch:-x)s", "main"),
        ("%(prop:unset:-)s", ""),
        ("%(prop:unset:-a(b)c)s", "a(b)c"),
        ("%(prop:unset:-a:b:-c)s", "a:b:-c"),
        ("%(src::revision:-HEAD)s", "HEAD"),
        ("%(src:lib:revision:-HEAD)s", "abc"),
        ("%(src:other:branch:-none)s", "none"),
        ("%(worker:unset:-x)s", "x"),
        // `:~`: if it is not set, or says no.
        ("%(prop:unset:~x)s", "x"),
        ("%(prop:empty:~x)s", "x"),
        ("%(prop:zero:~x)s", "x"),
        ("%(prop:off:~x)s", "x"),
        ("%(prop:null:~x)s", "x"),
        ("%(prop:nothing:~x)s", "x"),
        ("%(prop:on:~x)s", "true"),
        ("%(prop:jobs:~x)s", "4"),
        ("%(prop:list:~x)s", "[1,2]"),
        ("%(src::revision:~tip)s", "tip"),
        // `:+`: if it is set.
        ("%(prop:unset:+x)s", ""),
        ("%(prop:null:+x)s", ""),
        ("%(prop:empty:+x)s", "x"),
        ("%(prop:zero:+x)s", "x"),
        ("%(prop:branch:+--branch %(prop:branch)s)s", "--branch main"),
        ("%(src::branch:+b)s%(src::revision:+r)s", "b"),
        ("%(worker:os:+x)s", "x"),
        // `:?`: whether it is set.
        ("%(prop:branch:?|yes|no)s", "yes"),
        ("%(prop:unset:?|yes|no)s", "no"),
        ("%(prop:empty:?|yes|no)s", "yes"),
        ("%(prop:off:?|yes|no)s", "yes"),
        ("%(prop:unset:?/a|b/c)s", "c"),
        ("%(prop:branch:?:a:b)s", "a"),
        ("%(prop:branch:?||x)s", ""),
        ("%(prop:unset:?|x|)s", ""),
        ("%(prop:branch:?äjaänein)s", "ja"),
        ("%(prop:branch:?|a|b|c)s", "a"),
        ("%(prop:unset:?|a|b|c)s", "b|c"),
        // `:#?`: whether it says yes.
        ("%(prop:branch:#?|yes|no)s", "yes"),
        ("%(prop:unset:#?|yes|no)s", "no"),
        ("%(prop:empty:#?|yes|no)s", "no"),
        ("%(prop:off:#?|yes|no)s", "no"),
        ("%(prop:zero:#?|yes|no)s", "no"),
        ("%(prop:nothing:#?|yes|no)s", "no"),
        ("%(prop:list:#?!yes!no)s", "yes"),
        ("%(src::revision:#?|%(src::revision)s|HEAD)s", "HEAD"),
        // In each other.
        ("%(prop:unset:-%(prop:unset:-%(prop:branch)s)s)s", "main"),
        ("%(prop:branch:?|%(prop:jobs)s|%(prop:ratio)s)s", "4"),
        ("%(prop:unset:-%(src::branch)s-%(worker:os)s)s", "dev-linux"),
        ("%(prop:branch:+[%(prop:unset:~%(prop:zero:~(%(prop:jobs)s))s)s])s", "[(4)]"),
        // What a value holds is no template.
        ("%(prop:looks)s", "%(prop:branch)s"),
        ("%(prop:unset:-x)s%(prop:looks:+y)s", "xy"),
        // Percent signs.
        ("date +%s; printf '%d%%'", "date +%s; printf '%d%%'"),
        ("%(prop:jobs)s%% of %d", "4% of %d"),
        ("%%(prop:jobs)s", "%(prop:jobs)s"),
        ("100%", "100%"),
        ("%(prop:jobs)s%", "4%"),
        ("%(prop:unset:-50%%)s", "50%%"),
        ("%(prop:unset:-50%% of %(prop:jobs)s)s", "50% of 4"),
        ("", ""),
        ("ä %(prop:jobs)s ö", "ä 4 ö"),
    ];
    assert!(rows.len() >= 60, "{}", rows.len());
    for (text, expected) in rows {
        assert_eq!(with(|scope| render(text, scope)).unwrap(), expected, "{text}");
    }
}

#[test]
fn what_is_no_template_is_refused_with_its_reason_and_its_place() {
    let rows = [
        ("a %(prop:x", "`%(prop:x` is not closed by `)s`, at character 3", "%(prop:x"),
        ("%(prop:x)d", "`%(prop:x)d` is not closed by `)s`, at character 1", "%(prop:x)d"),
        ("%(prop:x)s %(", "`%(` is not closed by `)s`, at character 12", "%("),
        (
            "ä %(env:x)s b",
            "`env` cannot be looked up in a template; `prop`, `src`, `worker`, `secret` and `kw` can, at character 3",
            "%(env:x)s",
        ),
        (
            "%(prop:)s",
            "`%(prop:)s` names nothing; write `%(prop:NAME)s`, `%(src:CODEBASE:ATTRIBUTE)s`, `%(worker:NAME)s`, \
             `%(secret:NAME)s` or `%(kw:NAME)s`, at character 1",
            "%(prop:)s",
        ),
        (
            "x%(secret:x:-y)s",
            "`%(secret:x:-y)s` is no secret's name; nothing may follow the name, since a secret is always set, at \
             character 2",
            "%(secret:x:-y)s",
        ),
        (
            "a%(prop:x:!y)s",
            "`:!y` after a name is not understood; `:-`, `:~`, `:+`, `:?` and `:#?` are, at character 10",
            ":!y",
        ),
        ("%(prop:x:?|y)s", "`:?|y` does not hold two alternatives, like `:?|yes|no`, at character 9", ":?|y"),
        ("%(prop:x:?)s", "`:?` does not hold two alternatives, like `:?|yes|no`, at character 9", ":?"),
        (
            "%(src::time)s",
            "a source stamp has no `time`; it has `branch`, `revision`, `repository`, `project` and `codebase`, at \
             character 1",
            "%(src::time)s",
        ),
        // In the branches of others, the place is that of the whole text.
        (
            "ab%(prop:x:-cd%(prop:y:?|%(what:z)s|e)s)s",
            "`what` cannot be looked up in a template; `prop`, `src`, `worker`, `secret` and `kw` can, at character 26",
            "%(what:z)s",
        ),
        (
            "%(prop:x:#?|a|b%(prop:y:*)s)s",
            "`:*` after a name is not understood; `:-`, `:~`, `:+`, `:?` and `:#?` are, at character 24",
            ":*",
        ),
    ];
    for (text, expected, blamed) in rows {
        let error = Template::parse(text).unwrap_err();
        assert_eq!((error.to_string().as_str(), &text[error.span.clone()]), (expected, blamed), "{text}");
        assert_eq!(with(|scope| render(text, scope)), Err(error), "{text}");
    }
}

/// A document as it is rendered, with these answers of components.
fn document(json: Json, answers: &[Value]) -> Result<Rendered, RenderError> {
    with(|scope| render_value(&json.to_string(), scope, answers))
}

type Json = serde_json::Value;

#[track_caller]
fn check(from: Json, expected: Json) {
    assert_eq!(document(from, &[]), Ok(Rendered::Done(expected.to_string())));
}

#[track_caller]
fn refuse(from: Json, expected: &str) {
    assert_eq!(document(from, &[]).unwrap_err().to_string(), expected);
}

#[test]
fn leaves_of_lists_and_tables_are_rendered_and_one_lookup_keeps_its_type() {
    check(
        json!({"a": "%(prop:jobs)s", "b": ["%(prop:list)s", "-j%(prop:jobs)s", {"c": "%(prop:on)s"}], "d": 1}),
        json!({"a": 4, "b": [[1, 2], "-j4", {"c": true}], "d": 1}),
    );
    check(json!(["%(prop:unset)s", "%(prop:null)s", "%(worker:cores)s"]), json!(["", "", 8]));
    check(json!({"%(prop:branch)s": "x"}), json!({"%(prop:branch)s": "x"}));
    let broken = with(|scope| render_document("{%(", scope, &[])).unwrap_err();
    assert!(matches!(broken.problem, Problem::Json(_)), "{broken}");
}

#[test]
fn what_stands_beside_a_text_is_rendered_when_it_is_looked_up() {
    let beside = |text: &str, kw: Json| json!({"x": {"interpolate": text, "kw": kw}});
    let of = |kw| beside("%(kw:a)s", kw);
    check(of(json!({"a": "b"})), json!({"x": "b"}));
    check(of(json!({"a": "%(prop:branch)s"})), json!({"x": "main"}));
    check(of(json!({"a": ["%(prop:jobs)s", 1]})), json!({"x": [4, 1]}));
    check(beside("<%(kw:a)s|%(kw:b:-none)s>", json!({"a": {"b": 1}})), json!({"x": "<{\"b\":1}|none>"}));
    check(beside("%(prop:unset:-%(kw:a)s)s", json!({"a": "%(src::branch)s"})), json!({"x": "dev"}));
    check(beside("%(kw:a:~no)s %(kw:a:+yes)s", json!({"a": false})), json!({"x": "no yes"}));
    check(of(json!({"a": {"interpolate": "[%(kw:b)s]", "kw": {"b": 1}}})), json!({"x": "[1]"}));
    check(beside("plain", json!({})), json!({"x": "plain"}));
    check(json!({"interpolate": "%(prop:branch)s"}), json!("main"));
    // A branch that is not taken is not rendered.
    check(beside("%(prop:branch:?|a|%(kw:b)s)s", json!({"b": "%(secret:other)s"})), json!({"x": "a"}));
    // Arguments as a whole are a table, whatever their names.
    let args = json!({"interpolate": "%(prop:jobs)s"}).to_string();
    let done = Rendered::Done(json!({"interpolate": 4}).to_string());
    assert_eq!(with(|scope| render_document(&args, scope, &[])), Ok(done));
    // Tables that have such keys among others are tables.
    check(json!({"interpolate": "a", "other": 1}), json!({"interpolate": "a", "other": 1}));
    check(json!({"renderer": 5}), json!({"renderer": 5}));
}

#[test]
fn errors_in_a_document_name_the_place() {
    refuse(
        json!({"env": {"A": ["x", "ab%(kw:b)s"]}}),
        "there is no `b` in `kw`; write the text as `{ interpolate = \"…\", kw = { b = … } }`, at `env.A[1]`, \
         character 3",
    );
    refuse(
        json!({"a": {"interpolate": "x", "kw": {"b": "unused %("}}, "c": {"interpolate": "%(kw:d)s", "kw": {"d": "%(e"}}}),
        "`%(e` is not closed by `)s`, at `c.kw.d`, character 1",
    );
    refuse(
        json!([{"renderer": "x:y", "args": {"a": ["%(secret:other)s"]}}]),
        "the secret `other` is not among the `secrets` of this builder, at `[0].args.a[0]`, character 1",
    );
}

#[test]
fn components_are_asked_one_after_another_and_their_answers_render_the_same_again() {
    let from = json!({
        "a": {"renderer": "m:one", "args": {"x": "%(prop:jobs)s"}},
        "b": ["-%(prop:branch)s", {"interpolate": "<%(kw:r)s>", "kw": {"r": {"renderer": "two"}}}],
        "c": {"renderer": "m:three", "args": {"inner": {"renderer": "four"}}},
    });
    let asks = |answers: &[Value]| match document(from.clone(), answers).unwrap() {
        Rendered::Ask(Ask { hook, args, at }) => (hook, args, at),
        Rendered::Done(done) => panic!("{done}"),
    };
    let ask = |hook: &str, args: &str, at: &str| (hook.to_owned(), args.to_owned(), at.to_owned());
    let mut answers = Vec::new();
    assert_eq!(asks(&answers), ask("m:one", r#"{"x":4}"#, "a"));
    answers.push(Value::Json("[1]".to_owned()));
    assert_eq!(asks(&answers), ask("two", "{}", "b[1].kw.r"));
    // An answer is no template.
    answers.push(Value::from("%(prop:jobs)s"));
    assert_eq!(asks(&answers), ask("four", "{}", "c.args.inner"));
    answers.push(Value::Integer(7));
    assert_eq!(asks(&answers), ask("m:three", r#"{"inner":7}"#, "c"));
    answers.push(Value::Null);
    let done = json!({"a": [1], "b": ["-main", "<%(prop:jobs)s>"], "c": null});
    assert_eq!(document(from.clone(), &answers), Ok(Rendered::Done(done.to_string())));
    assert_eq!(document(from, &answers), Ok(Rendered::Done(done.to_string())));
}

#[test]
fn a_secret_renders_to_its_placeholder_where_the_build_may_use_it() {
    with(|scope| {
        let placeholder = scope.secrets.get("key").unwrap();
        assert_eq!(render("a %(secret:key)s b", scope).unwrap(), format!("a {placeholder} b"));
        let rendered = render_document(r#"{"k":"%(secret:key)s"}"#, scope, &[]);
        assert_eq!(rendered, Ok(Rendered::Done(format!(r#"{{"k":"{placeholder}"}}"#))));
        let denied = render("x %(secret:other)s", scope).unwrap_err();
        assert_eq!(
            denied.to_string(),
            "the secret `other` is not among the `secrets` of this builder, at character 3"
        );
        // What a property holds is text, whatever it looks like.
        let mut forged = Properties::default();
        forged.set("p", "%(secret:key)s".into(), "test");
        let scope = Scope { properties: &forged, ..scope };
        assert_eq!(render("%(prop:p)s", scope).unwrap(), "%(secret:key)s");
    });
}

#[test]
fn the_secrets_of_a_text_are_found_in_every_branch() {
    let names = |text: &str| secrets_of(text).into_iter().collect::<Vec<_>>();
    assert_eq!(names("%(secret:a)s %(prop:x:?|%(secret:b)s|%(prop:y:-%(secret:c)s)s)s"), ["a", "b", "c"]);
    assert_eq!(names("no template, and %(broken"), [""; 0]);
    let json = json!({ "env": { "A": "%(secret:a)s" }, "list": [{"renderer": "x", "args": {"b": "%(secret:b)s"}}, 1] });
    assert_eq!(secrets_of_json(&json).into_iter().collect::<Vec<_>>(), ["a", "b"]);
    let json = json!([{ "renderer": "a", "args": { "x": { "interpolate": "", "kw": { "y": { "renderer": "b" } } } } }]);
    assert_eq!(renderers_of_json(&json).into_iter().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn keywords_that_nobody_gives_are_found_before_a_build_runs() {
    let check = |text: &str| {
        let checked = Template::parse(text).unwrap().check_keywords(text, |name| name == "a");
        checked.map_err(|error| error.to_string())
    };
    assert_eq!(check("%(kw:a)s %(kw:b:-x)s %(kw:b:?|x|y)s"), Ok(()));
    let missing = "there is no `b` in `kw`; write the text as `{ interpolate = \"…\", kw = { b = … } }`, at character 13";
    assert_eq!(check("%(prop:x:-yy%(kw:b)s)s"), Err(missing.to_owned()));
}

/// Symptom: a step that rendered thousands of nested templates took the whole master down. Cause: a
/// recursion for each level, on the small stack of the guest's call. Cure: a bound.
#[test]
fn nested_templates_are_refused_before_they_fill_a_stack() {
    let nested = |levels: usize| format!("{}{}", "%(prop:a:-".repeat(levels), ")s".repeat(levels));
    let properties = Properties::default();
    assert_eq!(render(&nested(MAX_NESTING), &properties).unwrap(), "");
    assert_eq!(render(&nested(5_000), &properties).unwrap_err().problem, Problem::Nested);
}

#[test]
fn what_would_grow_without_end_is_refused() {
    let mut properties = Properties::default();
    properties.set("a", Value::Text("x".repeat(60_000)), "test");
    assert!(render(&"%(prop:a)s".repeat(10), &properties).is_ok());
    let refused = |rendered: Result<Rendered, RenderError>| rendered.unwrap_err().problem;
    assert_eq!(render(&"%(prop:a)s".repeat(6_000), &properties).unwrap_err().problem, Problem::TooLarge);
    let list = json!(vec!["%(prop:a)s"; 6_000]).to_string();
    assert_eq!(refused(render_document(&list, &properties, &[])), Problem::TooLarge);
    // Each level looks twice at the one below: the last one would be looked at 2^40 times.
    let twice = |below: Json| json!({"interpolate": "%(kw:a)s%(kw:a)s", "kw": {"a": below}});
    let tower = (0..40).fold(json!(""), |below, _| twice(below)).to_string();
    assert_eq!(refused(render_value(&tower, &properties, &[])), Problem::TooLarge);
    // Components are asked a bounded number of times.
    let asks = json!(vec![json!({"renderer": "x"}); MAX_ASKS + 1]).to_string();
    let answers = vec![Value::Null; MAX_ASKS];
    assert_eq!(refused(render_document(&asks, &properties, &answers)), Problem::TooMany);
}

proptest! {
    #[test]
    fn no_text_makes_a_template_panic_and_none_grows_beyond_the_bound(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "%(", "%", "prop:", "src:", "src::", "worker:", "secret:", "kw:", "branch", "list", "x", ":-", ":~",
                ":+", ":?", ":#?", "|", "ä", ")", ")s", "(", "%(prop:branch)s", "%(src::branch", ":", "s", "",
            ]),
            0..30,
        ),
    ) {
        let text = words.concat();
        let rendered = with(|scope| render(&text, scope));
        match rendered {
            Ok(rendered) => prop_assert!(rendered.len() <= MAX_RENDERED),
            Err(error) => prop_assert!(text.get(error.span).is_some()),
        }
        // A document with that text in it comes to the same, but for the type.
        let document = document(json!([text, "x"]), &[]);
        prop_assert_eq!(document.is_ok(), with(|scope| render(&text, scope)).is_ok());
    }

    #[test]
    fn a_text_without_a_lookup_stays_as_it_is(text in "[^(]{0,50}") {
        prop_assert_eq!(with(|scope| render(&text, scope)).unwrap(), text);
    }

    #[test]
    fn the_value_of_a_property_is_never_looked_into(value in "\\PC{0,40}") {
        let mut properties = Properties::default();
        properties.set("p", Value::Text(value.clone()), "test");
        prop_assert_eq!(render("<%(prop:p)s>", &properties).unwrap(), format!("<{value}>"));
    }

    #[test]
    fn documents_that_need_nothing_are_left_alone(text in "[a-z \\\\\"{}\\[\\]]{0,30}") {
        let json = json!({ "a": text }).to_string();
        prop_assert!(needs_rendering(&json) || with(|scope| render_document(&json, scope, &[])) == Ok(Rendered::Done(json)));
    }
}
