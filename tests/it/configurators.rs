//! Components that write a part of the configuration: asked at a start, at a reconfig and by a check, and never trusted.

use windlass_tests::fixtures::component;
use windlass_tests::site::Site;

fn asks(args: &str) -> String {
    format!("[[configurators]]\nuse = \"makes:make\"\nargs = {args}\n")
}

fn builders(site: &Site) -> Vec<String> {
    let status = site.ok(&["status", "--json"]);
    let builders = status["builders"].as_array().unwrap().iter();
    builders.map(|builder| builder["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_a_configurator_writes_is_built_and_what_it_does_wrong_changes_nothing() {
    let site = Site::new(&["w1", "w2"], &asks("{ names = [\"one\", \"two\"] }"));
    site.plugin("makes", &component("makes"));
    let mut site = site.start();
    assert_eq!(builders(&site), ["one", "two"]);
    assert_eq!(site.build("two")["outcome"], "success");
    let plugins = site.get("/api/v1/plugins");
    let makes = plugins.as_array().unwrap().iter().find(|plugin| plugin["name"] == "makes").unwrap();
    assert_eq!(makes["used_by"][0], "master (configurator make)", "{makes}");

    site.configure(&asks("{ names = [\"one\", \"three\"] }"));
    let plan = site.ok(&["reconfig", "--plan", "--json"]);
    let changes = plan["plan"]["changes"].as_array().unwrap();
    let changes: Vec<_> =
        changes.iter().map(|c| format!("{} {} {}", c["how"], c["what"], c["name"])).collect();
    let expected = ["changed configurator makes:make", "added builder three", "removed builder two"];
    assert_eq!(changes.join(", ").replace('"', ""), expected.join(", "));
    site.ok(&["reconfig", "--json"]);
    assert_eq!(builders(&site), ["one", "three"]);

    let broken = [
        ("{ how = \"trap\" }", "makes:make` gives no configuration"),
        ("{ how = \"spin\" }", "used more than its 1000 ms of CPU"),
        ("{ how = \"err\" }", "told to"),
        ("{ how = \"flood\" }", "at most 4194304 are taken"),
        ("{ say = \"nonsense\" }", "configurator makes:make:1"),
        ("{ names = [\"one\", \"one\"] }", "configurator makes:make:8:8"),
        ("{ say = \"[master]\\nlisten = 'a:1'\" }", "a configurator cannot say `master`"),
        ("{ say = \"[grants]\" }", "a configurator cannot say `grants`"),
        ("{ say = \"[debug]\" }", "a configurator cannot say `debug`"),
        ("{ say = \"titel = 'x'\" }", "a configurator cannot say `titel`, which is no setting"),
        (
            "{ say = \"[[slaves]]\\nname = 'x'\\ntoken_hash = 'y'\" }",
            "a configurator cannot say `token_hash`",
        ),
        ("{ say = \"[templates.default]\" }", "a configurator cannot say the template `default`"),
        ("{ names = 3 }", "names"),
    ];
    for (args, expected) in broken {
        site.configure(&asks(args));
        let refused = site.windlass(&["reconfig"]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(3), "{args}: {said}");
        assert!(said.contains(expected), "{args}: {said}");
        assert_eq!(builders(&site), ["one", "three"], "{args}");
    }
    // A check reads in the same way, and so does a start.
    let path = site.path("master.toml");
    site.configure(&asks("{ how = \"err\" }"));
    let checked = site.windlass(&["check", path.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&checked.stderr).contains("told to"), "{checked:?}");
    assert_eq!(site.build("three")["outcome"], "success");
}
