//! What policies are asked, and what follows from their answers, or from none.

use super::*;

#[test]
fn a_policy_picks_the_worker_and_its_component_is_on_record() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w1", "w2"]) };
    let mut table = Table::new(&[("w1", Some(1)), ("w2", Some(1))], vec![choosy]);
    table.submit([request(1, "a")]);
    table.answer(Answer::Slave(Some("w2".to_owned())));
    assert_eq!(table.claims[0].acted[0].hook, "p:choose");
    assert_eq!(table.claims[0].decisions, [table.decisions[0].id]);
    assert_eq!(table.decisions[0].done, Done::Placed("w2".to_owned()));
    assert_eq!(table.commit(), started(&[("w2", &[1])]));
}

/// Symptom: after a reload, nothing of a policy was counted any more. Cause: the late reply of the old bytes made a
/// tally for them. Cure: only what is asked by the present rules has a tally.
#[test]
fn a_reply_of_bytes_that_were_replaced_counts_for_nothing_and_keeps_nothing_from_being_counted() {
    let choosy = || Builder { next_slave: Some(policy("choose")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(9))], vec![choosy()]);
    table.submit([request(1, "a")]);
    table.configure(vec![choosy()], None, "two");
    table.answer(Answer::Slave(Some("w".to_owned())));
    let counts = |table: &Table| {
        let policy = table.board.status(table.now).policies.remove(0);
        (policy.answers, policy.faults, policy.last_fault.is_some())
    };
    assert_eq!(counts(&table), (0, 0, false), "the new bytes have answered nothing");
    table.submit([request(2, "a")]);
    table.fail();
    assert_eq!(counts(&table), (0, 1, true));
}

#[test]
fn a_builder_that_waits_for_its_policy_stops_no_other() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(2))], vec![choosy, builder("b", &["w"])]);
    table.submit([request(1, "a"), request(2, "b")]);
    assert_eq!(table.asks.len(), 1);
    assert_eq!(table.commit(), started(&[("w", &[2])]));
}

#[test]
fn several_starts_of_one_builder_are_under_way_at_once() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(3))], vec![choosy]);
    table.submit((1..=9).map(|id| request(id, "a")));
    assert_eq!(table.asks.len(), 3);
}

#[test]
fn two_starts_that_choose_each_others_slot_swap() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w1", "w2"]) };
    let mut table = Table::new(&[("w1", Some(1)), ("w2", Some(1))], vec![choosy]);
    table.submit([request(1, "a"), request(2, "a")]);
    // The first was offered both, the second what was left.
    table.answer(Answer::Slave(Some("w2".to_owned())));
    let second = table.asks.remove(0);
    table.reply(&second, Ok(Answer::Slave(Some("w2".to_owned()))));
    // w2 is the first one's for good: the second is asked again, about w1 alone.
    let Question::NextSlave { slaves, .. } = &table.asks[0].question else { panic!() };
    assert_eq!(slaves.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["w1"]);
    table.answer(Answer::Slave(Some("w1".to_owned())));
    assert_eq!(table.commit(), started(&[("w2", &[1]), ("w1", &[2])]));
}

#[test]
fn faults_and_nonsense_fall_back_to_the_default_and_suspend_after_three() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![choosy.clone()]);
    table.submit((1..=6).map(|id| request(id, "a")));
    for build in 1..=3 {
        match build {
            1 => table.fail(),
            2 => table.answer(Answer::Slave(Some("ghost".to_owned()))),
            _ => table.answer(Answer::Requests(vec![1])),
        }
        assert_eq!(table.commit(), started(&[("w", &[build])]));
        table.end(build, Outcome::Success);
    }
    // Suspended: the fourth starts without a question.
    assert!(table.asks.is_empty());
    assert_eq!(table.commit(), started(&[("w", &[4])]));
    let status = table.board.status(table.now);
    assert_eq!((status.policies[0].faults, status.policies[0].skipped), (3, 1));
    assert_eq!(status.policies[0].fallbacks, 4);
    assert!(status.policies[0].last_fault.as_ref().unwrap().contains("choose"));
    // New bytes: asked again.
    table.configure(vec![choosy], None, "two");
    table.end(4, Outcome::Success);
    assert_eq!(table.asks.len(), 1);
}

/// Symptom: a builder with waiting requests and free slots never started another build. Cause: it was
/// marked as being asked `next-build` before its policy was found to be suspended, and nothing took the mark
/// back. Cure: there is no mark; a question is under way when the desk has it.
#[test]
fn a_suspended_next_build_leaves_every_choice_to_the_default() {
    let picky = Builder { next_build: Some(policy("pick")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![picky]);
    table.submit((1..=5).map(|id| request(id, "a")));
    for build in 1..=5 {
        if build <= 3 {
            table.fail();
        }
        assert_eq!(table.commit(), started(&[("w", &[build])]));
        table.end(build, Outcome::Success);
    }
}

/// Symptom: `why` said nothing of a policy that was suspended when a build began. Cause: only what was asked left a
/// record. Cure: what was not asked leaves one too, without workers that nobody saw.
#[test]
fn a_start_without_its_suspended_policy_is_on_record_with_the_claim() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![choosy]);
    table.submit((1..=4).map(|id| request(id, "a")));
    for build in 1..=4 {
        if build <= 3 {
            table.fail();
        }
        let (claim, last) = (table.claims[0].clone(), table.decisions.last().expect("one for each start"));
        assert_eq!(claim.decisions, [last.id]);
        assert_eq!((last.done.clone(), &last.answer), (Done::Placed("w".to_owned()), &None));
        assert_eq!(last.about(), [RequestId(build)]);
        let said = last.fallback.as_deref().expect("it gave no answer");
        assert_eq!(
            said.starts_with("not asked: suspended after errors for another 10 s"),
            build == 4,
            "{said}"
        );
        assert_eq!(last.workers.is_empty(), build == 4);
        table.commit();
        table.end(build, Outcome::Success);
    }
}

#[test]
fn on_error_hold_leaves_the_request_for_ten_seconds() {
    let hold = PolicyUse { on_error: OnError::Hold, ..policy("choose") };
    let choosy = Builder { next_slave: Some(hold), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![choosy]);
    table.submit([request(1, "a")]);
    table.fail();
    assert!(table.claims.is_empty());
    assert_eq!(table.why("a").unwrap(), "`choose` gives no answer");
    table.pass(HOLD_MS - 1);
    assert!(table.asks.is_empty());
    table.pass(1);
    table.answer(Answer::Slave(Some("w".to_owned())));
    assert_eq!(table.commit(), started(&[("w", &[1])]));
}

/// The uses of policies that can hold a builder back, with an answer that each follows.
fn holding() -> Vec<(Builder, Option<PolicyUse>, Answer)> {
    let hold = || PolicyUse { on_error: OnError::Hold, ..policy("p") };
    let plain = || builder("a", &["w"]);
    vec![
        (Builder { next_slave: Some(hold()), ..plain() }, None, Answer::Slave(Some("w".to_owned()))),
        (Builder { next_build: Some(hold()), ..plain() }, None, Answer::Request(Some(1))),
        // A gate that fails is a closed one, whatever `on_error` says.
        (
            Builder { can_start_build: Some(policy("p")), ..plain() },
            None,
            Answer::Names(vec!["w".to_owned()]),
        ),
        (Builder { merge_requests: Merge::Policy(hold()), ..plain() }, None, Answer::Requests(Vec::new())),
        (plain(), Some(hold()), Answer::Names(vec!["a".to_owned()])),
    ]
}

/// A table whose one policy has failed until it was suspended, and what has gone by since.
fn suspended(builder: &Builder, order: Option<&PolicyUse>) -> Table {
    let mut table = Table::new(&[("w", Some(1))], vec![builder.clone()]);
    table.configure(vec![builder.clone()], order.cloned(), "one");
    table.submit([request(1, "a"), request(2, "a")]);
    for _ in 0..100 {
        if table.asks.is_empty() {
            table.pass(HOLD_MS);
        }
        if table.asks.is_empty() {
            break;
        }
        table.fail();
        if table.board.status(table.now).policies[0].suspended_until.is_some() {
            break;
        }
    }
    table.pass(0);
    table
}

#[test]
fn what_a_suspended_policy_holds_is_shown_and_goes_on_at_the_end_of_the_suspension() {
    for (builder, order, answer) in holding() {
        let mut table = suspended(&builder, order.as_ref());
        let status = table.board.status(table.now);
        let until = status.policies[0].suspended_until.expect("it is suspended");
        let kind = status.policies[0].kind;
        assert!(table.asks.is_empty() && table.claims.is_empty(), "{kind}");
        let why = table.why("a").unwrap_or_default();
        assert!(why.contains("`p` ") || why.contains("the order of builders"), "{kind}: {why}");
        table.pass(until.ms_since(table.now) - 1);
        assert!(table.asks.is_empty(), "{kind}");
        table.pass(1);
        assert_eq!(table.asks.len(), 1, "{kind}");
        table.answer(answer);
        while table.claims.is_empty() {
            table.answer(Answer::Requests(Vec::new()));
        }
    }
}

#[test]
fn a_reload_lifts_every_suspension_and_what_was_held_goes_on_at_once() {
    for (builder, order, _) in holding() {
        for bytes in ["one", "two"] {
            let mut table = suspended(&builder, order.as_ref());
            table.configure(vec![builder.clone()], order.clone(), bytes);
            let policy = &table.board.status(table.now).policies[0];
            assert_eq!((policy.suspended_until, table.asks.len()), (None, 1), "{}", policy.kind);
            // Counts speak of bytes.
            assert_eq!(policy.faults > 0, bytes == "one", "{}", policy.kind);
        }
    }
}

#[test]
fn each_use_of_a_policy_counts_for_itself_and_its_suspension_is_everybodys() {
    let choosy = |name: &str| Builder { next_slave: Some(policy("choose")), ..builder(name, &["w"]) };
    let mut table = Table::new(&[("w", Some(9))], vec![choosy("a"), choosy("b")]);
    table.submit([request(1, "b")]);
    table.answer(Answer::Slave(Some("w".to_owned())));
    table.submit((2..=4).map(|id| request(id, "a")));
    for _ in 0..3 {
        table.fail();
    }
    table.submit([request(5, "b")]);
    let status = table.board.status(table.now);
    let of = |name: &str| status.policies.iter().find(|p| p.builder.as_deref() == Some(name)).unwrap();
    let counts = |p: &PolicyStatus| (p.answers, p.faults, p.skipped, p.fallbacks);
    assert_eq!((counts(of("a")), counts(of("b"))), ((0, 3, 0, 3), (1, 0, 1, 1)));
    assert!(of("a").suspended_until.is_some() && of("a").suspended_until == of("b").suspended_until);
    assert_eq!(of("a").last_fault, of("b").last_fault);
    // A use that is gone is forgotten, and the counts of the others stay.
    table.configure(vec![choosy("b")], None, "one");
    table.configure(vec![choosy("a"), choosy("b")], None, "one");
    let status = table.board.status(table.now);
    let counted: Vec<_> = status.policies.iter().map(counts).collect();
    assert_eq!(counted, [(0, 0, 0, 0), (1, 0, 1, 1)]);
}

#[test]
fn can_start_build_is_asked_once_for_a_request_and_what_it_refuses_is_asked_again_later() {
    let gated = Builder { can_start_build: Some(policy("hours")), ..builder("a", &["w1", "w2"]) };
    let mut table = Table::new(&[("w1", Some(1)), ("w2", Some(1))], vec![gated]);
    table.submit([request(1, "a")]);
    table.answer(Answer::Names(Vec::new()));
    assert!(table.asks.is_empty());
    assert_eq!(table.why("a").unwrap(), "`hours` allows no worker");
    table.pass(HOLD_MS);
    table.answer(Answer::Names(vec!["w2".to_owned(), "ghost".to_owned()]));
    assert_eq!(table.commit(), started(&[("w2", &[1])]));
    assert_eq!(table.board.status(table.now).reports.len(), 1);
    // A failing gate is a closed one.
    table.submit([request(2, "a")]);
    table.fail();
    assert!(table.claims.is_empty());
}

#[test]
fn a_gate_that_refuses_everything_is_asked_a_bounded_number_of_times_and_starves_nobody() {
    let gated = Builder { can_start_build: Some(policy("hours")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![gated, builder("b", &["w"])]);
    table.submit((1..=500).map(|id| request(id, "a")));
    table.submit([request(1_000, "b")]);
    let mut asked = 0;
    while !table.asks.is_empty() {
        table.answer(Answer::Names(Vec::new()));
        asked += 1;
        if asked == 1 {
            // The slot was given back: the other builder has it now.
            assert_eq!(table.commit(), started(&[("w", &[1_000])]));
            table.end(1, Outcome::Success);
        }
    }
    assert_eq!(asked, REFUSALS_A_PASS);
    table.pass(REST_MS);
    assert_eq!(table.asks.len(), 1);
}

#[test]
fn a_slot_that_was_offered_and_refused_wakes_nobody_and_one_that_was_not_does() {
    let gated = Builder { can_start_build: Some(policy("hours")), ..builder("a", &["w1", "w2"]) };
    let mut table = Table::new(&[("w1", Some(1)), ("w2", Some(1))], vec![gated, builder("b", &["w2"])]);
    table.submit([request(1, "b")]);
    assert_eq!(table.commit(), started(&[("w2", &[1])]));
    table.submit((2..=4).map(|id| request(id, "a")));
    // Each is offered w1, gives it back and is held: none of them wakes another.
    for _ in 0..3 {
        table.answer(Answer::Names(Vec::new()));
    }
    assert!(table.asks.is_empty());
    table.end(1, Outcome::Success);
    // w2 is news to all three. Nobody is asked more often than there are workers.
    let mut asked = 0;
    while !table.asks.is_empty() {
        table.answer(Answer::Names(Vec::new()));
        asked += 1;
    }
    assert!((3..=6).contains(&asked), "{asked}");
    table.pass(HOLD_MS);
    assert_eq!(table.asks.len(), 2);
}

#[test]
fn a_slot_that_comes_free_while_the_policy_thinks_is_offered_too() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w1", "w2"]) };
    let mut table = Table::new(&[("w1", Some(1)), ("w2", Some(1))], vec![choosy, builder("b", &["w2"])]);
    table.submit([request(1, "b")]);
    table.commit();
    table.submit([request(2, "a")]);
    table.end(1, Outcome::Success);
    // It wants w2, and was offered w1 alone.
    table.answer(Answer::Slave(None));
    assert_eq!(table.decisions[0].done, Done::Stale);
    table.answer(Answer::Slave(Some("w2".to_owned())));
    assert_eq!(table.commit(), started(&[("w2", &[2])]));
}

#[test]
fn next_build_is_offered_windows_and_a_builder_of_which_none_is_taken_rests() {
    let picky = Builder { next_build: Some(policy("pick")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(2))], vec![picky]);
    table.submit((1..=250).map(|id| request(id, "a")));
    for expected in [1, 101, 201] {
        let Question::NextBuild { requests, .. } = &table.asks[0].question else { panic!() };
        assert_eq!(requests[0].id, expected);
        table.answer(Answer::Request(None));
    }
    assert!(table.asks.is_empty());
    table.pass(HOLD_MS);
    table.answer(Answer::Request(Some(77)));
    table.answer(Answer::Request(Some(76)));
    assert_eq!(table.commit(), started(&[("w", &[77]), ("w", &[76])]));
}

#[test]
fn the_order_of_builders_is_asked_and_those_left_out_wait() {
    let builders = || vec![builder("a", &["w"]), builder("b", &["w"]), builder("c", &["w"])];
    let mut table = Table::new(&[("w", Some(1))], builders());
    table.configure(builders(), Some(policy("order")), "one");
    table.submit([request(1, "a"), request(2, "b"), request(3, "c")]);
    table.answer(Answer::Names(vec!["c".to_owned(), "b".to_owned()]));
    assert_eq!(table.commit(), started(&[("w", &[3])]));
    table.end(1, Outcome::Success);
    table.answer(Answer::Names(vec!["b".to_owned()]));
    assert_eq!(table.commit(), started(&[("w", &[2])]));
    table.end(2, Outcome::Success);
    table.fail();
    assert_eq!(table.commit(), started(&[("w", &[1])]));
}

#[test]
fn merge_requests_joins_what_it_names_and_an_error_joins_nothing() {
    let merging = Builder { merge_requests: Merge::Policy(policy("join")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![merging]);
    table.submit((1..=4).map(|id| request(id, "a")));
    table.answer(Answer::Requests(vec![3, 99]));
    assert_eq!(table.commit(), started(&[("w", &[1, 3])]));
    table.end(1, Outcome::Success);
    table.fail();
    assert_eq!(table.commit(), started(&[("w", &[2])]));
}

#[test]
fn a_builder_whose_request_was_refused_has_its_turn_again_when_the_hold_is_over() {
    let gated = Builder { can_start_build: Some(policy("hours")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![gated, builder("b", &["w"])]);
    table.submit([Request { priority: 9, ..request(1, "a") }]);
    table.submit((2..=50).map(|id| request(id, "b")));
    table.answer(Answer::Names(Vec::new()));
    assert_eq!(table.commit(), started(&[("w", &[2])]));
    table.pass(HOLD_MS);
    table.end(1, Outcome::Success);
    assert_eq!(table.asks.len(), 1, "it is more urgent than all that `b` has");
    table.answer(Answer::Names(vec!["w".to_owned()]));
    assert_eq!(table.commit(), started(&[("w", &[1])]));
}

#[test]
fn a_worker_that_leaves_while_its_policy_thinks_is_not_used() {
    let choosy = Builder { next_slave: Some(policy("choose")), ..builder("a", &["w1", "w2"]) };
    let mut table = Table::new(&[("w1", Some(1)), ("w2", Some(1))], vec![choosy]);
    table.submit([request(1, "a")]);
    table.board.worker_down("w1");
    table.answer(Answer::Slave(Some("w1".to_owned())));
    table.answer(Answer::Slave(Some("w2".to_owned())));
    assert_eq!(table.commit(), started(&[("w2", &[1])]));
}

/// Symptom: a builder with steady submissions asked a gate that refuses all of them on and on, and never stepped behind
/// the others. Cause: a new request ended every rest and forgave every refusal. Cure: only the rest of a `next-build` that
/// took none ends, as it has not seen the new one.
#[test]
fn a_new_request_ends_no_rest_that_it_has_nothing_to_do_with() {
    let gated = Builder { can_start_build: Some(policy("hours")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![gated]);
    let mut asked = 0;
    for id in 1..=2 * u64::from(REFUSALS_A_PASS) {
        table.submit([request(id, "a")]);
        while !table.asks.is_empty() {
            table.answer(Answer::Names(Vec::new()));
            asked += 1;
        }
    }
    assert_eq!(asked, REFUSALS_A_PASS);

    let picky = Builder { next_build: Some(policy("pick")), ..builder("a", &["w"]) };
    let mut table = Table::new(&[("w", Some(1))], vec![picky]);
    table.submit([request(1, "a")]);
    table.answer(Answer::Request(None));
    assert!(table.asks.is_empty());
    table.submit([request(2, "a")]);
    table.answer(Answer::Request(Some(2)));
    assert_eq!(table.commit(), started(&[("w", &[2])]));
}
