//! What was published stands: components that were built against each published contract do what they did.

use windlass_core::digest::Digest;
use windlass_tests::faults::{Plan, play};
use windlass_tests::kept;
use windlass_tests::repository::Repository;
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
        run.site.keep_compiled();
        policies(&version, &components);
    }
}

/// Each is asked, and answers.
fn policies(version: &str, components: &[(String, Vec<u8>)]) {
    let repository = Repository::new();
    repository.commit("file", "first", "first");
    let mut config = format!(
        "[policies]\nprioritize_builders = \"oldest-first:oldest-first\"\n\
         codebase_generator = {{ use = \"by-repository:by-repository\", \
         args = {{ repositories = {{ \"{url}\" = \"lib\" }} }} }}\n[[git_pollers]]\nname = \"main\"\n\
         repository = \"{url}\"\nbranches = [\"main\"]\npoll_interval = 3600\n",
        url = repository.url()
    );
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
    config += &builder("kept", "next_slave = \"sticky:sticky\"\n");
    let mut site = Site::new(&["w1", "w2"], &config);
    for (name, bytes) in components {
        site.plugin(name, bytes);
    }
    site.patient_with_policies();
    site.start_master();
    // Nobody can build them yet: they wait together, are put in order and merged.
    let builders = languages.into_iter().chain(["ours", "kept"]);
    let waiting: Vec<_> = builders
        .flat_map(|builder| [(builder, site.submit(builder)), (builder, site.submit(builder))])
        .collect();
    for worker in ["w1", "w2"] {
        site.start_worker(worker);
    }
    for (builder, buildset) in waiting {
        assert_eq!(site.outcome(buildset), "success", "{version}: {builder}");
    }
    // The first poll of all finds nothing new.
    site.ok(&["poll", "--json"]);
    repository.commit("file", "second", "a change");
    assert_eq!(site.ok(&["poll", "--json"])[0]["changes"], 1);
    let status = site.ok(&["status", "--json"]);
    let policies = status["policies"].as_array().unwrap();
    assert_eq!(policies.len(), 2 * languages.len() + 6, "{policies:?}");
    for policy in policies {
        let done = (policy["answers"].as_u64() > Some(0), policy["fallbacks"].as_u64());
        assert_eq!(done, (true, Some(0)), "{version}: {policy}");
    }
}
