//! `windlass why`: who decided what about a request and a build, and that the same comes of it again.

use serde_json::Value;
use windlass_tests::fixtures::component;
use windlass_tests::site::{Site, eventually};

/// Builds for a reason, waits for the end, and answers the request.
fn built(site: &Site, reason: &str) -> String {
    let forced = site.ok(&["force", "b", "--reason", reason, "--json"]);
    assert_eq!(site.outcome(forced["buildset"].as_u64().unwrap()), "success");
    forced["requests"][0].to_string()
}

fn shown(site: &Site, args: &[&str]) -> String {
    let output = site.windlass(args);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn why_tells_each_decision_of_a_request_and_a_build_and_asks_it_again_also_after_a_restart() {
    let policies = "next_build = \"wayward:wayward\"\nnext_slave = \"least-loaded\"";
    let mut site = Site::new(&["w1", "w2"], &Site::builder("b", "true", policies));
    site.plugin("wayward", &component("wayward"));
    site.patient_with_policies();
    let mut site = site.start();
    let (well, trap) = (built(&site, "well"), built(&site, "trap"));
    site.end("master", true);
    site.start_master();
    // Numbers of decisions go on.
    let late = built(&site, "well");

    for request in [&well, &late] {
        let why = site.ok(&["why", request, "--verify", "--json"]);
        let decisions = why["decisions"].as_array().unwrap();
        let kinds: Vec<&str> = decisions.iter().map(|d| d["policy"]["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["next-build", "next-slave"], "{why}");
        let build = &why["requests"][0]["builds"][0]["id"];
        for decision in decisions {
            assert_eq!((&decision["verified"], &decision["build"]), (&Value::from("same"), build), "{why}");
        }
        let of_build = site.ok(&["why", &format!("build-{build}"), "--json"]);
        let numbers = |why: &Value| -> Vec<Value> {
            why["decisions"].as_array().unwrap().iter().map(|d| d["id"].clone()).collect()
        };
        assert_eq!((numbers(&of_build), &of_build["build"]["id"]), (numbers(&why), build));
    }

    let why = site.ok(&["why", &trap, "--verify", "--json"]);
    let failed = &why["decisions"][0];
    let fault = failed["fallback"].as_str().unwrap();
    for words in ["`wayward`", "`next-build.choose`", "it trapped", "told to", " in "] {
        assert!(fault.contains(words), "no `{words}` in: {fault}");
    }
    let nothing = failed["verified"]["nothing"].as_str().unwrap();
    assert!(nothing.contains("gave no answer"), "{nothing}");

    // The build itself names who failed, and where more is said.
    let build = why["requests"][0]["builds"][0]["id"].to_string();
    let detail = site.ok(&["build", &build, "--json"]);
    let policy = &detail["failed_policies"][0];
    assert_eq!((&policy["hook"], &policy["decision"]), (&"wayward:wayward".into(), &failed["id"]));
    let text = shown(&site, &["build", &build]);
    let digest = &policy["digest"].as_str().unwrap()[..12];
    for words in
        [&format!("policy next-build wayward:wayward {digest} failed"), "told to", "`windlass why build-"]
    {
        assert!(text.contains(words), "no `{words}` in:\n{text}");
    }

    let text = shown(&site, &["why", &trap, "--verify"]);
    for words in [
        "built by build",
        "next-build wayward:wayward",
        "failed",
        "told to",
        "instead",
        "was taken up",
        "1 the same",
    ] {
        assert!(text.contains(words), "no `{words}` in:\n{text}");
    }
}

/// An interpreter draws its time and its chance from the decision: the same bytes answer the same.
#[test]
fn decisions_of_a_policy_in_javascript_come_out_the_same_again() {
    let policies = "next_slave = \"js:last\"\nmerge_requests = \"js:same-reason\"";
    let builder = Site::builder("b", "true", policies).replace("merge_requests = false\n", "");
    let mut site = Site::new(&["w1", "w2"], &builder);
    site.plugin("js", &windlass_tests::languages::component("js/all"));
    site.patient_with_policies();
    site.start_master();
    // They wait together: two for one reason, and one for another.
    let wish = |reason| site.ok(&["force", "b", "--reason", reason, "--json"])["requests"][0].to_string();
    let requests = [wish("one"), wish("one"), wish("another")];
    for worker in ["w1", "w2"] {
        site.start_worker(worker);
    }
    let mut kinds = Vec::new();
    for request in requests {
        let done = eventually("its build has ended", || {
            let why = site.ok(&["why", &request, "--verify", "--json"]);
            why["requests"][0]["outcome"].is_string().then_some(why)
        });
        for decision in done["decisions"].as_array().unwrap() {
            assert!(decision["policy"]["hook"].as_str().unwrap().starts_with("js:"), "{decision}");
            assert_eq!(decision["verified"], "same", "{decision}");
            kinds.push(decision["policy"]["kind"].as_str().unwrap().to_owned());
        }
    }
    // The one that joined was part of one decision alone, and whoever was alone of no merge.
    assert_eq!(kinds, ["next-slave", "merge-requests", "merge-requests", "next-slave"]);
}

#[test]
fn why_tells_what_a_request_waits_for_how_many_come_first_and_when_it_may_begin() {
    let site = Site::new(&["w1"], &Site::builder("b", "true", "").replace("\"w1\", \"w2\"", "\"w1\""));
    let mut site = site.start();
    built(&site, "to have an idea of how long it takes");
    site.end("w1", true);
    site.until("the worker has gone", |s| s["workers"][0]["connected"].is_null());
    for _ in 0..3 {
        site.submit("b");
    }
    let last = site.ok(&["force", "b", "--json"])["requests"][0].to_string();
    let why = site.ok(&["why", &last, "--json"]);
    let waits = &why["requests"][0]["waits"];
    assert_eq!((&waits["ahead"], &waits["why"]), (&3.into(), &"none of its workers is connected".into()));
    assert!(waits["estimate"].is_null(), "nobody knows when a worker comes: {waits}");
    let text = shown(&site, &["why", &last]);
    assert!(text.contains("waits: none of its workers is connected; 3 requests before it"), "{text}");

    let output = site.windlass(&["why", "999"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("request 999"), "{output:?}");
}
