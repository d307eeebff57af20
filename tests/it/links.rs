//! Links that go wrong otherwise than by being cut: what is said twice is done once, and a link that is dead one way is
//! no link.

use windlass_tests::relay::{Relay, Trouble, Way};
use windlass_tests::site::{Site, eventually};

/// A command that leaves a line where it can be seen from outside.
fn marked(site: &Site, name: &str, script: &str) -> String {
    format!("echo once >> {}; {script}", site.path(&format!("ran-{name}")).display())
}

fn ran(site: &Site, name: &str) -> usize {
    std::fs::read_to_string(site.path(&format!("ran-{name}"))).unwrap_or_default().lines().count()
}

fn builder(name: &str, worker: &str, command: &str) -> String {
    Site::builder(name, command, "").replace("\"w1\", \"w2\"", &format!("\"{worker}\""))
}

#[test]
fn what_a_link_says_twice_is_done_once_and_written_once() {
    let mut site = Site::new(&["w1"], "");
    let command = marked(&site, "b", "seq 20000; echo last");
    site.configure(&builder("b", "w1", &command));
    let relay = Relay::to(site.listen());
    relay.befall(vec![(0, Trouble::Twice(u32::MAX))]);
    site.write_worker("w1", &relay.address());
    let site = site.start();
    let build = site.build("b");
    assert_eq!((build["outcome"].as_str(), ran(&site, "b")), (Some("success"), 1), "{build}");
    let said = site.windlass(&["logs", &build["id"].to_string()]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let lines = said.lines().filter(|line| line.parse::<u32>().is_ok() || *line == "last").count();
    assert_eq!(lines, 20_001, "{said}");
    assert_eq!(relay.connections(), 1, "nobody took it for a fault");
}

/// Symptom, of others: a worker counted as connected which nothing reached any more, and its build never ended. Rule: each
/// side hears of the other twice in a keepalive, or takes the link for dead; the newest connection wins.
#[test]
fn a_link_that_is_dead_one_way_gives_way_to_the_next_one_and_its_command_goes_on() {
    let mut site = Site::new(&["w1", "w2"], "");
    let go = site.path("go");
    let script = format!("until test -e {}; do sleep 0.05; done; echo last", go.display());
    let commands = ["w1", "w2"].map(|worker| builder(worker, worker, &marked(&site, worker, &script)));
    site.configure(&commands.concat());
    let relays = ["w1", "w2"].map(|worker| {
        let relay = Relay::to(site.listen());
        site.write_worker(worker, &relay.address());
        relay
    });
    let site = site.start();
    let buildsets = ["w1", "w2"].map(|builder| site.submit(builder));
    for builder in ["w1", "w2"] {
        eventually("its command runs", || (ran(&site, builder) == 1).then_some(()));
    }
    for (relay, way) in relays.iter().zip([Way::ToMaster, Way::ToWorker]) {
        relay.befall(vec![(0, Trouble::Deaf(way))]);
    }
    std::fs::write(&go, "").unwrap();
    for (buildset, (worker, relay)) in buildsets.into_iter().zip(["w1", "w2"].iter().zip(&relays)) {
        assert_eq!(site.outcome(buildset), "success");
        // What one way carries still may end the build before anybody has missed the other.
        eventually("it is connected anew", || (relay.connections() == 2).then_some(()));
        assert_eq!(ran(&site, worker), 1, "{worker}");
    }
}
