//! Secrets on their way through the port.

use super::*;

#[tokio::test]
async fn a_secret_that_does_not_fit_into_the_pipe_arrives_whole_and_what_follows_waits() {
    let value = SecretValue(vec![b'k'; 32 * 1024].into());
    let secret =
        Secret { name: "key".into(), placeholder: "windlass_secret_0".into(), value, former: vec![] };
    let mut world = world_with(tempfile::tempdir().unwrap(), "*", vec![secret]);
    let mut options = sh("wc -c");
    options.input = None;
    let mut child = world.port.spawn(options).await.unwrap();
    let whole = "windlass_secret_0".repeat(10);
    assert_eq!(child.write_input(whole.as_bytes()).await, Ok(u32::try_from(whole.len()).unwrap()));
    while child.write_input(b"!").await.unwrap() == 0 {}
    child.close_input();
    assert_eq!(child.wait().await, Exit::Code(0));
    assert_eq!(world.log().trim(), (10 * 32 * 1024 + 1).to_string());
}

#[tokio::test]
async fn what_the_host_tells_of_a_child_names_secrets_and_shows_none() {
    let secret = |name: &str, value: &'static str| Secret {
        name: name.into(),
        placeholder: format!("windlass_secret_{name}"),
        value: SecretValue(value.into()),
        former: vec![],
    };
    let secrets = vec![secret("key", "hunter2")];
    let mut world = world_with(tempfile::tempdir().unwrap(), "*", secrets);
    let mut options = sh("echo $KEY; printf hun; printf ter2 >&2; printf ter2");
    options.env = vec![("KEY".into(), Some("a windlass_secret_key".into()))];
    options.options = option("log-environment", Value::Boolean(true));
    assert_eq!(world.run(options).await, Exit::Code(0));
    let log = world.log();
    assert!(log.contains("  KEY=a <key>\n") && log.contains("a <key>\n"), "{log}");
    assert!(log.contains("<key>ter2") || log.contains("ter2<key>"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

/// Symptom: the log of a build showed a secret. Cause: the build left a process behind that it had named so.
/// Cure: what is told of orphans is masked as all else is.
#[tokio::test]
async fn the_name_of_a_process_shows_no_secret() {
    let value = SecretValue("hunter2".into());
    let secret =
        Secret { name: "key".into(), placeholder: "windlass_secret_key".into(), value, former: vec![] };
    let mut world = world_with(tempfile::tempdir().unwrap(), "*", vec![secret]);
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
    let mut world = world_of(tempfile::tempdir().unwrap(), "*", vec![secret], "other");
    let mut options = sh("cat");
    options.input = None;
    let mut child = world.port.spawn(options).await.unwrap();
    assert_eq!(child.write_input(b"windlass_secret_key").await.unwrap_err().code, "denied");
    let told = world.told();
    assert!(told.iter().any(|text| text.starts_with("`write-input` was denied: ")), "{told:?}");
    assert_eq!(world.context.denials.load(Ordering::Relaxed), 1);
}
