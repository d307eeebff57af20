//! Outboxes over real files.

use windlass_core::digest::Digest;
use windlass_core::journal::{begin, chain};
use windlass_core::value::{Completion, Failure};
use windlass_protocol::codec::Decoder;
use windlass_protocol::message::{Start, ToMaster};

use super::command::SMALL;
use super::*;
use crate::mounts::SmallDisk;

fn uid(n: u32) -> CommandUid {
    CommandUid(format!("{n:032x}"))
}

fn open(spool: &Arc<Spool>, n: u32) -> Arc<CommandSpool> {
    let began = Record::Began { start: start(n), seed: [3; 32] };
    spool.open(&uid(n), &began).unwrap().unwrap()
}

fn holder() -> Arc<Holder> {
    Arc::new(Holder::local().unwrap())
}

fn small() -> (tempfile::TempDir, Arc<Spool>) {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { memory: 4_000, total: 40_000, updates: 1_000, ..Limits::default() };
    let spool = Spool::new(folder.path(), limits, holder());
    (folder, spool)
}

/// What the link would send now: command and number.
fn sent(spool: &Spool) -> Vec<(CommandUid, u64, Update)> {
    std::iter::from_fn(|| spool.next())
        .map(|frames| {
            let mut decoder = Decoder::default();
            match frames.filter_map(|f| decoder.push(&f).unwrap()).last() {
                Some(ToMaster::Update { command, number, update }) => (command, number, update),
                other => panic!("{other:?}"),
            }
        })
        .collect()
}

fn numbers(spool: &Spool) -> Vec<u64> {
    sent(spool).into_iter().map(|(_, number, _)| number).collect()
}

#[test]
fn what_was_spilled_comes_back_in_order_and_the_hash_covers_all_of_it() {
    let (folder, spool) = small();
    let command = open(&spool, 1);
    assert!(spool.open(&uid(1), &Record::Begun).unwrap().is_none(), "a known command is not opened twice");
    let (mut all, mut of_all) = (Vec::new(), begin());
    for n in 0..20u8 {
        let data = vec![n; 1_000];
        all.extend_from_slice(&data);
        of_all = chain(of_all, &data);
        command.log("stdio", Origin::Stdout, data.into());
    }
    command.done(Ok(Completion::default()), None);
    assert!(folder.path().join(&uid(1).0).metadata().unwrap().len() > 10_000);

    let mut received = Vec::new();
    let mut hash = None;
    for (_, _, update) in sent(&spool) {
        match update {
            Update::Log { data, .. } => received.extend_from_slice(&data),
            Update::Done { log_hash, .. } => hash = Some(log_hash),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(received, all);
    assert_eq!(hash, Some(of_all));
    assert!(!command.ack(20).unwrap());
    assert_eq!(folder.path().join(&uid(1).0).metadata().unwrap().len(), 0, "nothing spilled is held");
    assert!(command.ack(21).unwrap(), "the master has the last update");
    spool.forget(&uid(1));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(spool.known(), []);
}

#[test]
fn a_new_connection_gets_what_the_master_lacks() {
    let (_folder, spool) = small();
    let command = open(&spool, 1);
    for _ in 0..10 {
        command.log("stdio", Origin::Stdout, vec![0; 1_000].into());
    }
    assert_eq!(numbers(&spool).len(), 10);
    command.ack(2).unwrap();
    command.resume(7).unwrap();
    assert_eq!(numbers(&spool), [8, 9, 10]);
    command.resume(2).unwrap();
    assert_eq!(numbers(&spool), [3, 4, 5, 6, 7, 8, 9, 10]);
    assert!(command.resume(11).is_err());
}

#[test]
fn commands_take_turns() {
    let (_folder, spool) = small();
    let (a, b) = (open(&spool, 1), open(&spool, 2));
    for _ in 0..2 {
        a.log("stdio", Origin::Stdout, "a".into());
    }
    b.log("stdio", Origin::Stdout, "b".into());
    let order: Vec<_> = sent(&spool).into_iter().map(|(uid, number, _)| (uid, number)).collect();
    assert_eq!(order, [(uid(1), 1), (uid(2), 1), (uid(1), 2)]);
    assert_eq!(spool.known(), [(uid(1), 2), (uid(2), 1)]);
}

#[tokio::test]
async fn a_full_spool_holds_the_command_back_until_the_master_acknowledges() {
    let (_folder, spool) = small();
    let command = open(&spool, 1);
    while command.has_room() {
        command.log("stdio", Origin::Stdout, vec![0; 8_000].into());
    }
    let waiting = tokio::spawn({
        let command = Arc::clone(&command);
        async move { command.room().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    command.ack(3).unwrap();
    waiting.await.unwrap();
}

/// A disk that is full keeps nothing of a command, and costs nothing of it: it waits, the build is told why, and it goes on
/// once the master took what is in memory, on the disk again if that has room.
#[test]
fn a_full_disk_holds_a_command_back_is_told_once_and_loses_nothing() {
    let Some(disk) = SmallDisk::of(256 << 10) else { return };
    let limits = Limits { memory: 64_000, total: 10 << 20, ..Limits::default() };
    let spool = Spool::new(disk.path(), limits, holder());
    let command = open(&spool, 1);
    let (mut of_all, mut received, mut notices) = (begin(), 0, 0);
    let fill = |of_all: &mut Digest| {
        let mut said = 0;
        while command.has_room() {
            let data = vec![said as u8; 1_000];
            *of_all = chain(*of_all, &data);
            command.log("stdio", Origin::Stdout, data.into());
            said += 1;
        }
        said
    };
    for _ in 0..2 {
        let before = received;
        let said = fill(&mut of_all);
        // What fits on the disk, and in memory.
        assert!((100..400).contains(&said), "{said}");
        for (_, number, update) in sent(&spool) {
            received += 1;
            assert_eq!(number, received);
            notices += usize::from(
                matches!(update, Update::Diagnostic { message, .. } if message.contains("has no room")),
            );
        }
        assert!(received - before >= said);
        command.ack(received).unwrap();
        assert!(command.has_room());
        assert_eq!(notices, 1);
    }
    command.done(Ok(Completion::default()), None);
    let last = sent(&spool);
    assert!(matches!(&last[..], [(_, _, Update::Done { log_hash, .. })] if *log_hash == of_all));
    assert!(command.ack(received + 1).unwrap());
}

/// Symptom: a worker connected, sent a little, and lost its link, again and again. Cause: a spool file
/// that could not be read back ended the link each time. Cure: a record of the loss is sent instead.
#[test]
fn what_can_not_be_read_back_is_told_as_lost_and_others_are_not_disturbed() {
    let (folder, spool) = small();
    let (bad, good) = (open(&spool, 1), open(&spool, 2));
    for _ in 0..10 {
        bad.log("stdio", Origin::Stdout, vec![0; 1_000].into());
    }
    bad.done(Ok(Completion::default()), None);
    good.log("stdio", Origin::Stdout, "fine".into());
    File::options().write(true).open(folder.path().join(&uid(1).0)).unwrap().set_len(10).unwrap();
    let sent = sent(&spool);
    let of_bad: Vec<_> = sent.iter().filter(|(of, ..)| *of == uid(1)).collect();
    assert_eq!(of_bad.iter().map(|(_, number, _)| *number).collect::<Vec<_>>(), (1..=11).collect::<Vec<_>>());
    let is_lost =
        |update: &Update| matches!(update, Update::Diagnostic { message, .. } if message.contains("lost"));
    assert_eq!(of_bad.iter().filter(|(.., update)| is_lost(update)).count(), 7, "three fitted into memory");
    // The hash is that of all that was said: the master sees that something is missing.
    let all = (0..10).fold(begin(), |before, _| chain(before, &[0; 1_000]));
    assert!(matches!(&of_bad[10].2, Update::Done { log_hash, .. } if *log_hash == all));
    assert_eq!(sent.len(), 12);
    assert!(folder.path().join(format!("{}.unreadable", uid(1).0)).exists());
    assert!(bad.ack(11).unwrap());
}

#[tokio::test]
async fn while_there_is_a_link_a_command_waits_for_the_master_and_not_for_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { memory: 30_000, window: 20_000, ..Limits::default() };
    let spool = Spool::new(folder.path(), limits, holder());
    let command = open(&spool, 1);
    spool.set_linked(true);
    while command.has_room() {
        command.log("stdio", Origin::Stdout, vec![0; 8_000].into());
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was spilled");
    let waiting = tokio::spawn({
        let command = Arc::clone(&command);
        async move { command.room().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    // The link is gone: the command goes on.
    spool.set_linked(false);
    waiting.await.unwrap();
}

#[test]
fn all_commands_together_are_bounded_and_one_that_says_little_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { all_memory: 4_000, all: 3 * SMALL, ..Limits::default() };
    let spool = Spool::new(folder.path(), limits, holder());
    let loud: Vec<_> = (0..2).map(|n| open(&spool, n)).collect();
    while loud.iter().any(|command| command.has_room()) {
        loud.iter().for_each(|command| command.log("stdio", Origin::Stdout, vec![0; 20_000].into()));
    }
    assert!(spool.memory.load(Ordering::Relaxed) <= 4_000);
    let quiet = open(&spool, 9);
    quiet.log("stdio", Origin::Stdout, "fine".into());
    assert!(quiet.has_room());
    loud.iter().for_each(|command| assert!(!command.ack(50).unwrap()));
    assert!(loud.iter().all(|command| command.has_room()));
    (0..2).for_each(|n| spool.forget(&uid(n)));
    spool.forget(&uid(9));
    assert_eq!((spool.memory.load(Ordering::Relaxed), spool.total.load(Ordering::Relaxed)), (0, 0));
}

#[test]
fn very_many_small_updates_are_too_many() {
    let (_folder, spool) = small();
    let command = open(&spool, 1);
    let mut said = 0;
    while command.has_room() {
        command.say([Update::Values { values: Vec::new() }], Vec::new());
        said += 1;
    }
    assert!(said <= 1_000, "{said}");
}

#[test]
fn nothing_follows_the_last_update_and_large_data_is_cut() {
    let (_folder, spool) = small();
    let command = open(&spool, 1);
    command.log("stdio", Origin::Stdout, vec![0; MAX_LOG_DATA + 1].into());
    command.done(Err(Failure::new("x", "y")), None);
    command.log("stdio", Origin::Stdout, "late".into());
    assert_eq!(numbers(&spool), [1, 2, 3]);
}

fn start(n: u32) -> Start {
    Start {
        command: uid(n),
        hook: "shell".into(),
        plugin: "windlass".into(),
        digest: Digest::of(b"x"),
        args: "{}".into(),
        builddir: "b".into(),
        env: vec![],
        grants: vec![],
        secrets: vec![],
    }
}

/// As an agent that is started anew finds it.
fn tape_of(holder: &Holder, n: u32) -> File {
    let kept = holder.kept().unwrap();
    kept.into_iter().find(|kept| kept.command == uid(n).0 && kept.name == TAPE).unwrap().descriptor.into()
}

#[test]
fn an_agent_that_is_started_anew_has_every_update_and_answer() {
    let folder = tempfile::tempdir().unwrap();
    let holder = holder();
    let limits = Limits { memory: 4_000, ..Limits::default() };
    let first = Spool::new(folder.path(), limits, Arc::clone(&holder));
    let command = open(&first, 1);
    for n in 0..10u8 {
        command.log("stdio", Origin::Stdout, vec![n; 1_000].into());
    }
    let answer = Record::Called { call: tape::Call::Now, args: 7, answer: vec![1] };
    command.say([Update::Values { values: Vec::new() }], vec![answer]);
    command.ack(3).unwrap();

    let second = Spool::new(folder.path(), limits, Arc::clone(&holder));
    let (command, left) = second.reopen(&uid(1), tape_of(&holder, 1)).unwrap();
    assert_eq!((left.start, left.seed, left.done), (start(1), [3; 32], false));
    let of = left::Answer::Of { call: tape::Call::Now, args: 7, answer: vec![1] };
    assert_eq!(left.answers, [of]);
    assert_eq!(second.known(), [(uid(1), 11)]);
    command.resume(3).unwrap();
    command.done(Ok(Completion::default()), None);
    let sent = sent(&second);
    assert_eq!(sent.iter().map(|(_, number, _)| *number).collect::<Vec<_>>(), (4..=12).collect::<Vec<_>>());
    let all = (0..10u8).fold(begin(), |before, n| chain(before, &[n; 1_000]));
    assert!(matches!(&sent[8].2, Update::Done { log_hash, .. } if *log_hash == all), "{:?}", sent[8].2);
    for ((_, number, update), n) in sent.iter().zip(3u8..10) {
        assert!(matches!(update, Update::Log { data, .. } if data[..] == [n; 1_000]), "{number}: {update:?}");
    }
    // A third one knows that it has ended.
    let third = Spool::new(folder.path(), limits, Arc::clone(&holder));
    assert!(third.reopen(&uid(1), tape_of(&holder, 1)).unwrap().1.done);
    assert!(command.ack(12).unwrap());
    second.forget(&uid(1));
    assert!(holder.kept().unwrap().is_empty(), "nobody needs it any more");
}

/// Symptom: after the agent was killed all commands of a worker lost their link again and again. Cause: acknowledged
/// updates were taken for held ones, and what lay in their place by then was given back when they were acknowledged
/// once more. Cure: the tape says what was acknowledged.
#[test]
fn what_was_acknowledged_is_nothing_to_an_agent_that_is_started_anew() {
    let (folder, holder) = (tempfile::tempdir().unwrap(), holder());
    for memory in [16 * 1024 * 1024, 4_000] {
        let limits = Limits { memory, ..Limits::default() };
        let first = Spool::new(folder.path(), limits, Arc::clone(&holder));
        let command = open(&first, 1);
        let say = |n: u8| command.log("stdio", Origin::Stdout, vec![n; 32 * 1024].into());
        (0..160).for_each(say);
        command.ack(160).unwrap();
        (160..250).for_each(say);
        let second = Spool::new(folder.path(), limits, Arc::clone(&holder));
        let (command, left) = second.reopen(&uid(1), tape_of(&holder, 1)).unwrap();
        assert_eq!((left.acked, left.said.len()), (160, 90));
        command.resume(160).unwrap();
        command.ack(160).unwrap();
        let sent = sent(&second);
        assert_eq!(sent.len(), 90);
        for ((_, number, update), n) in sent.iter().zip(160u8..) {
            let whole = matches!(update, Update::Log { data, .. } if data[..] == [n; 32 * 1024]);
            assert!(whole, "update {number}");
        }
        second.forget(&uid(1));
        first.forget(&uid(1));
    }
}

#[test]
fn only_agents_that_end_soon_after_each_other_count_against_a_command() {
    let left = |ats: &[u64], now| {
        let began = Record::Began { start: start(1), seed: [0; 32] };
        let records = ats.iter().map(|at| Record::Again { at: *at });
        Left::of(std::iter::once(began).chain(records).collect(), now).unwrap().refusal
    };
    assert_eq!(left(&[1_000_000, 2_000_000, 3_000_000], 3_000_100), None, "hours apart");
    assert_eq!(left(&[1_000_000, 1_000_200, 1_000_400], 2_000_000), None, "the last one lived");
    assert!(left(&[1_000_000, 1_000_200, 1_000_400], 1_000_600).unwrap().contains("3 times"));
}

#[test]
fn a_frame_without_its_end_is_none() {
    let holder = holder();
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::new(folder.path(), Limits::default(), Arc::clone(&holder));
    let command = open(&spool, 1);
    command.record(Record::Interrupted { reason: "enough".into() });
    let whole = lock(&command.inner).tape.len();
    command.record(Record::Volatile { why: "never written to its end".into() });
    // The agent is killed in the middle of that.
    let file = tape_of(&holder, 1);
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 20], whole + 20).unwrap();
    let (_, left) = spool.reopen(&uid(1), file).unwrap();
    assert_eq!((left.interrupted.as_deref(), left.refusal), (Some("enough"), None));
}

#[test]
fn a_long_tape_is_made_anew_and_says_the_same() {
    let holder = holder();
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { memory: 100_000, ..Limits::default() };
    let spool = Spool::new(folder.path(), limits, Arc::clone(&holder));
    let command = open(&spool, 1);
    command.record(Record::Called { call: tape::Call::Now, args: 1, answer: vec![9] });
    let mut longest = 0;
    for n in 0..20_000u64 {
        command.log("stdio", Origin::Stdout, vec![u8::try_from(n % 251).unwrap(); 10].into());
        if n > 5 {
            command.ack(n - 5).unwrap();
        }
        longest = longest.max(lock(&command.inner).tape.len());
    }
    assert!(longest < 2 * 1024 * 1024, "{longest}");
    assert!(lock(&command.inner).tape.len() < 1024 * 1024);
    let next = Spool::new(folder.path(), limits, Arc::clone(&holder));
    let (command, left) = next.reopen(&uid(1), tape_of(&holder, 1)).unwrap();
    assert_eq!((left.answers.len(), next.known()), (1, vec![(uid(1), 20_000)]));
    assert!(left.acked > 10_000);
    command.resume(19_994).unwrap();
    let numbers = numbers(&next);
    assert_eq!(numbers, (19_995..=20_000).collect::<Vec<_>>());
    let all = (0..20_000u64).fold(begin(), |before, n| chain(before, &[u8::try_from(n % 251).unwrap(); 10]));
    assert_eq!(left.hash, all);
}
