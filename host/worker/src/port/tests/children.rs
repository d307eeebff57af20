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

/// Symptom: a program in a terminal waited for its input until it was stopped. Cause: its end was typed once, and within
/// a line that only hands the line over. Cure: what was typed last decides.
#[tokio::test]
async fn the_end_of_the_input_is_typed_within_a_line_as_well() {
    let mut world = world();
    for (input, expected) in [("abc", "abc"), ("abc\n", "abc\r\n"), ("", "")] {
        let mut options = sh("stty -echo; echo ready; cat");
        (options.pty, options.input, options.deliver) = (true, None, Delivery::Lines);
        options.max_time_ms = Some(20_000);
        let mut child = world.port.spawn(options).await.unwrap();
        assert_eq!(child.next_event(100, None).await, ChildEvent::Lines(Origin::Stdout, "ready\r\n".into()));
        assert_eq!(child.write_input(input.as_bytes()).await, Ok(u32::try_from(input.len()).unwrap()));
        child.close_input();
        assert_eq!(child.wait().await, Exit::Code(0), "{input:?}");
        assert_eq!(world.log(), format!("ready\r\n{expected}"));
    }
}

/// Symptom: the end of the input overtook the input. Cause: a piece with a secret is written bit by bit behind the
/// guest's back, and the end was typed at once. Cure: the end is typed behind all that was taken.
#[tokio::test]
async fn the_end_of_the_input_is_typed_behind_all_that_was_taken() {
    let mut world = world_with(b"hunter2");
    // It reads nothing before it is told to.
    let mut options = sh("stty -echo; mkfifo go; echo ready; read line < go; wc -l");
    (options.pty, options.input, options.deliver) = (true, None, Delivery::Lines);
    options.max_time_ms = Some(60_000);
    let mut child = world.port.spawn(options).await.unwrap();
    assert_eq!(child.next_event(100, None).await, ChildEvent::Lines(Origin::Stdout, "ready\r\n".into()));
    let lines = format!("{}windlass_secret_key\n", format!("{}\n", "x".repeat(99)).repeat(4_999));
    assert_eq!(child.write_input(lines.as_bytes()).await, Ok(u32::try_from(lines.len()).unwrap()));
    child.close_input();
    let go = world.folder.path().join("b/build/go");
    tokio::task::spawn_blocking(move || std::fs::write(go, "go\n")).await.unwrap().unwrap();
    assert_eq!(child.next_event(100, None).await, ChildEvent::Lines(Origin::Stdout, "5000\r\n".into()));
    assert_eq!(child.wait().await, Exit::Code(0));
}

#[tokio::test]
async fn a_terminal_of_a_child_that_is_killed_holds_nothing() {
    let mut world = world();
    let mut options = sh("echo here; sleep 1000");
    options.pty = true;
    options.options = option("max-lines", Value::Integer(0));
    assert_eq!(world.run(options).await, Exit::TimedOut(Limit::MaxLines));
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

    for bad in [r#"{"a": "/etc/passwd"}"#, r#"{"a": "../x"}"#, r#"{"a": 1}"#, "[]", r#"{"my log": "new"}"#] {
        let options = with(sh(""), &[("follow", Value::Json(bad.into()))]);
        assert_eq!(world.refused(options).await.code, "bad-argument", "{bad}");
    }
}

#[tokio::test]
async fn a_file_that_is_followed_shows_no_secret() {
    let mut world = world_with(b"hunter2");
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

/// Symptom: the output of a build was nowhere, and the build was green. Cause: it went to a log of a name that the master
/// does not take, which drops it. Cure: such a name is refused before anything is started.
#[tokio::test]
async fn a_log_has_a_name_that_the_master_takes() {
    let mut world = world();
    for name in ["my log", "", ".log", "a/b"] {
        let mut options = sh("");
        options.tee_to_log = Some(name.to_owned());
        assert_eq!(world.refused(options).await.code, "bad-argument", "{name}");
        let said = world.port.log(name, Origin::Stdout, "x".into()).await;
        assert_eq!(said.unwrap_err().code, "bad-argument", "{name}");
    }
    assert!(world.updates().is_empty());
    world.port.log("my.log", Origin::Stdout, "x".into()).await.unwrap();
    assert_eq!(world.log(), "x");
}

/// Symptom: a command filled the worker's disk. Cause: each start, of what cannot be started too, put all variables into
/// the log, and nobody asked for room. Cure: it waits for room as all that a guest says does, and shows some of them.
#[tokio::test]
async fn starts_that_show_their_variables_wait_for_room_and_show_a_part() {
    const MOST: usize = 300_000;
    let limits = Limits { total: MOST, ..Limits::default() };
    let mut world = world_of(Given { limits, ..Given::default() });
    let mut options = with(sh(""), &[("log-environment", Value::Boolean(true))]);
    options.argv = vec!["./nothing".into()];
    options.env = (0..1_000).map(|n| (format!("LC_{n}"), Some("x".repeat(1_000)))).collect();
    let mut starts = 0;
    while futures_util::poll!(&mut world.port.spawn(options.clone())).is_ready() {
        starts += 1;
        assert!(starts < 10);
    }
    let log = world.log();
    assert!(log.len() < MOST + 100_000, "{}", log.len());
    assert!(log.contains(" more variables\n"), "{}", &log[..1_000]);
}

#[tokio::test]
async fn variables_have_no_more_room_than_a_program_can_be_given() {
    let mut world = world();
    let mut options = with(sh(""), &[("expand-environment", Value::Boolean(true))]);
    options.env = (0..100).map(|n| (format!("A{n}"), Some("x".repeat(100_000)))).collect();
    assert_eq!(world.refused(options).await.code, "too-large");
}
