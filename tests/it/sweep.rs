//! A sample of the sweep: kills of the master and of a worker, a link with troubles, a full disk and a clock that somebody
//! sets, at places that a seed says.
//! The whole of it is `cargo run -p windlass-tests --example sweep`.

use std::time::Duration;

use windlass_tests::faults::{Chance, Plan, Run};
use windlass_tests::relay::Trouble;
use windlass_tests::sweep::{HOLDER, Rule, Size, Sweep};

#[test]
fn whatever_is_killed_or_cut_all_ends_as_if_nothing_had_been() {
    let mut chance = Chance::new();
    let sweep = Sweep::new(Size { lines: 20_000, upload: true, languages: false });
    let (commits, carried) = (sweep.undisturbed().commits, sweep.undisturbed().carried);
    let mut commit = |end: u64| {
        let side = ["", ":after"][usize::from(chance.below(2) == 1)];
        format!("commit:{}{side}", 1 + chance.below(end))
    };
    let mut masters = vec![vec![commit(commits)], vec![commit(commits)]];
    // The second dies while it puts in order what the first left.
    masters.push(vec![commit(commits), commit(8)]);
    // It finds its disk full, somebody sets the clock of its machine, and then it dies.
    let numbers = [(); 2].map(|()| commit(commits).replace(":after", "").replace("commit:", ""));
    let strained = [
        format!("enospc:{}:5,clock:+200000:{},{}", numbers[0], numbers[1], commit(commits)),
        "clock:+200000:0".to_owned(),
    ];
    let mut place = || chance.below(carried);
    let twice = vec![(place(), Trouble::Twice(100))];
    let slow = Trouble::Delay(Duration::from_millis(20));
    let link = vec![(place(), Trouble::Cut), (place(), slow), (place(), Trouble::Cut)];
    // A holder that dies takes its commands along, an agent does not.
    let worker = Plan { worker: vec![place()], ..Plan::default() };
    let holder = Plan { holder: vec![place()], ..Plan::default() };
    let agent = Plan { agent: vec![place(), place()], ..Plan::default() };
    let mut plans = vec![
        (worker, Rule::BuiltAgainFor(HOLDER)),
        (holder, Rule::BuiltAgainFor(HOLDER)),
        (agent, Rule::TakenUp),
        (Plan { link, ..Plan::default() }, Rule::TakenUp),
        (Plan { master: strained.into(), link: twice, ..Plan::default() }, Rule::TakenUp),
    ];
    plans.extend(masters.into_iter().map(|master| (Plan { master, ..Plan::default() }, Rule::TakenUp)));

    let mut wrong = String::new();
    for (plan, rule) in plans {
        for difference in sweep.differences(&sweep.play(&plan), rule) {
            wrong += &format!("{plan}: {difference}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What finds nothing has to show that it would.
#[test]
fn what_was_lost_doubled_or_altered_is_told() {
    let sweep = Sweep::new(Size { lines: 10, upload: false, languages: false });
    let mut run = sweep.play(&Plan::default());
    assert_eq!(sweep.differences(&run, Rule::TakenUp), [""; 0]);
    let told = |run: &Run, words: &str| {
        let told = sweep.differences(run, Rule::BuiltAgain);
        assert!(told.len() == 1 && told[0].contains(words), "{words}: {told:#?}");
    };

    let effects = run.site.path("effects");
    let written = std::fs::read_to_string(&effects).unwrap();
    for (text, words) in [
        (written.replace("whole/1 find ends\n", ""), "`find ends` was not done"),
        (written.clone() + "whole/1 find ends\n", "`find ends` was done 2 times"),
        (written.clone() + "whole/7 find ends\n", "whole/7 did something"),
    ] {
        std::fs::write(&effects, text).unwrap();
        told(&run, words);
    }
    std::fs::write(&effects, written).unwrap();

    let place = run.builds.iter().position(|build| build["builder"] == "whole").unwrap();
    run.output[place].get_mut("lines/stdio").unwrap()[3] = b'x';
    told(&run, "lines/stdio: other bytes from 3 on");
    run.output[place].get_mut("lines/stdio").unwrap()[3] = b'\n';
    let found = run.builds[place]["properties"].as_array_mut().unwrap();
    let found = found.iter_mut().find(|property| property["name"] == "found").unwrap();
    found["value"] = "nothing".into();
    told(&run, "properties");
}
