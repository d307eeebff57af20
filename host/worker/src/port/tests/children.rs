//! What a child is given beyond pipes: a terminal, files that are followed, variables of the worker's.

use super::*;

fn with(mut options: SpawnOptions, more: &[(&str, Value)]) -> SpawnOptions {
    options.options =
        more.iter().map(|(name, value)| Pair { name: (*name).into(), value: value.clone() }).collect();
    options
}

#[tokio::test]
async fn a_child_in_a_terminal_knows_and_reads_what_is_typed() {
    let mut world = world();
    let mut options = sh("test -t 0 && test -t 1 && test -t 2 && stty -echo && echo yes; cat");
    options.pty = true;
    options.input = Some(b"typed".to_vec());
    options.max_time_ms = Some(20_000);
    assert_eq!(world.run(options).await, Exit::Code(0));
    let log = world.log();
    assert!(log.contains("yes\r\n") && log.contains("typed"), "{log:?}");

    let mut options = sh("stty -echo; echo ready; cat");
    (options.pty, options.input, options.deliver) = (true, None, Delivery::Lines);
    options.max_time_ms = Some(20_000);
    let mut child = world.port.spawn(options).await.unwrap();
    assert_eq!(child.next_event(100, None).await, ChildEvent::Lines(Origin::Stdout, "ready\r\n".into()));
    assert_eq!(child.write_input(b"hello\n").await, Ok(6));
    assert_eq!(child.next_event(100, None).await, ChildEvent::Lines(Origin::Stdout, "hello\r\n".into()));
    child.close_input();
    assert_eq!(child.wait().await, Exit::Code(0));
}

#[tokio::test]
async fn a_terminal_of_a_child_that_is_killed_holds_nothing() {
    let mut world = world();
    let mut options = sh("echo here; sleep 1000");
    options.pty = true;
    options.max_time_ms = Some(300);
    assert_eq!(world.run(options).await, Exit::TimedOut(Limit::MaxTime));
    assert_eq!(world.log(), "here\r\n");
}

#[tokio::test]
async fn a_file_that_a_child_writes_is_in_its_log_before_the_child_has_ended() {
    let mut world = world();
    std::fs::create_dir_all(world.folder.path().join("b/build")).unwrap();
    std::fs::write(world.folder.path().join("b/build/old"), "from before\n").unwrap();
    let follow = r#"{"a": "new", "b": {"path": "old", "from-end": true}, "c": "never"}"#;
    let options = with(
        sh("mkdir d; printf 'x\\377y\\n' > new; echo more >> old"),
        &[("follow", Value::Json(follow.into()))],
    );
    assert_eq!(world.run(options).await, Exit::Code(0));
    let mut logs: Vec<_> = (world.updates().into_iter())
        .filter_map(|update| match update {
            Update::Log { log, origin: Origin::Stdout, data } => Some((log, data.to_vec())),
            _ => None,
        })
        .collect();
    logs.sort();
    assert_eq!(logs, [("a".into(), b"x\xffy\n".to_vec()), ("b".into(), b"more\n".to_vec())]);

    for bad in [r#"{"a": "/etc/passwd"}"#, r#"{"a": "../x"}"#, r#"{"a": 1}"#, "[]"] {
        let options = with(sh(""), &[("follow", Value::Json(bad.into()))]);
        assert_eq!(world.refused(options).await.code, "bad-argument", "{bad}");
    }
}

#[tokio::test]
async fn a_file_that_is_followed_shows_no_secret() {
    let value = SecretValue("hunter2".into());
    let secret =
        Secret { name: "key".into(), placeholder: "windlass_secret_key".into(), value, former: vec![] };
    let mut world = world_with(tempfile::tempdir().unwrap(), "*", vec![secret]);
    let mut options =
        with(sh("echo is $KEY > f; printf hunt >> f"), &[("follow", Value::Json(r#"{"f": "f"}"#.into()))]);
    options.env = vec![("KEY".into(), Some("windlass_secret_key".into()))];
    assert_eq!(world.run(options).await, Exit::Code(0));
    assert_eq!(world.log(), "is <key>\nhunt");
}

#[tokio::test]
async fn a_value_names_the_workers_variables_if_that_is_wanted() {
    let mut world = world();
    let own = world.context.machine.base[std::ffi::OsStr::new("PATH")].clone().into_string().unwrap();
    for (expand, expected) in [(true, format!("/x:{own}-\n")), (false, "/x:${PATH}-${NONE}\n".to_owned())] {
        let mut options = with(sh("echo $A"), &[("expand-environment", Value::Boolean(expand))]);
        options.env = vec![("A".into(), Some("/x:${PATH}-${NONE}".into()))];
        assert_eq!(world.run(options).await, Exit::Code(0));
        assert_eq!(world.log(), expected);
    }
}
