//! The demonstration, on a repository that is nobody's.

use std::process::Command;

use windlass_tests::binary::windlass;
use windlass_tests::repository::Repository;

#[test]
fn the_demo_shows_all_that_it_promises() {
    let repository = Repository::new();
    let revision = repository.commit("README", "a repository\n", "first");
    let told = Command::new(windlass())
        .args(["demo", "--repo", repository.url()])
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success(), "{said}\n{}", String::from_utf8_lossy(&told.stderr));
    assert_eq!(said.matches("\nyes ").count(), 5, "{said}");
    assert!(said.contains(&revision) && said.contains("(old)") && said.contains("(new)"), "{said}");
    let folder = said.lines().find_map(|l| l.strip_prefix("everything happens in ")).unwrap();
    assert!(!std::path::Path::new(folder).exists(), "{folder} is left behind");
}

#[test]
fn a_repository_that_is_none_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    let refused = Command::new(windlass()).args(["demo", "--repo"]).arg(empty.path()).output().unwrap();
    assert_eq!(refused.status.code(), Some(6), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no git repository"), "{refused:?}");
}
