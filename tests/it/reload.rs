//! Reload is a transaction: all or nothing, and running builds keep what they started with.

use rustix::process::Signal;
use windlass_tests::fixtures::component;
use windlass_tests::site::{Site, are_connected, eventually};

use crate::policies::suspended;

/// Two builders whose worker `placement:placement` picks: one is quick, one runs until its file is gone.
fn site() -> Site {
    let policy = "next_slave = \"placement:placement\"";
    let quick = Site::builder("quick", "true", policy);
    let slow =
        Site::builder("slow", "touch ../../../began; until test -e ../../../go; do sleep 0.05; done", policy);
    let mut site = Site::new(&["w1", "w2"], &(quick + &slow));
    site.plugin("placement", &component("v1"));
    site.patient_with_policies();
    site.start()
}

fn placed_by(build: &serde_json::Value) -> &str {
    let components = build["components"].as_array().unwrap();
    components.iter().find(|c| c["kind"] == "next-slave").unwrap()["digest"].as_str().unwrap()
}

fn digest_of(name: &str) -> String {
    windlass_core::digest::Digest::of(&component(name)).to_string()
}

fn let_go(site: &Site) {
    for worker in ["w1", "w2"] {
        std::fs::write(site.path(&format!("{worker}/go")), "").unwrap();
    }
}

#[test]
fn a_running_build_keeps_the_old_policy_and_the_next_has_the_new() {
    let site = site();
    let slow = site.submit("slow");
    let running = site.running("slow").to_string();
    site.plugin("placement", &component("v2"));
    let done = site.ok(&["reconfig", "--json"]);
    assert_eq!(done["plugins"]["replaced"][0]["name"], "placement", "{done}");
    assert_eq!(placed_by(&site.build("quick")), digest_of("v2"));
    let_go(&site);
    assert_eq!(site.outcome(slow), "success");
    assert_eq!(placed_by(&site.ok(&["build", &running, "--json"])), digest_of("v1"));
}

#[test]
fn a_broken_component_leaves_everything_as_it_was_and_says_why() {
    let site = site();
    let before = site.ok(&["status", "--json"])["generation"].clone();
    site.plugin("placement", b"\0asm this is none");
    site.plugin("second", b"(component)");
    let refused = site.windlass(&["reconfig"]);
    assert_eq!(refused.status.code(), Some(3));
    let said = String::from_utf8_lossy(&refused.stderr);
    // Both faults at once, each by name.
    assert!(said.contains("placement") && said.contains("second"), "{said}");
    assert_eq!(site.ok(&["status", "--json"])["generation"], before);
    assert_eq!(placed_by(&site.build("quick")), digest_of("v1"));
}

#[test]
fn a_plugin_file_deleted_under_a_running_build_hurts_nobody() {
    let mut site = site();
    let slow = site.submit("slow");
    site.running("slow");
    std::fs::remove_file(site.path("plugins/placement.wasm")).unwrap();
    // The configuration still names it: refused, and everything goes on.
    let refused = site.windlass(&["reconfig"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("placement"), "{said}");
    assert_eq!(placed_by(&site.build("quick")), digest_of("v1"));
    // Once nothing names it any more, it goes, and the running build still ends well.
    site.configure(&(Site::builder("quick", "true", "") + &Site::builder("slow", "true", "")));
    let done = site.ok(&["reconfig", "--json"]);
    assert_eq!(done["plugins"]["removed"][0]["name"], "placement", "{done}");
    let_go(&site);
    assert_eq!(site.outcome(slow), "success");
}

#[test]
fn a_plan_changes_nothing_and_a_hangup_reconfigures() {
    let mut site = site();
    let before = site.ok(&["status", "--json"])["generation"].as_u64().unwrap();
    site.configure(&Site::builder("other", "true", ""));
    let plan = site.ok(&["reconfig", "--plan", "--json"]);
    assert_eq!((&plan["plan_only"], &plan["changed"]), (&true.into(), &true.into()), "{plan}");
    assert_eq!(site.ok(&["status", "--json"])["generation"], before);
    site.signal("master", Signal::HUP);
    eventually("the hangup is heeded", || {
        (site.ok(&["status", "--json"])["builders"][0]["name"] == "other").then_some(())
    });
    assert_eq!(site.build("other")["outcome"], "success");
}

/// A text that was read already is not checked again; what was found in it then is said all the same, and what is not well
/// beside it, too. One that only a plan has read is in effect no more than before.
#[test]
fn a_file_that_is_the_same_is_warned_of_again_and_refused_for_what_stands_beside_it() {
    let mut site = site();
    let reconfigured = |site: &Site| site.ok(&["reconfig", "--json"]);
    let first = reconfigured(&site);
    assert!(first["warnings"].to_string().contains("unscheduled-builder"), "{first}");
    assert_eq!(reconfigured(&site)["warnings"], first["warnings"]);
    site.plugin("broken", b"\0asm is none");
    let refused = site.windlass(&["reconfig"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("broken"), "{refused:?}");
    std::fs::remove_file(site.path("plugins/broken.wasm")).unwrap();
    let text = std::fs::read_to_string(site.path("master.toml")).unwrap();
    site.configure(&Site::builder("other", "true", ""));
    assert_eq!(site.ok(&["reconfig", "--plan", "--json"])["changed"], true);
    assert_eq!(site.ok(&["reconfig", "--plan", "--json"])["changed"], true);
    std::fs::write(site.path("master.toml"), text).unwrap();
    let back = reconfigured(&site);
    assert_eq!((&back["changed"], &back["warnings"]), (&false.into(), &first["warnings"]), "{back}");
}

#[test]
fn a_setting_that_needs_a_restart_is_refused_before_anything_changes() {
    let site = site();
    let path = site.path("master.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(site.listen(), "127.0.0.1:1").replace("quick", "renamed")).unwrap();
    let refused = site.windlass(&["reconfig"]);
    // Nothing is wrong with the configuration: the master refuses it.
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("listen"), "{refused:?}");
    assert_eq!(site.ok(&["status", "--json"])["builders"][0]["name"], "quick");
}

/// Symptom: `reconfig` said that a policy is asked again which it had just removed. Cause: what was suspended was
/// taken from the old configuration alone.
#[test]
fn a_reconfig_tells_of_no_suspension_that_went_with_its_policy() {
    let site = Site::new(&["w1", "w2"], &Site::builder("b", "true", "next_slave = \"traps:traps\""));
    site.plugin("traps", &component("traps"));
    let mut site = site.start();
    suspended(&site);
    site.configure(&Site::builder("b", "true", ""));
    let done = site.ok(&["reconfig", "--json"]);
    assert_eq!((&done["changed"], &done["lifted"]), (&true.into(), &serde_json::json!([])), "{done}");
}

/// Symptom: one of two files was not to be found in the figures. Cause: their bytes are the same, and one name was
/// kept for them.
#[test]
fn files_of_the_same_bytes_have_their_figures_under_each_name() {
    let site = Site::with_command("true");
    for name in ["one", "two"] {
        site.plugin(name, &component("traps"));
    }
    let site = site.start();
    for name in ["one", "two"] {
        let stats = site.ok(&["plugin", "stats", name, "--json"]);
        assert_eq!(stats.as_array().map(Vec::len), Some(1), "{stats}");
        assert_eq!((&stats[0]["plugin"], &stats[0]["current"]), (&name.into(), &true.into()), "{stats}");
    }
}

/// A reconfig that replaces a component, changes a builder and takes one away, in one commit. Its master is killed on both
/// sides of that; the next one goes by what stands in the file, as a whole, and what ran goes on by what was.
#[test]
fn a_master_killed_at_the_commit_of_a_reconfig_comes_back_with_one_world_and_goes_on() {
    for side in ["", ":after"] {
        // As many come before it as the start of a master has, which are not always as many: it is looked for again where
        // the last one had them.
        let mut commit = 5;
        let is_met = (0..20).any(|_| {
            let (before, is_told) = killed_at(commit, side);
            let is_met = !is_told && before + 1 == commit;
            commit = if before > 0 { before + 1 } else { commit + 1 };
            is_met
        });
        assert!(is_met, "{side}: at last it was looked for at {commit}");
    }
}

/// A master that goes on with a build of `slow`, all workers there, unless it met a fault before: with the build's
/// buildset and number. The same commits have led here each time, nearly.
fn taken_up(fault: &str) -> (Site, u64, String) {
    let mut site = site();
    let slow = site.submit("slow");
    let running = site.running("slow").to_string();
    eventually("its command runs", || {
        ["w1", "w2"].iter().any(|w| site.path(&format!("{w}/began")).exists()).then_some(())
    });
    site.end("master", false);
    site.start_master_with(Some(fault));
    eventually("the workers are back, or it is dead", || match site.try_get("/api/v1/status") {
        Ok(status) => are_connected(&status).then_some(()),
        Err(_) => has_died(&site).then_some(()),
    });
    (site, slow, running)
}

/// Plays a reconfig whose master is killed at this commit. How many there were before it was asked for, 0 if it was dead
/// by then, and whether somebody was told that it is done.
fn killed_at(commit: u64, side: &str) -> (u64, bool) {
    let place = format!("commit:{commit}{side}");
    let (mut site, slow, running) = taken_up(&place);
    let before = settled(&site);
    renew(&mut site);
    let is_told = before > 0
        && eventually("it was told or is dead", || {
            let told = site.windlass(&["reconfig"]).status.success();
            (told || has_died(&site)).then_some(told)
        });
    site.end("master", false);
    site.start_master();
    let status = site.ok(&["status", "--json"]);
    let builders = status["builders"].as_array().unwrap().iter().map(|builder| builder["name"].clone());
    assert_eq!(builders.collect::<Vec<_>>(), ["quick", "other"], "{place}");
    let quick = site.build("quick");
    assert_eq!((quick["outcome"].as_str(), placed_by(&quick)), (Some("success"), &*digest_of("v2")));
    let_go(&site);
    assert_eq!(site.outcome(slow), "success", "{place}");
    assert_eq!(placed_by(&site.ok(&["build", &running, "--json"])), digest_of("v1"));
    (before, is_told)
}

/// How many commits a master has had once it has no more to do; 0: it is dead.
fn settled(site: &Site) -> u64 {
    let commits = || {
        let status = site.try_get("/api/v1/status").ok()?;
        status["store"]["commits"].as_u64()
    };
    let mut last = None;
    eventually("nothing is committed any more", || {
        let now = commits();
        let is_dead = now.is_none() && has_died(site);
        let stands = now.is_some() && now == last;
        last = now;
        // Logs are committed together, and what is said meanwhile waits for that.
        std::thread::park_timeout(std::time::Duration::from_millis(300));
        if is_dead { Some(0) } else { now.filter(|_| stands) }
    })
}

fn renew(site: &mut Site) {
    site.plugin("placement", &component("v2"));
    let policy = "next_slave = \"placement:placement\"";
    site.configure(&(Site::builder("quick", "echo renewed", policy) + &Site::builder("other", "true", "")));
}

fn has_died(site: &Site) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", site.pid("master"))).unwrap();
    stat.contains(") Z")
}
