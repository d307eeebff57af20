//! Hostile components against real masters and workers: every row of `docs/sandbox.md` runs here, while builds of
//! somebody innocent go on beside it, and the user reads what the table says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use windlass_tests::attack::{ENDLESS, Role, config, poller, site, those};
use windlass_tests::hostile::{component, names};
use windlass_tests::repository::Repository;
use windlass_tests::site::{Site, eventually, text};

/// The rows of the table: a component, and what the user reads of it.
fn documented() -> BTreeMap<String, String> {
    let page = text(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/sandbox.md")));
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix("| `")?.trim_end_matches('|').split(" | ").collect();
        let name = cells[0].strip_suffix('`')?.to_owned();
        Some((name, cells.get(3)?.trim().trim_matches('`').trim().to_owned()))
    };
    page.lines().filter_map(row).collect()
}

/// Whether `said` is as documented, where `…` stands for anything.
fn says(said: &str, documented: &str) -> bool {
    let mut rest = said;
    !documented.is_empty()
        && documented.split('…').all(|part| match rest.find(part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
}

/// The ends of a policy that used too much, which differ with the machine, as one.
fn any_limit(said: &str) -> String {
    const LIMITS: [&str; 4] = [
        "it used more than its 20 ms of CPU",
        "it did not answer within 250 ms",
        "it asked for more than its 268435456 bytes of memory",
        "it trapped: a decision may make 10000 look-ups, and this is one more",
    ];
    LIMITS.iter().fold(said.to_owned(), |said, limit| said.replace(limit, "it used too much"))
}

/// As the command line shows it, on one line.
fn shown(said: &str) -> String {
    let tame = said.chars().map(|c| if c.is_control() { '·' } else { c }).collect::<String>();
    tame.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Compares what was said with the table, all rows at once.
fn check(said: &[(String, String)]) {
    check_as(said, str::to_owned);
}

/// The same for both sides as `read`.
fn check_as(said: &[(String, String)], read: fn(&str) -> String) {
    let said: Vec<_> = said.iter().map(|(name, said)| (name, shown(said))).collect();
    let documented = documented();
    said.iter().for_each(|(name, said)| println!("{name}\n  said:  {said}"));
    let wrong: Vec<String> = said
        .iter()
        .filter(|(name, said)| {
            !documented.get(*name).is_some_and(|expected| says(&read(said), &read(expected)))
        })
        .map(|(name, said)| {
            format!("{name}\n  table: {}\n  said:  {said}", documented.get(*name).map_or("", |d| d))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} rows of docs/sandbox.md are not as they say:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_table_has_every_hostile_component_and_no_other() {
    let documented: BTreeSet<String> = documented().into_keys().collect();
    let built: BTreeSet<String> = names().into_iter().collect();
    assert!(built.len() >= 40, "{}", built.len());
    let lacking: Vec<_> = built.difference(&documented).collect();
    let stale: Vec<_> = documented.difference(&built).collect();
    assert!(lacking.is_empty() && stale.is_empty(), "not in the table: {lacking:?}; only there: {stale:?}");
}

/// Builds of somebody innocent, one after the other, for as long as `attack` takes. Answers how many.
fn beside<T: Send>(site: &Site, attack: impl FnOnce() -> T + Send) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let innocent = scope.spawn(|| {
            let mut builds = 0;
            while !over.load(Ordering::Relaxed) || builds < 2 {
                let build = site.build("innocent");
                assert_eq!(build["outcome"], "success", "{build}");
                builds += 1;
                // The attacks give way to whatever is good, and this is to show that it goes on, not to keep them waiting.
                std::thread::park_timeout(Duration::from_millis(200));
            }
            builds
        });
        let end = SetOnDrop(&over);
        let answer = attack();
        drop(end);
        let builds = innocent.join().expect("the innocent builds go on");
        println!("{builds} innocent builds went on beside it");
        answer
    })
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn what_must_not_load_is_refused_by_name_and_changes_nothing() {
    let refused = those(|role| role == Role::File);
    let site = site(&[]).start();
    let generation = site.ok(&["status", "--json"])["generation"].clone();
    let said = beside(&site, || {
        for name in &refused {
            site.plugin(name, &component(name));
        }
        refusal(&site)
    });
    assert_eq!(site.ok(&["status", "--json"])["generation"], generation);
    let said: Vec<(String, String)> = refused
        .into_iter()
        .map(|name| {
            let mut lines = said.lines().filter(|line| line.contains(&format!("`{name}`")));
            let said = lines.next().unwrap_or(&said).to_owned();
            (name, said)
        })
        .collect();
    check(&said);
}

#[test]
fn hostile_policies_cost_their_own_decisions_and_are_named() {
    let policies = those(|role| matches!(role, Role::Policy(key) if key != "codebase_generator"));
    let mut site = site(&policies).start();
    // Requests wait for this one, so that there is something to merge.
    site.end("w2", true);
    for name in policies.iter().filter(|name| Role::of(name) == Role::Policy("merge_requests")) {
        for _ in 0..3 {
            site.submit(&format!("b-{name}"));
        }
    }
    site.start_worker("w2");
    let said = beside(&site, || {
        let mut asked = Vec::new();
        for name in &policies {
            // The master's own has no builder.
            if !Role::of(name).is_of_master() {
                asked.push((name, site.submit(&format!("b-{name}"))));
            }
        }
        for (name, buildset) in asked {
            // Whoever may not decide where a build starts has it wait, for somebody who may.
            if Role::of(name) != Role::Policy("can_start_build") {
                assert_eq!(site.outcome(buildset), "success", "{name}");
            }
        }
        let status = site.ok(&["status", "--json"]);
        let fault = |name: &str| {
            if name == "describe-chatters" {
                let said = site.said("master");
                let forged = |line: &str| line.starts_with("2026-01-01") || line.contains('\u{1b}');
                assert!(!said.lines().any(forged), "{said}");
                let of_it = |line: &&str| line.contains(&format!("plugin=\"{name}\""));
                return said.lines().rfind(of_it).unwrap_or_default().to_owned();
            }
            let uses = status["policies"].as_array().expect("a list");
            let policy = uses.iter().find(|policy| policy["hook"] == format!("{name}:{name}"));
            policy.map_or(String::new(), |policy| {
                policy["last_fault"].as_str().unwrap_or("no fault").to_owned()
            })
        };
        policies.iter().map(|name| (name.clone(), fault(name))).collect::<Vec<_>>()
    });
    check_as(&said, any_limit);
}

#[test]
fn hostile_codebase_generators_keep_no_change_out_and_are_named() {
    let generators = those(|role| role == Role::Policy("codebase_generator"));
    let repository = Repository::new();
    repository.commit("file", "first", "first");
    let mut site = site(&generators).start();
    let mut said = Vec::new();
    for name in &generators {
        site.configure(&(config(&["w1", "w2"], std::slice::from_ref(name)) + &poller(&repository)));
        site.ok(&["reconfig", "--json"]);
        // The first poll of all finds nothing new.
        site.ok(&["poll", "--json"]);
        repository.commit("file", name, "a <b>change</b>");
        assert_eq!(site.ok(&["poll", "--json"])[0]["changes"], 1, "{name}");
        assert_eq!(site.build("innocent")["outcome"], "success");
        let status = site.ok(&["status", "--json"]);
        let uses = status["policies"].as_array().expect("a list");
        let policy = uses.iter().find(|policy| policy["hook"] == format!("{name}:{name}"));
        let fault = policy.and_then(|policy| policy["last_fault"].as_str()).unwrap_or("no fault");
        said.push((name.clone(), fault.to_owned()));
    }
    check_as(&said, any_limit);
}

/// The worker's own restart is for whoever runs it to see to; here, the test.
#[test]
fn a_child_that_kills_its_worker_ends_that_worker_and_its_own_build() {
    let names = those(|role| role == Role::Fatal);
    let [name] = &names[..] else { panic!("{names:?}") };
    let mut site = site(&names).start();
    let buildset = site.submit(&format!("b-{name}"));
    let mut others = Vec::new();
    let status = format!("/api/v1/buildsets/{buildset}");
    eventually("the master gives that build up", || {
        if site.has_ended("w1") {
            others.push(site.submit("innocent"));
            site.start_worker("w1");
        }
        site.get(&status)["outcome"].as_str().map(str::to_owned)
    });
    assert!(others.len() > 1, "{others:?}");
    for innocent in others {
        assert_eq!(site.outcome(innocent), "success");
    }
    let build = site.newest(&format!("b-{name}"));
    let text = |key: &str| build[key].as_str().unwrap_or_default().to_owned();
    check(&[(name.clone(), format!("{}: {}", text("outcome"), text("summary")))]);
}

#[test]
fn names_that_clash_are_refused_where_they_are_used_and_replace_nothing_bundled() {
    let site = site(&[]);
    site.plugin("impostor", &component("impostor"));
    let mut site = site.start();
    let build = site.build("innocent");
    let impostor = format!(
        "{}: {} of {}",
        build["outcome"].as_str().unwrap(),
        build["steps"][0]["name"],
        build["steps"][0]["hook"]
    );
    site.plugin("one", &component("name-clash"));
    site.plugin("two", &component("name-clash"));
    site.plugin("windlass", &component("name-clash"));
    site.configure(&Site::builder("b", "true", "next_slave = \"name-clash\""));
    let own = refusal(&site);
    assert!(own.contains("`windlass`") && own.contains("the name of the bundled plugins"), "{own}");
    std::fs::remove_file(site.path("plugins/windlass.wasm")).unwrap();
    let said = refusal(&site);
    let line = said.lines().find(|line| line.contains("name-clash")).unwrap_or(&said);
    check(&[("impostor".to_owned(), impostor), ("name-clash".to_owned(), line.to_owned())]);
}

/// What a reconfig says that is refused.
fn refusal(site: &Site) -> String {
    let output = site.windlass(&["reconfig"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Attacks that run at once: enough to be in each other's way, too.
const TOGETHER: usize = 8;

#[test]
fn hostile_steps_and_commands_end_their_own_build_and_are_named() {
    let hostile = those(|role| matches!(role, Role::Step | Role::Command));
    let site = site(&hostile);
    // A hook of the name of a bundled one: nobody who says `shell-command` gets it.
    site.plugin("impostor", &component("impostor"));
    let site = site.start();
    let said = beside(&site, || {
        // Those that take their whole budget, or wait for a person, do so beside all the others.
        let slow = |name: &&String| {
            ENDLESS.contains(&name.as_str()) || name.contains("-spins") || *name == "step-polls"
        };
        let (slow, quick): (Vec<_>, Vec<_>) = hostile.iter().partition(slow);
        let ask = |some: &[&String]| -> Vec<(String, u64)> {
            some.iter().map(|name| ((*name).clone(), site.submit(&format!("b-{name}")))).collect()
        };
        let answer = |(name, buildset): (String, u64)| {
            site.outcome(buildset);
            let said = what_it_says(&site, &site.newest(&format!("b-{name}")));
            (name, said)
        };
        let asked = ask(&slow);
        for name in slow.iter().filter(|name| ENDLESS.contains(&name.as_str())) {
            stop(&site, name);
        }
        let mut said = Vec::new();
        for some in quick.chunks(TOGETHER) {
            said.extend(ask(some).into_iter().map(answer));
        }
        said.extend(asked.into_iter().map(answer));
        said
    });
    check(&said);
    leaves_nothing(&site);
}

/// Stops a build that would not end, once it says that it waits: a step in its summary, a command in a log.
fn stop(site: &Site, name: &str) {
    let build = site.running(&format!("b-{name}")).to_string();
    eventually(&format!("{name} waits"), || {
        let build = site.ok(&["build", &build, "--json"]);
        let step = build["steps"].as_array()?.last()?;
        let waits = match Role::of(name) {
            Role::Command => step["logs"].as_array()?.iter().any(|log| log["name"] == "waits"),
            _ => step["summary"] == "waits",
        };
        waits.then_some(())
    });
    let stopped = site.windlass(&["stop", &build]);
    assert!(stopped.status.success(), "{name}: {stopped:?}");
}

/// The fault of the last step, or its summary, as a person sees them: by `windlass build`.
fn what_it_says(site: &Site, build: &Value) -> String {
    let step = build["steps"].as_array().and_then(|steps| steps.last()).cloned().unwrap_or_default();
    let shown = site.windlass(&["build", &build["id"].to_string()]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(!shown.contains('\x1b'), "an escape reached the terminal: {shown}");
    let logs = site.windlass(&["logs", &build["id"].to_string()]);
    let text = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
    let mut said =
        format!("{}: {} {}", build["outcome"].as_str().unwrap_or("running"), text("summary"), text("fault"));
    let logs = String::from_utf8_lossy(&logs.stdout).into_owned();
    let last = logs.lines().last().filter(|line| *line != "exit code 0" && !said.contains(line.trim()));
    said.extend(last.map(|line| format!(" [{}]", line.chars().take(200).collect::<String>())));
    said
}

/// No process of a hostile command is left: each wrote the number of one that would go on.
fn leaves_nothing(site: &Site) {
    for builder in ["children-outlive", "children-fork"] {
        let left: Vec<String> = ["w1", "w2"]
            .into_iter()
            .filter_map(|worker| {
                std::fs::read_to_string(site.path(&format!("{worker}/builds/b-{builder}/pid"))).ok()
            })
            .collect();
        let [pid] = &left[..] else { panic!("{builder} ran once: {left:?}") };
        let alive = || std::path::Path::new(&format!("/proc/{}", pid.trim())).exists();
        eventually(&format!("the processes of {builder} are gone"), || (!alive()).then_some(()));
    }
}
