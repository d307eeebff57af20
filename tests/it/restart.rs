//! Restarts: what is known survives, and what was running goes on.

use windlass_core::digest::Digest;
use windlass_tests::site::{Site, eventually};

#[test]
fn a_master_restarted_while_idle_knows_everything_and_goes_on() {
    let mut site = Site::with_command("echo kept").start();
    let before = site.build("b");
    site.end("master", true);
    site.start_master();
    site.until_connected();
    let id = before["id"].to_string();
    let after = site.ok(&["build", &id, "--json"]);
    assert_eq!(after["outcome"], "success");
    let log = site.windlass(&["logs", &id]);
    assert!(String::from_utf8_lossy(&log.stdout).contains("kept"));
    let next = site.build("b");
    assert_eq!(next["outcome"], "success");
    assert!(next["number"].as_u64() > after["number"].as_u64(), "{next}");
}

#[test]
fn a_worker_restarted_while_idle_takes_work_again() {
    let mut site = Site::with_command("true").start();
    assert_eq!(site.build("b")["outcome"], "success");
    for worker in ["w1", "w2"] {
        site.end(worker, true);
    }
    let waiting = site.submit("b");
    site.until("the request waits", |s| s["pending"] == 1);
    site.start_worker("w1");
    assert_eq!(site.outcome(waiting), "success");
}

/// A command that says when it runs, and ends when it may.
fn once(name: &str) -> String {
    format!("echo once >> @/ran-{name}; until test -e @/go; do sleep 0.05; done; echo done")
}

/// A site with its directory for each `@` of the configuration.
fn site(workers: &[&str], builders: &str) -> Site {
    let mut site = Site::new(workers, "");
    let here = site.path("");
    site.configure(&builders.replace('@', here.to_str().unwrap().trim_end_matches('/')));
    site.start()
}

/// The lines that a command left.
fn ran(site: &Site, name: &str) -> usize {
    std::fs::read_to_string(site.path(&format!("ran-{name}"))).unwrap_or_default().lines().count()
}

fn steps(site: &Site, build: u64) -> Vec<(String, String)> {
    let build = site.ok(&["build", &build.to_string(), "--json"]);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("running").to_owned();
    let steps = build["steps"].as_array().unwrap();
    steps.iter().map(|step| (text(&step["name"]), text(&step["outcome"]))).collect()
}

#[test]
fn a_build_under_a_killed_master_goes_on_and_its_command_runs_once() {
    let mut site = site(&["w1", "w2"], &Site::builder("b", &once("b"), ""));
    let buildset = site.submit("b");
    let build = site.running("b");
    eventually("its command runs", || (ran(&site, "b") == 1).then_some(()));
    site.end("master", false);
    site.start_master();
    std::fs::write(site.path("go"), "").unwrap();
    assert_eq!(site.outcome(buildset), "success");
    assert_eq!((site.newest("b")["id"].as_u64(), ran(&site, "b")), (Some(build), 1));
    let log = site.windlass(&["logs", &build.to_string()]);
    assert!(String::from_utf8_lossy(&log.stdout).contains("done\n"), "{log:?}");
}

#[test]
fn a_build_under_a_master_that_is_stopped_and_started_again_goes_on_and_is_not_built_again() {
    let mut site = site(&["w1", "w2"], &Site::builder("b", &once("b"), ""));
    let buildset = site.submit("b");
    let build = site.running("b");
    eventually("its command runs", || (ran(&site, "b") == 1).then_some(()));
    site.end("master", true);
    // It ends while no master is there.
    std::fs::write(site.path("go"), "").unwrap();
    site.start_master();
    assert_eq!(site.outcome(buildset), "success");
    assert_eq!((site.newest("b")["id"].as_u64(), ran(&site, "b")), (Some(build), 1));
    let log = site.windlass(&["logs", &build.to_string()]);
    assert!(String::from_utf8_lossy(&log.stdout).contains("done\n"), "{log:?}");
}

#[test]
fn a_build_whose_command_is_lost_with_its_worker_is_built_again_and_says_so() {
    let mut site = site(&["w1"], &Site::builder("b", &once("b"), "").replace(", \"w2\"", ""));
    let buildset = site.submit("b");
    let first = site.running("b");
    eventually("its command runs", || (ran(&site, "b") == 1).then_some(()));
    site.end("master", false);
    site.end("w1", false);
    std::fs::write(site.path("go"), "").unwrap();
    site.start_master();
    site.start_worker("w1");
    assert_eq!(site.outcome(buildset), "success");
    assert_eq!(ran(&site, "b"), 2);
    assert_eq!(site.ok(&["build", &first.to_string(), "--json"])["outcome"], "retry");
}

/// The log is far beyond its limit when the master is killed, and goes on after that.
#[test]
fn a_log_beyond_its_limit_is_cut_as_if_its_master_had_lived() {
    let command = "seq 30000; touch @/began; until test -e @/go; do sleep 0.05; done; seq 30000 40000";
    let limits = "[logs]\nmax_log_bytes = 60000\nlog_max_tail_size = 6000\n";
    let mut site = site(&["w1"], &(Site::builder("b", command, "").replace(", \"w2\"", "") + limits));
    let buildset = site.submit("b");
    eventually("half of it is said", || site.path("began").exists().then_some(()));
    let build = site.running("b");
    // What was said is durable as far as the log may have it.
    eventually("the log is full", || {
        let steps = site.get(&format!("/api/v1/builds/{build}"))["steps"].clone();
        (steps[0]["logs"][0]["length"].as_u64()? >= 60_000).then_some(())
    });
    site.end("master", false);
    site.start_master();
    std::fs::write(site.path("go"), "").unwrap();
    assert_eq!(site.outcome(buildset), "success");
    assert_eq!(site.newest("b")["id"].as_u64(), Some(build));
    let cut = site.get(&format!("/api/v1/builds/{build}"))["steps"][0]["logs"][0]["cut"].clone();
    let (mut before, mut after, mut is_after, mut offset) = (String::new(), String::new(), false, 0);
    loop {
        let part = site.get(&format!("/api/v1/builds/{build}/steps/0/logs/stdio?offset={offset}"));
        for piece in part["pieces"].as_array().unwrap() {
            let data = piece["data"].as_str().unwrap();
            is_after |= piece["origin"] == "header" && data.contains("were dropped here");
            if piece["origin"] == "stdout" {
                if is_after { &mut after } else { &mut before }.push_str(data);
            }
        }
        let next = part["next"].as_u64().unwrap();
        if std::mem::replace(&mut offset, next) == next {
            break;
        }
    }
    let said: String = (1..=30_000).chain(30_000..=40_000).map(|n| format!("{n}\n")).collect();
    assert!(said.starts_with(&before) && said.ends_with(&after) && after.len() > 5_000);
    let dropped = &said.as_bytes()[before.len()..said.len() - after.len()];
    assert_eq!(cut["bytes"], dropped.len());
    assert_eq!(cut["hash"], Digest::of(dropped).to_string());
}

#[test]
fn a_build_with_a_request_taken_out_of_it_goes_on_for_the_others() {
    let command = once("b");
    let builder = Site::builder("b", &command, "").replace("merge_requests = false", "merge_requests = true");
    let mut site = site(&["w1", "w2"], &builder);
    for worker in ["w1", "w2"] {
        site.end(worker, true);
    }
    let buildsets = [site.submit("b"), site.submit("b")];
    for worker in ["w1", "w2"] {
        site.start_worker(worker);
    }
    let build = site.running("b");
    eventually("its command runs", || (ran(&site, "b") == 1).then_some(()));
    let requests = site.get("/api/v1/requests?state=all&limit=10")["requests"].clone();
    assert_eq!(requests.as_array().unwrap().len(), 2);
    let second = requests.as_array().unwrap().iter().find(|request| request["buildset"] == buildsets[1]);
    site.ok(&["cancel", &second.unwrap()["id"].to_string(), "--json"]);
    site.end("master", false);
    site.start_master();
    std::fs::write(site.path("go"), "").unwrap();
    assert_eq!(buildsets.map(|buildset| site.outcome(buildset)), ["success", "cancelled"]);
    assert_eq!((site.newest("b")["id"].as_u64(), ran(&site, "b")), (Some(build), 1));
}

/// Two builds with two steps each; the second steps share a lock. The master is killed while one has the lock and the
/// other waits for it, and once more.
#[test]
fn steps_that_hold_and_await_a_lock_when_the_master_is_killed_go_on_in_their_order() {
    let builder = |name: &str| {
        let command = serde_json::Value::from(once(name));
        Site::builder(name, &format!("echo first >> @/ran-first-{name}"), "")
            + &format!(
                "[[builders.steps]]\nname = \"locked\"\nuse = \"shell-command\"\nlocks = \"db\"\nargs = {{ command = {command} }}\n"
            )
    };
    let mut site = site(&["w1", "w2"], &("[locks]\ndb = {}\n".to_owned() + &builder("a") + &builder("b")));
    let one = site.submit("a");
    eventually("the first has the lock", || (ran(&site, "a") == 1).then_some(()));
    let (other, builds) = (site.submit("b"), [site.running("a"), site.running("b")]);
    let waits = |s: &serde_json::Value| s["locks"][0]["waiters"].as_array().unwrap().len() == 1;
    site.until("the second waits", waits);
    for _ in 0..2 {
        site.end("master", false);
        site.start_master();
        site.until("the second waits again", waits);
        assert_eq!(site.ok(&["locks", "--json"])[0]["holders"][0]["build"], builds[0]);
        assert_eq!((ran(&site, "a"), ran(&site, "b")), (1, 0));
    }
    std::fs::write(site.path("go"), "").unwrap();
    assert_eq!([site.outcome(one), site.outcome(other)], ["success", "success"]);
    for (name, build) in ["a", "b"].iter().zip(builds) {
        assert_eq!((ran(&site, name), ran(&site, &format!("first-{name}"))), (1, 1));
        let ends = steps(&site, build);
        assert!(ends.len() == 2 && ends.iter().all(|(_, outcome)| outcome == "success"), "{ends:?}");
    }
}

#[test]
fn an_order_to_stop_that_was_heard_by_a_master_that_is_killed_is_followed_by_the_next() {
    // The command heeds nothing, so that the build runs on for a while.
    let mut site =
        site(&["w1", "w2"], &Site::builder("b", &("trap '' INT TERM; ".to_owned() + &once("b")), ""));
    let buildset = site.submit("b");
    let build = site.running("b").to_string();
    eventually("its command runs", || (ran(&site, "b") == 1).then_some(()));
    assert!(site.windlass(&["stop", &build, "--reason", "enough"]).status.success());
    site.end("master", false);
    site.start_master();
    std::fs::write(site.path("go"), "").unwrap();
    assert_eq!(site.outcome(buildset), "cancelled");
    let build = site.ok(&["build", &build, "--json"]);
    assert_eq!((&build["outcome"], &build["summary"]), (&"cancelled".into(), &"stopped: enough".into()));
}

/// Symptom: all steps of a master ended with "its deadline has passed", though they had just begun. Cause: the machine's clock
/// was set by two days, and what was left of a deadline was taken from it when the steps were taken up. Cure: the time that
/// they go by does not jump.
#[test]
fn a_clock_that_is_set_by_days_while_a_build_runs_ends_nothing_and_stops_nothing() {
    for set in ["+200000", "-200000"] {
        let mut site = Site::new(&["w1", "w2"], "");
        let here = site.path("");
        let command = once("b").replace('@', here.to_str().unwrap().trim_end_matches('/'));
        site.configure(&Site::builder("b", &command, ""));
        site.start_master_with(Some(&format!("clock:{set}:8")));
        for worker in site.workers() {
            site.start_worker(&worker);
        }
        site.until("the master answers", |_| true);
        let buildset = site.submit("b");
        let build = site.running("b");
        eventually("its command runs", || (ran(&site, "b") == 1).then_some(()));
        site.end("master", false);
        site.start_master_with(Some(&format!("clock:{set}:0")));
        site.until("the next master answers", |_| true);
        std::fs::write(site.path("go"), "").unwrap();
        assert_eq!(site.outcome(buildset), "success", "{set}");
        assert_eq!((site.newest("b")["id"].as_u64(), ran(&site, "b")), (Some(build), 1), "{set}");
        assert!(
            site.said("master").contains("the master's time comes to it slowly"),
            "{}",
            site.said("master")
        );
        assert_eq!(site.build("b")["outcome"], "success", "{set}");
    }
}

#[test]
fn a_master_that_is_killed_twice_while_it_takes_up_goes_on_and_its_command_runs_once() {
    let mut site = site(&["w1", "w2"], &Site::builder("b", &once("b"), ""));
    let buildset = site.submit("b");
    let build = site.running("b");
    eventually("its command runs", || (ran(&site, "b") == 1).then_some(()));
    site.end("master", false);
    for fault in ["commit:2", "commit:3:after"] {
        site.start_master_with(Some(fault));
        eventually("it has died", || site.has_ended("master").then_some(()));
    }
    site.start_master();
    std::fs::write(site.path("go"), "").unwrap();
    assert_eq!(site.outcome(buildset), "success");
    assert_eq!((site.newest("b")["id"].as_u64(), ran(&site, "b")), (Some(build), 1));
}
