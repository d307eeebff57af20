//! Users: files of their own, read and checked with the configuration.

use std::path::Path;

use windlass_config::{Diagnostics, check_master, config, diff};

use crate::hooks::Hooks;

fn check(managers: &str) -> Result<config::Master, Diagnostics> {
    check_master(Path::new("m.toml"), &format!("user_managers = {managers}\n"), &Hooks).config
}

fn load(managers: &str) -> config::Master {
    check(managers).unwrap_or_else(|errors| panic!("{}", errors.render()))
}

/// What is wrong: file, line and the beginning of the message.
fn errors(managers: &str) -> Vec<String> {
    let errors = check(managers).unwrap_err();
    errors.list().iter().map(|one| format!("{}:{}: {}", one.file, one.line, one.message)).collect()
}

#[test]
fn users_of_several_files_are_known() {
    let master = load("[{ type = \"file\", path = \"users.toml\" }, { path = \"more-users.toml\" }]");
    let found = |author: &str| master.users.find(author).map(|user| user.name.clone());
    assert_eq!(found("Jo <Jo@X.org>").as_deref(), Some("jo"));
    assert_eq!((found("jdoe").as_deref(), found("ann").as_deref()), (Some("jo"), Some("ann")));
    assert_eq!(master.users.find("jo").unwrap().full_name.as_deref(), Some("Jo Doe"));
    assert_eq!(load("[]").users.list(), []);
}

#[test]
fn what_is_wrong_in_a_file_of_users_names_that_file_and_all_of_it_is_told() {
    let managers = "[{ path = \"users.toml\" }, { path = \"clashing-users.toml\" }]";
    let expected = [
        "clashing-users.toml:3: a user has no setting `mail`",
        "clashing-users.toml:5: the user `jo` is there twice",
        "clashing-users.toml:6: `JO@x.org` stands for the user `jo` already",
        "clashing-users.toml:6: `emails` has an empty text",
        "clashing-users.toml:7: a user needs `name`",
        "clashing-users.toml:8: `jdoe` stands for the user `jo` already",
        "clashing-users.toml:8: `jdoe` stands for the user `jo` already",
        "clashing-users.toml:11: `jo` stands for the user `jo` already",
    ];
    assert_eq!(errors(managers), expected);
    let broken = errors("[{ path = \"broken-users.toml\" }]");
    assert!(broken[0].starts_with("broken-users.toml:1: "), "{broken:?}");
}

#[test]
fn what_is_wrong_with_a_manager_is_told() {
    for (managers, expected) in [
        ("[{ path = \"none.toml\" }]", "m.toml:1: `path` names no file"),
        (
            "[{ path = \"*.toml\" }]",
            "m.toml:1: `path` cannot be read: `*` stands for nothing here: name one file",
        ),
        ("[{ path = \"/root/x\" }]", "m.toml:1: `path` names no file"),
        ("[{ }]", "m.toml:1: a user manager needs `path`"),
        ("[{ type = \"ldap\", path = \"users.toml\" }]", "m.toml:1: `type` is no user manager that there is"),
        (
            "[{ path = \"users.toml\" }, { path = \"users.toml\" }]",
            "m.toml:1: this file of users is there twice",
        ),
    ] {
        assert_eq!(errors(managers), [expected], "{managers}");
    }
}

#[test]
fn a_plan_names_users_that_differ() {
    let old = load("[{ path = \"users.toml\" }]");
    let mut new = old.clone();
    let mut users: Vec<_> = new.users.list().to_vec();
    users[0].full_name = Some("Jo Roe".into());
    new.users = users.into();
    let plan = diff(&old, &new).to_string();
    assert_eq!(plan, "~ user `jo`\n    full_name: \"Jo Doe\" -> \"Jo Roe\"");
    let plan = diff(&old, &load("[]")).to_string();
    assert_eq!(
        plan,
        "- user manager `users.toml` (whom it knew are users no more)\n\
         - user `jo` (its authors are shown as their changes say)"
    );
}
