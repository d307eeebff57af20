//! Builds that have others build: `trigger`, and schedulers that depend on others.

use serde_json::Value;
use windlass_tests::site::{Site, eventually};

/// A builder `parent` whose step triggers with these arguments, and these further builders.
fn config(args: &str, more: &str) -> String {
    format!(
        "[[builders]]\nname = \"parent\"\nworkers = [\"w1\"]\nproperties = {{ flavour = \"mild\", size = 3 }}\n\
         [[builders.steps]]\nuse = \"trigger\"\nargs = {{ {args} }}\n\
         [[schedulers]]\nname = \"force\"\ntype = \"force\"\nbuilders = [\"parent\"]\npriority = 7\n{more}"
    )
}

/// A builder on `w2` that runs `command`, with a triggerable scheduler of its name.
fn child(name: &str, command: &str) -> String {
    format!(
        "[[builders]]\nname = \"{name}\"\nworkers = [\"w2\"]\nmerge_requests = false\n\
         [[builders.steps]]\nuse = \"shell-command\"\nargs = {{ command = {}, workdir = \".\" }}\n\
         [[schedulers]]\nname = \"{name}\"\ntype = \"triggerable\"\nbuilders = [\"{name}\"]\n\
         properties = {{ by = \"{name}\" }}\n",
        Value::from(command)
    )
}

fn site(args: &str, more: &str) -> Site {
    Site::new(&["w1", "w2"], &config(args, more)).start()
}

fn step(build: &Value) -> (&str, &str) {
    let step = &build["steps"][0];
    (step["outcome"].as_str().unwrap(), step["summary"].as_str().unwrap_or_default())
}

#[test]
fn a_build_waits_for_those_that_it_triggers_and_takes_over_the_worst_that_counts() {
    let said = "test \"%(prop:flavour)s %(prop:size)s %(prop:by)s %(prop:new)s\" = \"hot 3 good yes\"";
    let site = site(
        "schedulers = [\"good\", \"bad\"], unimportant_schedulers = [\"bad\"], wait_for_finish = true, \
         copy_properties = [\"flavour\", \"size\"], set_properties = { flavour = \"hot\", new = \"yes\" }",
        &(child("good", said) + &child("bad", "false")),
    );
    let build = site.build("parent");
    assert_eq!(build["outcome"], "success", "{build}");
    let (good, bad) = (site.newest("good"), site.newest("bad"));
    assert_eq!((good["outcome"].as_str(), bad["outcome"].as_str()), (Some("success"), Some("failure")));
    let (outcome, summary) = step(&build);
    assert_eq!(outcome, "success");
    assert_eq!(summary, "good: buildset 2 success, bad: buildset 3 failure");
    let why = site.ok(&["why", "--json", &good["id"].to_string()]);
    assert_eq!(why["requests"][0]["priority"], 7, "as urgent as its parent: {why}");
}

#[test]
fn a_child_that_fails_fails_its_parent_if_that_waits_and_only_then() {
    let mut site = Site::new(&["w1", "w2"], "");
    site.configure(&config("schedulers = [\"bad\"], wait_for_finish = true", &child("bad", "false")));
    let site = site.start();
    let build = site.build("parent");
    assert_eq!(step(&build), ("failure", "bad: buildset 2 failure"));
    assert_eq!(build["outcome"], "failure");

    let mut site = site;
    site.configure(&config("schedulers = [\"bad\"]", &child("bad", "false")));
    site.ok(&["reconfig", "--json"]);
    let build = site.build("parent");
    assert_eq!(step(&build), ("success", "bad: buildset 4"));
    assert_eq!(site.outcome(4), "failure");
}

#[test]
fn what_cannot_be_triggered_is_named_with_what_was_triggered_before_it() {
    // A name that stands there as it is would be refused when the file is read.
    let site = site("schedulers = [\"good\", \"go%(prop:flavour:+ood)s\"]", &child("good", "true"));
    let build = site.build("parent");
    assert_eq!(build["outcome"], "exception");
    let fault = build["steps"][0]["fault"].as_str().unwrap();
    assert!(fault.contains("there is no triggerable scheduler `goood`; there are `good`"), "{fault}");
    assert!(fault.contains("submitted before that: good: buildset 2"), "{fault}");
    assert_eq!(site.outcome(2), "success");
}

#[test]
fn children_of_a_build_that_is_stopped_are_cancelled_whether_they_run_or_wait() {
    let mut site = Site::new(&["w1", "w2", "w3"], "");
    site.configure(&config(
        "schedulers = [\"runs\", \"waits\"], wait_for_finish = true",
        &(child("runs", "sleep 600") + &child("waits", "true").replace("\"w2\"", "\"w3\"")),
    ));
    let mut site = site.start();
    site.end("w3", true);
    let buildset = site.submit("parent");
    site.running("runs");
    site.until("the other one waits", |s| s["pending"] == 1);
    let parent = site.running("parent").to_string();
    assert!(site.windlass(&["stop", &parent, "--reason", "enough"]).status.success());
    for set in [buildset, 2, 3] {
        assert_eq!(site.outcome(set), "cancelled");
    }
    let build = site.newest("parent");
    assert!(step(&build).1.ends_with("stopped: enough"), "{build}");
    site.until("nothing is left", |s| s["pending"] == 0 && s["running"].as_array().unwrap().is_empty());
}

#[test]
fn a_child_that_two_builds_wait_for_goes_on_when_one_of_them_is_stopped() {
    let mut site = Site::new(&["w1", "w2"], "");
    let wait = format!("until test -e '{}'; do sleep 0.05; done", site.path("go").display());
    let both = child("both", &wait).replace("merge_requests = false\n", "");
    site.configure(&config("schedulers = [\"both\"], wait_for_finish = true", &both));
    let mut site = site.start();
    site.end("w2", true);
    let stopped = site.submit("parent");
    let parent = site.running("parent").to_string();
    site.until("its child waits", |s| s["pending"] == 1);
    let other = site.submit("parent");
    site.until("both children wait", |s| s["pending"] == 2);
    site.start_worker("w2");
    site.running("both");
    site.until("one build serves both", |s| s["pending"] == 0);
    assert!(site.windlass(&["stop", &parent, "--reason", "enough"]).status.success());
    assert_eq!(site.outcome(stopped), "cancelled");
    assert_eq!(site.outcome(2), "cancelled", "the buildset of the one that was stopped");
    std::fs::write(site.path("go"), "").unwrap();
    assert_eq!(site.outcome(other), "success");
    assert_eq!(site.newest("both")["outcome"], "success");
    assert_eq!(site.ok(&["builds", "--json"]).as_array().unwrap().len(), 3);
}

#[test]
fn who_would_wait_for_ever_for_its_own_slot_is_told_so_at_once() {
    let mut site = Site::new(&["w1"], "");
    site.slots(1);
    let own = child("own", "true").replace("\"w2\"", "\"w1\"");
    site.configure(&config("schedulers = [\"own\"], wait_for_finish = true", &own));
    let site = site.start();
    let build = site.build("parent");
    assert_eq!(build["outcome"], "exception", "{build}");
    let fault = build["steps"][0]["fault"].as_str().unwrap();
    assert!(fault.contains("would wait for ever") && fault.contains("worker `w1`"), "{fault}");
    // Nothing was submitted.
    site.until("nothing waits", |s| s["pending"] == 0);
    assert!(site.ok(&["builds", "--json"]).as_array().unwrap().len() == 1);
}

#[test]
fn a_dependent_scheduler_follows_a_buildset_that_a_killed_master_had_begun() {
    let go = "until test -e @/go; do sleep 0.05; done";
    let mut site = Site::new(&["w1", "w2"], "");
    let here = site.path("");
    let go = go.replace('@', here.to_str().unwrap().trim_end_matches('/'));
    let after = child("last", "true")
        + "[[schedulers]]\nname = \"after\"\ntype = \"dependent\"\nupstream = \"first\"\nbuilders = [\"last\"]\n";
    site.configure(&config("schedulers = [\"first\"]", &(child("first", &go) + &after)));
    let mut site = site.start();
    assert_eq!(site.build("parent")["outcome"], "success");
    site.running("first");
    site.end("master", false);
    site.start_master();
    std::fs::write(site.path("go"), "").unwrap();
    site.until("what depends on it was built", |s| {
        s["builders"]
            .as_array()
            .unwrap()
            .iter()
            .any(|b| b["name"] == "last" && b["last"]["outcome"] == "success")
    });
    let builds = site.ok(&["builds", "--json"]);
    let of = |name: &str| builds.as_array().unwrap().iter().filter(|b| b["builder"] == name).count();
    assert_eq!((of("parent"), of("last")), (1, 1), "{builds}");
    let last = eventually("it is shown", || Some(site.newest("last")));
    assert_eq!(last["reason"], "scheduler after: first ended as success", "{last}");
}
