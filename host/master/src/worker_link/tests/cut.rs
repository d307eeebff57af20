//! Links that the master cuts: for another token, or a worker that is configured no more.

use super::*;

#[tokio::test]
async fn another_token_cuts_the_link_and_who_shows_the_new_one_goes_on() {
    let world = world(limits()).await;
    let mut told = told(&world).await;
    let (mut worker, _) = Scripted::join(&world, hello("w1")).await;
    told("up w1").await;
    let mut feed = world.links.start_command("w1", start("u1")).unwrap();
    worker.hear().await;
    worker.log("u1", 1, "one").await;
    assert_eq!(next(&mut feed).await, "1 one");

    // What else differs cuts nothing.
    let other = config::Worker { max_builds: Some(7), ..self::worker("w1") };
    world.links.configure(&[other.clone(), self::worker("w2")]);
    worker.log("u1", 2, "two").await;
    assert_eq!(next(&mut feed).await, "2 two");

    let renewed = config::Worker { token_hash: Some(windlass_config::hash_token("renewed")), ..other };
    world.links.configure(&[renewed, self::worker("w2")]);
    told("down w1").await;
    let uid = CommandUid("u1".to_owned());
    let back = Hello { commands: vec![(uid.clone(), 2)], ..hello("w1") };
    let (code, _, _) = Scripted::refused(&world, back.clone()).await;
    assert_eq!(code, "bad-token");
    let (_worker, known) = Scripted::join(&world, Hello { token: "renewed".to_owned(), ..back }).await;
    assert_eq!(known, [(uid, 2)]);
    told("up w1").await;
}

fn by_token(token: &str) -> Vec<config::Worker> {
    let w1 = config::Worker { token_hash: Some(windlass_config::hash_token(token)), ..worker("w1") };
    vec![w1, worker("w2")]
}

/// Symptom: a worker whose token counted no more got what had been queued for it. Cause: a link that was cut was written to
/// until nothing waited. Cure: what waits goes with the link. Whoever comes back with a good token gets it.
#[tokio::test]
async fn nothing_is_sent_to_a_worker_whose_link_was_cut() {
    // More than sockets take of it.
    const STARTS: usize = 24;
    let world = world(limits()).await;
    let mut told = told(&world).await;
    let (mut worker, _) = Scripted::join(&world, hello("w1")).await;
    told("up w1").await;
    let long = |n: usize| Start { args: "x".repeat(1 << 20), ..start(&format!("u{n}")) };
    let feeds: Vec<_> = (0..STARTS).map(|n| world.links.start_command("w1", long(n)).unwrap()).collect();
    // The first of them is on its way: so are as many as the sockets take.
    assert!(matches!(worker.hear().await, ToWorker::Start(_)));
    world.links.configure(&by_token("renewed"));
    told("down w1").await;
    let rest = worker.rest().await.len();
    assert!(rest < STARTS - 1, "all of it came");

    let back = Hello { token: "renewed".to_owned(), ..hello("w1") };
    let (mut worker, known) = Scripted::join(&world, back).await;
    assert_eq!(known, []);
    for _ in &feeds {
        assert!(matches!(worker.hear().await, ToWorker::Start(_)));
    }
}

/// The same where it is removed: the goodbye is the last word, where it can be said.
#[tokio::test]
async fn a_worker_that_is_removed_hears_why_and_nothing_behind_it() {
    let world = world(limits()).await;
    let (mut worker, _) = Scripted::join(&world, hello("w1")).await;
    world.links.configure(&[self::worker("w2")]);
    let reason = "removed from the master's configuration".to_owned();
    assert_eq!(worker.rest().await, [ToWorker::Bye { reason }]);
}

/// Symptom: a worker whose token counted no more was heard all the same. Cause: which came first, the order to cut its link
/// or what it had said, was left to chance. Cure: orders come first; what was not handled is said again on the next link.
#[tokio::test]
async fn nothing_is_handled_of_a_link_that_is_to_be_cut() {
    let world = world(limits()).await;
    let mut told = told(&world).await;
    let (mut other, _) = Scripted::join(&world, hello("w2")).await;
    told("up w2").await;
    let uid = CommandUid("u1".to_owned());
    let (mut feed, mut token) = (None, "secret".to_owned());
    for round in 0..16 {
        let commands = if round == 0 { vec![] } else { vec![(uid.clone(), 1)] };
        let back = Hello { token, commands, ..hello("w1") };
        let (mut worker, known) = Scripted::join(&world, back).await;
        told("up w1").await;
        if round == 0 {
            feed = Some(world.links.start_command("w1", start("u1")).unwrap());
            worker.hear().await;
        } else {
            assert_eq!(known, [(uid.clone(), 0)], "round {round}");
        }
        token = format!("renewed {round}");
        // The link is held back while what the worker says arrives, so that this and the order are there at once.
        let seat = world.links.handle("w1").unwrap();
        let (sender, held) =
            feed::feed(&seat.shown.ahead, seat.orders.clone(), CommandUid("held".to_owned()));
        let data = vec![b'x'; feed::READ_AHEAD].into();
        let update = Update::Log { log: "stdio".to_owned(), origin: Origin::Stdout, data };
        sender.send(CommandEvent::Update { number: 1, update });
        world.links.inspect().await;
        worker.log("u1", 1, "one").await;
        other.say(ToMaster::Status { load: 0.5 }).await;
        told("load w2 0.5").await;
        drop(held);
        world.links.configure(&by_token(&token));
        told("down w1").await;
    }
    let back = Hello { token, commands: vec![(uid, 1)], ..hello("w1") };
    let (mut worker, _) = Scripted::join(&world, back).await;
    worker.log("u1", 1, "one").await;
    assert_eq!(next(&mut feed.unwrap()).await, "1 one");
}
