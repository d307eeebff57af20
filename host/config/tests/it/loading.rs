//! What good files become.

use std::collections::BTreeMap;
use std::path::Path;

use windlass_config::config::{ChangeFilter, SchedulerKind};
use windlass_config::{
    MasterText, check_master, hash_token, load_master, load_worker, step_from_json, template,
};
use windlass_core::builder::{Merge, OnError, PolicyUse};
use windlass_core::lock::{Access, Kind, Lock, Mode};
use windlass_core::step::Flags;
use windlass_core::value::Value;

use crate::hooks::Hooks;

fn load(text: &str) -> windlass_config::config::Master {
    load_master(Path::new("master.toml"), text, &Hooks).unwrap_or_else(|e| panic!("{}", e.render()))
}

const WORKER: &str = r#"
[[workers]]
name = "w1"
token_hash = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
"#;

#[test]
fn the_files_of_init_load_without_a_warning() {
    let text = template::MASTER.replace("@TOKEN_HASH@", &hash_token("token"));
    let checked = check_master(Path::new("master.toml"), &text, &Hooks);
    let master = checked.config.unwrap_or_else(|e| panic!("{}", e.render()));
    assert!(checked.warnings.is_none(), "{}", checked.warnings.unwrap().render());
    assert_eq!(master.builders[0].name, "hello");

    let worker = load_worker(Path::new("worker.toml"), template::WORKER).unwrap();
    assert_eq!(worker.name, master.workers[0].name);
    assert_eq!(worker.master, format!("ws://{}", master.fixed.listen));
    // What the files say is what holds without them.
    assert!(worker.allow.is_empty());
    assert_eq!(master.grants, load("").grants);
}

/// What a person gets who removes the `#` of the examples in the file.
#[test]
fn the_examples_in_the_file_of_init_are_right() {
    let settings = [
        "# [",
        "# name",
        "# use",
        "# args",
        "# workers",
        "# repo",
        "# branches",
        "# poll",
        "# type",
        "# builders",
        "# change_filter",
        "# tree",
        "# next_slave",
        "# merge",
        "# can",
        "# secrets",
        "# deploy-key",
        "# forge-token",
    ];
    let text: String = template::MASTER
        .replace("@TOKEN_HASH@", &hash_token("token"))
        .replace("next_slave = \"sticky\"", "next_slave = \"windlass:sticky\"")
        .lines()
        .map(|line| match settings.iter().any(|s| line.starts_with(s)) {
            true => format!("{}\n", &line[2..]),
            false => format!("{line}\n"),
        })
        .collect();
    let master = load(&text);
    assert_eq!((master.builders.len(), master.git_pollers.len(), master.schedulers.len()), (2, 1, 2));
    assert_eq!((master.secrets.len(), master.builders[1].secrets.len()), (2, 1));
    assert!(master.builders.iter().all(|b| b.next_slave.is_some() && b.can_start_build.is_some()));
}

#[test]
fn both_spellings_mean_the_same() {
    let old = load(&format!(
        r#"{WORKER}
        [policies]
        mergeRequests = false
        select_next_worker = "mine:sticky"
        [[builders]]
        name = "tests"
        slavenames = ["w1"]
        category = "ci"
        slavebuilddir = "t"
        [[builders.steps]]
        use = "compile"
        args = {{ command = "make" }}
        haltOnFailure = false
        warnOnWarnings = true
        [[schedulers]]
        name = "s"
        type = "SingleBranchScheduler"
        builderNames = ["tests"]
        treeStableTimer = 90
        change_filter = {{ branch = "main" }}"#
    ));
    let new = load(&format!(
        r#"{WORKER}
        [[builders]]
        name = "tests"
        workers = "w1"
        tags = ["ci"]
        workerbuilddir = "t/"
        collapse_requests = false
        next_slave = "mine:sticky"
        [[builders.steps]]
        use = "windlass:compile"
        args.command = "make"
        halt_on_failure = false
        warn-on-warnings = true
        [[schedulers]]
        name = "s"
        type = "single-branch"
        builders = "tests"
        tree_stable_timer = "1m 30s"
        change_filter.branches = ["main"]"#
    ));
    assert_eq!(old, new);
    let builder = &new.builders[0];
    assert_eq!((builder.builddir.as_str(), builder.tags.as_slice()), ("t", ["ci".to_owned()].as_slice()));
    assert_eq!(builder.merge_requests, Merge::Never);
    // Not halting was said; flunking is what `compile` says of itself.
    let flags = builder.steps[0].flags;
    assert_eq!(flags, Flags { warn_on_warnings: true, ..Flags::default() });
    let filter = ChangeFilter { branches: vec!["main".into()], ..ChangeFilter::default() };
    assert_eq!(new.schedulers[0].kind, SchedulerKind::SingleBranch { filter, tree_stable_ms: 90_000 });
}

#[test]
fn policies_are_inherited_replaced_and_switched_off() {
    let master = load(&format!(
        r#"{WORKER}
        [policies]
        next_slave = "mine:sticky"
        merge_requests = "same-branch"
        codebase_generator = {{ use = "by-repository", args = {{ repositories = {{ "https://example.org/a" = "a" }} }} }}
        [[builders]]
        name = "inherits"
        workers = "w1"
        [[builders]]
        name = "replaces"
        workers = "w1"
        next_slave = {{ use = "least-loaded", on_error = "hold" }}
        merge_requests = true
        [[builders]]
        name = "without"
        workers = "w1"
        next_slave = "default"
        merge_requests = "default""#
    ));
    let plain = |hook: &str| PolicyUse { hook: hook.into(), args: "{}".into(), on_error: OnError::Default };
    let [inherits, replaces, without] = master.builders.as_slice() else { panic!("three builders") };
    assert_eq!(inherits.next_slave, Some(plain("mine:sticky")));
    assert_eq!(inherits.merge_requests, Merge::Policy(plain("windlass:same-branch")));
    let held = PolicyUse { on_error: OnError::Hold, ..plain("windlass:least-loaded") };
    assert_eq!((&replaces.next_slave, &replaces.merge_requests), (&Some(held), &Merge::Compatible));
    assert_eq!((&without.next_slave, &without.merge_requests), (&None, &Merge::Compatible));
    assert_eq!(master.codebase_generator.unwrap().args, r#"{"repositories":{"https://example.org/a":"a"}}"#);
}

#[test]
fn what_is_not_said_has_a_default() {
    let master = load(&format!(
        "{WORKER}\n[[builders]]\nname = 'über a/b'\nworkers = 'w1'\nsteps = [{{ use = 'git', args = {{ repourl = 'r' }} }}]\nproperties = {{ n = 1, l = [1, 2] }}"
    ));
    assert_eq!((master.title.as_str(), master.db_poll_interval_ms), ("Windlass", 60_000));
    assert_eq!(master.logs.max_log_bytes, 100 << 20);
    assert_eq!(master.decisions, windlass_core::decision::Budget::default());
    let builder = &master.builders[0];
    assert_eq!(builder.max_retries, windlass_core::build::MAX_RETRIES);
    assert_eq!(builder.builddir, "über_a_b");
    assert_eq!(builder.properties.get("l"), Some(&Value::Json("[1,2]".into())));
    let step = &builder.steps[0];
    assert_eq!((step.name.as_str(), step.hook.as_str()), ("git", "windlass:git"));
    assert!(step.flags.halt_on_failure);
    let none = |_: &str| None;
    let peeked = MasterText::parse(Path::new("m"), "broken = 1\n[master]\nstate_dir = '/var/lib/x'")
        .peek(&none)
        .unwrap();
    assert_eq!(
        (peeked.listen.as_str(), peeked.state_dir.as_path()),
        ("127.0.0.1:9989", Path::new("/var/lib/x"))
    );
    assert_eq!(MasterText::parse(Path::new("m"), "").peek(&none).unwrap(), master.fixed);
}

#[test]
fn a_builder_may_have_retries_of_its_own() {
    let master = load(&format!(
        "max_retries = 1\n[decisions]\nmax_bytes = '1 MiB'\nmax_age = '12h'\n[artifacts]\nmax_age = '1d'\nmax_artifact_bytes = '2 kB'\nkeep_free = '1 MiB'\n{WORKER}\n\
         [[builders]]\nname = 'a'\nworkers = 'w1'\n[[builders]]\nname = 'b'\nworkers = 'w1'\nmaxRetries = 0\n"
    ));
    assert_eq!(master.builders.iter().map(|b| b.max_retries).collect::<Vec<_>>(), [1, 0]);
    assert_eq!((master.artifacts.max_bytes, master.artifacts.max_age_ms), (None, Some(24 * 3_600_000)));
    assert_eq!((master.artifacts.max_artifact_bytes, master.artifacts.keep_free), (Some(2000), 1 << 20));
    assert_eq!((master.decisions.max_bytes, master.decisions.max_age_ms), (1 << 20, 12 * 3_600_000));
}

#[test]
fn locks_are_read_with_their_uses() {
    let master = load(
        r#"
[locks]
db = {}
disk = { kind = "slave", maxCount = 2, maxCountForWorker = { w1 = 4 } }
[[workers]]
name = "w1"
token_hash = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
locks = { lock = "disk", count = 3 }
[[builders]]
name = "b"
workers = "w1"
locks = ["db", { lock = "disk", mode = "counting", count = 0 }]
[[builders]]
name = "c"
workers = "w1"
[[builders.steps]]
use = "shell-command"
args = { command = "true" }
locks = [{ lock = "db", mode = "exclusive" }]
"#,
    );
    let lock = |kind, max, own: &[(&str, u32)]| Lock {
        kind,
        max,
        max_for_worker: own.iter().map(|(worker, max)| ((*worker).to_owned(), *max)).collect(),
    };
    assert_eq!(master.locks["db"], lock(Kind::Master, 1, &[]));
    assert_eq!(master.locks["disk"], lock(Kind::Worker, 2, &[("w1", 4)]));
    let of = |lock: &str, mode| Access { lock: lock.to_owned(), mode };
    assert_eq!(master.workers[0].locks, [of("disk", Mode::Counting(3))]);
    assert_eq!(master.builders[0].locks, [of("db", Mode::Counting(1)), of("disk", Mode::Counting(0))]);
    assert_eq!(master.builders[1].steps[0].locks, [of("db", Mode::Exclusive)]);
}

#[test]
fn a_step_from_json_uses_locks_that_are_there() {
    let locks = load("[locks.db]\n").locks;
    let step = |json| step_from_json(json, &Hooks, &locks);
    let good = step(r#"{ "use": "mkdir", "locks": ["db"] }"#).unwrap();
    assert_eq!(good.locks[0].lock, "db");
    let bad = step(r#"{ "use": "mkdir", "locks": ["bd"] }"#);
    assert_eq!(bad.unwrap_err(), "there is no lock `bd`");
}

#[test]
fn a_step_from_json_is_read_as_one_from_toml() {
    let step = step_from_json(
        r#"{ "use": "shell-command", "name": "x", "args": { "command": ["a"], "timeout": "%(prop:t)s", "max_time": null }, "alwaysRun": true, "warnOnFailure": null }"#,
        &Hooks,
        &BTreeMap::new(),
    )
    .unwrap();
    let error = |json: &str| step_from_json(json, &Hooks, &BTreeMap::new()).unwrap_err();
    assert_eq!(step.args, r#"{"command":["a"],"max_time":null,"timeout":"%(prop:t)s"}"#);
    assert_eq!((step.name.as_str(), step.flags.always_run), ("x", true));
    assert_eq!(
        error(r#"{ "use": "shell-command", "hatOnFailure": true }"#),
        "a step has no setting `hatOnFailure`; `shell-command`: the argument `command` is missing"
    );
    // As in the file: what reads these would see a placeholder.
    for place in ["do_step_if", "hideStepIf"] {
        let stand = r#"{ "renderer": "mine:stamp", "args": { "format": "%(secret:key)s" } }"#;
        let json =
            format!(r#"{{ "use": "shell-command", "args": {{ "command": ["a"] }}, "{place}": {stand} }}"#);
        assert_eq!(error(&json), "the secret `key` cannot be used here");
    }
    assert_eq!(error("[]"), "the step is not a JSON object");
    assert!(error("{").starts_with("the step is not JSON: "));
}

#[test]
fn schedulers_of_every_type_are_read() {
    let master = load(&format!(
        r#"{WORKER}
        [[builders]]
        name = "tests"
        workers = ["w1"]
        [[schedulers]]
        name = "after"
        type = "Dependent"
        upstream = "ci"
        builders = "tests"
        [[schedulers]]
        name = "ci"
        type = "Triggerable"
        builders = "tests"
        [[schedulers]]
        name = "by hand"
        type = "force"
        builders = "tests"
        [[schedulers]]
        name = "changes"
        type = "SingleBranchScheduler"
        builders = ["tests"]"#
    ));
    let kinds: Vec<&str> = master.schedulers.iter().map(|s| s.kind.as_str()).collect();
    assert_eq!(kinds, ["dependent", "triggerable", "force", "single-branch"]);
    assert_eq!(master.schedulers[0].kind, SchedulerKind::Dependent { upstream: "ci".to_owned() });
}
