//! Secrets on their way through the port.

use super::*;

#[tokio::test]
async fn a_secret_that_does_not_fit_into_the_pipe_arrives_whole_and_what_follows_waits() {
    let mut world = world_with(&[b'k'; 32 * 1024]);
    let mut options = sh("wc -c");
    options.input = None;
    let mut child = world.port.spawn(options).await.unwrap();
    let whole = "windlass_secret_key".repeat(10);
    assert_eq!(child.write_input(whole.as_bytes()).await, Ok(u32::try_from(whole.len()).unwrap()));
    while child.write_input(b"!").await.unwrap() == 0 {}
    child.close_input();
    assert_eq!(child.wait().await, Exit::Code(0));
    assert_eq!(world.log().trim(), (10 * 32 * 1024 + 1).to_string());
}

#[tokio::test]
async fn what_the_host_tells_of_a_child_names_secrets_and_shows_none() {
    let mut world = world_with(b"hunter2");
    let mut options = sh("echo $KEY; printf hun; printf ter2 >&2; printf ter2");
    options.env = vec![("KEY".into(), Some("a windlass_secret_key".into()))];
    options.options = option("log-environment", Value::Boolean(true));
    assert_eq!(world.run(options).await, Exit::Code(0));
    let log = world.log();
    assert!(log.contains("  KEY=a <key>\n") && log.contains("a <key>\n"), "{log}");
    // What the two streams say may come in any order, with the host's own words between.
    assert!(log.contains("ter2") && log.matches("<key>").count() == 3, "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

/// Symptom: the log of a build showed a secret. Cause: the build left a process behind that it had named so.
/// Cure: what is told of orphans is masked as all else is.
#[tokio::test]
async fn the_name_of_a_process_shows_no_secret() {
    let mut world = world_with(b"hunter2");
    let mut options = sh("cp $(command -v sleep) ./$KEY; (setsid ./$KEY 1000 >/dev/null 2>&1 &)
        until grep -qsx $KEY /proc/[0-9]*/comm; do :; done");
    options.env = vec![("KEY".into(), Some("windlass_secret_key".into()))];
    options.max_time_ms = Some(20_000);
    assert_eq!(world.run(options).await, Exit::Code(0));
    crate::commands::end_orphans(&world.context, &CommandUid("c0".into())).await;
    let log = world.log();
    assert!(log.contains("were killed: <key> ("), "{log}");
}

/// Symptom: nobody learned that a command tried to use a secret of others. Cause: a denied `write-input` was
/// counted, and told to the guest alone. Cure: all denials are told in one place.
#[tokio::test]
async fn a_secret_that_is_denied_on_its_way_to_an_input_is_told() {
    let value = SecretValue("hunter2".into());
    let secret =
        Secret { name: "key".into(), placeholder: "windlass_secret_key".into(), value, former: vec![] };
    let mut world = world_of(Given { secrets: vec![secret], usable: "other", ..Given::default() });
    let mut options = sh("cat");
    options.input = None;
    let mut child = world.port.spawn(options).await.unwrap();
    assert_eq!(child.write_input(b"windlass_secret_key").await.unwrap_err().code, "denied");
    let told = world.told();
    assert!(told.iter().any(|text| text.starts_with("`write-input` was denied: ")), "{told:?}");
    assert_eq!(world.context.denials.load(Ordering::Relaxed), 1);
}

/// Symptom: a guest learned a secret. Cause: a build had named a directory so, and what failed on it names the path.
/// Cure: failures are masked as results are.
#[tokio::test]
async fn what_fails_on_files_shows_no_secret() {
    let mut world = world_with(b"hunter2");
    let deep = format!("hunter2{}", "/d".repeat(260));
    std::fs::create_dir_all(world.folder.path().join("b").join(&deep)).unwrap();
    let failure = world.port.glob("**/x").await.unwrap_err();
    assert!(failure.message.contains("<key>/d"), "{failure}");
    assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
}
