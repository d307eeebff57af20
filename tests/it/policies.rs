//! Policies that fail: each failure costs one decision, is named to the user, and builds go on.

use serde_json::Value;
use windlass_tests::fixtures::component;
use windlass_tests::site::{Site, eventually, now};

fn site_with(policy: &str) -> Site {
    let more = format!("next_slave = \"{policy}:{policy}\"");
    let site = Site::new(&["w1", "w2"], &Site::builder("b", "true", &more));
    site.plugin(policy, &component(policy));
    site.start()
}

/// A site whose builders use the policy that goes wrong as the reason of a build says.
fn wayward(builders: &str) -> Site {
    let site = Site::new(&["w1", "w2"], builders);
    site.plugin("wayward", &component("wayward"));
    site.start()
}

/// Builds, for a reason: the outcome.
fn build(site: &Site, builder: &str, reason: &str) -> String {
    let done = site.ok(&["force", builder, "--reason", reason, "--json"]);
    site.outcome(done["buildset"].as_u64().unwrap())
}

/// The policy of a kind at a place, as the status shows it.
fn policy<'a>(status: &'a Value, used_by: &str, kind: &str) -> &'a Value {
    let all = status["policies"].as_array().unwrap();
    all.iter().find(|p| p["used_by"] == used_by && p["kind"] == kind).unwrap()
}

/// Builds until the policy of `b`, which traps, is suspended: the status.
pub fn suspended(site: &Site) -> Value {
    eventually("it is suspended", || {
        assert_eq!(site.build("b")["outcome"], "success");
        let status = site.ok(&["status", "--json"]);
        (!status["policies"][0]["suspended_until"].is_null()).then_some(status)
    })
}

/// What became of a policy's calls.
fn counts(policy: &Value) -> [u64; 5] {
    ["calls", "answers", "faults", "fallbacks", "skipped"].map(|what| policy[what].as_u64().unwrap())
}

#[test]
fn whatever_a_policy_does_costs_one_decision_and_is_named() {
    let site = wayward(&Site::builder("b", "true", "next_slave = \"wayward:wayward\""));
    let ways = [
        ("trap", ["it trapped"; 2]),
        // Where the machine is busy, its CPU may take as long to come by as the backstop.
        ("spin", ["20 ms of CPU", "within 250 ms"]),
        ("hoard", ["bytes of memory"; 2]),
        ("err", ["told to"; 2]),
        ("ghost", ["`nobody`"; 2]),
    ];
    for (number, (way, words)) in (1..).zip(ways) {
        assert_eq!(build(&site, "b", way), "success", "{way}");
        let faults = |s: &Value| s["policies"][0]["faults"] == number;
        let status = site.until(&format!("the fault is counted: {way}"), faults);
        let shown = &status["policies"][0];
        let (fault, digest) = (shown["last_fault"].as_str().unwrap(), shown["digest"].as_str().unwrap());
        assert!(words.iter().any(|words| fault.contains(words)), "no {words:?} in: {fault}");
        for word in ["`wayward`", &digest[..12], "`next-slave.choose`"] {
            assert!(fault.contains(word), "no `{word}` in: {fault}");
        }
        // An answer in between: errors have to come in a row to suspend it.
        assert_eq!(build(&site, "b", "well"), "success");
    }
    let status = site.until("all is counted", |s| s["policies"][0]["answers"] == 5);
    assert_eq!(counts(&status["policies"][0]), [10, 5, 5, 5, 0]);
    let shown = &status["policies"][0];
    assert_eq!((&shown["budget"]["cpu_ms"], &shown["budget"]["wall_ms"]), (&20.into(), &250.into()));

    // The same in the meters, where its loading is a use, too.
    let stats = site.ok(&["plugin", "stats", "wayward", "--json"]);
    let of = |used_by: &str| {
        let uses = stats[0]["uses"].as_array().unwrap();
        uses.iter().find(|u| u["used_by"] == used_by).unwrap()["usage"].clone()
    };
    let usage = of("builder b: next-slave");
    assert_eq!((&usage["calls"], &usage["fallbacks"], &usage["traps"]), (&10.into(), &5.into(), &3.into()));
    assert_eq!(of("loading")["calls"], 1);
    assert_eq!(stats[0]["total"]["calls"], 11);
    // And of the commands that ran on a worker, by the step that started them.
    let stats = site.ok(&["plugin", "stats", "commands", "--json"]);
    let shell = &stats[0]["uses"][0];
    assert_eq!(shell["used_by"], "builder b, step 1 (shell-command): shell", "{stats}");
    assert!(shell["usage"]["calls"] == 10 && shell["usage"]["cpu_us"].as_u64().unwrap() > 0, "{stats}");
}

#[test]
fn each_policy_of_a_builder_fails_for_itself_and_says_what_happens_instead() {
    let all = "tags = [\"trap\"]\nnext_slave = \"wayward:wayward\"\nnext_build = \"wayward:wayward\"";
    let merge = "merge_requests = { use = \"wayward:wayward\" }";
    let gate = "can_start_build = \"wayward:wayward\"";
    let builders = Site::builder("b", "true", all).replace("merge_requests = false", merge)
        + &Site::builder("gated", "true", gate)
        + "[policies]\nprioritize_builders = \"wayward:wayward\"\n";
    let site = wayward(&builders);
    assert_eq!(build(&site, "b", "trap"), "success");
    let status = site.until("all have failed", |status| {
        let kinds = ["next-build", "next-slave"];
        kinds.iter().all(|kind| policy(status, "builder b", kind)["faults"] == 1)
            && policy(status, "master", "prioritize-builders")["faults"].as_u64().unwrap() >= 1
    });
    let said = |used_by, kind| policy(&status, used_by, kind)["instead"].as_str().unwrap().to_owned();
    assert!(said("builder b", "next-slave").contains("least-loaded"));
    assert!(said("builder b", "next-build").contains("first request"));
    assert!(said("master", "prioritize-builders").contains("first requests"));
    // A gate that fails is a closed one, and says so.
    site.ok(&["force", "gated", "--reason", "trap", "--json"]);
    let status = site.until("the gate has failed", |s| !s["builders"][1]["waiting"].is_null());
    assert_eq!(status["builders"][1]["waiting"]["why"], "`wayward:wayward` gives no answer");
    assert_eq!(policy(&status, "builder gated", "can-start-build")["faults"], 1);
}

/// Nothing differs, and yet: whoever reloads may have mended what the policy tripped over.
#[test]
fn a_reload_of_the_same_bytes_lifts_a_suspension_and_what_was_held_goes_on() {
    let hold = "next_slave = { use = \"wayward:wayward\", on_error = \"hold\" }";
    let site = wayward(
        &(Site::builder("b", "true", "next_slave = \"wayward:wayward\"")
            + &Site::builder("held", "true", hold)),
    );
    for _ in 0..4 {
        assert_eq!(build(&site, "b", "trap"), "success");
    }
    // The suspension is the hook's: it is there for the other builder, too, which waits and says why.
    let waiting = site.submit("held");
    let status = site.until("the other builder is held", |s| !s["builders"][1]["waiting"].is_null());
    let held = &status["builders"][1]["waiting"];
    assert_eq!(held["why"], "`wayward:wayward` is suspended after errors");
    assert_eq!(held["until"], status["policies"][0]["suspended_until"]);
    let (b, held) =
        (policy(&status, "builder b", "next-slave"), policy(&status, "builder held", "next-slave"));
    assert_eq!((counts(b), counts(held)), ([3, 0, 3, 4, 1], [0, 0, 0, 1, 1]));
    assert!(b["suspended_until"].is_u64() && b["suspended_until"] == held["suspended_until"]);
    assert_eq!((&b["on_error"], &held["on_error"]), (&"default".into(), &"hold".into()));

    let shown = String::from_utf8(site.windlass(&["status"]).stdout).unwrap();
    let digest = &b["digest"].as_str().unwrap()[..12];
    for words in
        ["is suspended for", "next-slave.choose", digest, "least-loaded", "its requests wait", "reconfig"]
    {
        assert!(shown.contains(words), "no `{words}` in:\n{shown}");
    }

    // The log keeps what a reload makes undone: the first fault and the suspension, once each.
    let is_told = |log: &String| log.contains("is suspended for");
    let log = eventually("the log tells of it", || Some(site.said("master")).filter(is_told));
    for words in ["next-slave wayward:wayward of builder b failed: ", "wayward:wayward is suspended for "] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(words)).collect();
        assert!(
            matches!(lines[..], [line] if line.contains("WARN") && line.contains("least-loaded")),
            "{log}"
        );
    }

    let done = site.ok(&["reconfig", "--json"]);
    assert_eq!((&done["changed"], done["lifted"].as_array().map(Vec::len)), (&false.into(), Some(2)));
    assert_eq!(site.outcome(waiting), "success");
    let status =
        site.until("the answer is counted", |s| policy(s, "builder held", "next-slave")["answers"] == 1);
    assert!(status["policies"].as_array().unwrap().iter().all(|p| p["suspended_until"].is_null()));
}

#[test]
fn a_suspension_survives_its_master_and_other_bytes_do_not_inherit_it() {
    let mut site = site_with("traps");
    // More than once, for a machine on which it is over before the next master is there; the next one is longer.
    eventually("it is suspended still", || {
        let until = |status: &Value| status["policies"][0]["suspended_until"].as_u64();
        let before = suspended(&site);
        site.end("master", false);
        site.start_master();
        let after = site.ok(&["status", "--json"]);
        let is_over = now() >= until(&before).unwrap();
        assert!(is_over || until(&after) == until(&before), "{before}\n{after}");
        assert!(is_over || after["policies"][0]["last_fault"].is_string(), "{after}");
        (!is_over).then_some(())
    });

    site.end("master", false);
    site.plugin("traps", &component("behaves"));
    site.start_master();
    let build = site.build("b");
    assert!(build["components"].to_string().contains("traps:traps"), "it is asked at once: {build}");
}

#[test]
fn other_bytes_start_afresh() {
    let site = site_with("traps");
    suspended(&site);
    // Another component under the same name, whose hook behaves.
    site.plugin("traps", &component("behaves"));
    site.ok(&["reconfig", "--json"]);
    site.until("the suspension is lifted, and with it the count", |s| {
        s["policies"][0]["suspended_until"].is_null() && s["policies"][0]["faults"] == 0
    });
    let build = site.build("b");
    assert!(build["components"].to_string().contains("traps:traps"), "{build}");
    // What the old bytes cost is known until the next reconfig.
    let stats = |site: &Site| {
        let all = site.ok(&["plugin", "stats", "traps", "--json"]);
        all.as_array().unwrap().iter().map(|s| s["current"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(
        {
            let mut both = stats(&site);
            both.sort();
            both
        },
        [false, true]
    );
    site.ok(&["reconfig", "--json"]);
    assert_eq!(stats(&site), [true]);
}
