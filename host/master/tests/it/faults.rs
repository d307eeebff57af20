//! A fault in each phase of a reconfiguration: it is named, nothing is changed, and the next one goes well.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use windlass_master::{DiskRoom, Handle, Options, ReconfigError, StartError};

use crate::place::{Place, builder, config, force};

/// What a reconfig must leave as it was: what is shown, and that an order is taken by the old rules.
async fn is_as_it_was(master: &Handle, phase: &str) {
    let status = master.status_now().await;
    let builders: Vec<_> = status.builders.iter().map(|b| b.name.as_str()).collect();
    assert_eq!((status.generation, &builders[..]), (1, &["b1"][..]), "{phase}");
    let pending = status.pending;
    master.force(force("b1")).await.unwrap_or_else(|error| panic!("{phase}: {error}"));
    assert_eq!(master.status_now().await.pending, pending + 1, "{phase}");
}

#[tokio::test]
async fn a_fault_in_any_phase_leaves_the_old_world_at_work_and_is_named() {
    let place = Place::new(&config(""));
    let master = place.start().await;
    let good = config(&builder("b2", ""));
    let phase = async |name: &str, expected: &str, prepare: &dyn Fn(&Path), mend: &dyn Fn(&Path)| {
        place.write(&good);
        prepare(&place.path(""));
        let error = master.reconfig(false).await.expect_err(name);
        let all = std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
        let text = all.map(ToString::to_string).chain(error.details()).collect::<Vec<_>>().join("\n");
        assert!(text.contains(expected), "{name}: {text}");
        assert!(text.contains("nothing was changed"), "{name}: {text}");
        is_as_it_was(&master, name).await;
        mend(&place.path(""));
    };
    let write = |text: &str| {
        let text = text.to_owned();
        move |here: &Path| std::fs::write(here.join("master.toml"), &text).unwrap()
    };
    let nothing = |_: &Path| {};
    let gone = |here: &Path| std::fs::remove_file(here.join("master.toml")).unwrap();
    phase("reading the file", "failed to read", &gone, &nothing).await;
    let bytes = |here: &Path| std::fs::write(here.join("master.toml"), b"title = '\xff'").unwrap();
    phase("reading its text", "failed to read", &bytes, &nothing).await;
    phase("parsing", "master.toml:", &write(&(good.clone() + "title = \n")), &nothing).await;
    let include = "include = 'more.toml'\n".to_owned() + &good;
    let broken_include = |here: &Path| {
        std::fs::write(here.join("master.toml"), &include).unwrap();
        std::fs::write(here.join("more.toml"), "x = \n").unwrap();
    };
    phase("parsing what it includes", "more.toml:1", &broken_include, &nothing).await;
    phase("checking", "nobody", &write(&good.replace("workers = 'w1'", "workers = 'nobody'")), &nothing)
        .await;
    let plugin = |here: &Path| std::fs::write(here.join("plugins/p.wasm"), b"\0asm is none").unwrap();
    let no_plugin = |here: &Path| std::fs::remove_file(here.join("plugins/p.wasm")).unwrap();
    phase("loading a plugin", "plugin `p`", &plugin, &no_plugin).await;
    let wrong = "steps = [{ use = 'shell-command', args = { command = 3 } }]";
    phase("validating arguments", "command", &write(&config(&builder("b2", wrong))), &nothing).await;
    let moved = good.replace("[master]", "[master]\nstate_dir = 'elsewhere'");
    phase("planning", "state_dir", &write(&moved), &nothing).await;
    // Where the bytes of components are kept stands a file.
    let bytes = windlass_plugins::bundled().iter().find(|b| b.name == "sticky").unwrap().bytes;
    let no_cas = |here: &Path| {
        std::fs::write(here.join("plugins/p.wasm"), bytes).unwrap();
        // Bytes that nobody kept before.
        let mut all = bytes.to_vec();
        all.extend([0, 2, 1, b'x']);
        std::fs::write(here.join("plugins/p.wasm"), all).unwrap();
        std::fs::rename(here.join("state/cas"), here.join("state/away")).unwrap();
        std::fs::write(here.join("state/cas"), "").unwrap();
    };
    let mended = |here: &Path| {
        std::fs::remove_file(here.join("state/cas")).unwrap();
        std::fs::rename(here.join("state/away"), here.join("state/cas")).unwrap();
        std::fs::remove_file(here.join("plugins/p.wasm")).unwrap();
    };
    phase("keeping bytes", "state/cas", &no_cas, &mended).await;

    place.write(&good);
    let done = master.reconfig(false).await.unwrap();
    assert_eq!((done.generation, master.status().builders.len()), (2, 2), "the next one goes well");
    master.shutdown().await;
}

/// The commit is the last thing that can fail. On a full disk it does not: it waits for room, the old world goes on
/// meanwhile, and the new one comes when there is some. (A master that is killed within it is in `tests/it/reload.rs`.)
#[tokio::test]
async fn a_commit_on_a_full_disk_waits_and_the_old_world_answers_meanwhile() {
    let place = Place::new(&config(""));
    let is_full = Arc::new(AtomicBool::new(false));
    let room = {
        let is_full = Arc::clone(&is_full);
        DiskRoom::new(move |_, _| Ok(if is_full.load(Ordering::SeqCst) { 0 } else { u64::MAX }))
    };
    let options = Options { room, ..Options::new(place.path("master.toml")) };
    let master = windlass_master::start(options).await.map_err(|e: StartError| e.details()).unwrap();
    let master = master.handle();
    is_full.store(true, Ordering::SeqCst);
    place.write(&config(&builder("b2", "")));
    let asked = {
        let master = master.clone();
        tokio::spawn(async move { master.reconfig(false).await })
    };
    tokio::time::timeout(Duration::from_secs(60), async {
        while !master.status().problems.concat().contains("free some space") {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it says what it waits for");
    assert_eq!((master.status().generation, master.status().builders.len()), (1, 1));
    assert!(!asked.is_finished());
    is_full.store(false, Ordering::SeqCst);
    let done = asked.await.unwrap().unwrap();
    assert_eq!((done.generation, master.status().builders.len()), (2, 2));
    master.shutdown().await;
    assert!(matches!(master.reconfig(false).await, Err(ReconfigError::ShuttingDown)));
}
