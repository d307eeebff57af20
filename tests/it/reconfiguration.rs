//! Buildbot's description of its reconfiguration, sentence by sentence, where it speaks of workers and of builds that
//! run. The others stand in the tests of `windlass-master`; that a signal begins one, in `reload.rs`.

use serde_json::Value;
use windlass_tests::fixtures::component;
use windlass_tests::site::{Site, eventually};

const UNTIL_GO: &str = "until test -e ../../../go; do sleep 0.05; done; echo went on";

fn let_go(site: &Site) {
    for worker in site.workers() {
        std::fs::write(site.path(&format!("{worker}/go")), "").unwrap();
    }
}

/// Since when a worker is connected; null: it is not.
fn connected(status: &Value, worker: &str) -> Value {
    let workers = status["workers"].as_array().unwrap();
    workers.iter().find(|w| w["name"] == worker).map_or(Value::Null, |w| w["connected"].clone())
}

fn status(site: &Site) -> Value {
    site.ok(&["status", "--json"])
}

/// "Slaves are specified by name … all have their `reconfigService` called." One that stays keeps its link and what it
/// runs, whatever else is said of it; the new settings hold at once.
#[test]
fn workers_that_stay_keep_their_links_and_what_they_run() {
    let mut site = Site::with_command(UNTIL_GO).start();
    let (first, second) = (site.submit("b"), site.submit("b"));
    site.until("both run", |s| s["running"].as_array().unwrap().len() == 2);
    let before = status(&site);
    site.slots(1);
    site.configure(&(Site::builder("b", "false", "") + &Site::builder("other", "true", "")));
    let done = site.ok(&["reconfig", "--json"]);
    let workers: Vec<&Value> =
        done["plan"]["changes"].as_array().unwrap().iter().filter(|c| c["what"] == "worker").collect();
    assert!(workers.len() == 2 && workers.iter().all(|w| w["how"] == "changed"), "{done}");
    let after = status(&site);
    for worker in site.workers() {
        assert_eq!(connected(&before, &worker), connected(&after, &worker));
    }
    let_go(&site);
    // By the steps that they began with.
    assert_eq!((site.outcome(first), site.outcome(second)), ("success".to_owned(), "success".to_owned()));
    assert_eq!(site.build("b")["outcome"], "failure");
}

/// "… including changing the PB registration if necessary": Buildbot leaves the connection of a slave whose password
/// changed. Here whoever showed a token that does not count any more is cut off at once. What runs there is not lost: it
/// waits for the worker to come back with the new one, which it reads from its file, without a restart of its own.
#[test]
fn a_worker_whose_token_changed_is_cut_off_and_goes_on_with_the_new_one() {
    let mut site = Site::with_command(UNTIL_GO).start();
    let buildset = site.submit("b");
    let running = site.running("b").to_string();
    let worker = site.ok(&["build", &running, "--json"])["worker"].as_str().unwrap().to_owned();
    let before = connected(&status(&site), &worker);
    site.renew_token(&worker);
    let done = site.ok(&["reconfig", "--json"]);
    assert_eq!(done["plan"]["changes"][0]["why"][0]["because"], "token", "{done}");
    eventually("it is refused with the old one", || site.said(&worker).contains("bad-token").then_some(()));
    assert_eq!(connected(&status(&site), &worker), Value::Null);
    let_go(&site);
    let path = |file: &str| site.path(&format!("{worker}/{file}"));
    std::fs::rename(path("token.new"), path("token")).unwrap();
    let back = site.until("it is back", |s| !connected(s, &worker).is_null());
    assert_ne!(connected(&back, &worker), before);
    assert_eq!(site.outcome(buildset), "success");
    assert_eq!(site.ok(&["build", &running, "--json"])["outcome"], "success", "it was not built again");
}

/// "… and any slaves to be added or removed are noted." One that is removed is sent away, and may come back when it is
/// there again.
#[test]
fn a_worker_that_is_removed_is_sent_away_and_may_come_back() {
    let site = Site::with_command("true").start();
    let path = site.path("master.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, after) = text.split_once("[[workers]]\nname = \"w2\"").unwrap();
    let without = format!("{before}{}", &after[after.find("[[").unwrap()..]).replace(", \"w2\"", "");
    std::fs::write(&path, without).unwrap();
    let done = site.ok(&["reconfig", "--json"]);
    let gone = &done["plan"]["changes"][0];
    assert_eq!((&gone["what"], &gone["how"]), (&"worker".into(), &"removed".into()), "{done}");
    assert_eq!(status(&site)["workers"].as_array().unwrap().len(), 1);
    eventually("it is told", || {
        site.said("w2").contains("removed from the master's configuration").then_some(())
    });
    assert_eq!(site.build("b")["outcome"], "success");
    std::fs::write(&path, text).unwrap();
    site.ok(&["reconfig", "--json"]);
    site.until("it is back", |s| !connected(s, "w2").is_null());
}

/// A storm: each second reconfig is refused, each other one replaces a component, changes one builder and brings or takes
/// another, while builds come and go. None of them notices, each good one takes effect, no bad one does.
#[test]
fn a_storm_of_reconfigs_good_and_bad_costs_no_build() {
    const ROUNDS: usize = 25;
    let policy = "next_slave = \"placement:placement\"";
    let world = |round: usize| {
        let mut text = Site::builder("b", "true", &format!("description = \"{round}\"\n{policy}"));
        if round.is_multiple_of(2) {
            text += &Site::builder("now-and-then", "true", "");
        }
        text
    };
    let site = Site::new(&["w1", "w2"], &world(0));
    site.plugin("placement", &component("v1"));
    let mut site = site.start();
    let generation = status(&site)["generation"].as_u64().unwrap();
    let mut sets = Vec::new();
    for round in 1..=ROUNDS {
        sets.push(site.submit("b"));
        site.plugin("placement", &component(if round.is_multiple_of(2) { "v1" } else { "v2" }));
        site.configure(&(world(round) + &Site::builder("b", "true", "")));
        assert_eq!(site.windlass(&["reconfig"]).status.code(), Some(3), "round {round}");
        site.configure(&world(round));
        let done = site.ok(&["reconfig", "--json"]);
        assert_eq!(done["generation"].as_u64(), Some(generation + round as u64), "{done}");
    }
    for set in sets {
        assert_eq!(site.outcome(set), "success");
    }
    let builds = site.get("/api/v1/builds?builder=b&limit=100");
    let builds = builds.as_array().or_else(|| builds["builds"].as_array()).unwrap();
    assert_eq!(builds.len(), ROUNDS);
    assert!(builds.iter().all(|build| build["outcome"] == "success"));
}
