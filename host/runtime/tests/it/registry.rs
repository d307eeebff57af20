//! Names, generations, folders.

use std::fs;
use std::sync::Arc;

use windlass_core::digest::Digest;
use windlass_core::policy::HookKind;
use windlass_runtime::plugin::Source;
use windlass_runtime::registry::{Candidate, Generation, Registry, prepare, revive, scan};

use crate::fixtures::{Host, bundled, host, misbehaving};

fn candidate(name: &str, bytes: bytes::Bytes) -> Candidate {
    Candidate { name: name.to_owned(), source: Source::File(format!("{name}.wasm").into()), bytes }
}

fn bundle(name: &str) -> Candidate {
    Candidate { name: name.to_owned(), source: Source::Bundled, bytes: bundled(name) }
}

fn generation(host: &Host, candidates: Vec<Candidate>) -> Generation {
    prepare(&host.runtime, None, candidates).unwrap()
}

fn resolve(generation: &Generation, name: &str) -> String {
    match generation.resolve(HookKind::NextSlave, name) {
        Ok(resolved) => resolved.qualified(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn names_stand_for_hooks_as_the_documentation_says() {
    let host = host();
    let ours = vec![
        bundle("least-loaded"),
        bundle("sticky"),
        candidate("mine", bundled("least-loaded")),
        candidate("a", misbehaving()),
        candidate("b", misbehaving()),
    ];
    let generation = generation(&host, ours);
    for (name, expected) in [
        ("least-loaded", "windlass:least-loaded"),
        ("windlass:least-loaded", "windlass:least-loaded"),
        ("windlass:sticky", "windlass:sticky"),
        ("mine:least-loaded", "mine:least-loaded"),
        ("a:first", "a:first"),
        (
            "first",
            "more than one plugin offers a next-slave called `first`: say which, `a:first` or `b:first`",
        ),
        (
            "least-loadde",
            "no plugin offers a next-slave called `least-loadde`; did you mean `mine:least-loaded` or `windlass:least-loaded`?",
        ),
        ("mine:first", "plugin `mine` has no next-slave called `first`"),
        ("mime:least-loaded", "there is no plugin `mime`; did you mean `mine`?"),
        ("zzzzzzzz", "no plugin offers a next-slave called `zzzzzzzz`"),
    ] {
        assert_eq!(resolve(&generation, name), expected, "for {name}");
    }
}

#[test]
fn unchanged_plugins_are_taken_over_and_all_errors_collected() {
    let host = host();
    let first = generation(&host, vec![bundle("sticky"), candidate("a", misbehaving())]);
    let next =
        prepare(&host.runtime, Some(&first), vec![bundle("sticky"), candidate("a", bundled("sticky"))]);
    let next = next.unwrap();
    assert_eq!((first.number, next.number), (1, 2));
    let by_name = |generation: &Generation, name: &str| {
        generation.plugins().find(|plugin| plugin.name == name).unwrap().clone()
    };
    assert!(Arc::ptr_eq(&by_name(&first, "sticky"), &by_name(&next, "sticky")));
    assert_ne!(by_name(&first, "a").digest, by_name(&next, "a").digest);
    assert_eq!(first.digests().keys().map(String::as_str).collect::<Vec<_>>(), ["a", "windlass:sticky"]);

    let broken = vec![
        candidate("a", misbehaving()),
        candidate("x", "nonsense".into()),
        candidate("y", "".into()),
        candidate("a", misbehaving()),
    ];
    let errors = prepare(&host.runtime, Some(&next), broken).unwrap_err();
    let names: Vec<&str> = errors.iter().map(|error| error.plugin.as_str()).collect();
    assert_eq!(names, ["x", "y", "a"]);
}

#[test]
fn a_generation_comes_back_from_the_digests_that_a_build_keeps() {
    let host = host();
    let old = generation(&host, vec![bundle("sticky"), candidate("a", misbehaving())]);
    let digests = old.digests();
    let now = prepare(&host.runtime, Some(&old), vec![bundle("sticky"), candidate("a", bundled("sticky"))]);
    let now = now.unwrap();
    let kept = |digest: &Digest| {
        let found = *digest == Digest::of(&misbehaving());
        Ok::<_, std::io::Error>(found.then(misbehaving))
    };
    let back = revive(&host.runtime, &now, old.number, &digests, kept).unwrap();
    assert_eq!((back.number, back.digests()), (1, digests.clone()));
    assert_eq!(resolve(&back, "first"), "a:first");
    assert_eq!(resolve(&back, "sticky"), "windlass:sticky");
    // What runs already is not loaded again.
    let sticky = |generation: &Generation| Arc::clone(generation.plugins().next().unwrap());
    assert!(Arc::ptr_eq(&sticky(&back), &sticky(&now)));

    let gone = |_: &Digest| Ok::<_, std::io::Error>(None);
    let error = revive(&host.runtime, &now, 1, &digests, gone).unwrap_err().to_string();
    assert!(error.starts_with("the bytes of plugin `a` (") && error.ends_with(") are gone"), "{error}");
    let damaged = |_: &Digest| Err(std::io::Error::other("no"));
    let error = revive(&host.runtime, &now, 1, &digests, damaged).unwrap_err().to_string();
    assert_eq!(error, "failed to read the bytes of plugin `a`");
}

#[test]
fn the_registry_swaps_whole_generations() {
    let host = host();
    let registry = Registry::new(generation(&host, vec![bundle("sticky")]));
    let held = registry.current();
    let next = Arc::new(prepare(&host.runtime, Some(&held), Vec::new()).unwrap());
    assert_eq!(registry.swap(next).number, 1);
    assert_eq!((held.plugins().count(), registry.current().plugins().count()), (1, 0));
    assert!(held.by_digest(&Digest::of(&bundled("sticky"))).is_some());
}

#[test]
fn a_scan_finds_components_and_reports_what_it_cannot_read() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["b.wasm", "a.wasm", ".hidden.wasm", "notes.txt", "c.wasm.tmp"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let found = scan(dir.path()).unwrap();
    let stems: Vec<&str> = found.iter().map(|(stem, ..)| stem.as_str()).collect();
    assert_eq!(stems, ["a", "b"]);
    fs::create_dir(dir.path().join("folder.wasm")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("gone.wasm")).unwrap();
    assert_eq!(scan(dir.path()).unwrap_err().len(), 2);
    assert_eq!(scan(&dir.path().join("missing")).unwrap_err().len(), 1);
}
