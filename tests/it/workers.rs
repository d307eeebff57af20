//! Workers and their links: who may connect, and what a lost link costs.

use windlass_tests::relay::Relay;
use windlass_tests::site::{Site, eventually};

#[test]
fn a_wrong_token_is_refused_with_what_to_do_and_hurts_nobody() {
    let mut site = Site::with_command("true").start();
    site.end("w2", true);
    std::fs::write(site.path("w2/token"), "not the token\n").unwrap();
    site.start_worker("w2");
    assert_ne!(site.ended("w2"), 0);
    assert!(site.said("w2").contains("token"), "{}", site.said("w2"));
    assert_eq!(site.build("b")["outcome"], "success");
}

#[test]
fn a_second_worker_of_the_same_name_is_refused_while_the_first_answers() {
    let mut site = Site::with_command("true").start();
    // The same name and token from another directory: another instance.
    std::fs::create_dir(site.path("twin")).unwrap();
    for file in ["token", "worker.toml"] {
        std::fs::copy(site.path(&format!("w1/{file}")), site.path(&format!("twin/{file}"))).unwrap();
    }
    site.start_worker("twin");
    eventually("the twin is told", || site.said("twin").contains("w1").then_some(()));
    let status = site.ok(&["status", "--json"]);
    assert!(!status["workers"][0]["connected"].is_null(), "{status}");
    assert_eq!(site.build("b")["outcome"], "success");
}

#[test]
fn a_command_survives_a_cut_link_or_its_build_is_tried_again() {
    let site = Site::new(
        &["w1"],
        &Site::builder("b", "echo one; until test -e ../../../go; do sleep 0.05; done; echo two", "")
            .replace(", \"w2\"", ""),
    );
    let relay = Relay::to(site.listen());
    site.write_worker("w1", &relay.address());
    let site = site.start();
    let buildset = site.submit("b");
    let running = site.running("b").to_string();
    eventually("the first line has arrived", || {
        let log = site.windlass(&["logs", &running]);
        String::from_utf8_lossy(&log.stdout).contains("one\n").then_some(())
    });
    relay.cut();
    std::fs::write(site.path("w1/go"), "").unwrap();
    relay.mend();
    assert_eq!(site.outcome(buildset), "success");
    let build = site.newest("b");
    let log = site.windlass(&["logs", &build["id"].to_string()]);
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    let lines: Vec<&str> = log.lines().filter(|l| ["one", "two"].contains(l)).collect();
    assert_eq!(lines, ["one", "two"], "{log}");
}

#[test]
fn a_killed_worker_ends_its_build_as_retry_and_another_builds_it() {
    let command = "if test -e ../../../second; then exit 0; fi; touch ../../../began; sleep 600";
    let mut site = Site::with_command(command).start();
    let buildset = site.submit("b");
    let running = site.running("b").to_string();
    // A command that its worker has never heard of would be sent to the next one.
    eventually("its command runs", || {
        ["w1", "w2"].iter().any(|w| site.path(&format!("{w}/began")).exists()).then_some(())
    });
    let worker = site.ok(&["build", &running, "--json"])["worker"].as_str().unwrap().to_owned();
    for name in ["w1", "w2"] {
        std::fs::write(site.path(&format!("{name}/second")), "").unwrap();
    }
    site.end(&worker, false);
    // A new process of the same worker does not know the command any more: at once, no grace to wait for.
    site.start_worker(&worker);
    assert_eq!(site.outcome(buildset), "success");
    assert_eq!(site.ok(&["build", &running, "--json"])["outcome"], "retry");
}

#[test]
fn a_full_log_folder_fails_its_step_with_a_clear_message_and_nothing_else() {
    let noisy = Site::builder("noisy", "head -c 4000000 /dev/zero | tr '\\0' 'x'", "");
    let limits = "[logs]\nmax_bytes = \"1 MiB\"\n";
    let site = Site::new(&["w1", "w2"], &(noisy + &Site::builder("quiet", "true", "") + limits)).start();
    let build = site.build("noisy");
    assert_eq!(build["outcome"], "exception", "{build}");
    let fault = build["steps"][0]["fault"].as_str().unwrap_or_default().to_owned();
    assert!(fault.contains("log"), "{build}");
    assert_eq!(site.build("quiet")["steps"][0]["outcome"], "success");
}

/// A process that dropped all that marks it: its own session, its parent gone, its environment empty.
const ESCAPE: &str = "(env -i setsid sh -c 'echo $$ > escaped.new; mv escaped.new escaped; exec sleep 600' \
                      >/dev/null 2>&1 &); until test -e escaped; do sleep 0.05; done; \
                      until grep -qsx sleep /proc/$(cat escaped)/comm; do sleep 0.05; done";

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z"))
}

/// The number that the build wrote, on whichever worker it ran.
fn written(site: &Site, name: &str) -> Option<String> {
    let read = |worker: &str| std::fs::read_to_string(site.path(&format!("{worker}/builds/b/build/{name}")));
    let text = ["w1", "w2"].iter().find_map(|worker| read(worker).ok())?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[test]
fn a_process_that_leaves_everything_behind_ends_with_its_command_and_is_named() {
    let site = Site::with_command(ESCAPE).start();
    let build = site.build("b");
    assert_eq!(build["outcome"], "success");
    let pid = written(&site, "escaped").expect("its number");
    assert!(!is_alive(&pid), "it outlived its command");
    let log = site.windlass(&["logs", &build["id"].to_string()]);
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    assert!(log.contains(&format!("left behind were killed: sleep ({pid})")), "{log}");
}

#[test]
fn what_a_killed_worker_left_running_ends_when_it_starts_again() {
    let mut site =
        Site::with_command("test -e pid && exit 0; sleep 600 & echo $! > pid.new; mv pid.new pid; wait")
            .start();
    let buildset = site.submit("b");
    let running = site.running("b").to_string();
    let worker = site.ok(&["build", &running, "--json"])["worker"].as_str().unwrap().to_owned();
    let pid = eventually("the program runs", || written(&site, "pid"));
    // Where it is built again, there is nothing to wait for.
    let other = if worker == "w1" { "w2" } else { "w1" };
    std::fs::create_dir_all(site.path(&format!("{other}/builds/b/build"))).unwrap();
    std::fs::write(site.path(&format!("{other}/builds/b/build/pid")), "0").unwrap();
    site.end(&worker, false);
    assert!(is_alive(&pid), "a worker that is killed takes along what it started itself, and no more");
    site.start_worker(&worker);
    eventually("the program is gone", || (!is_alive(&pid)).then_some(()));
    assert_eq!(site.outcome(buildset), "success");
}

#[test]
fn a_check_shows_what_commands_may_do() {
    let site = Site::with_command("true");
    let checked = site.ok(&["check", "--json", site.path("master.toml").to_str().unwrap()]);
    let grants = checked["grants"].as_array().unwrap();
    let of_shell = grants.iter().find(|g| g["hook"] == "windlass:shell" && g["capability"] == "exec");
    assert_eq!(of_shell.unwrap()["granted"], serde_json::json!(["*"]), "{checked}");
}
