//! What `reconfig --plan` prints.

use std::path::Path;

use windlass_config::plan::{How, Why};
use windlass_config::{Components, Plan, Side, diff, load_master};
use windlass_core::digest::Digest;
use windlass_core::policy::HookKind;

use crate::hooks::Hooks;

const BEFORE: &str = r#"
title = "One"
[[workers]]
name = "w1"
token_hash = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
[[workers]]
name = "w2"
token_hash = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
[policies]
prioritize_builders = "oldest-first"
[[builders]]
name = "tests"
workers = ["w1", "w2"]
next_slave = "least-loaded"
[[builders.steps]]
use = "shell-command"
args = { command = ["make"], timeout = 10 }
[[schedulers]]
name = "force"
type = "force"
builders = ["tests"]
"#;

fn plan(change: impl Fn(String) -> String) -> Plan {
    let load =
        |text: &str| load_master(Path::new("m"), text, &Hooks).unwrap_or_else(|e| panic!("{}", e.render()));
    diff(&load(BEFORE), &load(&change(BEFORE.to_owned())))
}

#[test]
fn nothing_changes_between_two_spellings() {
    let plan = plan(|text| text.replace("workers = [", "slavenames = [").replace("next_slave", "nextWorker"));
    assert!(plan.is_empty());
    assert_eq!(plan.to_string(), "nothing changes");
}

#[test]
fn a_plan_reads_like_a_diff() {
    let plan = plan(|text| {
        text.replace("\"One\"", "\"Two\"")
            .replace("\"w1\", \"w2\"", "\"w1\"")
            .replace("least-loaded", "mine:sticky")
            .replace("timeout = 10", "timeout = 20")
            .replace("prioritize_builders = \"oldest-first\"", "")
            .replace("name = \"w2\"", "name = \"w3\"\nmax_builds = 3")
            .replace("type = \"force\"", "type = \"single-branch\"")
            + "[[builders]]\nname = 'docs'\nworkers = ['w3']\n"
    });
    assert_eq!(
        plan.to_string(),
        r#"~ setting `title`: "One" -> "Two"
- worker `w2` (its link is closed, and its builds end as retry)
+ worker `w3`
- policy `prioritize_builders` (the default rule decides from now on)
+ builder `docs`
~ builder `tests`
    next_slave: "windlass:least-loaded" -> "mine:sticky"
    steps.shell-command.args.timeout: 10 -> 20
    workers: ["w1","w2"] -> ["w1"]
* scheduler `force` (the old one stops, and what waits in it is forgotten; the new one begins with nothing)
    change_filter.branches: (not set) -> []
    change_filter.categories: (not set) -> []
    change_filter.codebases: (not set) -> []
    change_filter.projects: (not set) -> []
    change_filter.repositories: (not set) -> []
    tree_stable_ms: (not set) -> 0
    type: "force" -> "single-branch""#
    );
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
}

#[test]
fn what_needs_a_restart_is_refused() {
    let plan = plan(|text| format!("{text}[master]\nlisten = '0.0.0.0:1234'\n"));
    assert_eq!(plan.refused.len(), 1);
    assert!(plan.changes.is_empty());
    assert_eq!(
        plan.to_string(),
        "! master.listen: 127.0.0.1:9989 -> 0.0.0.0:1234 (needs a restart of the master)"
    );
}

#[test]
fn locks_and_their_uses_are_shown() {
    let plan = plan(|text| {
        let text =
            text.replace("timeout = 10 }", "timeout = 10 }\nlocks = { lock = 'db', mode = 'exclusive' }");
        let text =
            text.replace("next_slave = ", "locks = ['disk', { lock = 'cpu', count = 2 }]\nnext_slave = ");
        format!("{text}[locks]\ndb = {{}}\ncpu = {{ max = 4 }}\ndisk = {{ kind = 'worker' }}\n")
    });
    assert_eq!(
        plan.to_string(),
        r#"+ lock `cpu`
+ lock `db`
+ lock `disk`
~ builder `tests`
    locks: (not set) -> ["disk",{"count":2,"lock":"cpu"}]
    steps.shell-command.locks: (not set) -> [{"lock":"db","mode":"exclusive"}]"#
    );
}

#[test]
fn retries_are_of_builders_and_records_of_decisions_need_no_restart() {
    let plan = plan(|text| {
        format!(
            "max_retries = 9\n{text}[decisions]\nmaxAge = '1d'\n[[builders]]\nname = 'b'\nworkers = 'w1'\n"
        )
        .replace("[[builders.steps]]", "max_retries = 0\n[[builders.steps]]")
    });
    assert_eq!(
        plan.to_string(),
        "~ setting `decisions`\n    max_age_ms: 2592000000 -> 86400000\n+ builder `b`\n\
         ~ builder `tests`\n    max_retries: 5 -> 0"
    );
}

#[test]
fn limit_of_all_logs_needs_a_restart_and_that_of_one_log_does_not() {
    let plan = plan(|text| format!("{text}[logs]\nmax_bytes = '1 GiB'\nmax_log_bytes = '1 MiB'\n"));
    assert_eq!(
        plan.to_string(),
        "! logs.max_bytes: (not set) -> 1073741824 (needs a restart of the master)\n\
         ~ setting `logs`\n    max_log_bytes: 104857600 -> 1048576"
    );
}

/// Symptom: a plan of ten thousand builders was ten thousand lines, and a long text twice as long. Cause: all of it was
/// shown. Cure: the text has an end, and so has the document.
#[test]
fn a_plan_of_many_things_has_an_end_and_says_how_much_is_left_out() {
    let many = |count: usize| {
        let one = |n| format!("[[builders]]\nname = 'n{n}'\nworkers = ['w1']\n");
        plan(|text| text + &(0..count).map(one).collect::<String>())
    };
    let text = many(200).to_string();
    assert!(text.lines().count() == 200 && !text.contains('…'), "{text}");
    let more = many(275);
    assert_eq!((more.changes.len(), more.left_out), (275, 0));
    let text = more.to_string();
    assert_eq!(text.lines().count(), 201, "{text}");
    assert!(text.ends_with("… and 75 more; `--json` lists 275 in all"), "{text}");

    let fields: String = (0..150).map(|n| format!("P{n} = 'x'\n")).collect();
    let wide =
        plan(|text| text.replace("[[schedulers]]", &format!("[builders.env]\n{fields}[[schedulers]]")));
    let builder = &wide.changes[0];
    assert_eq!((builder.fields.len(), builder.fields_left_out), (100, 50));
    let text = wide.to_string();
    assert!(text.lines().count() == 22 && text.ends_with("    … and 130 more fields"), "{text}");
    let long = plan(|text| text.replace("\"One\"", &format!("\"{}\"", "x".repeat(10_000)))).to_string();
    assert!(long.len() < 500 && long.ends_with("xxx…"), "{long}");
}

#[test]
fn a_worker_that_goes_says_which_tokens_go_with_it() {
    let mut plan =
        plan(|text| text.replace("name = \"w2\"", "name = \"w3\"").replace("\"w1\", \"w2\"", "\"w1\""));
    plan.name_tokens(|worker| if worker == "w2" { vec![3, 5] } else { vec![7] });
    let gone = &plan.changes[0];
    assert_eq!(
        (gone.name.as_str(), &gone.why[..]),
        ("w2", &[Why::Gone, Why::Tokens { tokens: vec![3, 5] }][..])
    );
    let expected =
        "- worker `w2` (its link is closed, and its builds end as retry)\n    its tokens go with it: 3, 5\n+";
    assert!(plan.to_string().starts_with(expected), "{plan}");
    let json = serde_json::to_value(&gone.why).unwrap();
    assert_eq!(json, serde_json::json!([{ "because": "gone" }, { "because": "tokens", "tokens": [3, 5] }]));
}

/// Everything that a hook called `sticky`, `shell-command` or `stamp` offers has these bytes.
struct Bytes(&'static str);

impl Components for Bytes {
    fn component(&self, kind: HookKind, hook: &str) -> Option<Digest> {
        let renewed = ["mine:sticky", "windlass:shell-command", "mine:stamp"].contains(&hook);
        Some(Digest::of(if renewed { format!("{} of {kind}", self.0) } else { hook.to_owned() }.as_bytes()))
    }
}

const USES: &str = r#"
[[builders]]
name = "sticky"
workers = "w1"
next_slave = "mine:sticky"
[[builders]]
name = "fast"
workers = "w1"
next_slave = "mine:fastest"
[[builders]]
name = "rendered"
workers = "w1"
env = { STAMP = { renderer = "mine:stamp" } }
"#;

#[test]
fn a_component_that_is_another_is_named_at_each_of_its_users() {
    let load =
        |text: &str| load_master(Path::new("m"), text, &Hooks).unwrap_or_else(|e| panic!("{}", e.render()));
    let config = load(&format!("{BEFORE}{USES}"));
    let side = |components| Side { config: &config, components: Some(components) };
    assert!(diff(side(&Bytes("old")), side(&Bytes("old"))).is_empty());
    let plan = diff(side(&Bytes("old")), side(&Bytes("new")));
    let short = |bytes: &str, kind: &str| Digest::of(format!("{bytes} of {kind}").as_bytes()).short();
    let line = |name: &str, kind: &str, hook: &str| {
        let (old, new) = (short("old", kind), short("new", kind));
        format!("~ builder `{name}`\n    component of {kind} {hook}: {old} -> {new}")
    };
    let expected = [
        line("rendered", "renderer", "mine:stamp"),
        line("sticky", "next-slave", "mine:sticky"),
        line("tests", "build-step", "windlass:shell-command"),
    ];
    assert_eq!(plan.to_string(), expected.join("\n"));
    let why = &plan.changes[1].why;
    assert!(matches!(&why[..], [Why::Component { hook, .. }] if hook == "mine:sticky"), "{why:?}");
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["changes"][1]["why"][0]["because"], "component");
    // What the file changes besides is a reason of its own.
    let text = format!("{BEFORE}{USES}").replace("timeout = 10", "timeout = 20");
    let (changed, old, new) = (load(&text), Bytes("old"), Bytes("new"));
    let plan = diff(side(&old), Side { config: &changed, components: Some(&new) });
    assert!(matches!(plan.changes[2].why[..], [Why::Settings, Why::Component { .. }]), "{plan:?}");
}

/// What is the same thing afterwards, and what is another one of the same name.
#[test]
fn each_kind_of_thing_has_its_own_identity() {
    const POLLER: &str = "[[git_pollers]]\nname = 'p'\nrepository = '/a'\n";
    const OTHER: &str = "blake3:0000000000000000000000000000000000000000000000000000000000000000";
    const HASH: &str = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    let load =
        |text: &str| load_master(Path::new("m"), text, &Hooks).unwrap_or_else(|e| panic!("{}", e.render()));
    let before = format!("{BEFORE}{POLLER}");
    let check = |from: &str, to: &str, how: How, because: &str, effect: &str| {
        assert!(before.contains(from), "{from}");
        let plan = diff(&load(&before), &load(&before.replacen(from, to, 1)));
        let [change] = &plan.changes[..] else { panic!("{plan:?}") };
        let why = serde_json::to_value(&change.why).unwrap();
        assert_eq!(
            (change.how, why[0]["because"].as_str(), why.as_array().unwrap().len()),
            (how, Some(because), 1)
        );
        assert!(change.effect.contains(effect), "{change:?}");
    };
    let (changed, restarted) = (How::Changed, How::Restarted);
    // By name.
    check("name = \"w2\"", "max_builds = 3\nname = \"w2\"", changed, "settings", "its link stays");
    check(HASH, OTHER, restarted, "token", "its link is cut");
    check("timeout = 10", "timeout = 11", changed, "settings", "running builds keep");
    // By name and type.
    check("type = \"force\"", "type = \"force\"\npriority = 3", changed, "settings", "waits on");
    check("type = \"force\"", "type = \"triggerable\"", restarted, "type", "is forgotten");
    // By equality.
    check("'/a'\n", "'/a'\npoll_interval = 5\n", restarted, "unequal", "goes on where it was");
    check("'/a'\n", "'/b'\n", restarted, "unequal", "its repository is another");
    check(POLLER, "", How::Removed, "gone", "is kept for one of the same name");
    check("name = 'p'", "name = 'p'\nproject = 'x'", restarted, "unequal", "goes on where it was");
}
