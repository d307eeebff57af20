//! Restarts: what is known survives, and what was running is built again.

use windlass_tests::site::Site;

#[test]
fn a_master_restarted_while_idle_knows_everything_and_goes_on() {
    let mut site = Site::with_command("echo kept").start();
    let before = site.build("b");
    site.end("master", true);
    site.start_master();
    site.until("the workers are back", |s| {
        s["workers"].as_array().unwrap().iter().all(|w| !w["connected"].is_null())
    });
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

#[test]
fn a_build_under_a_killed_master_is_built_again_and_counted_as_retry() {
    let mut site =
        Site::with_command("if test -e ../../../second; then exit 0; fi; touch ../../../first; sleep 600")
            .start();
    let buildset = site.submit("b");
    let first = site.running("b").to_string();
    site.end("master", false);
    for worker in ["w1", "w2"] {
        std::fs::write(site.path(&format!("{worker}/second")), "").unwrap();
    }
    site.start_master();
    assert_eq!(site.outcome(buildset), "success");
    assert_eq!(site.ok(&["build", &first, "--json"])["outcome"], "retry");
}
