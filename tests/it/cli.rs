//! The command line as a newcomer meets it.

use std::process::Command;

use windlass_tests::binary::windlass;
use windlass_tests::site::Site;

#[test]
fn init_makes_a_directory_that_works_as_its_last_lines_say() {
    let mut site = Site::new(&[], "");
    let dir = site.path("ci");
    let dir = dir.to_str().unwrap();
    let made = Command::new(windlass()).args(["init", dir]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let checked = Command::new(windlass()).args(["check", dir]).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let again = Command::new(windlass()).args(["init", dir]).output().unwrap();
    assert_eq!(again.status.code(), Some(5), "{again:?}");
    // Another port than the template's: tests run side by side.
    let listen = format!("127.0.0.1:{}", windlass_tests::site::free_port());
    for file in ["ci/master.toml", "ci/worker/worker.toml"] {
        let path = site.path(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("127.0.0.1:9989"), "{text}");
        std::fs::write(&path, text.replace("127.0.0.1:9989", &listen)).unwrap();
    }
    let worker = format!("{dir}/worker");
    site.spawn("master", &["master", dir]);
    site.spawn("worker", &["worker", &worker]);
    windlass_tests::site::eventually("it is ready", || {
        let status = Command::new(windlass()).args(["--dir", dir, "status"]).output().unwrap();
        status.status.success().then_some(())
    });
    let forced = Command::new(windlass()).args(["--dir", dir, "force", "hello", "--wait"]).output().unwrap();
    assert!(forced.status.success(), "{forced:?}");
}

#[test]
fn check_reports_every_fault_at_once_with_its_place() {
    let site = Site::new(&["w1"], "[[builders]]\nname = \"b\"\nworkers = [\"w2\"]\ncolour = 1\n");
    let checked = site.windlass(&["check"]);
    assert_eq!(checked.status.code(), Some(3));
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(said.contains("colour") && said.contains("w2") && said.contains("master.toml:"), "{said}");
    let json = site.windlass(&["check", "--json"]);
    let faults: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(faults.to_string().contains("\"line\""), "{faults}");
}

/// Symptom: one bad file made `check` call good plugins missing. Cause: with it, all of the folder were left out.
/// Cure: the configuration is checked against those that load, and what the bad one may offer is no fault.
#[test]
fn a_bad_plugin_makes_no_other_one_missing() {
    let uses = |hook: &str| format!("next_slave = \"{hook}\"");
    let site = Site::new(
        &["w1", "w2"],
        &(Site::builder("good", "true", &uses("mine:traps"))
            + &Site::builder("bad", "true", &uses("zz:any"))),
    );
    site.plugin("mine", &windlass_tests::fixtures::component("behaves"));
    site.plugin("zz", b"x");
    let checked = site.windlass(&["check", "--json"]);
    assert_eq!(checked.status.code(), Some(3), "{checked:?}");
    let found: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    let errors: Vec<_> = found["errors"].as_array().unwrap().iter().map(|e| e["code"].clone()).collect();
    assert_eq!(errors, ["bad-plugin", "unknown-hook"], "{found}");
    assert!(found["errors"][1]["message"].as_str().unwrap().contains("`zz` cannot be loaded"), "{found}");
    let said = site.windlass(&["check"]);
    assert!(!String::from_utf8_lossy(&said.stderr).contains("mine"), "{said:?}");
}

#[test]
fn beside_its_directory_a_master_is_named() {
    let site = Site::with_command("true");
    std::fs::create_dir_all(site.path("beside/ci")).unwrap();
    std::fs::copy(site.path("master.toml"), site.path("beside/ci/master.toml")).unwrap();
    let said = |args: &[&str], code| {
        let shown = Command::new(windlass()).args(args).current_dir(site.path("beside")).output().unwrap();
        assert_eq!(shown.status.code(), Some(code), "{shown:?}");
        String::from_utf8(shown.stderr).unwrap()
    };
    let status = said(&["status"], 4);
    assert!(status.contains("did you mean `ci`?") && status.contains("--dir"), "{status}");
    assert!(said(&["--dir", "nope", "status"], 4).contains("no directory `nope`"));
    assert!(said(&["worker", ".."], 6).contains("`../w1`"));
}

#[test]
fn who_waits_is_told_why_and_a_request_can_be_withdrawn() {
    let mut site = Site::with_command("true");
    site.start_master();
    let dir = site.path("");
    site.spawn("force", &["--dir", dir.to_str().unwrap(), "force", "b", "--wait"]);
    let said = windlass_tests::site::eventually("it says why", || {
        Some(site.said("force")).filter(|said| said.contains("withdraws it)"))
    });
    assert!(said.contains("none of its workers is connected"), "{said}");
    let request = said.split("windlass cancel ").nth(1).unwrap().split('`').next().unwrap().to_owned();
    site.ok(&["cancel", &request, "--json"]);
    assert_eq!(site.ended("force"), 1, "{}", site.said("force"));
    site.until("it is gone", |status| status["builders"][0]["pending"] == 0);
    let again = site.windlass(&["cancel", &request]);
    assert_eq!(again.status.code(), Some(5), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stderr).contains("complete already: cancelled"), "{again:?}");
    // Nobody builds it when a worker comes; what is asked for then is built.
    site.start_worker("w1");
    site.build("b");
    assert_eq!(site.ok(&["builds", "--json"]).as_array().unwrap().len(), 1);
}

#[test]
fn without_a_master_the_exit_code_and_the_text_say_so() {
    let site = Site::with_command("true");
    let status = site.windlass(&["status"]);
    assert_eq!(status.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&status.stderr).contains("windlass master"), "{status:?}");
}

#[test]
fn what_is_not_there_is_refused_with_what_there_is() {
    let site = Site::with_command("true").start();
    for (args, word) in [
        (vec!["force", "bb"], "bb"),
        (vec!["build", "99"], "99"),
        (vec!["logs", "99"], "99"),
        (vec!["stop", "99"], "99"),
    ] {
        let refused = site.windlass(&args);
        assert_eq!(refused.status.code(), Some(5), "{args:?} {refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(word), "{args:?} {refused:?}");
    }
}

#[test]
fn help_names_every_exit_code() {
    let help = Command::new(windlass()).arg("--help").output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    for code in 0..=6 {
        assert!(text.contains(&format!("\n  {code}  ")), "{code} in {text}");
    }
}

#[test]
fn plugins_are_listed_inspected_and_built() {
    let site = Site::with_command("true").start();
    let plugins = site.ok(&["plugin", "list", "--json"]);
    assert!(plugins.as_array().unwrap().len() >= 6, "{plugins}");
    let inspected = site.ok(&["plugin", "inspect", "least-loaded", "--json"]);
    assert_eq!(inspected["hooks"][0]["kind"], "next-slave", "{inspected}");
    std::fs::write(site.path("x.wasm"), "(module)").unwrap();
    let refused = site.windlass(&["plugin", "inspect", site.path("x.wasm").to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
}

/// Symptom: `check` never returned. Cause: a pipe was opened and read as if it were a file. Cure: what is no regular file is
/// refused, whoever names it.
#[test]
fn a_pipe_is_no_configuration_no_secret_and_no_token() {
    let site = Site::new(&["w1"], "[secrets]\nkey = { file = \"pipe\" }\n");
    let pipe = site.path("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let said = |args: &[&str], code| {
        let shown = Command::new(windlass()).args(args).current_dir(site.path("")).output().unwrap();
        assert_eq!(shown.status.code(), Some(code), "{shown:?}");
        String::from_utf8(shown.stderr).unwrap()
    };
    for args in [["check", "pipe"], ["master", "pipe"], ["check", "/dev/zero"]] {
        assert!(said(&args, 6).contains("it is no regular file"), "{args:?}");
    }
    let secret = said(&["check", "."], 3);
    assert!(
        secret.contains("the secret `key` cannot be read") && secret.contains("no regular file"),
        "{secret}"
    );
}

/// Symptom: the file of a worker with a name of its own was read as a master's, with ten errors. Cause: the name said whose it
/// was. Cure: what it says does.
#[test]
fn a_file_is_a_workers_by_what_it_says() {
    let site = Site::new(&["w1"], "");
    let from = site.path("w1/worker.toml");
    std::fs::copy(from, site.path("w1/other.toml")).unwrap();
    let shown =
        |args: &[&str]| Command::new(windlass()).args(args).current_dir(site.path("w1")).output().unwrap();
    let checked = shown(&["check", "other.toml"]);
    assert!(checked.status.success(), "{checked:?}");
    assert!(String::from_utf8_lossy(&checked.stdout).contains("a worker's configuration"), "{checked:?}");
    let started = shown(&["master", "other.toml"]);
    assert_eq!(started.status.code(), Some(3), "{started:?}");
    assert!(String::from_utf8_lossy(&started.stderr).contains("windlass worker FILE"), "{started:?}");
}
