//! What was published stands: components that were built against each published contract do what they did.

use std::fmt::Write as _;

use windlass_core::digest::Digest;
use windlass_tests::faults::{Plan, play};
use windlass_tests::kept;
use windlass_tests::site::Site;
use windlass_tests::sweep::{self, Size};

/// Steps in four languages and a command in C, with an upload, a trigger and commands at once; and a second builder
/// for each language with policies.
#[test]
fn components_built_against_each_published_contract_still_work() {
    let versions = kept::versions();
    assert!(!versions.is_empty(), "0.1 is published");
    for version in versions {
        let components = kept::components(&version);
        let bytes = |name: &str| {
            let found = components.iter().find(|(of, _)| of == name);
            found.unwrap_or_else(|| panic!("{version} keeps no {name}")).1.clone()
        };
        let run =
            play(sweep::story(Size { lines: 100, upload: true, languages: true }, &bytes), &Plan::default());
        assert_eq!(run.outcome, "success", "{version}: {:#?}", run.builds);
        let acted = run.builds[0]["components"].to_string();
        for name in ["courier", "sender", "c-all", "c-tee", "js-all", "py-all"] {
            let digest = Digest::of(&bytes(name)).to_string();
            assert!(acted.contains(&digest), "{version}: {name} did nothing in {acted}");
        }
        policies(&version, &components);
    }
}

fn policies(version: &str, components: &[(String, Vec<u8>)]) {
    let mut config = "[policies]\nprioritize_builders = \"oldest-first:oldest-first\"\n\
        codebase_generator = { use = \"by-repository:by-repository\", args = { repositories = { r = \"lib\" } } }\n"
        .to_owned();
    let builder = |name: &str, policies: &str| {
        format!(
            "[[builders]]\nname = \"{name}\"\nworkers = [\"w1\", \"w2\"]\n{policies}\
             [[builders.steps]]\nuse = \"shell-command\"\nargs = {{ command = [\"true\"] }}\n"
        )
    };
    let languages = ["c-all", "js-all", "py-all"];
    for plugin in languages {
        let policies = format!("next_slave = \"{plugin}:last\"\nmerge_requests = \"{plugin}:same-reason\"\n");
        config += &builder(plugin, &policies);
    }
    let ours = "merge_requests = \"same-branch:same-branch\"\nnext_slave = \"least-loaded:least-loaded\"\n\
        can_start_build = { use = \"working-hours:working-hours\", args = { from = \"00:00\", to = \"24:00\", \
        days = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"] } }\n";
    config += &builder("ours", ours);
    write!(config, "{}", builder("kept", "next_slave = \"sticky:sticky\"\n")).unwrap();
    let site = Site::new(&["w1", "w2"], &config);
    for (name, bytes) in components {
        site.plugin(name, bytes);
    }
    let site = site.start();
    for builder in languages.into_iter().chain(["ours", "kept"]) {
        let buildsets = [site.submit(builder), site.submit(builder)];
        for buildset in buildsets {
            assert_eq!(site.outcome(buildset), "success", "{version}: {builder}");
        }
    }
    let status = site.ok(&["status", "--json"]);
    for policy in status["policies"].as_array().unwrap() {
        assert_eq!(policy["fallbacks"], 0, "{version}: {policy}");
    }
}
