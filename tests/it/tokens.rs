//! Tokens of workers by command: made, used in the place of others, revoked, and kept over whatever ends the master.

use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;
use windlass_tests::site::{Site, eventually, text};

/// A worker whose configuration has no token, and a builder whose command runs until it may end.
const CONFIG: &str = "[[workers]]\nname = \"w1\"\nmax_builds = 1\n\
                      [[builders]]\nname = \"b\"\nworkers = [\"w1\"]\n[[builders.steps]]\nuse = \"shell-command\"\n\
                      args = { command = \"echo once >> ../../../ran; until test -e ../../../go; do sleep 0.05; done\" }\n";

/// A master that runs, and a worker's directory without a token.
fn site() -> Site {
    let mut site = Site::new(&[], CONFIG);
    site.start_master();
    std::fs::create_dir(site.path("w1")).unwrap();
    site.write_worker("w1", site.listen());
    site
}

fn file(site: &Site, name: &str) -> PathBuf {
    site.path(&format!("w1/{name}"))
}

/// Makes a token: its number.
fn mint(site: &Site, name: &str) -> u64 {
    let path = file(site, name);
    let made = site.ok(&["workers", "token", "w1", "--file", path.to_str().unwrap(), "--json"]);
    assert!(!made.to_string().contains(text(&path).trim()), "{made}");
    made["token"]["number"].as_u64().unwrap()
}

fn tokens(site: &Site) -> Vec<Value> {
    let listed = site.ok(&["workers", "tokens", "w1", "--json"]);
    assert!(!listed.to_string().contains("blake3"), "{listed}");
    listed.as_array().unwrap().clone()
}

fn numbers(site: &Site) -> Vec<u64> {
    tokens(site).iter().map(|token| token["number"].as_u64().unwrap()).collect()
}

/// By which token the worker is connected.
fn came_by(site: &Site) -> Option<u64> {
    tokens(site).iter().find(|token| token["connected"] == true)?["number"].as_u64()
}

fn until_came_by(site: &Site, number: u64) {
    eventually(&format!("it comes by token {number}"), || (came_by(site) == Some(number)).then_some(()));
}

fn revoke(site: &Site, number: u64) -> Value {
    site.ok(&["workers", "revoke", "w1", &number.to_string(), "--json"])
}

fn ran(site: &Site) -> usize {
    std::fs::read_to_string(site.path("w1/ran")).unwrap_or_default().lines().count()
}

fn take(site: &Site, name: &str) {
    std::fs::rename(file(site, name), file(site, "token")).unwrap();
}

#[test]
fn tokens_are_made_replaced_and_revoked_under_a_running_build_and_outlive_the_master() {
    let mut site = site();
    let first = mint(&site, "token");
    assert_eq!((numbers(&site), &tokens(&site)[0]["used"]), (vec![first], &Value::Null));
    site.start_worker("w1");
    until_came_by(&site, first);
    assert!(!tokens(&site)[0]["used"].is_null());
    let buildset = site.submit("b");
    let build = site.running("b");
    eventually("its command runs", || (ran(&site) == 1).then_some(()));

    // Another one in its place: the link changes, the command does not notice.
    let second = mint(&site, "second");
    take(&site, "second");
    site.signal("w1", Signal::HUP);
    until_came_by(&site, second);
    let revoked = revoke(&site, first);
    assert_eq!((&revoked["closed"], &revoked["configured"]), (&false.into(), &false.into()), "{revoked}");
    assert_eq!((came_by(&site), numbers(&site)), (Some(second), vec![second]));

    // Revoked: sent away at once, and not let in; the command waits for its worker.
    let revoked = revoke(&site, second);
    assert_eq!((&revoked["closed"], numbers(&site)), (&true.into(), vec![]), "{revoked}");
    let status = site.ok(&["status", "--json"]);
    assert!(status["workers"][0]["connected"].is_null(), "{status}");
    eventually("it is refused", || site.said("master").contains("bad-token").then_some(()));
    let third = mint(&site, "third");
    assert!(third > second, "no number comes twice");
    take(&site, "third");
    until_came_by(&site, third);

    // What was answered is known after whatever.
    site.end("master", false);
    site.start_master();
    assert_eq!(numbers(&site), [third]);
    until_came_by(&site, third);
    std::fs::write(site.path("w1/go"), "").unwrap();
    assert_eq!(site.outcome(buildset), "success");
    assert_eq!((site.newest("b")["id"].as_u64(), ran(&site)), (Some(build), 1));
    // When it was used is noted behind the worker's back, and kept as well.
    assert!(!tokens(&site)[0]["used"].is_null());
}

#[test]
fn tokens_go_with_their_worker_and_do_not_come_back_with_it() {
    let mut site = site();
    let first = mint(&site, "token");
    site.start_worker("w1");
    until_came_by(&site, first);
    site.configure("");
    let plan = String::from_utf8(site.windlass(&["reconfig", "--plan"]).stdout).unwrap();
    assert!(plan.contains(&format!("    its tokens go with it: {first}\n")), "{plan}");
    assert_eq!(numbers(&site), [first], "a plan changes nothing");
    let done = site.ok(&["reconfig", "--json"]);
    let worker = &done["plan"]["changes"][0];
    assert_eq!((&worker["name"], &worker["why"][1]["tokens"]), (&"w1".into(), &vec![first].into()), "{done}");
    eventually("it is gone", || site.ok(&["workers", "--json"]).as_array().unwrap().is_empty().then_some(()));
    let refused = site.windlass(&["workers", "tokens", "w1"]);
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    site.configure(CONFIG);
    site.ok(&["reconfig", "--json"]);
    assert_eq!(numbers(&site), Vec::<u64>::new());
    eventually("it is refused", || site.said("master").contains("bad-token").then_some(()));

    // The same where the master was down meanwhile.
    mint(&site, "second");
    site.end("master", true);
    site.configure("");
    site.start_master();
    site.end("master", true);
    site.configure(CONFIG);
    site.start_master();
    assert_eq!(numbers(&site), Vec::<u64>::new());
}

#[test]
fn a_master_killed_as_it_makes_a_token_leaves_none_that_works_and_that_nobody_has() {
    let mut site = site();
    let mut files = 0;
    for fault in ["", ":after"] {
        let commits = site.get("/api/v1/status")["store"]["commits"].as_u64().unwrap();
        let before = tokens(&site).len();
        site.end("master", true);
        // Some commits further than an idle start.
        site.start_master_with(Some(&format!("commit:{}{fault}", commits + 4)));
        site.until("the master answers", |_| true);
        let mut answered = 0;
        loop {
            let path = file(&site, &format!("t{files}"));
            let made = site.windlass(&["workers", "token", "w1", "--file", path.to_str().unwrap()]);
            files += usize::from(path.exists());
            if !made.status.success() {
                break;
            }
            answered += 1;
        }
        eventually("it is dead", || site.has_ended("master").then_some(()));
        site.start_master();
        let known = tokens(&site).len() - before;
        assert!(answered <= known && before + known <= files, "{fault}: {answered} {known} {files}");
        assert!(!fault.is_empty() || known == answered, "what was not written is not known");
    }
    // The newest that counts is in a file.
    let newest = numbers(&site).pop().unwrap();
    let came = (0..files).rev().any(|number| {
        std::fs::copy(file(&site, &format!("t{number}")), file(&site, "token")).unwrap();
        site.start_worker("w1");
        let came = eventually("it is let in or ends", || match came_by(&site) {
            Some(number) => Some(Some(number)),
            None => site.has_ended("w1").then_some(None),
        });
        came == Some(newest)
    });
    assert!(came, "{newest}");
}

#[test]
fn what_cannot_be_made_or_revoked_is_said_and_leaves_nothing() {
    let mut site = site();
    let path = file(&site, "token");
    let order = ["workers", "token", "w1", "--file", path.to_str().unwrap()];
    let of = |worker: &'static str| {
        let mut order = order;
        order[2] = worker;
        order
    };
    let refused = site.windlass(&of("w2"));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(5) && said.contains("there are `w1`"), "{said}");
    assert!(!path.exists(), "a token that counts nowhere is no use");
    std::fs::write(&path, "mine").unwrap();
    assert_eq!(site.windlass(&of("w1")).status.code(), Some(6));
    assert_eq!((text(&path), numbers(&site)), ("mine".to_owned(), vec![]));
    let refused = site.windlass(&["workers", "revoke", "w1", "7"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(5) && said.contains("no token 7"), "{said}");
    for n in 0..16 {
        mint(&site, &format!("t{n}"));
    }
    std::fs::remove_file(&path).unwrap();
    let refused = site.windlass(&of("w1"));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("16 tokens already"), "{refused:?}");
    let all = site.ok(&["workers", "revoke", "w1", "--json"]);
    assert_eq!(all["revoked"].as_array().unwrap().len(), 16, "{all}");
    site.end("master", true);
    let gone = site.windlass(&of("w1"));
    assert!(gone.status.code() == Some(4) && !path.exists(), "{gone:?}");
}
