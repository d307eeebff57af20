//! A disk that is full: the master waits for room, says so, and loses nothing.

use windlass_tests::site::{Site, eventually};

#[test]
fn a_master_whose_disk_is_full_says_so_waits_and_goes_on_when_there_is_room_again() {
    let mut site = Site::with_command("seq 1000; echo last");
    for worker in site.workers() {
        site.start_worker(&worker);
    }
    // By then it is ready; orders are the next things that are written.
    site.start_master();
    let commits = site.get("/api/v1/status")["store"]["commits"].as_u64().unwrap();
    site.end("master", true);
    site.start_master_with(Some(&format!("enospc:{}:60", commits + 3)));
    site.until_connected();
    // Their answers come once they are durable, and that may take until there is room. One of them meets the fault.
    let ordered: Vec<_> = std::thread::scope(|scope| {
        let orders = scope.spawn(|| (0..6).map(|_| site.submit("b")).collect());
        site.until("it says what it waits for", |status| {
            status["problems"].to_string().contains("free some space there")
        });
        orders.join().unwrap()
    });
    for buildset in ordered {
        assert_eq!(site.outcome(buildset), "success");
    }
    let build = site.newest("b");
    let said = site.windlass(&["logs", &build["id"].to_string()]);
    assert!(String::from_utf8_lossy(&said.stdout).contains("\n1000\nlast\n"), "{said:?}");
    site.until("nothing is wrong any more", |status| status["problems"] == serde_json::json!([]));
    assert!(site.said("master").contains("there is room again"), "{}", site.said("master"));
}

/// Symptom: a master that was started on a full disk could be ended by SIGKILL alone. Cause: nobody heeded signals before it
/// was ready, and its first write waited for room. Cure: they are heeded from the start.
#[test]
fn a_master_that_is_started_on_a_full_disk_says_so_and_stops_when_it_is_told_to() {
    let mut site = Site::with_command("echo last");
    site.start_master();
    site.end("master", true);
    site.start_master_with(Some("enospc:1:1000000"));
    eventually("it says what it waits for", || {
        site.said("master").contains("until there is more room").then_some(())
    });
    site.end("master", true);
    assert!(site.said("master").contains("stopped before it was ready"), "{}", site.said("master"));
    site.start_master();
    site.until("the next one is ready", |status| status["problems"] == serde_json::json!([]));
}

#[test]
fn a_master_that_is_killed_while_it_waits_for_room_is_taken_up_by_the_next() {
    let mut site = Site::with_command("echo last");
    for worker in site.workers() {
        site.start_worker(&worker);
    }
    site.start_master();
    let commits = site.get("/api/v1/status")["store"]["commits"].as_u64().unwrap();
    site.end("master", true);
    // Somewhere in the middle of a build, for ever.
    site.start_master_with(Some(&format!("enospc:{}:1000000", commits + 5)));
    site.until("the master answers", |_| true);
    std::thread::scope(|scope| {
        // Nobody may ever answer.
        let order = scope.spawn(|| (0..5).for_each(|_| drop(site.windlass(&["force", "b"]))));
        site.until("it waits", |status| status["problems"].to_string().contains("free some space there"));
        let pid = rustix::process::Pid::from_raw(site.pid("master").try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        order.join().unwrap();
    });
    site.end("master", false);
    site.start_master();
    // The order may have been lost with its answer, and nothing that was answered.
    let again = site.submit("b");
    assert_eq!(site.outcome(again), "success");
    site.until("nothing is left", |status| {
        status["pending"] == 0 && status["running"].as_array().unwrap().is_empty()
    });
}
