//! Policies that fail: each costs one decision, is named to the user, and builds go on.

use windlass_tests::fixtures::component;
use windlass_tests::site::Site;

fn site_with(policy: &str) -> Site {
    let more = format!("next_slave = \"{policy}:{policy}\"");
    let site = Site::new(&["w1", "w2"], &Site::builder("b", "true", &more));
    site.plugin(policy, &component(policy));
    site.start()
}

/// Builds go on, the fallbacks are counted, and the fault names the plugin, its digest and the call.
fn check_contained(policy: &str, words: &[&str]) {
    let site = site_with(policy);
    let build = site.build("b");
    assert_eq!(build["outcome"], "success", "{build}");
    let status = site.until("the fault is shown", |s| s["policies"][0]["last_fault"].is_string());
    let shown = &status["policies"][0];
    assert!(shown["fallbacks"].as_u64().unwrap() >= 1, "{shown}");
    let fault = shown["last_fault"].as_str().unwrap();
    let digest = shown["digest"].as_str().unwrap();
    for word in words.iter().copied().chain([policy, &digest[..12]]) {
        assert!(fault.contains(word), "no `{word}` in: {fault}");
    }
}

#[test]
fn a_policy_that_traps_costs_one_decision() {
    check_contained("traps", &["choose", "trapped"]);
}

#[test]
fn a_policy_that_loops_costs_one_decision() {
    check_contained("loops", &["choose", "CPU"]);
}

#[test]
fn a_policy_that_names_a_worker_that_does_not_exist_costs_one_decision() {
    check_contained("nonsense", &["choose"]);
}

#[test]
fn three_errors_in_a_row_suspend_a_policy_and_a_good_reload_lifts_it() {
    let site = site_with("traps");
    for _ in 0..4 {
        assert_eq!(site.build("b")["outcome"], "success");
    }
    site.until("it is suspended", |s| !s["policies"][0]["suspended_until"].is_null());
    // Another component under the same name, whose hook behaves.
    site.plugin("traps", &component("behaves"));
    site.ok(&["reconfig", "--json"]);
    site.until("the suspension is lifted", |s| s["policies"][0]["suspended_until"].is_null());
    let build = site.build("b");
    assert!(build["components"].to_string().contains("traps:traps"), "{build}");
}
