//! The console that looks into a running master: who may, what it shows, and what it may change.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::Output;

use serde_json::{Value, json};
use windlass_tests::fixtures::component;
use windlass_tests::site::{Site, eventually};

use crate::policies::suspended;

const PASSWORD: &str = "correct horse";

/// Files with the right password and a wrong one.
fn write_passwords(site: &Site) {
    for (name, password) in [("right", PASSWORD), ("wrong", "guess")] {
        std::fs::write(site.path(name), format!("{password}\n")).unwrap();
        std::fs::set_permissions(site.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn debug(site: &Site, password: &str, look: &[&str]) -> Output {
    let file = site.path(password);
    let order = ["debug", "--password-file", file.to_str().unwrap(), "--json"];
    site.windlass(&[&order[..], look].concat())
}

fn look(site: &Site, look: &[&str]) -> Value {
    let output = debug(site, "right", look);
    assert!(output.status.success(), "{look:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(5) && said.contains(why), "{said}");
}

fn section(site: &Site, allow_changes: bool) -> String {
    let file = site.path("right");
    let made = site.ok(&["password", "--password-file", file.to_str().unwrap(), "--json"]);
    let hash = made["password_hash"].as_str().unwrap();
    assert!(hash.starts_with("$argon2id$") && !hash.contains(PASSWORD), "{hash}");
    format!("[debug]\npassword_hash = \"{hash}\"\nallow_changes = {allow_changes}\n")
}

#[test]
fn it_is_off_unless_configured_and_wrong_passwords_wait_and_are_logged() {
    let mut site = Site::with_command("true").start();
    write_passwords(&site);
    refused(&debug(&site, "right", &["board"]), "the console is off");
    let section = section(&site, false);
    site.configure(&(Site::builder("b", "true", "") + &section));
    let planned = site.ok(&["reconfig", "--plan", "--json"]);
    assert!(planned.to_string().contains("debug") && !planned.to_string().contains("argon2"), "{planned}");
    site.ok(&["reconfig", "--json"]);
    refused(&debug(&site, "wrong", &["board"]), "the password is wrong");
    assert!(site.said("master").contains("wrong password"), "{}", site.said("master"));
    // The right one has to wait now, too, and is let in then. The more were wrong, the longer: on a machine that is so slow
    // that a second is over before it comes, more have to be.
    let mut wrong = 0;
    eventually("the right one has to wait", || {
        wrong += 1;
        for _ in 0..wrong {
            eventually("a wrong one counts", || {
                let output = debug(&site, "wrong", &["board"]);
                String::from_utf8_lossy(&output.stderr).contains("the password is wrong").then_some(())
            });
        }
        let output = debug(&site, "right", &["board"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.contains("the last password was wrong; the next attempt counts in ").then_some(())
    });
    eventually("the wait is over", || debug(&site, "right", &["board"]).status.success().then_some(()));
    refused(&debug(&site, "right", &["poll", "main"]), "the console only looks");
    std::fs::set_permissions(site.path("right"), std::fs::Permissions::from_mode(0o644)).unwrap();
    refused(&debug(&site, "right", &["board"]), "can be read by others");
    assert!(!site.said("master").contains(PASSWORD));
}

/// Symptom: whoever hung up before the answer had tried a password that nobody counted.
#[test]
fn who_hangs_up_has_tried_a_password() {
    let mut site = Site::with_command("true");
    write_passwords(&site);
    let section = section(&site, false);
    site.configure(&(Site::builder("b", "true", "") + &section));
    let site = site.start();
    let body = json!({ "password": "guess", "look": "board" }).to_string();
    let head = "POST /api/v1/debug HTTP/1.1\r\nhost: windlass\r\ncontent-type: application/json";
    eventually("the attempt counts", || {
        let mut hasty = UnixStream::connect(site.path("state/windlass.sock")).unwrap();
        write!(hasty, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        // Where the master sees this before it has read the request, nothing was tried: hence more than once.
        drop(hasty);
        // The next one stands behind it in line.
        let output = debug(&site, "right", &["board"]);
        String::from_utf8_lossy(&output.stderr).contains("the last password was wrong").then_some(())
    });
}

#[test]
fn it_shows_what_runs_from_the_board_to_the_row_and_no_secrets() {
    let command = "touch ../../../began; until test -e ../../../go; do sleep 0.05; done";
    let mut site = Site::new(&["w1"], "");
    write_passwords(&site);
    let section = section(&site, true);
    site.configure(&(Site::builder("b", command, "").replace(", \"w2\"", "") + &section));
    let site = site.start();
    let token = site.path("w1/second");
    site.ok(&["workers", "token", "w1", "--file", token.to_str().unwrap(), "--json"]);
    let hash = windlass_config::hash_token(&std::fs::read_to_string(&token).unwrap()).replace("blake3:", "");
    let buildset = site.submit("b");
    let id = site.running("b").to_string();
    eventually("its command runs", || site.path("w1/began").exists().then_some(()));

    let board = look(&site, &["board"]);
    assert_eq!((&board["workers"][0]["name"], &board["builders"][0]["building"]), (&"w1".into(), &1.into()));
    let build = look(&site, &["build", &id]);
    assert_eq!((&build["row"]["builder"], &build["plan"]["name"]), (&"b".into(), &"b".into()), "{build}");
    let current = &build["current"];
    assert_eq!(current["name"], "shell-command", "{build}");
    assert!(current["journal"]["entries"].as_u64() > Some(0), "{build}");
    let links = look(&site, &["links"]);
    let commands = links[0]["commands"].as_array().unwrap();
    assert_eq!(
        (&links[0]["worker"], commands.len(), &commands[0]["wanted"]),
        (&"w1".into(), 1, &true.into())
    );
    assert_eq!(current["commands"][0]["uid"], commands[0]["uid"], "{build}");
    let tasks = look(&site, &["tasks"]);
    assert_eq!(tasks["builds"][0]["step"]["name"], "shell-command", "{tasks}");
    let store = look(&site, &["store"]);
    let tables = store["tables"].as_array().unwrap();
    let rows = |name: &str| tables.iter().find(|table| table["name"] == name).unwrap()["rows"].clone();
    assert_eq!((rows("builds"), rows("live"), rows("worker_tokens")), (1.into(), 1.into(), 1.into()));
    assert!(look(&site, &["plugins"])["plugins"].to_string().contains("windlass"));
    let row = look(&site, &["row", "builds", &id]);
    assert_eq!(row["decoded"]["worker"], "w1", "{row}");
    let page = look(&site, &["rows", "meta"]);
    assert_eq!((&page["rows"][0]["key"], &page["more"]), (&"format".into(), &false.into()), "{page}");
    let page = look(&site, &["rows", "counters", "--limit", "1"]);
    let after = page["more_after"].as_str().unwrap();
    assert_eq!((&page["rows"][0]["key"], &page["more"]), (&after.into(), &true.into()), "{page}");
    let page = look(&site, &["rows", "counters", "--after", after]);
    assert!(page["rows"][0]["key"].as_str() > Some(after) && page["more"] == false, "{page}");
    let page = look(&site, &["rows", "builds", "--damaged"]);
    assert_eq!((&page["rows"], &page["looked_at"]), (&json!([]), &1.into()), "{page}");
    refused(&debug(&site, "right", &["rows", "nothing"]), "there is no table");
    refused(&debug(&site, "right", &["rows", "builds", "--after", "x"]), "a key is NUMBER");
    let token = look(&site, &["row", "worker_tokens", "w1,1"]).to_string();
    assert!(token.contains("TokenId(1)") && !token.contains(&hash[..8]), "{token}");
    for key in ["master,seal-of-secrets", " master , %73eal-of-secrets"] {
        let seal = look(&site, &["row", "state", key]);
        assert_eq!(seal, json!({ "bytes": 32, "hidden": "it is a secret of this master" }), "{key}");
    }
    refused(&debug(&site, "right", &["row", "nothing", "1"]), "there is no table");
    refused(&debug(&site, "right", &["row", "builds", "x"]), "a key is NUMBER");
    refused(&debug(&site, "right", &["build", "99"]), "no build 99");
    refused(&debug(&site, "right", &["lift", "sticky"]), "is suspended");
    refused(&debug(&site, "right", &["poll", "none"]), "no poller `none`");
    assert!(site.said("master").contains("the console changes something"));
    std::fs::write(site.path("w1/go"), "").unwrap();
    assert_eq!(site.outcome(buildset), "success");
}

#[test]
fn it_lifts_a_suspension_where_it_may_and_says_who_did() {
    let mut site = Site::new(&["w1", "w2"], "");
    write_passwords(&site);
    let builder = Site::builder("b", "true", "next_slave = \"traps:traps\"");
    let section = section(&site, true);
    site.configure(&(builder + &section));
    site.plugin("traps", &component("traps"));
    let site = site.start();
    // More than once, for a machine on which it is over before it is lifted; the next one is longer.
    let lifted = eventually("it is lifted while it is suspended", || {
        suspended(&site);
        let lifted = debug(&site, "right", &["lift", "traps"]);
        lifted.status.success().then(|| serde_json::from_slice::<Value>(&lifted.stdout).unwrap())
    });
    assert_eq!(lifted, json!({ "lifted": ["next-slave traps:traps"] }));
    let status = site.ok(&["status", "--json"]);
    assert!(status["policies"][0]["suspended_until"].is_null(), "{status}");
    let said = site.said("master");
    assert!(said.contains("the console changes something") && said.contains("Lift(\"traps\")"), "{said}");
}
