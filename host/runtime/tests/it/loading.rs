//! What a component must be to become a plugin, and that compiling is done once.

use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt;

use bytes::Bytes;
use windlass_core::digest::Digest;
use windlass_core::policy::HookKind;
use windlass_runtime::plugin::Source;

use crate::fixtures::{Host, bundled, host, host_with, misbehaving};

fn refusal(host: &Host, name: &str, bytes: impl Into<Bytes>) -> String {
    let source = Source::File(format!("plugins/{name}.wasm").into());
    let bytes = bytes.into();
    let digest = Digest::of(&bytes).short();
    let error = host.runtime.load(name, source, bytes).unwrap_err();
    let head = format!("failed to load plugin `{name}` (plugins/{name}.wasm, {digest})");
    assert_eq!(error.to_string(), head);
    let mut text = error.source().unwrap().to_string();
    let mut cause = error.source().unwrap().source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[test]
fn each_bad_file_is_refused_in_its_own_words() {
    let host = host_with(|options| options.limits.component_bytes = 16 << 20);
    let good = misbehaving();
    let table: &[(&[u8], &str)] = &[
        (b"", "the file is empty"),
        (b"(component)", "text form"),
        (b"\0asm\x01\0\0\0", "core module, not a component"),
        (b"\0asm\x07\0\x01\0", "not valid"),
        (b"\x7fELF\x02\x01\x01", "native program"),
        (b"hello", "not WebAssembly"),
        (
            b"\0asm\x0d\0\x01\0",
            "it exports no hook; the hooks of this host are windlass:worker/slave-command@0.1.0",
        ),
        (&good[..good.len() / 2], "it ends too early"),
        (&good[..good.len() - 1], "it ends too early"),
        (&[0; (16 << 20) + 1], "16777217 bytes, and at most 16777216"),
    ];
    for (bytes, expected) in table {
        let text = refusal(&host, "bad", bytes.to_vec());
        assert!(text.contains(expected), "{text:?} does not say {expected:?}");
    }
}

#[test]
fn a_damaged_component_is_refused_before_it_is_compiled() {
    let host = host();
    let mut bytes = misbehaving().to_vec();
    let code = bytes.len() / 3;
    bytes[code..code + 64].fill(0xff);
    let text = refusal(&host, "damaged", bytes);
    assert!(text.contains("not valid at byte") || text.contains("ends too early"), "{text}");
}

#[test]
fn a_plugin_of_another_contract_version_is_refused_with_both_versions() {
    let host = host();
    // Same length, so that no size in the file changes.
    let other =
        replace(&misbehaving(), b"windlass:master/next-slave@0.1.0", b"windlass:master/next-slave@0.3.0");
    let text = refusal(&host, "newer", other);
    assert_eq!(text, "it wants `windlass:master/next-slave@0.3.0`, and this host has version 0.1.0");
    let other =
        replace(&misbehaving(), b"windlass:master/step-host@0.1.0", b"windlass:master/stet-host@0.1.0");
    let text = refusal(&host, "unknown", other);
    assert!(
        text.starts_with("it imports `windlass:master/stet-host@0.1.0`, which this host does not know"),
        "{text}"
    );
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> =
        (0..bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

#[test]
fn compiled_code_in_the_plugins_folder_is_refused() {
    let host = host();
    host.misbehaving();
    let cached = cache_files(&host).pop().unwrap();
    // What wasmtime itself would call a precompiled component stands behind our header.
    let artefact = fs::read(cached).unwrap()[40..].to_vec();
    let text = refusal(&host, "precompiled", artefact);
    assert!(text.starts_with("it is compiled already"), "{text}");
}

#[test]
fn names_that_configurations_could_not_say_are_refused() {
    let host = host();
    for (name, expected) in [("windlass", "name of the bundled"), ("a:b", "letters"), ("", "letters")] {
        let source = Source::File("x.wasm".into());
        let error = host.runtime.load(name, source, misbehaving()).unwrap_err();
        let text = error.source().unwrap().to_string();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn every_bundled_component_loads_and_says_what_it_is() {
    let host = host();
    let mut kinds = Vec::new();
    for bundled in windlass_plugins::bundled() {
        let bytes = Bytes::from_static(bundled.bytes);
        let plugin = host.runtime.load(bundled.name, Source::Bundled, bytes).unwrap();
        assert!(!plugin.hooks.is_empty());
        assert!(plugin.hooks.iter().all(|hook| !hook.summary.is_empty()));
        kinds.extend(plugin.hooks.iter().map(|hook| hook.kind));
    }
    for kind in [HookKind::SlaveCommand, HookKind::BuildStep, HookKind::NextSlave] {
        assert!(kinds.contains(&kind), "no bundled {kind}");
    }
}

fn cache_files(host: &Host) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(host.dir.path().join("cache")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_component_is_compiled_once_and_a_damaged_copy_anew() {
    let host = host();
    let load = || host.runtime.load("least-loaded", Source::Bundled, bundled("least-loaded")).unwrap();
    load();
    let [file] = &cache_files(&host)[..] else { panic!("one component, one file") };
    // Each writing makes another file; a reading only notes when.
    let written = || fs::metadata(file).unwrap().ino();
    let (first, good) = (written(), fs::read(file).unwrap());
    load();
    assert_eq!(written(), first, "it was compiled a second time");
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(file, bad).unwrap();
    load();
    assert_eq!(fs::read(file).unwrap().len(), good.len());
    let again = fs::read(file).unwrap();
    load();
    assert_eq!(fs::read(file).unwrap(), again, "the copy that was made anew is good");
}
