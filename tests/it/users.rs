//! Users: authors of changes by the names that a file gives them.

use serde_json::Value;
use windlass_tests::repository::Repository;
use windlass_tests::site::Site;

fn config(repository: &Repository) -> String {
    let url = repository.url();
    format!(
        "[[user_managers]]\npath = \"users.toml\"\n\
         [[git_pollers]]\nname = \"main\"\nrepository = \"{url}\"\npoll_interval = 3600\n\
         [[schedulers]]\nname = \"ci\"\ntype = \"single-branch\"\nbuilders = [\"b\"]\ntreeStableTimer = 0\n{}",
        Site::builder("b", "true", "")
    )
}

/// A file of one user who has the address of whom the repository's commits are by.
fn write_users(site: &Site, name: &str) {
    let text =
        format!("[[users]]\nname = \"{name}\"\nemails = [\"Ana@Example.org\"]\nidentities = \"anabel\"\n");
    std::fs::write(site.path("users.toml"), text).unwrap();
}

fn authors(site: &Site) -> Value {
    site.ok(&["builds", "-n", "1", "--json"])[0]["authors"].clone()
}

#[test]
fn authors_are_shown_as_users_and_each_reconfig_reads_them_again() {
    let repository = Repository::new();
    repository.commit("greeting", "hello\n", "first");
    let mut site = Site::new(&["w1", "w2"], "");
    write_users(&site, "first");
    site.configure(&config(&repository));
    let site = site.start();
    site.ok(&["poll", "--json"]);
    repository.commit("greeting", "hello again\n", "second");
    site.ok(&["poll", "--json"]);
    site.until("the change is built", |s| s["builders"][0]["last"]["outcome"] == "success");
    let build = site.newest("b");
    assert_eq!(
        (&build["changes"][0]["user"], authors(&site)),
        (&"first".into(), serde_json::json!(["first"]))
    );
    let author = build["changes"][0]["author"].as_str().unwrap().to_owned();
    assert!(author.contains("ana@example.org"), "the change stays as it came: {author}");
    let shown = site.windlass(&["build", &build["id"].to_string()]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains(&format!("by first ({author})")), "{shown}");
    let user = site.ok(&["users", "first", "--json"]);
    assert_eq!((&user["recent"], &user["last"]["id"]), (&1.into(), &build["changes"][0]["id"]), "{user}");

    write_users(&site, "second");
    let plan = site.ok(&["reconfig", "--plan", "--json"]);
    let changes = plan["plan"]["changes"].as_array().unwrap().iter();
    let changes: Vec<_> = changes.map(|c| (c["how"].clone(), c["what"].clone(), c["name"].clone())).collect();
    let one = |how: &str, name: &str| (how.into(), "user".into(), name.into());
    assert_eq!(changes, [one("removed", "first"), one("added", "second")]);
    assert_eq!(authors(&site), serde_json::json!(["first"]), "a plan changes nothing");
    site.ok(&["reconfig", "--json"]);
    assert_eq!(authors(&site), serde_json::json!(["second"]));
    assert_eq!(site.windlass(&["users", "first"]).status.code(), Some(5));

    // One that is wrong refuses all, and what was stays.
    std::fs::write(site.path("users.toml"), "[[users]]\nname = \"\"\n").unwrap();
    let refused = site.windlass(&["reconfig"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(3) && said.contains("users.toml:2:8"), "{said}");
    assert_eq!(authors(&site), serde_json::json!(["second"]));
}

#[test]
fn who_forces_a_build_is_any_name_and_shown_as_a_user_if_it_is_one() {
    let mut site = Site::new(&["w1", "w2"], "");
    write_users(&site, "ana");
    let managers = "[[user_managers]]\npath = \"users.toml\"\n";
    site.configure(&(managers.to_owned() + &Site::builder("b", "true", "")));
    let site = site.start();
    for (owner, shown) in [("anabel", "ana"), ("somebody else", "somebody else")] {
        let forced = site.ok(&["force", "b", "--owner", owner, "--json"]);
        assert_eq!(site.outcome(forced["buildset"].as_u64().unwrap()), "success");
        assert_eq!(authors(&site), serde_json::json!([shown]));
    }
}
