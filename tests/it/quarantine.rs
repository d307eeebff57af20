//! A worker that fails whatever it begins: left alone, also by the next master, shown, and released by a person.

use windlass_tests::site::{Site, eventually, now};

fn shown(site: &Site, args: &[&str]) -> String {
    let output = site.windlass(args);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(site: &Site, args: &[&str]) -> String {
    let output = site.windlass(args);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A worker that is taken along by the first step of each build, for as long as it is broken: the buildset of the one that
/// took it.
fn lost() -> (Site, u64) {
    let command = "if test -e ../../../broken; then kill -9 $PPID; sleep 60; fi";
    let mut site = Site::new(&["w1"], &Site::builder("b", command, "").replace("\"w1\", \"w2\"", "\"w1\""));
    std::fs::write(site.path("w1/broken"), "").unwrap();
    site = site.start();
    let buildset = site.submit("b");
    eventually("the worker has died", || site.has_ended("w1").then_some(()));
    (site, buildset)
}

#[test]
fn a_worker_in_quarantine_is_left_alone_by_the_next_master_too() {
    let (mut site, buildset) = lost();
    site.start_worker("w1");
    let until = |status: &serde_json::Value| status["workers"][0]["quarantine"].as_u64();
    let before = site.until("it is in quarantine", |status| until(status).is_some());
    // Whatever is durable after it shows that it is durable, too.
    let second = site.submit("b");
    site.end("master", false);
    std::fs::remove_file(site.path("w1/broken")).unwrap();
    site.start_master();
    let after = site.ok(&["status", "--json"]);
    // What is over is not shown; that it lasted shows in the end.
    let is_over = now() >= until(&before).unwrap();
    assert!(is_over || until(&after) == until(&before), "{before}\n{after}");
    for buildset in [buildset, second] {
        assert_eq!(site.outcome(buildset), "success");
    }
    let started = site.newest("b")["started"].as_u64();
    assert!(started >= until(&before), "it began at {started:?}, within the quarantine {before}");
}

#[test]
fn a_worker_that_is_lost_with_its_build_is_in_quarantine_until_a_person_releases_it() {
    let (mut site, buildset) = lost();
    // The one that comes after it knows nothing of the build: so it is lost.
    site.start_worker("w1");
    let status = site.until("it is in quarantine", |s| {
        let waits = s["builders"][0]["waiting"]["waits_for"] == "quarantine";
        waits && !s["workers"][0]["quarantine"].is_null() && !s["workers"][0]["connected"].is_null()
    });
    assert_eq!(status["workers"][0]["failures"], 1, "{status}");
    let waiting = &status["builders"][0]["waiting"];
    assert_eq!(
        (&waiting["waits_for"], &waiting["until"]),
        (&"quarantine".into(), &status["workers"][0]["quarantine"])
    );
    for args in [&["status"][..], &["workers"]] {
        let text = shown(&site, args);
        assert!(text.contains("in quarantine for ") && text.contains("lost once before"), "{text}");
    }
    assert!(shown(&site, &["status"]).contains("`windlass workers release w1` lifts that"));
    let listed = shown(&site, &["requests"]);
    assert!(listed.contains("quarantine") && listed.contains("more at most"), "{listed}");

    assert!(
        refused(&site, &["workers", "release", "w9"]).contains("there is no worker `w9`; there are `w1`")
    );
    std::fs::remove_file(site.path("w1/broken")).unwrap();
    let released = site.ok(&["workers", "release", "w1", "--json"]);
    let until = status["workers"][0]["quarantine"].as_u64().unwrap();
    assert_eq!((released["quarantine"].as_u64(), &released["failures"]), (Some(until), &1.into()));
    assert_eq!(site.outcome(buildset), "success");
    let started = site.newest("b")["started"].as_u64().unwrap();
    assert!(started < until, "it began at {started}, before the quarantine would have been over at {until}");
    let again = shown(&site, &["workers", "release", "w1"]);
    assert!(again.contains("was not in quarantine"), "{again}");
}
