//! The holder of a worker, as a process: what outlives the agent, what ends with it, and what its own death costs.

use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;
use serde_json::{Value, json};
use windlass_tests::fixtures::component;
use windlass_tests::site::{Site, eventually, text, until_ended};

/// One worker, and a builder whose command says that it began and waits until it may end.
fn site() -> Site {
    let command = "echo $$ >> ../../../began; until test -e ../../../go; do sleep 0.05; done";
    Site::new(&["w1"], &Site::builder("b", command, "").replace(", \"w2\"", "")).start()
}

/// The process of the command that began last.
fn began(site: &Site, times: usize) -> u32 {
    eventually("the command runs", || {
        let began = std::fs::read_to_string(site.path("w1/began")).ok()?;
        let lines: Vec<&str> = began.lines().collect();
        (lines.len() == times && began.ends_with('\n')).then(|| lines[times - 1].parse().expect("a number"))
    })
}

fn since(site: &Site) -> u64 {
    let status = site.until("the worker is connected", |s| !s["workers"][0]["connected"].is_null());
    status["workers"][0]["connected"].as_u64().expect("a time")
}

fn another_agent(site: &Site, than: u32) -> u32 {
    eventually("there is another agent", || site.agent("w1").filter(|agent| *agent != than))
}

/// The reason that a build ended for.
fn summary(site: &Site, build: u64) -> String {
    let build = site.ok(&["build", &build.to_string(), "--json"]);
    assert_eq!(build["outcome"], "retry", "{build}");
    build["summary"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn an_agent_that_is_killed_comes_back_as_the_same_start_of_the_worker() {
    let site = site();
    let (agent, since_first, epoch) = (site.agent("w1").unwrap(), since(&site), text(&site.path("w1/epoch")));
    site.kill_agent("w1");
    another_agent(&site, agent);
    eventually("it is connected again", || (since(&site) > since_first).then_some(()));
    assert_eq!(text(&site.path("w1/epoch")), epoch);
    assert!(site.said("w1").contains("was killed by SIGKILL"), "{}", site.said("w1"));
    std::fs::write(site.path("w1/go"), "").unwrap();
    assert_eq!(site.build("b")["outcome"], "success");
}

#[test]
fn a_hangup_starts_the_agent_anew_and_the_holder_stays() {
    let mut site = site();
    let (holder, agent) = (site.pid("w1"), site.agent("w1").unwrap());
    site.signal("w1", Signal::HUP);
    another_agent(&site, agent);
    assert_eq!(site.pid("w1"), holder);
    std::fs::write(site.path("w1/go"), "").unwrap();
    assert_eq!(site.build("b")["outcome"], "success");
    let agent = site.agent("w1").unwrap();
    assert!(site.path("w1/runs").exists());
    site.end("w1", true);
    until_ended(agent);
    assert!(!site.path("w1/runs").exists(), "it ended in good order");
}

/// An upgrade puts another file in the place of the program, as a package does it, and says SIGHUP.
#[test]
fn a_worker_whose_program_was_replaced_goes_on_from_the_new_file_with_its_commands_running() {
    let command =
        "echo $$ >> ../../../began; echo before; until test -e ../../../go; do sleep 0.05; done; echo after";
    let mut site = Site::new(&["w1"], &Site::builder("b", command, "").replace(", \"w2\"", ""));
    let (file, real) = (site.path("windlass"), windlass_tests::binary::windlass());
    // Another name of the file costs no room; on another file system there is none.
    std::fs::hard_link(real, &file).or_else(|_| std::fs::copy(real, &file).map(drop)).unwrap();
    site.start_master();
    site.start_worker_from("w1", &file);
    let buildset = site.submit("b");
    let (build, program) = (site.running("b"), began(&site, 1));
    let (holder, first) = (site.pid("w1"), site.agent("w1").unwrap());
    let replace = |text: &str, mode: u32| {
        let unfinished = site.path("windlass.new");
        std::fs::write(&unfinished, text).unwrap();
        std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::rename(unfinished, &file).unwrap();
    };
    // An upgrade that went wrong, at first.
    replace("", 0o644);
    let running = std::fs::read_link(format!("/proc/{holder}/exe")).unwrap();
    assert!(running.display().to_string().ends_with("(deleted)"), "{}", running.display());
    site.signal("w1", Signal::HUP);
    eventually("it is told", || site.said("w1").contains("failed to start the agent").then_some(()));
    until_ended(first);
    replace(&format!("#!/bin/sh\nWINDLASS_TEST_VERSION=2 exec '{}' \"$@\"\n", real.display()), 0o755);
    for other_than in [first, 0] {
        let agent = eventually("there is an agent", || site.agent("w1").filter(|agent| *agent != other_than));
        let variables =
            String::from_utf8_lossy(&std::fs::read(format!("/proc/{agent}/environ")).unwrap()).into_owned();
        assert!(variables.contains("WINDLASS_TEST_VERSION=2"), "{variables}");
        site.kill_agent("w1");
        until_ended(agent);
    }
    assert_eq!(site.pid("w1"), holder);
    std::fs::write(site.path("w1/go"), "").unwrap();
    assert_eq!(site.outcome(buildset), "success");
    let log = site.windlass(&["logs", &build.to_string()]);
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    let said: Vec<&str> = log.lines().filter(|line| ["before", "after"].contains(line)).collect();
    assert_eq!(said, ["before", "after"], "{log}");
    assert_eq!(began(&site, 1), program, "it ran once");
}

#[test]
fn an_agent_that_cannot_work_ends_its_holder_with_its_code() {
    let mut site = site();
    site.end("w1", true);
    std::fs::write(site.path("w1/worker.toml"), "name = 3\n").unwrap();
    site.start_worker("w1");
    assert_eq!(site.ended("w1"), 3, "{}", site.said("w1"));
    std::fs::remove_file(site.path("w1/worker.toml")).unwrap();
    site.start_worker("w1");
    assert_eq!(site.ended("w1"), 6, "{}", site.said("w1"));
}

#[test]
fn the_commands_of_a_holder_that_is_killed_end_with_it_and_are_told_by_name() {
    let mut site = site();
    let buildset = site.submit("b");
    let (first, child, agent) = (site.running("b"), began(&site, 1), site.agent("w1").unwrap());
    site.kill_holder("w1");
    until_ended(child);
    until_ended(agent);
    assert!(site.said("w1").contains("the holder of this worker was killed"), "{}", site.said("w1"));
    let mut words = "the holder of this worker was killed";
    let told = eventually("the build has ended", || {
        // The agent has little time to tell the master of it; if that was too little, the next one does.
        if words.contains("this") && site.said("w1").contains("the master did not hear of it") {
            words = "the holder of its worker was killed";
            site.start_worker("w1");
        }
        let build = site.ok(&["build", &first.to_string(), "--json"]);
        build["ended"].as_u64().map(|_| summary(&site, first))
    });
    assert!(told.contains(words), "{told}");
    std::fs::write(site.path("w1/go"), "").unwrap();
    if words.contains("this") {
        site.start_worker("w1");
    }
    assert_eq!(site.outcome(buildset), "success");
}

#[test]
fn a_worker_that_was_killed_and_a_machine_that_was_restarted_are_told_apart() {
    for machine in [false, true] {
        let mut site = site();
        let buildset = site.submit("b");
        let (first, child) = (site.running("b"), began(&site, 1));
        site.end("w1", false);
        if machine {
            let runs = site.path("w1/runs");
            let before = text(&runs);
            std::fs::write(&runs, before.replacen(|c: char| c.is_ascii_hexdigit(), "x", 1)).unwrap();
        }
        site.start_worker("w1");
        until_ended(child);
        std::fs::write(site.path("w1/go"), "").unwrap();
        assert_eq!(site.outcome(buildset), "success");
        let told = summary(&site, first);
        let why = if machine { "machine was started anew" } else { "the holder of its worker was killed" };
        assert!(told.contains(why), "{told}");
    }
}

/// Symptom: a build stood for ever. Cause: its step had lost a command with the worker, and started another one on the
/// worker's next start, which waited for what the first was to do. Cure: a step that lost a command starts none, and
/// those that it has are stopped; its build is tried again.
#[test]
fn a_step_that_lost_a_command_with_its_worker_starts_no_other() {
    // Twelve at a time: the thirteenth is started when one of them has ended.
    let row = |n: u32| {
        let script = format!("echo {n} >> ../../began; until test -e ../../go; do sleep 0.05; done");
        json!({ "command": "windlass:shell", "args": { "command": script } })
    };
    let rows = Value::from((1..=13).map(row).collect::<Vec<_>>()).to_string();
    let mut site = Site::new(&["w1"], "");
    site.plugin("sender", &component("sender"));
    site.configure(&format!(
        "[[builders]]\nname = \"b\"\nworkers = [\"w1\"]\n[[builders.steps]]\nuse = \"send\"\nargs = {{ rows = {} }}\n",
        Value::from(rows)
    ));
    site = site.start();
    let began = |site: &Site| std::fs::read_to_string(site.path("w1/began")).unwrap_or_default();
    site.submit("b");
    let first = site.running("b");
    eventually("twelve run", || (began(&site).lines().count() == 12).then_some(()));
    site.kill_holder("w1");
    site.start_worker("w1");
    eventually("the build has ended", || site.ok(&["build", &first.to_string(), "--json"])["ended"].as_u64());
    assert!(summary(&site, first).contains("the holder of"));
}
