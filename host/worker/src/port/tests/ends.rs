//! How children end: at limits, by signals, with their command, and what they left behind.

use super::*;

#[tokio::test]
async fn limits_of_time_silence_and_lines_stop_the_whole_group() {
    let mut world = world();
    let mut options = sh("sleep 1000");
    options.max_time_ms = Some(200);
    assert_eq!(world.run(options).await, Exit::TimedOut(Limit::MaxTime));

    let mut options = sh("echo a; sleep 1000");
    options.idle_time_ms = Some(200);
    assert_eq!(world.run(options).await, Exit::TimedOut(Limit::IdleTime));

    let mut options = sh("yes");
    options.options = option("max-lines", Value::Integer(10));
    assert_eq!(world.run(options).await, Exit::TimedOut(Limit::MaxLines));
    world.log();

    let mut options = sh("sleep 1000 & echo $!; wait");
    options.options = stopped_at_its_first_line(&[]);
    assert_eq!(world.run(options).await, Exit::TimedOut(Limit::MaxLines));
    gone(world.log().trim()).await;
}

/// Stops a child once it has said that it is ready, however long that takes.
fn stopped_at_its_first_line(how: &[(&str, Value)]) -> Vec<Pair> {
    let set = |(name, value): &(&str, Value)| Pair { name: (*name).into(), value: value.clone() };
    std::iter::once(&("max-lines", Value::Integer(0))).chain(how).map(set).collect()
}

#[tokio::test]
async fn who_ignores_the_first_signal_is_killed_after_the_grace_period() {
    let mut world = world();
    let mut options = sh("trap '' TERM; echo ready; while :; do sleep 0.1; done");
    options.options = stopped_at_its_first_line(&[("terminate-ms", Value::Integer(200))]);
    assert_eq!(world.run(options).await, Exit::TimedOut(Limit::MaxLines));
    assert_eq!(world.log(), "ready\n");
}

#[tokio::test]
async fn the_first_signal_may_be_another_one() {
    let mut world = world();
    let mut options =
        sh("exec 2>/dev/null; trap 'echo caught; exit 0' USR1; echo ready; while :; do sleep 0.05; done");
    options.options = stopped_at_its_first_line(&[
        ("stop-signal", Value::Text("USR1".into())),
        ("terminate-ms", Value::Integer(60_000)),
    ]);
    assert_eq!(world.run(options).await, Exit::TimedOut(Limit::MaxLines));
    assert_eq!(world.log(), "ready\ncaught\n");
}

#[tokio::test]
async fn a_second_signal_may_come_before_the_kill() {
    let mut world = world();
    // On a busy machine both may have come before the shell looks. (Not SIGINT: where the tests run in the
    // background of a shell it is ignored, and no trap changes that.)
    let mut options =
        sh("exec 2>/dev/null; trap 'echo first; a=1' TERM; trap 'echo second; b=1' USR1; echo ready
        until [ \"$a$b\" = 11 ]; do sleep 0.05; done");
    options.options = stopped_at_its_first_line(&[
        ("terminate-ms", Value::Integer(300)),
        ("second-signal", Value::Text("SIGUSR1".into())),
    ]);
    assert_eq!(world.run(options).await, Exit::TimedOut(Limit::MaxLines));
    let log = world.log();
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["first", "ready", "second"]);
}

/// Symptom: a database that was asked to shut down within a minute was killed after 15 s at an interrupt, and not at a
/// limit. Cause: the command was over after a constant. Cure: an interrupt waits as long as its children may take.
#[tokio::test]
async fn an_interrupt_waits_as_long_as_the_children_may_take_and_no_longer_than_half_a_minute() {
    let mut world = world();
    let living = Arc::clone(&world.context.living);
    let seconds = |living: &Living| living.stopping().as_secs();
    for (terminate_ms, second, expected) in
        [(12_000, "KILL", 12), (12_000, "INT", 17), (3_600_000, "KILL", 30), (3_600_000, "INT", 35)]
    {
        assert_eq!((living.count(), seconds(&living)), (0, 0));
        let _other = living.enter(Duration::from_secs(1));
        let mut options = sh("sleep 1000");
        let second = Value::Text(second.into());
        options.options = vec![
            Pair { name: "terminate-ms".into(), value: Value::Integer(terminate_ms) },
            Pair { name: "second-signal".into(), value: second },
        ];
        let mut child = world.port.spawn(options).await.unwrap();
        assert_eq!((living.count(), seconds(&living)), (2, expected));
        child.stop(Stop::Kill);
        child.wait().await;
        while living.count() > 1 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn lines_count_however_they_end() {
    let mut world = world();
    for (script, expected) in [
        (r"printf 'a\r\nb\rc\n'", Exit::Code(0)),
        (r"printf 'a\r\nb\rc\nd\r'", Exit::TimedOut(Limit::MaxLines)),
    ] {
        let mut options = sh(script);
        options.options = option("max-lines", Value::Integer(3));
        assert_eq!(world.run(options).await, expected, "{script}");
    }
}

#[tokio::test]
async fn an_interrupt_stops_a_child_that_is_waited_for() {
    let mut world = world();
    let mut child = world.port.spawn(sh("sleep 1000")).await.unwrap();
    world.interrupt.send_replace(Some("why".into()));
    assert_eq!(child.wait().await, Exit::Interrupted);
    assert_eq!(world.port.interrupted(), Some("why".into()));
    assert_eq!(world.port.sleep(1_000_000).await.unwrap_err().code, "interrupted");
}

#[tokio::test]
async fn an_interrupt_is_told_once_to_a_guest_that_listens_and_it_decides() {
    let mut world = world();
    let mut child = world.port.spawn(sh("sleep 1000")).await.unwrap();
    assert_eq!(child.next_event(100, Some(1)).await, ChildEvent::Idle);
    world.interrupt.send_replace(Some("why".into()));
    assert_eq!(child.next_event(100, None).await, ChildEvent::Interrupt("why".into()));
    assert_eq!(child.next_event(100, Some(1)).await, ChildEvent::Idle);
    child.stop(Stop::Terminate);
    assert_eq!(child.next_event(100, None).await, ChildEvent::Exited(Exit::Interrupted));
}

#[tokio::test]
async fn a_dropped_child_is_killed_with_its_group() {
    let mut world = world();
    let mut options = sh("sleep 1000 & echo $!; wait");
    options.deliver = Delivery::Lines;
    let mut child = world.port.spawn(options).await.unwrap();
    let ChildEvent::Lines(_, pid) = child.next_event(100, None).await else { panic!("a line comes first") };
    drop(child);
    gone(pid.trim()).await;
    world.context.children.close();
    world.context.children.wait().await;
}

#[tokio::test]
async fn the_end_of_a_command_ends_children_that_nobody_listens_to() {
    let mut world = world();
    let mut options = sh("yes");
    options.deliver = Delivery::Chunks;
    let child = world.port.spawn(options).await.unwrap();
    world.context.over.cancel();
    world.context.children.close();
    world.context.children.wait().await;
    drop(child);
}

#[tokio::test]
async fn death_by_a_signal_is_named() {
    let mut world = world();
    assert_eq!(world.run(sh("kill -SEGV $$")).await, Exit::Signal("SIGSEGV".into()));
}

#[tokio::test]
async fn a_process_left_behind_does_not_hold_the_command() {
    let mut world = world();
    // It holds standard output open.
    assert_eq!(world.run(sh("sleep 1000 & echo $!")).await, Exit::Code(0));
    let log = world.log();
    let (pid, rest) = log.split_once('\n').unwrap();
    assert_eq!(rest, "processes that the command left behind were killed\n");
    gone(pid).await;
}

#[tokio::test]
async fn a_process_that_left_its_group_and_its_parent_ends_with_its_command() {
    let mut world = world();
    // Twice forked, in a session of its own, with pipes closed.
    let away = "(setsid sh -c 'echo $$ > left; exec sleep 1000 >/dev/null 2>&1' &)
        until grep -qsx sleep /proc/$(cat left 2>/dev/null)/comm; do sleep 0.01; done; cat left";
    assert_eq!(world.run(sh(away)).await, Exit::Code(0));
    let pid = world.log().trim().to_owned();
    let orphans = &world.context.machine.orphans;
    assert!(orphans.has_left("c0"));
    let ended = orphans.end("c0");
    let expected = format!("processes that the command left behind were killed: sleep ({pid})\n");
    assert_eq!(ended.report(), expected);
    gone(&pid).await;
}

#[tokio::test]
async fn processes_that_start_each_other_end_all_the_same() {
    let mut world = world();
    std::fs::create_dir_all(world.folder.path().join("b/build")).unwrap();
    std::fs::write(
        world.folder.path().join("b/build/breed"),
        "test $1 -gt 1 || echo > left\n\
         test $1 -gt 5 || { setsid sh breed $(($1+1)) & setsid sh breed $(($1+1)) & }\nexec sleep 1000\n",
    )
    .unwrap();
    // The command ends when the first of them has left its group; before that it would end with the group.
    let breed = "mkfifo left; (setsid sh breed 1 >/dev/null 2>&1 &); read line < left";
    assert_eq!(world.run(sh(breed)).await, Exit::Code(0));
    let orphans = &world.context.machine.orphans;
    let mut ended = orphans.end("c0");
    assert!(!ended.killed.is_empty(), "{ended:?}");
    // On a busy machine one look has less time than they need; each finds those that are left.
    for _ in 0..20 {
        if ended.left.is_empty() {
            break;
        }
        ended = orphans.end("c0");
    }
    assert!(ended.left.is_empty(), "{ended:?}");
    assert_eq!(orphans.end("c0").report(), "");
}
