//! Commands whose worker's agent is killed: the next one goes on with them, and nobody who looks at the build notices.

use rustix::process::Signal;
use windlass_tests::site::{Site, eventually, text};

/// Waits until a file is there.
const GATE: &str = "until test -e ../../../$GATE; do sleep 0.02; done";

/// One worker and a builder `b` with these steps.
fn site(steps: &str) -> Site {
    let builder = format!("[[builders]]\nname = \"b\"\nworkers = [\"w1\"]\nmerge_requests = false\n{steps}");
    Site::new(&["w1"], &builder).start()
}

fn shell(script: &str) -> String {
    format!("[[builders.steps]]\nuse = \"shell-command\"\n[builders.steps.args]\ncommand = '''{script}'''\n")
}

/// Kills the worker's agent, and waits until the next one is connected.
fn kill_agent(site: &Site) {
    let before = site.agent("w1");
    site.kill_agent("w1");
    eventually("there is another agent", || site.agent("w1").filter(|agent| Some(*agent) != before));
}

fn open(site: &Site, gate: &str) {
    std::fs::write(site.path(&format!("w1/{gate}")), "").unwrap();
}

fn began(site: &Site, times: usize) {
    eventually("the command is there", || {
        let began = std::fs::read_to_string(site.path("w1/began")).unwrap_or_default();
        (began.lines().count() == times).then_some(())
    });
}

/// What a build's step said on standard output.
fn said(site: &Site, build: u64, log: &str) -> String {
    let log = site.windlass(&["log", &build.to_string(), "--log", log]);
    assert!(log.status.success(), "{log:?}");
    String::from_utf8_lossy(&log.stdout).into_owned()
}

#[test]
fn a_command_whose_agent_is_killed_again_and_again_says_everything_once() {
    let part = |gate: &str| format!("echo {gate} >> ../../../began; {}", GATE.replace("$GATE", gate));
    let script = format!(
        "seq 1 5000; {}; seq 5001 30000; {}; seq 30001 40000; {}; exit 3",
        part("one"),
        part("two"),
        part("three")
    );
    let site = site(&shell(&script));
    let buildset = site.submit("b");
    let build = site.running("b");
    for (n, gate) in ["one", "two", "three"].into_iter().enumerate() {
        began(&site, n + 1);
        kill_agent(&site);
        open(&site, gate);
    }
    assert_eq!(site.outcome(buildset), "failure");
    assert_eq!(text(&site.path("w1/began")), "one\ntwo\nthree\n", "it ran once");
    let said = said(&site, build, "stdio");
    let numbers: Vec<u32> = said.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(numbers, (1..=40_000).collect::<Vec<_>>());
    let shown = site.ok(&["build", &build.to_string(), "--json"]);
    assert_eq!(shown["steps"][0]["outcome"], "failure", "{shown}");
}

#[test]
fn a_program_that_ends_while_there_is_no_agent_has_its_code_and_its_last_words() {
    let script =
        format!("echo one >> ../../../began; {}; echo last words; exit 7", GATE.replace("$GATE", "one"));
    let mut site = site(&shell(&script));
    let buildset = site.submit("b");
    let build = site.running("b");
    began(&site, 1);
    // Nobody starts another one meanwhile.
    site.signal("w1", Signal::STOP);
    site.kill_agent("w1");
    open(&site, "one");
    let program = eventually("its program has ended", || {
        let children =
            std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", site.pid("w1"))).ok()?;
        let ended = |pid: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.contains("(sh) Z")
        };
        children.split_ascii_whitespace().find(|pid| ended(pid)).map(str::to_owned)
    });
    assert!(!program.is_empty());
    site.signal("w1", Signal::CONT);
    assert_eq!(site.outcome(buildset), "failure");
    let said = said(&site, build, "stdio");
    assert!(said.contains("last words"), "{said}");
    let shown = site.ok(&["build", &build.to_string(), "--json"]);
    assert!(shown["steps"][0]["summary"].as_str().unwrap_or_default().contains('7'), "{shown}");
    site.end("w1", true);
}

#[test]
fn a_limit_and_an_interrupt_reach_a_program_that_an_earlier_agent_started() {
    let wait = "echo x >> ../../../began; sleep 1000";
    let limited = format!("{}max_time = 3\n", shell(wait));
    let site = site(&limited);
    let buildset = site.submit("b");
    let build = site.running("b");
    began(&site, 1);
    kill_agent(&site);
    assert_eq!(site.outcome(buildset), "failure");
    assert!(said(&site, build, "stdio").contains("3 s"), "{}", said(&site, build, "stdio"));

    let site = self::site(&shell(wait));
    let buildset = site.submit("b");
    let build = site.running("b");
    began(&site, 1);
    kill_agent(&site);
    assert!(site.windlass(&["stop", &build.to_string()]).status.success());
    assert_eq!(site.outcome(buildset), "cancelled");
}

#[test]
fn the_input_of_a_program_and_files_that_it_writes_are_gone_on_with() {
    let input: String = (1..=10_000).map(|n| format!("{n}\n")).collect();
    let script = "for n in 1 2 3; do echo a$n >> out.log; done; sleep 0.5; echo x >> ../../../began; \
                  until test -e ../../../go; do sleep 0.02; done; echo b >> out.log; cat; echo c >> out.log";
    let step =
        format!("{}initial_stdin = '''{input}'''\nlogfiles = {{ out = \"out.log\" }}\n", shell(script));
    let site = site(&step);
    let buildset = site.submit("b");
    let build = site.running("b");
    began(&site, 1);
    kill_agent(&site);
    open(&site, "go");
    assert_eq!(site.outcome(buildset), "success");
    let numbers: Vec<u32> =
        said(&site, build, "stdio").lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(numbers, (1..=10_000).collect::<Vec<_>>());
    let out = said(&site, build, "out");
    assert_eq!(out.lines().filter(|line| line.len() <= 2).collect::<Vec<_>>(), ["a1", "a2", "a3", "b", "c"]);
}

#[test]
fn a_program_with_a_terminal_is_gone_on_with() {
    let script = "test -t 1 && echo terminal; seq 1 3000; echo x >> ../../../began; \
                  until test -e ../../../go; do sleep 0.02; done; seq 3001 6000; stty -echo; cat; echo end";
    let site = site(&format!("{}pty = true\n", shell(script)));
    let buildset = site.submit("b");
    let build = site.running("b");
    began(&site, 1);
    kill_agent(&site);
    open(&site, "go");
    assert_eq!(site.outcome(buildset), "success");
    let said = said(&site, build, "stdio");
    let numbers: Vec<u32> = said.lines().filter_map(|line| line.trim_end().parse().ok()).collect();
    assert_eq!(numbers, (1..=6_000).collect::<Vec<_>>());
    assert!(said.contains("terminal") && said.contains("end"), "{said}");
}

/// The agent dies in the middle of an upload: the next one's command sends it again under its token.
#[test]
fn an_upload_whose_agent_is_killed_in_the_middle_arrives_whole() {
    let step = "[[builders.steps]]\nuse = \"file-upload\"\nargs = { worker_src = \"big\" }\n";
    let site = site(step);
    let data: Vec<u8> = (0..100_u32 << 20).map(|at| (at * 31 + at / 251) as u8).collect();
    let here = site.path("w1/builds/b/build");
    std::fs::create_dir_all(&here).unwrap();
    std::fs::write(here.join("big"), &data).unwrap();
    let buildset = site.submit("b");
    let unfinished = site.path("state/artifacts/unfinished");
    eventually("some of it is there", || {
        let file = std::fs::read_dir(&unfinished).ok()?.next()?.ok()?;
        (file.metadata().ok()?.len() > 8 << 20).then_some(())
    });
    kill_agent(&site);
    assert_eq!(site.outcome(buildset), "success");
    let build = site.newest("b");
    assert_eq!(build["number"], 1);
    let artifacts = site.get(&format!("/api/v1/builds/{}/artifacts", build["id"]));
    let all: Vec<_> = artifacts.as_array().unwrap().iter().map(|one| one["hash"].as_str().unwrap()).collect();
    assert_eq!(all, [windlass_core::digest::Digest::of(&data).to_string()]);
}
