//! `windlass requests`: who waits at which place and for what, page by page; what is held, what is being built.

use serde_json::Value;
use windlass_tests::fixtures::component;
use windlass_tests::site::Site;

fn shown(site: &Site, args: &[&str]) -> String {
    let output = site.windlass(args);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Each request with its place and the word for what it waits for.
fn rows(page: &Value) -> Vec<(u64, Option<u64>, Option<&str>)> {
    let row = |listed: &'_ Value| (listed["id"].as_u64().unwrap(), listed["position"].as_u64());
    let list = page["requests"].as_array().unwrap();
    list.iter().map(|listed| (row(listed).0, row(listed).1, listed["waits"]["waits_for"].as_str())).collect()
}

#[test]
fn requests_that_wait_are_listed_in_their_order_with_what_they_wait_for() {
    let on_w1 = |builder: String| builder.replace("\"w1\", \"w2\"", "\"w1\"");
    let gate = "can_start_build = \"wayward:wayward\"";
    let builders = on_w1(Site::builder("b", "until test -e ../../../go; do sleep 0.02; done", ""))
        + &Site::builder("gated", "true", gate).replace("\"w1\", \"w2\"", "\"w3\"")
        + &Site::builder("away", "true", "").replace("\"w1\", \"w2\"", "\"w2\"");
    let mut site = Site::new(&["w1", "w2", "w3"], &builders);
    site.slots(1);
    site.plugin("wayward", &component("wayward"));
    site.start_master();
    site.start_worker("w1");
    site.start_worker("w3");
    site.until("they are there", |s| [0, 2].iter().all(|w| !s["workers"][*w]["connected"].is_null()));
    // Held, since its gate fails, whenever it is asked; then one that is built, and three that wait.
    site.ok(&["force", "gated", "--reason", "trap", "--json"]);
    site.until("it is held", |s| s["builders"][1]["waiting"]["waits_for"] == "policy");
    let building = site.submit("b");
    let build = site.running("b");
    for builder in ["away", "b", "b"] {
        site.submit(builder);
    }

    let page = site.ok(&["requests", "--json"]);
    let (policy, worker, slot) = (Some("policy"), Some("worker"), Some("slot"));
    assert_eq!(
        rows(&page),
        [(1, Some(1), policy), (3, Some(2), worker), (4, Some(3), slot), (5, Some(4), slot)]
    );
    assert_eq!((&page["pending"], &page["next"]), (&4.into(), &Value::Null));
    let page = site.ok(&["requests", "-n", "3", "--json"]);
    let next = page["next"].as_str().unwrap();
    let page = site.ok(&["requests", "-n", "3", "--after", next, "--json"]);
    assert_eq!((rows(&page), &page["next"]), (vec![(5, Some(4), slot)], &Value::Null));
    let page = site.ok(&["requests", "--builder", "b", "--json"]);
    assert_eq!(rows(&page), [(4, Some(1), slot), (5, Some(2), slot)]);
    let text = shown(&site, &["requests", "-n", "2"]);
    for words in ["away", "none of its workers is connected", "2 of 4 pending", "`--after 3.2` shows more"] {
        assert!(text.contains(words), "no `{words}` in:\n{text}");
    }

    let held = site.ok(&["requests", "--state", "held", "--json"]);
    assert_eq!(rows(&held), [(1, None, policy)]);
    assert!(held["requests"][0]["waits"]["until"].is_u64(), "{held}");
    let text = shown(&site, &["requests", "--state", "held"]);
    assert!(
        text.contains("`wayward:wayward` gives no answer, for ") && text.contains(" more at most"),
        "{text}"
    );
    let why = shown(&site, &["why", "1"]);
    assert!(why.contains("waits: `wayward:wayward` gives no answer, for "), "{why}");

    let claimed = site.ok(&["requests", "--state", "claimed", "--json"]);
    assert_eq!((rows(&claimed), &claimed["requests"][0]["build"]), (vec![(2, None, None)], &build.into()));
    let all = site.ok(&["requests", "--state", "all", "-n", "2", "--json"]);
    assert_eq!((rows(&all).len(), &all["next"]), (2, &"4".into()));
    let output = site.windlass(&["requests", "--after", "nowhere"]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("`nowhere`"), "{output:?}");

    std::fs::write(site.path("w1/go"), "").unwrap();
    assert_eq!(site.outcome(building), "success");
    let text = shown(&site, &["requests", "--state", "all"]);
    assert!(text.contains("success"), "{text}");
}
