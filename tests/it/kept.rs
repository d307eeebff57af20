//! States of past versions, each of a master that was killed while it built: this version takes up what they left.
//! `bench/keep_state.rs` makes them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use windlass_tests::site::{Site, text};

/// A site with what was kept, at an address of its own.
fn kept(archive: &Path) -> Site {
    let site = Site::new(&["w1", "w2"], "");
    let unpacked = Command::new("python3")
        .args(["-m", "tarfile", "-e"])
        .arg(archive)
        .arg(site.path(""))
        .status()
        .unwrap();
    assert!(unpacked.success(), "{}", archive.display());
    for worker in ["w1", "w2"] {
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(site.path(&format!("{worker}/token")), private).unwrap();
    }
    let config = text(&site.path("master.toml"));
    let (_, rest) = config.split_once("listen = \"").unwrap().1.split_once('"').unwrap();
    let config = format!("[master]\nlisten = \"{}\"{rest}", site.listen());
    std::fs::write(site.path("master.toml"), config).unwrap();
    site
}

#[test]
fn builds_that_a_past_version_left_running_are_taken_up_or_built_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kept");
    let mut archives: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    archives.retain(|path| path.extension().is_some_and(|extension| extension == "xz"));
    assert!(!archives.is_empty());
    for archive in archives {
        let of = archive.display();
        let mut site = kept(&archive);
        site.start_master();
        let (parent, lost) = (site.running("parent"), site.running("lost"));
        for worker in site.workers() {
            std::fs::write(site.path(&format!("{worker}/go")), "").unwrap();
            site.start_worker(&worker);
        }
        site.until("all has ended", |status| {
            status["pending"] == 0 && status["running"].as_array().unwrap().is_empty()
        });
        // It waited for a child, and no command of it ran: it goes on.
        let build = site.get(&format!("/api/v1/builds/{parent}"));
        let steps = build["steps"].as_array().unwrap().iter();
        let steps: Vec<_> = steps.map(|step| (step["name"].clone(), step["outcome"].clone())).collect();
        let expected = ["shell-command", "wait", "last"].map(|name| (name.into(), "success".into()));
        assert_eq!((steps, &build["outcome"]), (expected.into(), &"success".into()), "{of}: {build}");
        let said = String::from_utf8(site.windlass(&["logs", &parent.to_string()]).stdout).unwrap();
        assert!(said.contains("one\n") && said.contains("three\n"), "{of}: {said}");
        // Its command is one that this worker does not know: it is built again, and says why.
        let build = site.get(&format!("/api/v1/builds/{lost}"));
        assert_eq!(build["outcome"], "retry", "{of}: {build}");
        assert!(build["summary"].as_str().is_some_and(|why| why.contains("w1")), "{of}: {build}");
        assert_eq!(site.newest("lost")["outcome"], "success", "{of}");
        assert_eq!(site.newest("child")["outcome"], "success", "{of}");
    }
}
