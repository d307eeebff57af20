//! A plugin author's first hour: what `docs/plugins.md` says, done.

use windlass_tests::site::{Site, text};

/// The fenced block of the page that begins with this line.
fn block<'a>(page: &'a str, first: &str) -> &'a str {
    let from = page.find(first).unwrap_or_else(|| panic!("no block begins with {first}"));
    &page[from..from + page[from..].find("\n```").unwrap() + 1]
}

#[test]
fn the_documented_policy_is_built_dropped_in_and_live() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = text(&root.join("docs/plugins.md"));
    let mut site = Site::with_command("true").start();
    let project = site.path("alphabetical");
    std::fs::create_dir_all(project.join("src")).unwrap();
    let sdk = root.join("sdk/rust").display().to_string();
    let manifest = block(&page, "[package]").replace("../windlass/sdk/rust", &sdk);
    std::fs::write(project.join("Cargo.toml"), manifest).unwrap();
    std::fs::write(project.join("src/lib.rs"), block(&page, "//! The free worker")).unwrap();

    let plugins = site.path("plugins").display().to_string();
    let built = site.windlass(&["plugin", "build", &project.display().to_string(), "--out", &plugins]);
    assert!(built.status.success(), "{built:?}");
    site.configure(&Site::builder("b", "true", "next_slave = \"alphabetical:alphabetical\""));
    let done = site.ok(&["reconfig", "--json"]);
    assert_eq!(done["plugins"]["added"][0]["name"], "alphabetical", "{done}");
    let build = site.build("b");
    assert_eq!((&build["worker"], &build["outcome"]), (&"w1".into(), &"success".into()), "{build}");
    assert!(build["components"].to_string().contains("alphabetical:alphabetical"), "{build}");
}
