//! Locks, in whole: who shares one never overlaps, and what was held is free again whatever happens.

use serde_json::Value;
use windlass_tests::site::{Site, eventually};

/// A site whose builders run `command` (with the site's directory for `@`), each with the keys `more`, and these locks.
fn site(locks: &str, builders: &[(&str, &str, &str)]) -> Site {
    let mut site = Site::new(&["w1", "w2"], "");
    site.configure(&config(&site, locks, builders));
    site.start()
}

fn config(site: &Site, locks: &str, builders: &[(&str, &str, &str)]) -> String {
    let here = site.path("");
    let here = here.to_str().unwrap().trim_end_matches('/');
    let builder = |(name, command, more): &(&str, &str, &str)| {
        let (head, tail) = more.split_once('|').unwrap_or((more, ""));
        Site::builder(name, &command.replace('@', here), head) + tail + "\n"
    };
    format!("[locks]\n{locks}\n") + &builders.iter().map(builder).collect::<String>()
}

const UNTIL_GO: &str = "until test -e @/go; do sleep 0.05; done";

fn let_go(site: &Site) {
    std::fs::write(site.path("go"), "").unwrap();
}

fn lock<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["locks"].as_array().unwrap().iter().find(|lock| lock["name"] == name).unwrap()
}

#[test]
fn builds_that_share_an_exclusive_lock_never_overlap() {
    // A directory can be made once: a second build in it fails.
    let alone = "mkdir @/held && sleep 0.1 && rmdir @/held";
    let uses = "locks = { lock = \"db\", mode = \"exclusive\" }";
    let site = site("db = { max = 3 }", &[("a", alone, uses), ("b", alone, uses)]);
    let sets: Vec<u64> = ["a", "b", "a", "b", "a", "b"].iter().map(|builder| site.submit(builder)).collect();
    for set in sets {
        assert_eq!(site.outcome(set), "success");
    }
    let status = site.until("the lock is free", |s| lock(s, "db")["held"] == 0);
    assert_eq!(lock(&status, "db")["waiters"], Value::Array(Vec::new()));
}

#[test]
fn a_counting_lock_of_two_lets_two_steps_of_three_through() {
    let site = site("cpu = { max = 2 }", &[("b", UNTIL_GO, "|locks = \"cpu\"")]);
    let sets: Vec<u64> = (0..3).map(|_| site.submit("b")).collect();
    let status =
        site.until("one of three waits", |s| lock(s, "cpu")["waiters"].as_array().unwrap().len() == 1);
    assert_eq!((&status["pending"], status["running"].as_array().unwrap().len()), (&Value::from(0), 3));
    let (holders, waiter) = (&lock(&status, "cpu")["holders"], &lock(&status, "cpu")["waiters"][0]);
    assert_eq!(holders.as_array().unwrap().len(), 2, "{holders}");
    let waits = waiter["waits"].as_str().unwrap();
    let held_by = format!("waits for lock `cpu`, held by {} and 1 more", holders[0]["who"].as_str().unwrap());
    assert_eq!(waits, held_by);
    // The build says so, too, and so do both commands.
    let id = waiter["build"].to_string();
    eventually("the step says what it waits for", || {
        (site.ok(&["build", &id, "--json"])["steps"][0]["summary"] == waits).then_some(())
    });
    for command in ["locks", "status"] {
        let output = site.windlass(&[command]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("2 of 2") && said.contains(waits), "{command}: {said}");
    }
    assert_eq!(site.ok(&["locks", "--json"])[0]["held"], 2);
    let_go(&site);
    for set in sets {
        assert_eq!(site.outcome(set), "success");
    }
}

#[test]
fn a_maximum_that_a_reconfig_raises_wakes_who_waits() {
    let builders = [("b", UNTIL_GO, "locks = \"db\"")];
    let mut site = site("db = {}", &builders);
    let sets = [site.submit("b"), site.submit("b")];
    let first = site.running("b");
    let why = format!("waits for lock `db`, held by build {first} of `b`");
    let status = site.until("the second waits", |s| s["builders"][0]["waiting"]["why"] == why.as_str());
    assert_eq!((&status["pending"], &status["builders"][0]["building"]), (&Value::from(1), &Value::from(1)));
    site.configure(&config(&site, "db = { max = 2 }", &builders));
    let done = site.windlass(&["reconfig"]);
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(said.contains("lock `db`") && said.contains("max: 1 -> 2"), "{said}");
    site.until("both run", |s| s["running"].as_array().unwrap().len() == 2);
    let_go(&site);
    for set in sets {
        assert_eq!(site.outcome(set), "success");
    }
}

/// Lower than what is held: who holds it keeps it, and nobody comes in until less is held than there is now.
#[test]
fn a_maximum_that_a_reconfig_lowers_lets_nobody_in_until_less_is_held() {
    let wait = "until test -e @/go-%(prop:buildnumber)s; do sleep 0.05; done";
    let builders = [("b", wait, "locks = \"db\"")];
    let site = site("db = { max = 2 }", &builders);
    let sets: Vec<u64> = (0..3).map(|_| site.submit("b")).collect();
    let status = site.until("two run", |s| s["running"].as_array().unwrap().len() == 2);
    let numbers: Vec<Value> =
        status["running"].as_array().unwrap().iter().map(|build| build["number"].clone()).collect();
    let end = |number: &Value| std::fs::write(site.path(&format!("go-{number}")), "").unwrap();
    let text = config(&site, "db = { max = 1 }", &builders);
    let written = std::fs::read_to_string(site.path("master.toml")).unwrap();
    let head = &written[..written.find("[locks]").unwrap()];
    std::fs::write(site.path("master.toml"), format!("{head}{text}")).unwrap();
    site.ok(&["reconfig", "--json"]);
    site.until("more is held than there is", |s| lock(s, "db")["held"] == 2 && lock(s, "db")["max"] == 1);
    end(&numbers[0]);
    let status = site.until("one is left", |s| lock(s, "db")["held"] == 1);
    assert_eq!(
        (&status["pending"], lock(&status, "db")["waiters"].as_array().unwrap().len()),
        (&Value::from(1), 1)
    );
    end(&numbers[1]);
    site.until("the third runs", |s| s["pending"] == 0 && lock(s, "db")["held"] == 1);
    // Not the first of those that run: the second may still be there, which has given its place back.
    end(&Value::from(3));
    for set in sets {
        assert_eq!(site.outcome(set), "success");
    }
}

#[test]
fn locks_of_a_killed_master_are_free_when_it_starts_again() {
    let uses = "locks = { lock = \"db\", mode = \"exclusive\" }";
    let builders = [("a", UNTIL_GO, uses), ("b", "true", uses)];
    let mut site = site("db = {}", &builders);
    let held = site.submit("a");
    site.running("a");
    let waits = site.submit("b");
    site.until("the other waits", |s| lock(s, "db")["waiters"].as_array().unwrap().len() == 1);
    site.end("master", false);
    let_go(&site);
    site.start_master();
    assert_eq!(site.outcome(held), "success");
    assert_eq!(site.outcome(waits), "success");
    site.until("the lock is free", |s| lock(s, "db")["held"] == 0);
}

#[test]
fn builds_whose_steps_wait_for_each_other_fail_one_of_them_with_the_circle() {
    // Each holds one lock for its whole life, and its second step wants the other's.
    let meet = "touch @/%(prop:buildername)s; until test -e @/a && test -e @/b; do sleep 0.05; done";
    let second = |lock: &str| {
        format!(
            "locks = \"{}\"|[[builders.steps]]\nuse = \"shell-command\"\nname = \"second\"\n\
             args = {{ command = \"true\" }}\nlocks = \"{lock}\"",
            if lock == "x" { "y" } else { "x" }
        )
    };
    let (a, b) = (second("y"), second("x"));
    let site = site("x = {}\ny = {}", &[("a", meet, &a), ("b", meet, &b)]);
    let sets = [site.submit("a"), site.submit("b")];
    let mut outcomes = sets.map(|set| site.outcome(set));
    outcomes.sort();
    assert_eq!(outcomes, ["exception", "success"]);
    let failed = ["a", "b"].map(|name| site.newest(name)).into_iter().find(|b| b["outcome"] == "exception");
    let fault = failed.unwrap()["steps"][1]["fault"].as_str().unwrap().to_owned();
    assert!(fault.starts_with("step `second` would wait for ever: build "), "{fault}");
    assert!(
        fault.contains("waits for lock `x`, held by build") && fault.contains("waits for lock `y`, held by")
    );
}
