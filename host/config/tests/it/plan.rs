//! What `reconfig --plan` prints.

use std::path::Path;

use windlass_config::{Plan, diff, load_master};

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
- worker `w2`
+ worker `w3`
- policy `prioritize_builders`
+ builder `docs`
~ builder `tests`
    next_slave: "windlass:least-loaded" -> "mine:sticky"
    steps.shell-command.args.timeout: 10 -> 20
    workers: ["w1","w2"] -> ["w1"]
~ scheduler `force`
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
