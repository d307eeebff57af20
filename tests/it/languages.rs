//! The contract in C, Python and JavaScript: policies, steps and commands in real builds, replaced while they run.

use serde_json::Value;
use windlass_core::digest::Digest;
use windlass_tests::languages::{component, version};
use windlass_tests::site::{Site, eventually, text};

/// A builder whose policies and whose first step are the plugin's. One command of the step ends only when another has
/// made the file `heard`, which the step starts when it reads a word of the first (and not of its header); the other when the test lets go.
fn builder(plugin: &str) -> String {
    format!(
        "[[builders]]\nname = \"b\"\nworkers = [\"w1\", \"w2\"]\nnext_slave = \"{plugin}:last\"\n\
         merge_requests = \"{plugin}:same-reason\"\n\
         [[builders.steps]]\nuse = \"{plugin}:pair\"\nname = \"pair\"\n\
         args = {{ watch = \"rm -f heard; echo one; echo rea''dy; until test -e heard; do sleep 0.02; done\", \
         beside = \"until test -e ../../go; do sleep 0.02; done\", word = \"ready\", then = \"touch heard\" }}\n\
         [[builders.steps]]\nuse = \"shell-command\"\nname = \"tell\"\n\
         args = {{ command = \"echo heard %(prop:heard)s\" }}\n"
    )
}

/// The components that acted on a build as hooks of these kinds, which must all be the same one.
fn acted(build: &Value, plugin: &str, kinds: &[&str]) -> String {
    let components = build["components"].as_array().unwrap();
    let of = |kind: &&str| {
        let found = components
            .iter()
            .find(|c| c["kind"] == **kind && c["hook"].as_str().unwrap().starts_with(plugin));
        found.unwrap_or_else(|| panic!("no {kind} of {plugin}: {build:#}"))["digest"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let digests: Vec<String> = kinds.iter().map(of).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    digests[0].clone()
}

fn no_policy_failed(site: &Site) {
    let status = site.ok(&["status", "--json"]);
    for policy in status["policies"].as_array().unwrap() {
        assert_eq!(policy["fallbacks"], 0, "{policy}");
    }
}

/// Two policies and a step of one component, all of them at work in a build; replaced by another while it runs.
fn check_whole(plugin: &str, first: &[u8], second: &[u8]) {
    let mut site = Site::new(&["w1", "w2"], "");
    site.patient_with_policies();
    site.start_master();
    // By a reconfiguration, which takes the time that it takes to compile Python.
    site.plugin(plugin, first);
    site.configure(&builder(plugin));
    site.ok(&["reconfig", "--json"]);
    // Nobody can build them yet: they wait together, and are merged.
    let waiting = [site.submit("b"), site.submit("b")];
    for worker in ["w1", "w2"] {
        site.start_worker(worker);
    }
    let running = site.running("b").to_string();
    eventually("the step has read the word", || {
        let build = site.ok(&["build", &running, "--json"]);
        build["properties"].to_string().contains("heard").then_some(())
    });
    site.plugin(plugin, second);
    let done = site.ok(&["reconfig", "--json"]);
    assert_eq!(done["plugins"]["replaced"][0]["name"], plugin, "{done}");
    for worker in ["w1", "w2"] {
        std::fs::write(site.path(&format!("{worker}/go")), "").unwrap();
    }
    for buildset in waiting {
        assert_eq!(site.outcome(buildset), "success");
    }

    let build = site.ok(&["build", &running, "--json"]);
    assert_eq!(build["requests"].as_array().map(Vec::len), Some(2), "{build}");
    assert_eq!(build["steps"][0]["summary"], "heard ready, worst exit code 0", "{build}");
    assert!(
        String::from_utf8_lossy(&site.windlass(&["logs", &running, "tell"]).stdout).contains("heard ready")
    );
    let kinds = ["next-slave", "merge-requests", "build-step"];
    assert_eq!(acted(&build, plugin, &kinds), Digest::of(first).to_string());

    site.until_connected();
    let next = site.build("b");
    assert_eq!((&next["outcome"], &next["worker"]), (&"success".into(), &"w2".into()), "{next}");
    assert_eq!(acted(&next, plugin, &["next-slave", "build-step"]), Digest::of(second).to_string());
    no_policy_failed(&site);
}

#[test]
fn c() {
    let second = version("c/all", &[("version 1", "version 2")]);
    check_whole("c-all", &component("c/all"), &second);
}

#[test]
fn javascript_with_and_without_wasi() {
    let second = version("js/all", &[("version 1", "version 2"), ("hooks = ", "wasi = true\nhooks = ")]);
    check_whole("js-all", &component("js/all"), &second);
}

#[test]
fn python_with_and_without_wasi() {
    let second = version("python/all", &[("version 1", "version 2"), ("hooks = ", "wasi = true\nhooks = ")]);
    check_whole("py-all", &component("python/all"), &second);
}

#[test]
fn a_command_in_c_runs_a_program_and_is_replaced_live() {
    let (first, second) = (component("c/tee"), version("c/tee", &[("version 1", "version 2")]));
    let steps = "[[builders]]\nname = \"b\"\nworkers = [\"w1\"]\n\
        [[builders.steps]]\nuse = \"c-all:pair\"\n\
        args = { watch = \"echo rea''dy\", word = \"ready\", then = \"true\", with = \"c-tee:tee\", \
        beside = \"echo a; touch ../../began; until test -e ../../go; do sleep 0.02; done; echo b; echo c\" }\n\
        [grants.\"c-tee:tee\"]\nexec = [\"/bin/sh\"]\n";
    let site = Site::new(&["w1"], steps);
    let worker = site.path("w1/worker.toml");
    // The bundled shell, which the build starts too, keeps what it has.
    let allowed = "\n[allow.\"c-tee:tee\"]\nexec = [\"/bin/sh\"]\n";
    std::fs::write(&worker, text(&worker) + allowed).unwrap();
    site.plugin("c-all", &component("c/all"));
    site.plugin("c-tee", &first);
    let site = site.start();
    let buildset = site.submit("b");
    let running = site.running("b").to_string();
    eventually("the program runs", || site.path("w1/began").exists().then_some(()));
    site.plugin("c-tee", &second);
    site.ok(&["reconfig", "--json"]);
    std::fs::write(site.path("w1/go"), "").unwrap();
    assert_eq!(site.outcome(buildset), "success");

    let build = site.ok(&["build", &running, "--json"]);
    assert_eq!(acted(&build, "c-tee", &["slave-command"]), Digest::of(&first).to_string());
    let told = build["properties"].as_array().unwrap().iter().find(|p| p["name"] == "lines").unwrap();
    assert_eq!(told["value"], 3, "{build}");
    let log = String::from_utf8_lossy(&site.windlass(&["logs", &running]).stdout).into_owned();
    // The other commands of the build say something between them.
    let lines: Vec<&str> = log.lines().filter(|line| ["a", "b", "c"].contains(line)).collect();
    assert_eq!(lines, ["a", "b", "c"], "{log}");
    let next = site.build("b");
    assert_eq!(acted(&next, "c-tee", &["slave-command"]), Digest::of(&second).to_string());
}
