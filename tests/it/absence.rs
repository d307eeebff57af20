//! A worker that is away from its master while its command runs on: the link is cut, and what the command says waits on
//! the worker's disk. `WINDLASS_AWAY=600` keeps it away for so many seconds, instead of only until all is said.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use windlass_tests::relay::Relay;
use windlass_tests::site::{Site, eventually, within};

/// How much a command says meanwhile, in MiB, at least.
const MIB: u64 = 200;

/// How long it is away at least.
fn away() -> Duration {
    let seconds = std::env::var("WINDLASS_AWAY").map(|text| text.parse().expect("WINDLASS_AWAY: seconds"));
    Duration::from_secs(seconds.unwrap_or(0))
}

/// The most that a process ever had in memory, in MiB.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[test]
fn what_a_command_says_while_its_worker_is_away_and_its_agent_killed_is_all_there_afterwards() {
    // Nearly all of them have eight or nine bytes.
    let lines = (MIB << 20) / 8;
    let command = format!(
        "touch ../../../began; until test -e ../../../go; do sleep 0.05; done; seq 1 {lines}; touch ../../../said; \
         until test -e ../../../end; do sleep 0.05; done"
    );
    let builder = Site::builder("b", &command, "").replace(", \"w2\"", "");
    let mut site = Site::new(&["w1"], "");
    site.configure(&format!("{builder}[logs]\nmax_log_bytes = \"4 GiB\"\n"));
    let relay = Relay::to(site.listen());
    site.write_worker("w1", &relay.address());
    let site = site.start();
    let buildset = site.submit("b");
    let there = |file: &str| {
        eventually(file, || site.path(&format!("w1/{file}")).exists().then_some(()));
    };
    there("began");
    relay.cut();
    let cut = Instant::now();
    std::fs::write(site.path("w1/go"), "").unwrap();
    let patience = Duration::from_secs(300);
    within(patience, "all of it is said", || site.path("w1/said").exists().then_some(()));
    let spooled = || -> u64 {
        let files = std::fs::read_dir(site.path("w1/spool")).unwrap();
        // What is not there any more has no bytes.
        files.map(|file| file.unwrap().metadata().map_or(0, |found| found.len())).sum()
    };
    let (disk, agent) = (spooled() >> 20, site.agent("w1").unwrap());
    let peaks = (peak(agent), peak(site.pid("w1")));
    assert!(disk >= MIB - 24, "{disk} MiB wait on the disk, and 16 in memory");
    assert!(disk <= MIB * 3 / 2, "{disk} MiB are more than what was said");
    site.kill_agent("w1");
    eventually("there is another agent", || site.agent("w1").filter(|other| *other != agent));
    within(away() + patience, "it was away for long enough", || (cut.elapsed() >= away()).then_some(()));
    let cut = cut.elapsed().as_secs();
    relay.mend();
    std::fs::write(site.path("w1/end"), "").unwrap();
    within(patience, "the build has ended", || {
        site.get(&format!("/api/v1/buildsets/{buildset}"))["outcome"].as_str().map(|outcome| {
            assert_eq!(outcome, "success");
        })
    });
    let log = &site.newest("b")["steps"][0]["logs"][0];
    let seq = Command::new("seq").args(["1", &lines.to_string()]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(log["hash"], windlass_core::digest::Digest::of(&seq.stdout).to_string());
    let agent_now = site.agent("w1").unwrap();
    eprintln!(
        "away for {cut} s; {} MiB said while away: {disk} MiB on the worker's disk; at most {} MiB in its agent and {} in its holder; \
         {} MiB in the agent that sent it",
        seq.stdout.len() >> 20,
        peaks.0,
        peaks.1,
        peak(agent_now),
    );
    assert!(peak(agent_now).max(peaks.0) < 150, "what waits on the disk does not wait in memory: {peaks:?}");
    eventually("none of it is needed any more", || (spooled() == 0).then_some(()));
}
